"""W&B as an `ArtifactSource`: GraphQL and signed URLs over one HTTP session.

The wandb package is not used here. Its public API cannot log a version as output of a finished run
without touching that run, its sidecar repeats a failing request for many minutes without a bound,
and importing it costs more than a second and 60 MB; the operations sent are its own
(see `wandb_graphql`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import msgspec

from syncd import retry
from syncd.clients import wandb_graphql as gql
from syncd.clients.http import (
    CHUNK_BYTES,
    check_status,
    check_url,
    place,
    session,
    translated,
)
from syncd.clients.protocols import Run, Version
from syncd.errors import (
    AuthenticationError,
    IntegrityError,
    ManifestError,
    NotFoundError,
    PermanentError,
)
from syncd.manifest import Entry, Manifest, from_json, manifest_digest, to_json
from syncd.refs import ArtifactRef, RunRef, Target

PAGE = 100  # versions or collections a request
FILE_URL_PAGE = 5000  # signed URLs a request, as the SDK asks (wandb 0.31.0, `artifact.py`)
CACHED_VERSIONS = 8  # versions whose signed URLs are kept
_COMMITTED = json.dumps({"state": "COMMITTED"})
_MANIFEST_NAME = "wandb_manifest.json"
Json = dict[str, Any]


class WandbSource:
    """Artifact versions of one W&B server.

    Args:
        base_url: the API's URL, e.g. `https://api.wandb.ai`.
        api_key: sent as Basic auth to that URL and to no other.
        app_url: where people look at runs; derived from `base_url` when None.
    """

    def __init__(self, base_url: str, api_key: str, *, app_url: str | None = None) -> None:
        self._base = check_url(base_url.rstrip("/"))
        self._auth = httpx.BasicAuth("api", api_key)
        self._http = session()
        self._app = (app_url or self._base.replace("://api.", "://", 1)).rstrip("/")
        self._urls: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    # --- what there is

    def projects(self, entity: str) -> Iterator[str]:
        """Names of an entity's projects."""
        for node in self._pages(
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
            found = False
            for collection in self._pages(
                f"list collections of {target.entity}/{project}",
                gql.COLLECTIONS,
                names,
                lambda data: _there(data, "project", target)["artifactCollections"],
            ):
                if target.collection not in (None, collection["name"]):
                    continue
                found = True
                if collection["__typename"] == "ArtifactSequence":
                    yield from self._versions(names, collection)
            if target.collection and not found:
                raise NotFoundError(f"{target}: there is no such collection")

    def _versions(self, names: Mapping[str, str], collection: Json) -> Iterator[Version]:
        name = collection["name"]
        for node in self._pages(
            f"list versions of {name}",
            gql.VERSIONS,
            {
                **names,
                "collection": name,
                "type": collection["type"]["name"],
                "order": "+version_index",
                "filters": _COMMITTED,
            },
            lambda data: data["project"]["artifactType"]["artifactCollection"]["artifacts"],
        ):
            yield _version(node)

    def version(self, artifact_id: str) -> Version:
        """One version by its GraphQL id, as it is now."""
        data = self._query("read a version", gql.VERSION_BY_ID, {"id": artifact_id})
        if data["artifact"] is None or data["artifact"]["state"] != "COMMITTED":
            raise NotFoundError(f"artifact {artifact_id} is gone from W&B")
        return _version(data["artifact"])

    def find(self, ref: ArtifactRef) -> Version:
        """One version by name and alias, as it is now."""
        return self._by_name(ref.entity, ref.project, f"{ref.collection}:{ref.alias}")

    def _by_name(self, entity: str, project: str, name: str) -> Version:
        data = self._query(
            f"read {entity}/{project}/{name}",
            gql.VERSION_BY_NAME,
            {"entity": entity, "project": project, "name": name},
        )
        membership = (data["project"] or {}).get("artifactCollectionMembership")
        if not membership or not membership["artifact"]:
            raise NotFoundError(f"{entity}/{project}/{name}: there is no such version")
        return _version(membership["artifact"])

    # --- bytes

    def manifest(self, version: Version) -> Manifest:
        """The version's manifest.

        Raises:
            ManifestError: when it cannot be read.
        """
        what = f"read the manifest of {version.ref}"

        def attempt() -> bytes:
            data = self._query(what, gql.MANIFEST, {"id": version.id})
            current = (data["artifact"] or {}).get("currentManifest")
            if not current:
                raise ManifestError(f"{version.ref} has no manifest")
            url = check_url(current["file"]["directUrl"])
            with translated(what, url):
                answer = self._http.get(url)
            check_status(what, answer)
            return answer.content

        try:
            return from_json(msgspec.json.decode(retry.call(attempt, what=what)))
        except msgspec.DecodeError as error:
            raise ManifestError(f"the manifest of {version.ref} is not JSON: {error}") from error

    def read(self, version: Version, entry: Entry) -> Iterator[bytes]:
        """The bytes of one entry, in chunks of 1 MiB; a refused signed URL is renewed once."""
        what = f"download {version.ref} {entry.path}"
        for renewed in (False, True):
            url = self._file_url(version, entry, renew=renewed)
            with translated(what, url), self._http.stream("GET", url) as answer:
                if answer.status_code in {401, 403} and not renewed:
                    continue
                check_status(what, answer)
                yield from _exactly(answer, what)
                return

    def _file_url(self, version: Version, entry: Entry, *, renew: bool) -> str:
        with self._lock:
            urls = self._urls.get(version.id)
            if urls is None or renew:
                urls = self._sign(version)
                self._urls[version.id] = urls
                while len(self._urls) > CACHED_VERSIONS:
                    self._urls.popitem(last=False)
        if entry.path not in urls:
            raise NotFoundError(f"{version.ref} {entry.path}: W&B has no download URL for it")
        return check_url(urls[entry.path])

    def _sign(self, version: Version) -> dict[str, str]:
        ref = version.ref
        return {
            node["name"]: node["directUrl"]
            for node in self._pages(
                f"sign the files of {ref}",
                gql.FILE_URLS,
                {
                    "entity": ref.entity,
                    "project": ref.project,
                    "collection": ref.collection,
                    "alias": ref.alias,
                },
                lambda data: data["project"]["artifactCollection"]["artifactMembership"]["files"],
                page=FILE_URL_PAGE,
            )
        }

    # --- lineage

    def consumers(self, version: Version) -> Sequence[RunRef]:
        """The runs that used the version."""
        data = self._query(f"read who used {version.ref}", gql.CONSUMERS, {"id": version.id})
        edges = ((data["artifact"] or {}).get("usedBy") or {}).get("edges", [])
        return [_run_ref(edge["node"]) for edge in edges]

    def run(self, ref: RunRef) -> Run:
        """A run with its config, inputs and outputs."""
        what = f"read {ref}"
        found: list[list[Version]] = [[], []]
        cursors: list[str | None] = [None, None]
        more = [True, True]
        node: Json = {}
        while any(more):
            data = self._query(
                what,
                gql.RUN,
                {
                    "entity": ref.entity,
                    "project": ref.project,
                    "run": ref.run_id,
                    "perPage": PAGE,
                    "inputsCursor": cursors[0],
                    "outputsCursor": cursors[1],
                },
            )
            node = (data["project"] or {}).get("run") or {}
            if not node:
                raise NotFoundError(f"{ref}: there is no such run")
            for side, key in enumerate(("inputArtifacts", "outputArtifacts")):
                if more[side]:
                    found[side] += [_version(edge["node"]) for edge in node[key]["edges"]]
                info = node[key]["pageInfo"]
                more[side] = more[side] and info["hasNextPage"]
                cursors[side] = info["endCursor"] or cursors[side]
        return Run(
            id=node["id"],
            ref=ref,
            name=node["displayName"] or ref.run_id,
            state=node["state"] or "",
            url=f"{self._app}/{ref.entity}/{ref.project}/runs/{ref.run_id}",
            config={
                key: value
                for key, value in _values(node["config"]).items()
                if not key.startswith("_wandb")
            },
            inputs=tuple(found[0]),
            outputs=tuple(found[1]),
        )

    # --- changes

    def log_replacement(
        self, version: Version, manifest: Manifest, metadata: Mapping[str, Any]
    ) -> Version:
        """Log a version with this manifest in the same collection, as output of the same run.

        The bytes of entries that stay in W&B are not uploaded: their manifest entries name the
        version that first uploaded them, as the SDK does for a draft of an existing version.
        """
        ref = version.ref
        what = f"log the replacement of {ref}"
        body = json.dumps(to_json(manifest), separators=(",", ":")).encode()
        run_id = version.run.run_id if version.run else None
        created = self._query(
            what,
            gql.CREATE_VERSION,
            {
                "input": {
                    "entityName": ref.entity,
                    "projectName": version.run.project if version.run else ref.project,
                    "runName": run_id,
                    "artifactTypeName": version.type,
                    "artifactCollectionName": ref.collection,
                    "digest": manifest_digest(manifest.entries.values()),
                    "digestAlgorithm": "MANIFEST_MD5",
                    "aliases": [],
                    "tags": [{"tagName": tag} for tag in version.tags],
                    "description": version.description,
                    "metadata": json.dumps(metadata),
                    "ttlDurationSeconds": version.ttl_seconds
                    if version.ttl_seconds != -1
                    else None,
                    "historyStep": version.history_step,
                    "enableDigestDeduplication": True,
                }
            },
        )["createArtifact"]["artifact"]
        if created["state"] != "COMMITTED":
            self._upload_manifest(what, version, created["id"], body)
            self._query(what, gql.COMMIT_VERSION, {"artifactID": created["id"]})
        return self.version(created["id"])

    def _upload_manifest(self, what: str, version: Version, artifact_id: str, body: bytes) -> None:
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()

        def attempt() -> None:
            manifest = self._query(
                what,
                gql.CREATE_MANIFEST,
                {
                    "artifactID": artifact_id,
                    "baseArtifactID": version.id,
                    "name": _MANIFEST_NAME,
                    "digest": digest,
                    "entityName": version.ref.entity,
                    "projectName": version.ref.project,
                    "runName": version.run.run_id if version.run else "",
                    "manifestType": "FULL",
                    "includeUpload": True,
                },
            )["createArtifactManifest"]["artifactManifest"]
            url = manifest["file"]["uploadUrl"]
            if url is None:  # the server holds these bytes already
                return
            url = check_url(url if "://" in url else f"{self._base}{url}")
            headers = dict(line.split(":", 1) for line in manifest["file"]["uploadHeaders"] or [])
            with translated(what, url):
                answer = self._http.put(url, content=body, headers=headers)
            check_status(what, answer)

        retry.call(attempt, what=what)

    def update_metadata(self, version: Version, metadata: Mapping[str, Any]) -> None:
        """Replace a version's metadata; everything else of it stays."""
        self._query(
            f"update the metadata of {version.ref}",
            gql.UPDATE_VERSION,
            {"input": {"artifactID": version.id, "metadata": json.dumps(metadata)}},
        )

    def move_aliases(self, version: Version, aliases: Sequence[str]) -> None:
        """Give these aliases of the collection to the version, taking them from any other."""
        ref = version.ref
        self._query(
            f"move aliases to {ref}",
            gql.ADD_ALIASES,
            {
                "input": {
                    "artifactID": version.id,
                    "aliases": [
                        {
                            "entityName": ref.entity,
                            "projectName": ref.project,
                            "artifactCollectionName": ref.collection,
                            "alias": alias,
                        }
                        for alias in aliases
                    ],
                }
            },
        )

    def record_use(self, run: RunRef, version: Version) -> None:
        """Make the run a consumer of the version; nothing happens when it is one."""
        self._query(
            f"record that {run} used {version.ref}",
            gql.USE_VERSION,
            {
                "input": {
                    "entityName": run.entity,
                    "projectName": run.project,
                    "runName": run.run_id,
                    "artifactID": version.id,
                    "artifactEntityName": version.ref.entity,
                    "artifactProjectName": version.ref.project,
                }
            },
        )

    def update_config(self, run: RunRef, values: Mapping[str, Any], unset: Sequence[str]) -> bool:
        """Set and unset keys of a run's config, nothing else of the run; whether it changed.

        The whole config is read and written, `_wandb` included, because W&B replaces it whole.
        """
        what = f"update the config of {run}"
        names = {"entity": run.entity, "project": run.project, "name": run.run_id}
        node = (self._query(what, gql.RUN_CONFIG, names)["project"] or {}).get("run")
        if not node:
            raise NotFoundError(f"{run}: there is no such run")
        config = json.loads(node["config"] or "{}")
        changed = {key: item for key, item in config.items() if key not in unset}
        for key, value in values.items():
            if key not in changed or changed[key].get("value") != value:
                changed[key] = {"value": value, "desc": None}
        if changed == config:
            return False
        self._query(what, gql.UPDATE_RUN_CONFIG, {"id": node["id"], "config": json.dumps(changed)})
        return True

    # --- GraphQL

    def _pages(
        self,
        what: str,
        query: str,
        variables: Mapping[str, Any],
        connection: Callable[[Json], Json | None],
        *,
        page: int = PAGE,
    ) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            data = self._query(what, query, {**variables, "cursor": cursor, "perPage": page})
            try:
                found = connection(data)
            except (KeyError, TypeError) as error:
                raise NotFoundError(f"{what}: W&B has nothing under this name") from error
            if found is None:
                return
            for edge in found["edges"]:
                yield edge["node"]
            cursor = found["pageInfo"]["endCursor"]
            if not found["pageInfo"]["hasNextPage"]:
                return

    def _query(self, what: str, query: str, variables: Mapping[str, Any]) -> Json:
        url = f"{self._base}/graphql"
        operation = query.split("(", 1)[0].split()[1]
        body = {"query": query, "variables": variables, "operationName": operation}

        def attempt() -> Json:
            with translated(what, url):
                answer = self._http.post(url, json=body, auth=self._auth)
            try:
                document = msgspec.json.decode(answer.content)
            except msgspec.DecodeError:
                document = None
            said = _messages(document)
            check_status(what, answer, detail=said)
            if not isinstance(document, dict) or (not said and "data" not in document):
                raise PermanentError(
                    f"{what}: {place(url)} did not answer with GraphQL",
                    hint="Check that [wandb] base_url is the API's URL.",
                )
            if said:
                raise PermanentError(f"{what}: W&B refused: {said}")
            data = document["data"]
            if not isinstance(data, dict):
                raise AuthenticationError(
                    f"{what}: W&B answered with no data", hint="Check the API key."
                )
            return data

        return retry.call(attempt, what=what)


def _exactly(answer: httpx.Response, what: str) -> Iterator[bytes]:
    """The body in chunks, as many bytes as were promised (gzip is not asked for, nor undone)."""
    promised = answer.headers.get("content-length")
    count = 0
    for chunk in answer.iter_raw(CHUNK_BYTES):
        count += len(chunk)
        yield chunk
    if promised is not None and promised.isdecimal() and int(promised) != count:
        raise IntegrityError(f"{what}: {count} of {promised} bytes arrived")


def _messages(document: object) -> str:
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return ""
    return "; ".join(str(item.get("message")) for item in errors if isinstance(item, dict))


def _there(data: Json, key: str, target: Target) -> Json:
    if data[key] is None:
        raise NotFoundError(f"{target}: there is no such project, or the API key may not read it")
    found: Json = data[key]
    return found


def _values(config: str | None) -> Json:
    document = json.loads(config or "{}")
    return {
        key: item["value"] if isinstance(item, dict) and "value" in item else item
        for key, item in document.items()
    }


def _run_ref(node: Json) -> RunRef:
    project = node["project"]
    return RunRef(entity=project["entity"]["name"], project=project["name"], run_id=node["name"])


def _version(node: Json) -> Version:
    """Read the fields of `wandb_graphql._VERSION`."""
    sequence = node["artifactSequence"]
    if not sequence or not sequence["project"] or node["versionIndex"] is None:
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
        run=_run_ref(creator) if is_run and creator.get("project") else None,
        author=author or "",
        ttl_seconds=-1 if node["ttlIsInherited"] else node["ttlDurationSeconds"],
        history_step=node["historyStep"],
    )
