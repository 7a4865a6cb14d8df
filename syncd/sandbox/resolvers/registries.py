"""Registries beyond projects: members, renaming, deletion. And teams, as members of them."""

from __future__ import annotations

from typing import Any

from ariadne import MutationType, ObjectType

from syncd.sandbox import ids
from syncd.sandbox.context import Info, context, database
from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import entities, members, projects, registries
from syncd.sandbox.state.members import ProjectMember
from syncd.sandbox.state.records import Entity, Project, User

mutation = MutationType()
project = ObjectType("Project")
project_member = ObjectType("ProjectMember")
team_member = ObjectType("ProjectTeamMember")
entity = ObjectType("Entity")

BINDABLES = [mutation, project, project_member, team_member, entity]

_DONE = {"success": True}


@mutation.field("renameProject")
def rename_project(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Give a project another name."""
    context(info).user()
    db = database(info)
    known = projects.require(db, asked["entity_name"], asked["old_project_name"])
    found = registries.rename(db, known, asked["new_project_name"])
    return {"project": found, "model": found, "inserted": False}


@mutation.field("deleteModel")
def delete_model(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete a registry."""
    context(info).user()
    registries.delete(database(info), ids.decode(asked["id"], "Project"))
    return _DONE


def _project(info: Info, asked: dict[str, Any]) -> Project:
    context(info).user()
    return projects.get(database(info), ids.decode(asked["project_id"], "Project"))


def _given(asked: dict[str, Any]) -> list[tuple[str, list[int]]]:
    return [
        (kind, [ids.decode(value, kind) for value in asked.get(key) or []])
        for kind, key in ((members.USER, "user_ids"), (members.TEAM, "team_ids"))
    ]


@mutation.field("createProjectMembers")
def add_members(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Let users and teams into a registry."""
    for kind, rows in _given(asked):
        members.add(database(info), _project(info, asked), kind, rows)
    return _DONE


@mutation.field("deleteProjectMembers")
def delete_members(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Take users and teams out of a registry."""
    for kind, rows in _given(asked):
        members.drop(database(info), _project(info, asked), kind, rows)
    return _DONE


@mutation.field("updateProjectMember")
def update_member(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Change a user's role."""
    row = ids.decode(asked["user_id"], members.USER)
    role = asked["user_project_role"]
    members.put(database(info), _project(info, asked), members.USER, row, role)
    return _DONE


@mutation.field("updateProjectTeamMember")
def update_team_member(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Change a team's role."""
    row = ids.decode(asked["team_id"], members.TEAM)
    role = asked["team_project_role"]
    members.put(database(info), _project(info, asked), members.TEAM, row, role)
    return _DONE


@project.field("members")
def project_members(found: Project, info: Info) -> list[ProjectMember]:
    """The users let in."""
    return members.users(database(info), found)


@project.field("teamMembers")
def project_team_members(found: Project, info: Info) -> list[ProjectMember]:
    """The teams let in."""
    return members.teams(database(info), found)


@project_member.field("id")
def member_id(found: ProjectMember, _info: Info) -> str:
    """The user's global id."""
    return ids.encode(members.USER, found.who.id)


@project_member.field("name")
@project_member.field("username")
def member_name(found: ProjectMember, _info: Info) -> str:
    """The user's name."""
    return found.who.name


@project_member.field("email")
def member_email(found: ProjectMember, _info: Info) -> str | None:
    """The user's address."""
    return found.who.email if isinstance(found.who, User) else None


@team_member.field("team")
def member_team(found: ProjectMember, _info: Info) -> User | Entity:
    """The team."""
    return found.who


@project_member.field("role")
@team_member.field("role")
def member_role(found: ProjectMember, _info: Info) -> dict[str, str]:
    """What the member may do."""
    return {"name": found.role}


@entity.field("readOnlyAdmin")
@entity.field("privateOnly")
@entity.field("codeSavingEnabled")
def entity_no(_: Entity, _info: Info) -> bool:
    """No entity is so here."""
    return False


@entity.field("storageBytes")
def entity_storage(_: Entity, _info: Info) -> int:
    """Not counted by entity."""
    return 0


@entity.field("defaultAccess")
def entity_access(_: Entity, _info: Info) -> str:
    """Who sees its new projects."""
    return "PRIVATE"


@mutation.field("createTeam")
def create_team(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Add a team of no organization."""
    db, who = database(info), context(info).user()
    name = asked["team_name"]
    if entities.entity_by_name(db, name) is not None:
        raise SandboxError(f"the name {name!r} is taken")
    admin = asked.get("team_admin_user_name") or who.name
    return {"entity": entities.put_team(db, name, organization_name=None, username=admin)}


@mutation.field("createInvite")
def create_invite(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Invite a user into a team; everyone accepts at once."""
    db = database(info)
    context(info).user()
    known = entities.search_users(db, asked.get("username") or asked.get("email"))
    if not known:
        raise not_found("user")
    found = known[0]
    role = "admin" if asked.get("admin") else "member"
    team = entities.require_entity(db, asked["entity_name"])
    entities.join(db, team.id, found.name, role)
    invite = {"id": ids.encode("User", found.id), "name": found.name, "email": found.email}
    return {"invite": {**invite, "to_user": found}}


@mutation.field("deleteInvite")
def delete_invite(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Take a user out of a team."""
    db = database(info)
    context(info).user()
    team = entities.require_entity(db, asked.get("entity_name") or "")
    entities.leave(db, team, ids.decode(asked.get("id") or "", "User"))
    return _DONE
