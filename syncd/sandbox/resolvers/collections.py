"""Collections, types and memberships."""

from __future__ import annotations

from typing import Any

from ariadne import InterfaceType, MutationType, ObjectType, QueryType

from syncd.sandbox import access, ids
from syncd.sandbox.commit import delete
from syncd.sandbox.context import Info, backend, context, database, settings
from syncd.sandbox.state import collections, entities, memberships, projects, tags, versions
from syncd.sandbox.state.paging import Connection, Window, whole
from syncd.sandbox.state.records import (
    Alias,
    Artifact,
    ArtifactType,
    Collection,
    Membership,
    Project,
    Tag,
)

query = QueryType()
mutation = MutationType()
collection = InterfaceType("ArtifactCollection")
sequence = ObjectType("ArtifactSequence")
artifact_type = ObjectType("ArtifactType")
membership = ObjectType("ArtifactCollectionMembership")

BINDABLES = [query, mutation, collection, sequence, artifact_type, membership]

_KINDS = {"ArtifactSequence": collections.SEQUENCE, "ArtifactPortfolio": collections.PORTFOLIO}
_TYPES = {kind: name for name, kind in _KINDS.items()}


def _row(value: str) -> int:
    return ids.decode(value, "ArtifactCollection", *_KINDS)


def _own(info: Info, found: Collection) -> Collection:
    """The collection, if the asker may change it."""
    db, who = database(info), context(info).user()
    access.require_writer(db, who, projects.get(db, found.project_id))
    return found


def _living(info: Info, value: str, kind: str) -> Collection:
    return _own(info, collections.living(database(info), _row(value), kind))


@query.field("artifactCollection")
def collection_by_id(_: object, info: Info, value: str) -> Collection | None:
    """A collection by its global id."""
    return collections.get(database(info), _row(value))


@collection.type_resolver
def collection_typename(found: Collection, *_: object) -> str:
    """Sequence or portfolio."""
    return _TYPES[found.kind]


@collection.field("id")
def collection_id(found: Collection, _info: Info) -> str:
    """The global id."""
    return ids.encode("ArtifactCollection", found.id)


@collection.field("project")
def collection_project(found: Collection, info: Info) -> Project | None:
    """Where it is, if the asker may see that."""
    db = database(info)
    project = projects.get(db, found.project_id)
    owner = entities.entity(db, project.entity_id)
    return project if entities.sees(db, context(info).viewer, owner) else None


@collection.field("defaultArtifactType")
def collection_type(found: Collection, info: Info) -> ArtifactType:
    """The type of its versions."""
    return projects.artifact_type(database(info), found.type_id)


@collection.field("tags")
def collection_tags(found: Collection, info: Info) -> Connection[Tag]:
    """Its own tags."""
    return whole(collections.tags(database(info), found))


@collection.field("aliases")
def collection_aliases(found: Collection, info: Info, **window: Any) -> Connection[Alias]:
    """All aliases in it."""
    return memberships.aliases_in(database(info), found, Window(**window))


@collection.field("artifacts")
def collection_artifacts(
    found: Collection,
    info: Info,
    filters: str | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Artifact]:
    """Its committed versions."""
    return memberships.versions(
        database(info),
        found,
        filter_text=filters,
        order=order,
        newest_first=settings(info).version_order == "newest",
        window=Window(**window),
    )


@collection.field("artifactMembership")
def collection_membership(found: Collection, info: Info, alias_name: str) -> Membership | None:
    """The version an alias or a version name points at."""
    return memberships.find(database(info), found, alias_name)


@sequence.field("latestArtifact")
def sequence_latest(found: Collection, info: Info) -> Artifact | None:
    """The newest committed version, whatever its aliases."""
    return collections.latest(database(info), found)


@artifact_type.field("id")
def type_id(found: ArtifactType, _info: Info) -> str:
    """The global id."""
    return ids.encode("ArtifactType", found.id)


@artifact_type.field("artifactCollection")
def type_collection(found: ArtifactType, info: Info, name: str) -> Collection | None:
    """A collection of this type."""
    project = projects.get(database(info), found.project_id)
    known = collections.by_name(database(info), project, name)
    return known if known is not None and known.type_id == found.id else None


@artifact_type.field("artifactCollections")
def type_collections(
    found: ArtifactType,
    info: Info,
    filters: str | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Collection]:
    """Collections of this type."""
    return collections.listing(
        database(info),
        [collections.of_type(found)],
        filter_text=filters,
        order=order,
        window=Window(**window),
    )


@membership.field("id")
def membership_id(found: Membership, _info: Info) -> str:
    """The global id."""
    return ids.encode("ArtifactCollectionMembership", found.id)


@membership.field("aliases")
def membership_aliases(found: Membership, info: Info) -> list[Alias]:
    """The version's aliases in this collection only."""
    return memberships.aliases(database(info), found)


@membership.field("artifactCollection")
def membership_collection(found: Membership, info: Info) -> Collection:
    """The collection."""
    return collections.get(database(info), found.collection_id)


@membership.field("artifact")
def membership_artifact(found: Membership, info: Info) -> Artifact:
    """The version."""
    return versions.get(database(info), found.artifact_id)


def _payload(found: Collection) -> dict[str, Any]:
    return {"artifact_collection": found}


@mutation.field("deleteArtifactSequence")
def delete_sequence(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete a sequence and all its versions."""
    db, who = database(info), context(info).user()
    found = _living(info, asked["artifact_sequence_id"], collections.SEQUENCE)
    for item in memberships.versions(db, found, window=Window(first=1_000_000)).edges:
        access.require_unprotected(db, who, settings(info).protected_aliases, item.node)
        delete(backend(info), item.node, with_aliases=True)
    return _payload(collections.mark_deleted(db, found))


@mutation.field("deleteArtifactPortfolio")
def delete_portfolio(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete a portfolio; the linked versions stay."""
    found = _living(info, asked["artifact_portfolio_id"], collections.PORTFOLIO)
    return _payload(collections.mark_deleted(database(info), found))


@mutation.field("updateArtifactSequence")
@mutation.field("updateArtifactPortfolio")
def update_collection(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Rename or describe a collection."""
    kind = collections.SEQUENCE if "artifact_sequence_id" in asked else collections.PORTFOLIO
    value = asked.get("artifact_sequence_id") or asked["artifact_portfolio_id"]
    found = _living(info, value, kind)
    name, description = asked.get("name"), asked.get("description")
    return _payload(collections.change(database(info), found, name, description))


@mutation.field("moveArtifactSequence")
def move_sequence(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Change the type of a sequence and its versions."""
    found = _living(info, asked["artifact_sequence_id"], collections.SEQUENCE)
    target = asked["destination_artifact_type_name"]
    return _payload(collections.move(database(info), found, target))


def _named(info: Info, asked: dict[str, Any]) -> Collection:
    found = collections.by_path(
        database(info),
        asked["entity_name"],
        asked["project_name"],
        asked["artifact_collection_name"],
    )
    return _own(info, found)


@mutation.field("createArtifactCollectionTagAssignments")
def add_tags(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Label a collection."""
    names = [tag["tag_name"] for tag in asked["tags"]]
    return {"tags": tags.add_to_collection(database(info), _named(info, asked), names)}


@mutation.field("deleteArtifactCollectionTagAssignments")
def drop_tags(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Take labels off a collection."""
    names = [tag["tag_name"] for tag in asked["tags"]]
    tags.drop_from_collection(database(info), _named(info, asked), names)
    return {"success": True}
