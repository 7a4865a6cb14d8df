"""Who may change what: projects of a team or registry, and aliases that are protected there.

A server admin may do everything. A personal entity is its user's. In a team, viewers only read. A registry is open to
whoever has a role in it, himself or through a team, and otherwise to the members of its organization.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state import collections, entities, memberships, projects
from syncd.sandbox.state.database import Database
from syncd.sandbox.state.records import Artifact, Collection, Entity, Project, User

_WRITERS = {"admin", "member"}


def _role(db: Database, who: User, owner: Entity) -> str | None:
    if owner.kind == "user":
        return "admin" if owner.user_id == who.id else None
    sql = "SELECT role FROM members WHERE entity_id = ? AND user_id = ?"
    role: str | None = db.value(sql, (owner.id, who.id))
    return role


def _roles(db: Database, who: User, project: Project) -> set[str]:
    """The roles a user has in a project: those given there, or else that in its entity."""
    sql = """
        SELECT role FROM project_members m WHERE m.project_id = :project AND (
            (m.kind = 'User' AND m.member_id = :user)
            OR (m.kind = 'Entity' AND m.member_id IN (SELECT entity_id FROM members WHERE user_id = :user)))
    """
    given = {row[0] for row in db.rows(sql, {"project": project.id, "user": who.id})}
    role = _role(db, who, entities.entity(db, project.entity_id))
    if role == "admin" or not given:
        given.add(role or "")
    return given


def can_write_to(db: Database, who: User | None, owner: Entity) -> bool:
    """Whether a user may make and change projects of an entity."""
    return who is not None and (bool(who.admin) or _role(db, who, owner) in _WRITERS)


def can_write(db: Database, who: User | None, project: Project) -> bool:
    """Whether a user may change a project."""
    return who is not None and (
        bool(who.admin) or not _WRITERS.isdisjoint(_roles(db, who, project))
    )


def _denied(what: str) -> SandboxError:
    return SandboxError(f"permission denied: {what}", status=HTTPStatus.FORBIDDEN)


def require_writer_of(db: Database, who: User, owner: Entity) -> None:
    """Refuse a user who may not make projects in an entity."""
    if not can_write_to(db, who, owner):
        raise _denied(f"{who.name!r} cannot write to {owner.name!r}")


def require_writer(db: Database, who: User, project: Project) -> None:
    """Refuse a user who may not change a project."""
    if not can_write(db, who, project):
        raise _denied(f"{who.name!r} cannot write to project {project.name!r}")


def require_owner(db: Database, who: User, artifact: Artifact) -> None:
    """Refuse a user who may not change a version where it was logged."""
    sequence = collections.get(db, artifact.sequence_id)
    require_writer(db, who, projects.get(db, sequence.project_id))


def require_free(
    db: Database,
    who: User,
    protected: Mapping[str, Sequence[str]],
    collection: Collection,
    aliases: Iterable[str],
) -> None:
    """Refuse protected aliases to all but a project's admins."""
    project = projects.get(db, collection.project_id)
    owner = entities.entity(db, project.entity_id)
    closed = set(protected.get(f"{owner.name}/{project.name}", ())) & set(aliases)
    if closed and not who.admin and "admin" not in _roles(db, who, project):
        raise _denied(f"alias {min(closed)!r} is protected in {project.name!r}")


def require_unprotected(
    db: Database, who: User, protected: Mapping[str, Sequence[str]], artifact: Artifact
) -> None:
    """Refuse to touch a version that carries a protected alias anywhere."""
    for membership in memberships.of_artifact(db, artifact):
        names = [alias.alias for alias in memberships.aliases(db, membership)]
        collection = collections.get(db, membership.collection_id)
        require_free(db, who, protected, collection, names)
