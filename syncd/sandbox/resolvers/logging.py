"""Mutations on versions: logging, editing, aliases, links, use, deletion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ariadne import MutationType

from syncd.sandbox import access, commit, ids, links
from syncd.sandbox.context import Info, backend, context, database, settings
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.resolvers.named import artifact_of, own_of
from syncd.sandbox.state import (
    collections,
    entities,
    lineage,
    memberships,
    projects,
    runs,
    tags,
    versions,
)
from syncd.sandbox.state.records import Artifact, Collection, Membership, Run

mutation = MutationType()

BINDABLES = [mutation]

_REGIONS = {"default", "minio-local"}


def _check_aliases(info: Info, collection: Collection, aliases: Iterable[str]) -> None:
    protected = settings(info).protected_aliases
    access.require_free(database(info), context(info).user(), protected, collection, aliases)


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
    access.require_writer_of(db, who, owner)
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
    _check_aliases(info, sequence, draft.aliases)
    found = versions.shared_draft(db, sequence, draft.distributed_id)
    if found is None and asked.get("enable_digest_deduplication"):
        found = _repeated(info, sequence, draft, _tags(asked.get("tags")))
    if found is None:
        _check_algorithm(info, sequence, algorithm)
        found = versions.create(db, sequence, who, run, draft)
        tags.add_to_artifact(db, found, _tags(asked.get("tags")))
    if run is not None:
        lineage.add_output(db, run, found)
    if client_id := asked.get("client_id"):
        versions.remember_client(db, client_id, found)
    if client_id := asked.get("sequence_client_id"):
        versions.remember_sequence(db, client_id, sequence)
    return {"artifact": found}


def _repeated(
    info: Info, sequence: Collection, draft: versions.Draft, labels: list[str]
) -> Artifact | None:
    """The committed version a draft repeats; it gets the draft's aliases."""
    db, switches = database(info), settings(info)
    found = versions.same_content(db, sequence, draft.digest)
    newest = memberships.newest(db, sequence)
    if found is None or newest is None:
        return None
    if switches.deduplication == "latest" and found.id != newest.artifact_id:
        return None
    memberships.give(db, memberships.require(db, sequence, found), draft.aliases)
    if switches.repeat_updates:
        tags.add_to_artifact(db, found, labels)
        found = versions.change(
            db,
            found,
            description=draft.description,
            metadata=draft.metadata,
            ttl_seconds=draft.ttl_seconds,
        )
    return found


def _check_algorithm(info: Info, sequence: Collection, algorithm: str | None) -> None:
    known = sequence.digest_algorithm
    mixed = known is not None and algorithm is not None and known != algorithm
    if mixed and settings(info).mixed_digests == "refuse":
        raise SandboxError(f"collection {sequence.name!r} has {known} digests, not {algorithm}")


@mutation.field("updateArtifact")
def update_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Edit what is said about a version."""
    db, found = database(info), own_of(info, asked["artifact_id"])
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
    found = own_of(info, asked["artifact_id"])
    db, who = database(info), context(info).user()
    access.require_unprotected(db, who, settings(info).protected_aliases, found)
    commit.delete(backend(info), found, with_aliases=bool(asked.get("delete_aliases")))
    return {"artifact": versions.get(database(info), found.id)}


@mutation.field("useArtifact")
def use_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Note that a run uses a version."""
    found = artifact_of(info, asked["artifact_id"])
    run = _run(info, asked)
    access.require_writer(
        database(info), context(info).user(), projects.get(database(info), run.project_id)
    )
    lineage.add_input(database(info), run, found, asked.get("used_as"))
    return {"artifact": found}


def _aliases(info: Info, asked: dict[str, Any]) -> list[tuple[Membership, str]]:
    db, found = database(info), artifact_of(info, asked["artifact_id"])
    pairs = []
    for given in asked["aliases"]:
        collection = collections.by_path(
            db, given["entity_name"], given["project_name"], given["artifact_collection_name"]
        )
        access.require_writer(db, context(info).user(), projects.get(db, collection.project_id))
        _check_aliases(info, collection, [given["alias"]])
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
    db, rule = database(info), settings(info).latest_removal
    for membership, alias in _aliases(info, asked):
        if alias == memberships.LATEST and rule == "refuse":
            raise SandboxError("the alias 'latest' can be moved, not removed")
        memberships.take(db, membership, [alias])
        if alias == memberships.LATEST and rule == "restore":
            commit.give_latest(db, collections.get(db, membership.collection_id))
    return {"success": True}


@mutation.field("linkArtifact")
def link_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Put a version into a portfolio."""
    db, who = database(info), context(info).user()
    if asked.get("artifact_id"):
        found = artifact_of(info, asked["artifact_id"])
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
    access.require_writer(db, who, projects.get(db, portfolio.project_id))
    names = [alias["alias"] for alias in asked.get("aliases") or []]
    _check_aliases(info, portfolio, names)
    if settings(info).relink == "refuse" and memberships.of(db, portfolio, found) is not None:
        raise SandboxError(f"the artifact version is in {portfolio.name!r} already")
    membership = links.link(db, found, portfolio, names)
    return {"version_index": membership.version_index, "artifact_membership": membership}


@mutation.field("unlinkArtifact")
def unlink_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Take a version out of a portfolio."""
    db, found = database(info), artifact_of(info, asked["artifact_id"])
    row = ids.decode(asked["artifact_portfolio_id"], "ArtifactCollection", "ArtifactPortfolio")
    portfolio = collections.living(db, row, collections.PORTFOLIO)
    access.require_writer(db, context(info).user(), projects.get(db, portfolio.project_id))
    membership = memberships.require(db, portfolio, found)
    _check_aliases(info, portfolio, [a.alias for a in memberships.aliases(db, membership)])
    memberships.remove(db, membership)
    return {"success": True}
