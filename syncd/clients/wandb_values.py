"""What W&B's GraphQL answers mean, as the values of `clients.protocols`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from syncd.clients.artifacts import TTL_INHERIT, TTL_OFF, Collection, Membership, Version
from syncd.errors import NotFoundError
from syncd.refs import ArtifactRef, RunRef

Json = dict[str, Any]


def config_values(config: str | None) -> Json:
    """A run's config as plain `key -> value`, from the JSON text that W&B keeps."""
    document = json.loads(config or "{}")
    return {
        key: item["value"] if isinstance(item, dict) and "value" in item else item
        for key, item in document.items()
    }


def run_ref(node: Json) -> RunRef:
    """A run's name, from its node with project and entity."""
    project = node["project"]
    return RunRef(entity=project["entity"]["name"], project=project["name"], run_id=node["name"])


def collection_of(entity: str, project: str, node: Json) -> Collection:
    """Read a node of `wandb_graphql.COLLECTIONS_WITH_NEWEST`."""
    versions = (edge["node"] for edge in node["artifacts"]["edges"])
    aliases = node["aliases"]
    found = Collection(
        id=node["id"],
        entity=entity,
        project=project,
        name=node["name"],
        type=node["type"]["name"],
        newest=tuple(
            (version["id"], tuple(sorted(item["alias"] for item in version["aliases"] or [])))
            for version in versions
        ),
        crowded=bool(aliases["pageInfo"]["hasNextPage"]),
    )
    names = {edge["node"]["alias"] for edge in aliases["edges"] if edge["node"]}
    return replace(found, elsewhere=tuple(sorted(names - found.shown)))


def is_visible(node: Json) -> bool:
    """Whether an API key sees a version's collection; a run may have used one of another team's."""
    sequence = node["artifactSequence"]
    return bool(sequence and sequence["project"] and node["versionIndex"] is not None)


def version_of(node: Json) -> Version:
    """Read the fields of `wandb_graphql._VERSION`.

    Raises:
        NotFoundError: when its collection is not visible.
    """
    sequence = node["artifactSequence"]
    if not is_visible(node):
        raise NotFoundError(f"artifact {node['id']}: its collection is not visible to this API key")
    project, entity = sequence["project"]["name"], sequence["project"]["entity"]["name"]
    creator = node["createdBy"] or {}
    is_run = creator.get("__typename") == "Run"
    author = ((creator.get("user") or {}) if is_run else creator).get("username")
    metadata = json.loads(node["metadata"] or "{}")
    own = {"name": sequence["name"], "project": {"name": project, "entity": {"name": entity}}}
    return Version(
        id=node["id"],
        ref=ArtifactRef(
            entity=entity,
            project=project,
            collection=sequence["name"],
            alias=f"v{node['versionIndex']}",
        ),
        type=node["artifactType"]["name"],
        digest=node["digest"],
        size=int(node["size"] or 0),
        file_count=int(node["fileCount"] or 0),
        created_at=node["createdAt"],
        aliases=tuple(
            item["alias"] for item in node["aliases"] or [] if item["artifactCollection"] == own
        ),
        tags=tuple(tag["name"] for tag in node["tags"] or []),
        description=node["description"],
        metadata=metadata if isinstance(metadata, dict) else {},
        run=run_ref(creator) if is_run and creator.get("project") else None,
        author=author or "",
        ttl_seconds=_ttl(node),
        history_step=node["historyStep"],
        digest_algorithm=node.get("digestAlgorithm") or "MANIFEST_MD5",
    )


def _ttl(node: Json) -> int:
    """What is no number of seconds is off, as the SDK reads it (`sdk/artifacts/_validators.py`)."""
    if node["ttlIsInherited"]:
        return TTL_INHERIT
    seconds = int(node["ttlDurationSeconds"])
    return seconds if seconds > 0 else TTL_OFF


def membership_of(node: Json) -> Membership:
    """Read a membership with the fields of `wandb_graphql._COLLECTION`."""
    collection = node["artifactCollection"]
    project = collection["project"] or {}
    latest = (collection["latest"] or {}).get("artifact") or {}
    return Membership(
        collection_id=collection["id"],
        kind="sequence" if collection["__typename"] == "ArtifactSequence" else "portfolio",
        entity=project["entity"]["name"] if project else "",
        project=project.get("name", ""),
        collection=collection["name"],
        version_index=node["versionIndex"],
        aliases=tuple(item["alias"] for item in node["aliases"] or []),
        read_only=bool(project.get("readOnly", True)),
        latest=latest.get("id", ""),
        newest=tuple(edge["node"]["id"] for edge in collection["newest"]["edges"]),
    )
