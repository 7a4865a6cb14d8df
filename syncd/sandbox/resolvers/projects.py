"""Projects and registries, and the ways from a project to its runs and artifacts."""

from __future__ import annotations

from typing import Any

from ariadne import MutationType, ObjectType, QueryType

from syncd.sandbox import access, ids
from syncd.sandbox.context import Info, context, database, settings
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state import (
    collections,
    entities,
    members,
    memberships,
    projects,
    runs,
    versions,
)
from syncd.sandbox.state.paging import Connection, Window
from syncd.sandbox.state.records import (
    Artifact,
    ArtifactType,
    Collection,
    Entity,
    Membership,
    Project,
    Run,
    User,
)

query = QueryType()
mutation = MutationType()
project = ObjectType("Project")

BINDABLES = [query, mutation, project]


@query.field("project")
@query.field("model")
def project_by_name(
    _: object, info: Info, name: str | None = None, entity_name: str | None = None
) -> Project | None:
    """A project the asker may see; without an entity the asker's default one is meant."""
    db, asker = database(info), context(info).viewer
    owner = entity_name or context(info).user().default_entity
    found = projects.by_name(db, owner, name or projects.DEFAULT_PROJECT)
    if found is None or not entities.sees(db, asker, entities.entity(db, found.entity_id)):
        return None
    return found


@query.field("models")
def models(
    _: object,
    info: Info,
    entity_name: str | None = None,
    **window: Any,
) -> Connection[Project]:
    """Projects of an entity."""
    db = database(info)
    owner = entities.require_entity(db, entity_name or context(info).user().default_entity)
    return projects.listing(db, owner, window=Window(**window))


@mutation.field("upsertModel")
def upsert_model(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Make or change a project or registry."""
    db, who = database(info), context(info).user()
    owner = entities.require_entity(db, asked.get("entity_name") or who.default_entity)
    name = asked.get("name") or ""
    if owner.kind == "organization" and not projects.is_registry(name):
        raise SandboxError(f"an organization owns registries only, not {name!r}")
    known = projects.by_name(db, owner.name, name)
    description, access = asked.get("description"), asked.get("access")
    any_type = asked.get("allow_all_artifact_types_in_registry")
    if known is None:
        found = projects.create(
            db,
            who,
            owner,
            name,
            description=description,
            access=access,
            any_type=any_type is None or any_type,
        )
        if projects.is_registry(name):
            members.put(db, found, members.USER, who.id, "admin")
    else:
        found = projects.change(
            db, known, description=description, access=access, any_type=any_type
        )
    projects.add_types(db, found, [kind["name"] for kind in asked.get("artifact_types") or []])
    return {"project": found, "model": found, "inserted": known is None}


@project.field("id")
def project_id(found: Project, _info: Info) -> str:
    """The global id."""
    return ids.encode("Project", found.id)


@project.field("internalId")
def project_internal_id(found: Project, _info: Info) -> str:
    """The id whose number goes into registry filters."""
    return ids.encode("ProjectInternalId", found.id)


@project.field("entity")
def project_entity(found: Project, info: Info) -> Entity:
    """The owner."""
    return entities.entity(database(info), found.entity_id)


@project.field("entityName")
def project_entity_name(found: Project, info: Info) -> str:
    """The owner's name."""
    return entities.entity(database(info), found.entity_id).name


@project.field("user")
def project_user(found: Project, info: Info) -> User:
    """Who made it."""
    return entities.user(database(info), found.user_id)


@project.field("readOnly")
def project_read_only(found: Project, info: Info) -> bool:
    """Whether the asker may only read."""
    return not access.can_write(database(info), context(info).viewer, found)


@project.field("isBenchmark")
def project_is_benchmark(_: Project, _info: Info) -> bool:
    """No project is one here."""
    return False


@project.field("views")
def project_views(_: Project, _info: Info) -> str:
    """No saved views."""
    return "{}"


@project.field("allowAllArtifactTypesInRegistry")
def project_any_type(found: Project, _info: Info) -> bool:
    """Whether versions of any type may be linked."""
    return bool(found.any_type)


@project.field("run")
def project_run(found: Project, info: Info, name: str) -> Run | None:
    """One of its runs."""
    return runs.by_name(database(info), found, name)


@project.field("bucket")
def project_bucket(
    found: Project, info: Info, name: str, missing_ok: bool | None = None
) -> Run | None:
    """One of its runs, asked for by a client about to resume it."""
    run = runs.by_name(database(info), found, name)
    if run is None and not missing_ok:
        raise SandboxError(f"run {name!r} not found")
    return run


@project.field("runCount")
def project_run_count(found: Project, info: Info, filters: str | None = None) -> int:
    """How many runs a filter leaves."""
    return runs.count(database(info), found, filters)


@project.field("runs")
def project_runs(
    found: Project,
    info: Info,
    filters: str | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Run]:
    """Its runs."""
    return runs.listing(
        database(info), found, filter_text=filters, order=order, window=Window(**window)
    )


def _find(info: Info, found: Project, name: str) -> Membership | None:
    if ":" not in name and settings(info).bare_name == "nothing":
        return None
    return memberships.find_by_name(database(info), found, name)


@project.field("artifact")
def project_artifact(found: Project, info: Info, name: str) -> Artifact | None:
    """The version of `collection:version`."""
    membership = _find(info, found, name)
    return None if membership is None else versions.get(database(info), membership.artifact_id)


@project.field("artifactType")
def project_artifact_type(found: Project, info: Info, name: str) -> ArtifactType | None:
    """One of its types."""
    return projects.type_by_name(database(info), found, name)


@project.field("artifactTypes")
def project_artifact_types(
    found: Project,
    info: Info,
    include_all: bool | None = None,  # noqa: ARG001  all types are always told
    **window: Any,
) -> Connection[ArtifactType]:
    """Its types."""
    return projects.types(database(info), found, Window(**window))


@project.field("artifactCollection")
def project_collection(found: Project, info: Info, name: str) -> Collection | None:
    """One of its collections."""
    return collections.by_name(database(info), found, name)


@project.field("artifactCollections")
def project_collections(
    found: Project,
    info: Info,
    filters: str | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Collection]:
    """Its collections of all types."""
    return collections.listing(
        database(info),
        [collections.in_project(found)],
        filter_text=filters,
        order=order,
        window=Window(**window),
    )


@project.field("artifactCollectionMembership")
def project_membership(found: Project, info: Info, name: str) -> Membership | None:
    """The version of `collection:version` as a member of that collection."""
    return _find(info, found, name)
