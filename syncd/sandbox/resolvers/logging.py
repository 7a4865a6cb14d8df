"""Mutations on versions: logging, editing, aliases, links, use, deletion."""

from __future__ import annotations

from typing import Any

from ariadne import MutationType

from syncd.sandbox import blobs, commit, ids, links
from syncd.sandbox.context import Info, backend, context, database
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.resolvers.files import File
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
from syncd.sandbox.state.paging import whole
from syncd.sandbox.state.records import Artifact, Membership, Run

mutation = MutationType()

BINDABLES = [mutation]

_REGIONS = {"default", "minio-local"}


def _artifact(info: Info, value: str) -> Artifact:
    context(info).user()
    return versions.living(database(info), ids.decode(value, "Artifact"))


def _run(info: Info, asked: dict[str, Any]) -> Run:
    project = projects.require(database(info), asked["entity_name"], asked["project_name"])
    return runs.require(database(info), project, asked["run_name"])


def _tags(given: list[dict[str, Any]] | None) -> list[str]:
    return [tag["tag_name"] for tag in given or []]


def _collection_name(asked: dict[str, Any]) -> str:
    names = [asked.get("artifact_collection_name"), *(asked.get("artifact_collection_names") or [])]
    given = [name for name in names if name]
    if len(given) != 1:
        raise SandboxError("exactly one artifact collection has to be named")
    return str(given[0])


@mutation.field("createArtifact")
def create_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Begin a version, or find the committed one with the same content."""
    db, who = database(info), context(info).user()
    region = asked.get("storage_region")
    if region and region not in _REGIONS:
        raise SandboxError(f"unknown storage region: {region!r}")
    owner = entities.require_entity(db, asked["entity_name"])
    project = projects.put(db, who, owner, asked["project_name"])
    run = runs.require(db, project, asked["run_name"]) if asked.get("run_name") else None
    name, algorithm = _collection_name(asked), asked.get("digest_algorithm")
    sequence = collections.put(
        db,
        project,
        name,
        kind=collections.SEQUENCE,
        type_name=asked["artifact_type_name"],
        algorithm=algorithm,
    )
    draft = versions.Draft(
        digest=asked["digest"],
        digest_algorithm=algorithm,
        aliases=[alias["alias"] for alias in asked.get("aliases") or []],
        description=asked.get("description"),
        metadata=asked.get("metadata"),
        ttl_seconds=asked.get("ttl_duration_seconds"),
        history_step=asked.get("history_step"),
        distributed_id=asked.get("distributed_id"),
    )
    found = versions.shared_draft(db, sequence, draft.distributed_id)
    if found is None and asked.get("enable_digest_deduplication"):
        found = versions.same_content(db, sequence, draft.digest)
        if found is not None:
            memberships.give(db, memberships.require(db, sequence, found), draft.aliases)
    if found is None:
        found = versions.create(db, sequence, who, run, draft)
        tags.add_to_artifact(db, found, _tags(asked.get("tags")))
    if run is not None:
        lineage.add_output(db, run, found)
    if client_id := asked.get("client_id"):
        versions.remember_client(db, client_id, found)
    if client_id := asked.get("sequence_client_id"):
        versions.remember_sequence(db, client_id, sequence)
    return {"artifact": found}


def _base(info: Info, asked: dict[str, Any]) -> Artifact | None:
    value = asked.get("base_artifact_id")
    return _artifact(info, value) if value else None


@mutation.field("createArtifactManifest")
def create_manifest(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Announce a manifest, or where it goes once its digest is known."""
    found = _artifact(info, asked["artifact_id"])
    if found.state != versions.PENDING:
        raise SandboxError("the artifact version is already committed")
    kind = asked.get("type") or "FULL"
    base, digest = _base(info, asked), asked["digest"]
    manifest = manifests.put(database(info), found, asked["name"], kind, digest=digest, base=base)
    return {"artifact_manifest": manifest}


@mutation.field("updateArtifactManifest")
def update_manifest(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Say the digest of an announced manifest."""
    db = database(info)
    context(info).user()
    found = manifests.get(db, ids.decode(asked["artifact_manifest_id"], "ArtifactManifest"))
    changed = manifests.change(db, found, digest=asked.get("digest"), base=_base(info, asked))
    return {"artifact_manifest": changed}


@mutation.field("createArtifactFiles")
def create_files(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Where files go, in the order asked; nowhere for those whose bytes are here already."""
    parts = backend(info)
    specs: dict[str, list[dict[str, Any]]] = {}
    for spec in asked["artifact_files"]:
        specs.setdefault(spec["artifact_id"], []).append(spec)
    owners = {value: _artifact(info, value) for value in specs}
    for value, group in specs.items():
        if owners[value].state != versions.PENDING:
            raise SandboxError("the artifact version is already committed")
        uploads = [
            manifests.Upload(s["name"], s.get("digest") or s["md5"], s["md5"]) for s in group
        ]
        blobs_of = [blobs.hex_digest(upload.md5) for upload in uploads]
        manifests.announce(parts.db, owners[value], uploads, blobs_of)

    def target(spec: dict[str, Any]) -> File:
        owner, name, blob = owners[spec["artifact_id"]], spec["name"], blobs.hex_digest(spec["md5"])
        here = parts.blobs.file(blob).exists()
        return File(
            id=ids.encode("ArtifactUpload", owner.id),
            name=name,
            put=None if here else lambda: parts.urls.file("PUT", owner.id, blob, name),
            upload_headers=(f"Content-MD5:{spec['md5']}",),
            storage_path=f"wandb_artifacts/{owner.id}/{blob}",
            md5=spec["md5"],
            artifact=owner,
        )

    return {"files": whole([target(spec) for spec in asked["artifact_files"]])}


@mutation.field("commitArtifact")
def commit_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Make a version of what was uploaded."""
    found = _artifact(info, asked["artifact_id"])
    return {"artifact": commit.commit(backend(info), found)}


@mutation.field("updateArtifact")
def update_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Edit what is said about a version."""
    db, found = database(info), _artifact(info, asked["artifact_id"])
    changed = versions.change(
        db,
        found,
        description=asked.get("description"),
        metadata=asked.get("metadata"),
        ttl_seconds=asked.get("ttl_duration_seconds"),
    )
    tags.add_to_artifact(db, found, _tags(asked.get("tags_to_add")))
    tags.drop_from_artifact(db, found, _tags(asked.get("tags_to_delete")))
    return {"artifact": changed}


@mutation.field("deleteArtifact")
def delete_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete a version."""
    found = _artifact(info, asked["artifact_id"])
    commit.delete(backend(info), found, with_aliases=bool(asked.get("delete_aliases")))
    return {"artifact": versions.get(database(info), found.id)}


@mutation.field("useArtifact")
def use_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Note that a run uses a version."""
    found = _artifact(info, asked["artifact_id"])
    lineage.add_input(database(info), _run(info, asked), found, asked.get("used_as"))
    return {"artifact": found}


def _aliases(info: Info, asked: dict[str, Any]) -> list[tuple[Membership, str]]:
    db, found = database(info), _artifact(info, asked["artifact_id"])
    pairs = []
    for given in asked["aliases"]:
        collection = collections.by_path(
            db, given["entity_name"], given["project_name"], given["artifact_collection_name"]
        )
        pairs.append((memberships.require(db, collection, found), given["alias"]))
    return pairs


@mutation.field("addAliases")
def add_aliases(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Give aliases to a version, away from any other of its collection."""
    for membership, alias in _aliases(info, asked):
        memberships.give(database(info), membership, [alias])
    return {"success": True}


@mutation.field("deleteAliases")
def delete_aliases(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Take aliases off a version."""
    for membership, alias in _aliases(info, asked):
        memberships.take(database(info), membership, [alias])
    return {"success": True}


@mutation.field("linkArtifact")
def link_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Put a version into a portfolio."""
    db, who = database(info), context(info).user()
    if asked.get("artifact_id"):
        found = _artifact(info, asked["artifact_id"])
    else:
        target = versions.client_target(db, asked.get("client_id") or "")
        if target is None or target[0] != "Artifact":
            raise SandboxError("no artifact version to link")
        found = versions.living(db, target[1])
    if row := asked.get("artifact_portfolio_id"):
        wanted = ids.decode(row, "ArtifactCollection", "ArtifactPortfolio")
        portfolio = collections.living(db, wanted, collections.PORTFOLIO)
    else:
        portfolio = links.portfolio(
            db,
            who,
            found,
            entity_name=asked.get("entity_name"),
            project_name=asked.get("project_name"),
            name=asked.get("artifact_portfolio_name"),
        )
    names = [alias["alias"] for alias in asked.get("aliases") or []]
    membership = links.link(db, found, portfolio, names)
    return {"version_index": membership.version_index, "artifact_membership": membership}


@mutation.field("unlinkArtifact")
def unlink_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Take a version out of a portfolio."""
    db, found = database(info), _artifact(info, asked["artifact_id"])
    row = ids.decode(asked["artifact_portfolio_id"], "ArtifactCollection", "ArtifactPortfolio")
    portfolio = collections.living(db, row, collections.PORTFOLIO)
    memberships.remove(db, memberships.require(db, portfolio, found))
    return {"success": True}
