"""Logging versions without the SDK: begun, given a manifest, committed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from syncd import retry
from syncd.clients import wandb_graphql as gql
from syncd.clients.http import check_status, check_url, translated
from syncd.clients.protocols import Version
from syncd.clients.wandb_session import WandbSession
from syncd.clients.wandb_values import version_of
from syncd.manifest import Manifest, json_chunks

MANIFEST_NAME = "wandb_manifest.json"
Json = dict[str, Any]


class WandbVersions:
    """Logs versions on one server.

    Args:
        session: the server.
    """

    def __init__(self, session: WandbSession) -> None:
        self._session = session

    def create(
        self, what: str, like: Version, digest: str, metadata: Mapping[str, Any]
    ) -> tuple[str, bool]:
        """Begin a version; its id, and whether W&B had a committed one with this digest.

        Args:
            what: what is done, for errors.
            like: a version with the same collection, run, tags, description and TTL.
            digest: its digest, hex.
            metadata: its metadata.
        """
        ref, run = like.ref, like.run
        created = self._session.query(
            what,
            gql.CREATE_VERSION,
            {
                "input": {
                    "entityName": ref.entity,
                    "projectName": run.project if run else ref.project,
                    "runName": run.run_id if run else None,
                    "artifactTypeName": like.type,
                    "artifactCollectionName": ref.collection,
                    "digest": digest,
                    "digestAlgorithm": like.digest_algorithm,
                    "aliases": [],
                    "tags": [{"tagName": tag} for tag in like.tags],
                    "description": like.description,
                    "metadata": json.dumps(metadata),
                    "ttlDurationSeconds": like.ttl_seconds if like.ttl_seconds != -1 else None,
                    "historyStep": like.history_step,
                    "enableDigestDeduplication": True,
                }
            },
        )["createArtifact"]["artifact"]
        return created["id"], created["state"] == "COMMITTED"

    def commit(
        self, what: str, like: Version, artifact_id: str, manifest: Manifest, *, base_id: str | None
    ) -> Version | None:
        """Upload the manifest of a begun version and commit it.

        The version is returned, unless the server commits it later than it answers.

        Args:
            what: what is done, for errors.
            like: see `create`.
            artifact_id: the begun version.
            manifest: its manifest.
            base_id: the version whose files it keeps.
        """
        # The text is made twice, first for its MD5 and length: it may be too large to be kept.
        md5 = hashlib.md5(usedforsecurity=False)
        size = 0
        for chunk in json_chunks(manifest):
            md5.update(chunk)
            size += len(chunk)
        digest = base64.b64encode(md5.digest()).decode()

        def attempt() -> None:
            file = self.announce(what, like, artifact_id, digest, base_id)["file"]
            if file["uploadUrl"] is None:  # the server holds these bytes already
                return
            url = self.url(file["uploadUrl"])
            # A signed URL takes no body of unknown length.
            headers = {**headers_of(file), "Content-Length": str(size)}
            with translated(what, url):
                answer = self._session.http.put(url, content=_Text(manifest), headers=headers)
            check_status(what, answer)

        retry.call(attempt, what=what)
        ids = {"artifactID": artifact_id}
        done = self._session.query(what, gql.COMMIT_VERSION, ids)["commitArtifact"]["artifact"]
        finished = done.get("state") == "COMMITTED" and done.get("versionIndex") is not None
        return version_of(done) if finished else None

    def announce(
        self, what: str, like: Version, artifact_id: str, digest: str, base_id: str | None
    ) -> Json:
        """Announce the manifest, without a digest while that is not known."""
        made: Json = self._session.query(
            what,
            gql.CREATE_MANIFEST,
            {
                "artifactID": artifact_id,
                "baseArtifactID": base_id,
                "name": MANIFEST_NAME,
                "digest": digest,
                "entityName": like.ref.entity,
                "projectName": like.ref.project,
                "runName": like.run.run_id if like.run else "",
                "manifestType": "FULL",
                "includeUpload": bool(digest),
            },
        )["createArtifactManifest"]["artifactManifest"]
        return made

    def url(self, url: str) -> str:
        """A URL that the server names, which may be without its own address."""
        return check_url(url if "://" in url else f"{self._session.base}{url}")


def headers_of(node: Json) -> dict[str, str]:
    """What an upload has to be sent with."""
    return dict(line.split(":", 1) for line in node["uploadHeaders"] or [])


class _Text:
    """A manifest's JSON as a body that can be sent again when the server points elsewhere."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def __iter__(self) -> Iterator[bytes]:
        return json_chunks(self._manifest)
