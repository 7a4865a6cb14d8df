"""Users, entities, organizations, and what the server says of itself."""

from __future__ import annotations

from typing import Any

from ariadne import MutationType, ObjectType, QueryType

from syncd.sandbox import ids
from syncd.sandbox.context import Info, context, database
from syncd.sandbox.resolvers.features import ENABLED
from syncd.sandbox.state import collections, entities, memberships, projects
from syncd.sandbox.state.paging import Clause, Connection, Window, whole
from syncd.sandbox.state.records import (
    Collection,
    Entity,
    Member,
    Membership,
    Organization,
    Project,
    User,
)

query = QueryType()
mutation = MutationType()
user = ObjectType("User")
entity = ObjectType("Entity")
organization = ObjectType("Organization")
member = ObjectType("Member")

BINDABLES = [query, mutation, user, entity, organization, member]


@query.field("serverInfo")
def server_info(_: object, _info: Info) -> dict[str, Any]:
    """The features the SDK asks about."""
    return {"features": [{"name": name, "is_enabled": True} for name in ENABLED]}


@query.field("viewer")
def viewer(_: object, info: Info) -> User | None:
    """Who asks."""
    return context(info).viewer


@query.field("users")
def users(_: object, info: Info, query: str | None = None) -> Connection[User]:
    """Users by exact name or address."""
    return whole(entities.search_users(database(info), query))


@query.field("entity")
def entity_by_name(_: object, info: Info, name: str | None = None) -> Entity | None:
    """An entity; without a name the asker's default one."""
    wanted = name or context(info).user().default_entity
    return entities.entity_by_name(database(info), wanted)


@query.field("organization")
def organization_by_name(_: object, info: Info, name: str) -> Organization | None:
    """An organization."""
    return entities.organization_by_name(database(info), name)


@mutation.field("updateUser")
def update_user(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Change the asker's default entity."""
    who = context(info).user()
    if wanted := asked.get("default_entity"):
        entities.set_default_entity(database(info), who, wanted)
    return {"user": entities.user(database(info), who.id)}


@user.field("id")
def user_id(found: User, _info: Info) -> str:
    """The global id."""
    return ids.encode("User", found.id)


@user.field("username")
def user_username(found: User, _info: Info) -> str:
    """The name again."""
    return found.name


@user.field("entity")
def user_entity(found: User, _info: Info) -> str:
    """The default entity."""
    return found.default_entity


@user.field("teams")
def user_teams(found: User, info: Info) -> Connection[Entity]:
    """Where the user can work."""
    return whole(entities.teams_of(database(info), found))


@user.field("apiKeys")
def user_api_keys(found: User, info: Info) -> Connection[dict[str, Any]]:
    """The user's own key; nobody sees another's."""
    asker = context(info).viewer
    if asker is None or asker.id != found.id:
        return whole([])
    key = {"id": ids.encode("ApiKey", found.id), "name": found.api_key, "description": None}
    return whole([key])


@user.field("organizations")
def user_organizations(found: User, info: Info) -> list[Organization]:
    """The organizations the user belongs to."""
    return entities.organizations_of(database(info), found)


@entity.field("id")
def entity_id(found: Entity, _info: Info) -> str:
    """The global id."""
    return ids.encode("Entity", found.id)


@entity.field("entityType")
def entity_type(found: Entity, _info: Info) -> str:
    """User, team or organization."""
    return found.kind


@entity.field("isTeam")
def entity_is_team(found: Entity, _info: Info) -> bool:
    """Whether it is a team."""
    return found.kind == "team"


@entity.field("available")
def entity_available(_: Entity, _info: Info) -> bool:
    """Whether the name is still free; this one is taken."""
    return False


@entity.field("readOnly")
def entity_read_only(_: Entity, _info: Info) -> bool:
    """Whether the asker may only read."""
    return False


@entity.field("xxhashDigestsEnabled")
def entity_xxhash(_: Entity, _info: Info) -> bool:
    """Whether versions may be digested with XXH128."""
    return True


@entity.field("organization")
def entity_organization(found: Entity, info: Info) -> Organization | None:
    """The organization it belongs to."""
    return entities.organization(database(info), found.organization_id)


@entity.field("user")
def entity_user(found: Entity, info: Info) -> User | None:
    """Whose personal entity it is."""
    return None if found.user_id is None else entities.user(database(info), found.user_id)


@entity.field("members")
def entity_members(found: Entity, info: Info) -> list[Member]:
    """Who belongs to it."""
    return entities.members(database(info), found)


@entity.field("project")
def entity_project(found: Entity, info: Info, name: str | None = None) -> Project | None:
    """One of its projects."""
    return projects.by_name(database(info), found.name, name or "")


@entity.field("projects")
def entity_projects(
    found: Entity,
    info: Info,
    filters: str | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Project]:
    """Its projects; an organization's are its registries."""
    return projects.listing(
        database(info), found, filter_text=filters, order=order, window=Window(**window)
    )


def _of_entity(found: Entity) -> Clause:
    return Clause("p.entity_id = ?", (found.id,))


@entity.field("artifactCollections")
def entity_collections(
    found: Entity,
    info: Info,
    *,
    project_filters: str | None = None,
    filters: str | None = None,
    collection_types: list[str] | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Collection]:
    """Collections in all its projects."""
    where = [_of_entity(found), *projects.condition(project_filters)]
    if collection_types:
        marks = ", ".join("?" * len(collection_types))
        where.append(Clause(f"c.kind IN ({marks})", tuple(collection_types)))
    return collections.listing(
        database(info), where, filter_text=filters, order=order, window=Window(**window)
    )


@entity.field("artifactMemberships")
def entity_memberships(
    found: Entity,
    info: Info,
    *,
    project_filters: str | None = None,
    collection_filters: str | None = None,
    filters: str | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Membership]:
    """Versions in all its projects."""
    where = [
        _of_entity(found),
        *projects.condition(project_filters),
        *collections.condition(collection_filters),
    ]
    return memberships.listing(
        database(info), where, filter_text=filters, order=order, window=Window(**window)
    )


@organization.field("id")
def organization_id(found: Organization, _info: Info) -> str:
    """The global id."""
    return ids.encode("Organization", found.id)


@organization.field("orgEntity")
def organization_entity(found: Organization, info: Info) -> Entity:
    """The entity that owns its registries."""
    return entities.entity(database(info), found.entity_id)


@organization.field("advancedRegistryFeatures")
def organization_features(_: Organization, _info: Info) -> dict[str, bool]:
    """Only basic names are understood in registry filters."""
    return {"advanced_search": False}


@organization.field("featureFlags")
def organization_flags(_: Organization, _info: Info, **_args: str) -> list[dict[str, Any]]:
    """The one ramp that has to be named to be on."""
    return [{"ramp_key": "automation_entity_scope", "is_enabled": True}]


@organization.field("coreWeaveOrganizationId")
def organization_core_weave(_: Organization, _info: Info) -> None:
    """There is none."""


@member.field("id")
def member_id(found: Member, _info: Info) -> str:
    """The user's global id."""
    return ids.encode("User", found.user_id)


@member.field("username")
def member_username(found: Member, _info: Info) -> str:
    """The name again."""
    return found.name


@member.field("admin")
def member_admin(found: Member, _info: Info) -> bool:
    """Whether the member administers the entity."""
    return found.role == "admin"


@member.field("accountType")
def member_account_type(_: Member, _info: Info) -> str:
    """A person; there are no service accounts here."""
    return "USER"


@member.field("pending")
def member_pending(_: Member, _info: Info) -> bool:
    """Members have always accepted."""
    return False
