"""Artifact versions as they are read: fields, aliases, files, lineage."""

from __future__ import annotations

from typing import Any

from ariadne import ObjectType, QueryType, UnionType

from syncd.sandbox import ids
from syncd.sandbox.context import Info, backend, database
from syncd.sandbox.resolvers.files import File, of_entry, of_manifest
from syncd.sandbox.state import (
    collections,
    entities,
    lineage,
    manifests,
    memberships,
    projects,
    runs,
    tags,
    versions,
)
from syncd.sandbox.state.paging import Connection, whole
from syncd.sandbox.state.records import (
    Alias,
    Artifact,
    ArtifactType,
    Collection,
    Manifest,
    Membership,
    Run,
    Tag,
    User,
)

query = QueryType()
artifact = ObjectType("Artifact")
edge = ObjectType("ArtifactEdge")
alias = ObjectType("ArtifactAlias")
tag = ObjectType("Tag")
manifest = ObjectType("ArtifactManifest")
creator = UnionType("ArtifactCreator")

BINDABLES = [query, artifact, edge, alias, tag, manifest, creator]


@query.field("artifact")
def artifact_by_id(_: object, info: Info, value: str) -> Artifact | None:
    """A version by its global id; a deleted one is gone."""
    found = versions.get(database(info), ids.decode(value, "Artifact"))
    return None if found.state == versions.DELETED else found


@query.field("clientIDMapping")
def client_id_mapping(_: object, info: Info, client_id: str) -> dict[str, str] | None:
    """The server's id behind a client's own."""
    target = versions.client_target(database(info), client_id)
    return None if target is None else {"server_id": ids.encode(*target)}


@artifact.field("id")
def artifact_id(found: Artifact, _info: Info) -> str:
    """The global id."""
    return ids.encode("Artifact", found.id)


@artifact.field("artifactSequence")
def artifact_sequence(found: Artifact, info: Info) -> Collection:
    """The collection it was logged to."""
    return collections.get(database(info), found.sequence_id)


@artifact.field("artifactType")
def artifact_type(found: Artifact, info: Info) -> ArtifactType:
    """The type of its collection."""
    sequence = collections.get(database(info), found.sequence_id)
    return projects.artifact_type(database(info), sequence.type_id)


@artifact.field("ttlDurationSeconds")
def artifact_ttl(found: Artifact, info: Info) -> int:
    """Seconds to live."""
    return versions.ttl(database(info), found)[0]


@artifact.field("ttlIsInherited")
def artifact_ttl_inherited(found: Artifact, info: Info) -> bool:
    """Whether the time to live is not its own."""
    return versions.ttl(database(info), found)[1]


@artifact.field("tags")
def artifact_tags(found: Artifact, info: Info) -> list[Tag]:
    """Its tags, the same through every link."""
    return tags.of_artifact(database(info), found)


@artifact.field("aliases")
def artifact_aliases(found: Artifact, info: Info) -> list[Alias]:
    """Its aliases in all collections; each says in which."""
    return memberships.aliases_everywhere(database(info), found)


@artifact.field("createdBy")
def artifact_created_by(found: Artifact, info: Info) -> Run | User:
    """The run that logged it first, or the user."""
    if found.run_id is None:
        return entities.user(database(info), found.user_id)
    return runs.get(database(info), found.run_id)


@creator.type_resolver
def creator_type(found: Run | User, *_: object) -> str:
    """The name of what created a version."""
    return "Run" if isinstance(found, Run) else "User"


@artifact.field("usedBy")
def artifact_used_by(found: Artifact, info: Info) -> Connection[Run]:
    """Runs that used it."""
    return whole(lineage.users(database(info), found))


@artifact.field("currentManifest")
def artifact_manifest(found: Artifact, info: Info) -> Manifest | None:
    """Its manifest, once committed."""
    if found.state != versions.COMMITTED:
        return None
    return manifests.of_artifact(database(info), found)[-1]


@artifact.field("artifactMemberships")
def artifact_memberships(found: Artifact, info: Info) -> Connection[Membership]:
    """Its own sequence and every portfolio it is linked to."""
    return whole(memberships.of_artifact(database(info), found))


@artifact.field("filesByManifestEntries")
def artifact_files(
    found: Artifact,
    info: Info,
    entries: list[dict[str, Any]] | None = None,
    **_layout: Any,
) -> Connection[File]:
    """The files of some entries."""
    parts = backend(info)
    wanted = manifests.entries_named(parts.db, found, [entry["name"] for entry in entries or []])
    return whole([of_entry(parts, entry) for entry in wanted])


@edge.field("version")
def edge_version(found: Any, _info: Info) -> str | None:
    """The version's name in its own sequence."""
    index = found.node.version_index
    return None if index is None else f"v{index}"


@alias.field("id")
def alias_id(found: Alias, _info: Info) -> str:
    """The global id."""
    return ids.encode("ArtifactAlias", found.id)


@alias.field("artifactCollection")
def alias_collection(found: Alias, info: Info) -> Collection:
    """Where the alias holds."""
    return collections.get(database(info), found.collection_id)


@tag.field("id")
def tag_id(found: Tag, _info: Info) -> str:
    """The global id."""
    return ids.encode("Tag", found.id)


@manifest.field("id")
def manifest_id(found: Manifest, _info: Info) -> str:
    """The global id."""
    return ids.encode("ArtifactManifest", found.id)


@manifest.field("file")
def manifest_file(found: Manifest, info: Info) -> File:
    """The file behind it."""
    owner = versions.get(database(info), found.artifact_id)
    return of_manifest(backend(info), found, committed=owner.state == versions.COMMITTED)
