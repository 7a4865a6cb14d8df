"""W&B as an `ArtifactSource`: GraphQL and signed URLs over one HTTP session.

The wandb package is not used here. Its public API cannot log a version as output of a finished run
without touching that run, its sidecar repeats a failing request for many minutes without a bound,
and importing it costs more than a second and 60 MB; the operations sent are its own
(see `wandb_graphql`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd import retry
from syncd.clients import wandb_graphql as gql
from syncd.clients.artifacts import (
    Automation,
    Collection,
    Heard,
    Membership,
    Run,
    Standing,
    Surroundings,
    Use,
    Version,
)
from syncd.clients.http import check_status, told_time
from syncd.clients.wandb_aliases import WandbAliases
from syncd.clients.wandb_automations import WandbAutomations
from syncd.clients.wandb_files import WandbFiles
from syncd.clients.wandb_links import WandbLinks
from syncd.clients.wandb_removal import WandbRemoval
from syncd.clients.wandb_runs import WandbRuns
from syncd.clients.wandb_session import WandbSession
from syncd.clients.wandb_uploads import WandbUploads
from syncd.clients.wandb_values import (
    collection_of,
    version_of,
)
from syncd.clients.wandb_versions import WandbVersions
from syncd.errors import NotFoundError, PermanentError
from syncd.manifest import Entry, Manifest
from syncd.refs import ArtifactRef, RunRef, Target
from syncd.replacements import version_digest

_COMMITTED = json.dumps({"state": "COMMITTED"})
NEWEST = 10  # versions of each collection that tell, with their aliases, whether it has changed
ALIASES = (
    100  # of each collection that are named beside; of further ones it is told that there are some
)
Json = dict[str, Any]


class WandbSource:
    """Artifact versions of one W&B server.

    Args:
        base_url: the API's URL, e.g. `https://api.wandb.ai`.
        api_key: sent as Basic auth to that URL and to no other.
        app_url: where people look at runs; derived from `base_url` when None.
    """

    def __init__(self, base_url: str, api_key: str, *, app_url: str | None = None) -> None:
        self._session = WandbSession(base_url, api_key)
        app = (app_url or base_url.replace("://api.", "://", 1)).rstrip("/")
        self._files = WandbFiles(self._session)
        self._logging = WandbVersions(self._session)
        self._uploads = WandbUploads(self._session)
        self._removal = WandbRemoval(self._session)
        self._links = WandbLinks(self._session)
        self._aliases = WandbAliases(self._session)
        self._automations = WandbAutomations(self._session)
        self._runs = WandbRuns(self._session, app)

    def close(self) -> None:
        """Close all connections."""
        self._files.close()
        self._uploads.close()
        self._session.close()

    # --- what there is

    def probe(self, entity: str) -> None:
        """Ask one small thing, once.

        Args:
            entity: whose projects are asked for.

        Raises:
            ServiceUnavailableError: while W&B is away.
            SyncdError: when it is there and does not like us.
        """
        self._told("see whether W&B answers", entity)

    def told_time(self, entity: str) -> datetime | None:
        """What time it is by W&B, to the second, UTC; None when its answer does not say.

        Args:
            entity: whose projects are asked for.

        Raises:
            ServiceUnavailableError: when W&B stays away.
            SyncdError: when it is there and does not like us.
        """
        what = "ask W&B for the time"
        return told_time(retry.call(lambda: self._told(what, entity), what=what))

    def _told(self, what: str, entity: str) -> Mapping[str, str]:
        """The headers of the answer to one small thing that is asked once."""
        variables = {"entity": entity, "cursor": None, "perPage": 1}
        answer = self._session.send(what, gql.PROJECTS, variables)
        check_status(what, answer)
        return answer.headers

    def projects(self, entity: str) -> Iterator[str]:
        """Names of an entity's projects."""
        for node in self._session.pages(
            "list projects",
            gql.PROJECTS,
            {"entity": entity},
            lambda data: data["models"],
        ):
            yield node["name"]

    def versions(self, target: Target) -> Iterator[Version]:
        """Committed versions of a target, in version order within each collection."""
        projects = [target.project] if target.project else self.projects(target.entity)
        for project in projects:
            names = {"entity": target.entity, "project": project}
            if target.collection and target.alias:
                yield self._by_name(target.entity, project, f"{target.collection}:{target.alias}")
                continue
            if target.collection and (kind := self._kind_of(target)):
                yield from self._versions(names, target.collection, kind)
                continue
            found = False
            for collection in self._session.pages(
                f"list collections of {target.entity}/{project}",
                gql.COLLECTIONS,
                names,
                lambda data: _there(data, "project", target)["artifactCollections"],
            ):
                if target.collection not in (None, collection["name"]):
                    continue
                found = True
                if collection["__typename"] == "ArtifactSequence":
                    kind = collection["type"]["name"]
                    yield from self._versions(names, collection["name"], kind)
            if target.collection and not found:
                raise NotFoundError(f"{target}: there is no such collection")

    def _kind_of(self, target: Target) -> str:
        """The type of a collection's versions; empty when the list of all has to say what there is.

        A project may have very many collections, and each that is looked at by its name asks this.
        """
        what = f"look for the collection {target.whole}"
        names = {
            "entity": target.entity,
            "project": target.project,
            "name": target.collection,
        }
        try:
            data = self._session.query(what, gql.COLLECTION, names)
        except PermanentError:
            return ""
        found = (data["project"] or {}).get("artifactCollection") or {}
        is_own = (
            found.get("__typename") == "ArtifactSequence" and found["name"] == target.collection
        )
        return str(found["type"]["name"]) if is_own and found["type"] else ""

    def collections(self, target: Target) -> Iterator[Collection]:
        """The collections of a target, each with its newest versions and its aliases; 100 a request.

        One that is named costs one request, however many its project has.
        """
        if target.project and target.collection:
            try:
                found = self._collection(target)
            except NotFoundError:
                raise
            except PermanentError:
                pass  # whether there is one of this name the list of all says
            else:
                yield from found
                return
        projects = [target.project] if target.project else self.projects(target.entity)
        for project in projects:
            for node in self._session.pages(
                f"look at the collections of {target.entity}/{project}",
                gql.COLLECTIONS_WITH_NEWEST,
                {
                    "entity": target.entity,
                    "project": project,
                    "newest": NEWEST,
                    "aliases": ALIASES,
                    "order": "-version_index",
                    "filters": _COMMITTED,
                },
                lambda data: _there(data, "project", target)["artifactCollections"],
            ):
                wanted = target.collection in (None, node["name"])
                if wanted and node["__typename"] == "ArtifactSequence":
                    yield collection_of(target.entity, project, node)
                    if target.collection:
                        return

    def _collection(self, target: Target) -> list[Collection]:
        """The collection of a target by its name; empty for a portfolio, or where there is none."""
        assert target.project, "the caller names one"
        data = self._session.query(
            f"look at the collection {target.whole}",
            gql.COLLECTION_WITH_NEWEST,
            {
                "entity": target.entity,
                "project": target.project,
                "name": target.collection,
                "newest": NEWEST,
                "aliases": ALIASES,
                "order": "-version_index",
                "filters": _COMMITTED,
            },
        )
        node = _there(data, "project", target).get("artifactCollection") or {}
        is_own = node.get("__typename") == "ArtifactSequence" and node["name"] == target.collection
        return [collection_of(target.entity, target.project, node)] if is_own else []

    def pointed(self, collections: Sequence[Collection]) -> Sequence[Mapping[str, str]] | None:
        """Where aliases of collections are that are not on their newest versions; 100 a request."""
        return self._aliases.pointed(collections)

    def versions_of(self, collection: Collection) -> Iterator[Version]:
        """A collection's committed versions, in version order."""
        names = {"entity": collection.entity, "project": collection.project}
        return self._versions(names, collection.name, collection.type)

    def _versions(self, names: Mapping[str, str], name: str, kind: str) -> Iterator[Version]:
        for node in self._session.pages(
            f"list versions of {name}",
            gql.VERSIONS,
            {
                **names,
                "collection": name,
                "type": kind,
                "order": "+version_index",
                "filters": _COMMITTED,
            },
            lambda data: data["project"]["artifactType"]["artifactCollection"]["artifacts"],
        ):
            yield version_of(node)

    def version(self, artifact_id: str) -> Version:
        """One version by its GraphQL id, as it is now."""
        data = self._session.query("read a version", gql.VERSION_BY_ID, {"id": artifact_id})
        return _committed(data["artifact"], artifact_id)

    def find(self, ref: ArtifactRef) -> Version:
        """One version by name and alias, as it is now."""
        return self._by_name(ref.entity, ref.project, f"{ref.collection}:{ref.alias}")

    def _by_name(self, entity: str, project: str, name: str) -> Version:
        data = self._session.query(
            f"read {entity}/{project}/{name}",
            gql.VERSION_BY_NAME,
            {"entity": entity, "project": project, "name": name},
        )
        membership = (data["project"] or {}).get("artifactCollectionMembership")
        if not membership or not membership["artifact"]:
            raise NotFoundError(f"{entity}/{project}/{name}: there is no such version")
        return version_of(membership["artifact"])

    def surroundings(self, versions: Sequence[Version]) -> Sequence[Surroundings]:
        """What refers to these versions of one collection; 100 a request."""
        return self._automations.surroundings(versions)

    def automations(self, entity: str) -> Sequence[Automation] | None:
        """The automations of an entity; None when W&B does not tell."""
        return self._automations.automations(entity)

    # --- bytes

    def manifest(self, version: Version) -> Manifest:
        """The version's manifest."""
        return self._files.manifest(version)

    def with_manifest(self, artifact_id: str) -> tuple[Version, Manifest]:
        """One version as it is now and its manifest."""
        what = "read a version and its manifest"
        node = self._session.query(what, gql.VERSION_AND_MANIFEST, {"id": artifact_id})["artifact"]
        version = _committed(node, artifact_id)
        return version, self._files.manifest(version, found=node["currentManifest"])

    def sign(self, version: Version, paths: Sequence[str]) -> None:
        """Fetch the signed URLs of these entries."""
        self._files.sign(version, paths)

    def read(
        self, version: Version, entry: Entry, *, begin: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """The bytes of one entry, in chunks of 1 MiB."""
        return self._files.read(version, entry, begin=begin, size=size)

    # --- lineage

    def consumers(self, version: Version) -> Sequence[RunRef]:
        """The runs that used the version."""
        return self._runs.consumers(version)

    def run(self, ref: RunRef, *, all_outputs: bool = True) -> Run:
        """A run with its config, inputs and outputs; a hundred of each a request."""
        return self._runs.run(ref, all_outputs=all_outputs)

    def heard(self, entity: str, project: str) -> Iterator[Heard]:
        """The runs of a project, those heard of last first, a hundred a request."""
        return self._runs.heard(entity, project)

    # --- changes

    def log_replacement(
        self, version: Version, manifest: Manifest, metadata: Mapping[str, Any]
    ) -> Version:
        """Log a version with this manifest in the same collection, as output of the same run.

        The bytes of entries that stay in W&B are not uploaded: their manifest entries name the
        version that first uploaded them, as the SDK does for a draft of an existing version.
        """
        what = f"log the replacement of {version.ref}"
        digest = version_digest(manifest, version.digest_algorithm)
        made, there = self._logging.create(what, version, digest, metadata)
        if not there:
            done = self._logging.commit(what, version, made, manifest, base_id=version.id)
            if done is not None:
                return done
        return self.version(made)

    def update_metadata(
        self,
        version: Version,
        metadata: Mapping[str, Any],
        *,
        description: str | None = None,
        tags: Sequence[str] = (),
        ttl_seconds: int | None = None,
    ) -> None:
        """Replace a version's metadata, and what else is given; everything else of it stays."""
        given = {
            "artifactID": version.id,
            "metadata": json.dumps(metadata),
            "description": description,
            "tagsToAdd": [{"tagName": tag} for tag in tags] or None,
            "ttlDurationSeconds": ttl_seconds,
        }
        self._session.query(
            f"update the metadata of {version.ref}",
            gql.UPDATE_VERSION,
            {"input": {key: value for key, value in given.items() if value is not None}},
        )

    def move_aliases(
        self, version: Version, aliases: Sequence[str], *, places: Sequence[Membership] = ()
    ) -> None:
        """Give aliases to the version, all in one request, taking them from any other."""
        self._links.move_aliases(version, aliases, places)

    def memberships(self, version: Version) -> Sequence[Membership]:
        """Every collection that holds the version, the one it was logged to included."""
        return self._links.memberships(version)

    def standing(self, artifact_id: str) -> Standing:
        """A version by its GraphQL id, with its memberships and consumers, as of one moment."""
        return self._links.standing(artifact_id)

    def link(
        self, version: Version, membership: Membership, aliases: Sequence[str] = ()
    ) -> Membership:
        """Put the version into a portfolio; `latest` stays where it is unless it is among the aliases."""
        return self._links.link(version, membership, aliases)

    def unlink(self, version: Version, membership: Membership) -> None:
        """Take the version out of a portfolio, with the aliases it has there."""
        self._links.unlink(version, membership)

    def record_use(self, run: RunRef, version: Version) -> None:
        """Make the run a consumer of the version; nothing happens when it is one."""
        self._runs.record_use(run, version)

    def update_config(self, run: RunRef, values: Mapping[str, Any], unset: Sequence[str]) -> bool:
        """Set and unset keys of a run's config, nothing else of the run; whether it changed."""
        return self._runs.update_config(run, values, unset)

    # --- taking out of W&B, and putting back

    def uses(self, version: Version) -> Sequence[Use]:
        """The runs that used the version, with the times they ran."""
        return self._removal.uses(version)

    def set_ttl(self, version: Version, seconds: int) -> None:
        """Set a version's time to live, counted from its creation."""
        self._removal.set_ttl(version, seconds)

    def remove(self, version: Version) -> None:
        """Delete a version that has no aliases."""
        self._removal.remove(version)

    def upload(
        self, draft: Version, manifest: Manifest, read: Callable[[Entry], Iterator[bytes]]
    ) -> Version:
        """Log a version with its files, as output of the draft's run, without aliases."""
        return self.version(self._uploads.upload(draft, manifest, read))


def _committed(node: Json | None, artifact_id: str) -> Version:
    if node is None or node["state"] != "COMMITTED":
        raise NotFoundError(f"artifact {artifact_id} is gone from W&B")
    return version_of(node)


def _there(data: Json, key: str, target: Target) -> Json:
    if data[key] is None:
        raise NotFoundError(f"{target}: there is no such project, or the API key may not read it")
    found: Json = data[key]
    return found
