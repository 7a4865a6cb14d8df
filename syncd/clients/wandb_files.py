"""A version's manifest and the bytes that W&B holds, over signed URLs."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator

import httpx

from syncd import retry
from syncd.clients import wandb_graphql as gql
from syncd.clients.http import CHUNK_BYTES, check_status, check_url, place, translated
from syncd.clients.protocols import Version
from syncd.clients.wandb_session import WandbSession
from syncd.documents import read_manifest
from syncd.errors import (
    IntegrityError,
    ManifestError,
    NotFoundError,
    ServiceUnavailableError,
)
from syncd.manifest import Entry, Manifest
from syncd.replacements import version_digest

FILE_URL_PAGE = 5000  # signed URLs a request, as the SDK asks (wandb 0.31.0, `artifact.py`)
CACHED_VERSIONS = 8  # versions whose signed URLs are kept
AS_STORED = {"Accept-Encoding": "identity"}  # httpx asks for gzip by itself


class WandbFiles:
    """Reads what lies behind versions; signed URLs are fetched in pages and kept for a few.

    Args:
        session: the server.
    """

    def __init__(self, session: WandbSession) -> None:
        self._session = session
        self._urls: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def manifest(self, version: Version) -> Manifest:
        """The version's manifest.

        One whose digest is not the version's is read a second time: W&B itself may have merged
        it from parts, but then it comes twice the same, and a damaged one does not.

        Raises:
            ManifestError: when there is none, or it is no version 1 manifest.
            IntegrityError: when it stays damaged.
        """
        what = f"read the manifest of {version.ref}"

        def attempt() -> Manifest:
            seen = hashlib.sha256()
            manifest = _decoded(self._manifest_bytes(version, what, seen), what)
            if version_digest(manifest, version.digest_algorithm) != version.digest:
                again = hashlib.sha256()
                for _ in self._manifest_bytes(version, what, again):
                    pass
                if again.digest() != seen.digest():
                    raise IntegrityError(f"{what}: two downloads differ")
            return manifest

        return retry.call(attempt, what=what)

    def _manifest_bytes(self, version: Version, what: str, seen: hashlib._Hash) -> Iterator[bytes]:
        data = self._session.query(what, gql.MANIFEST, {"id": version.id})
        current = (data["artifact"] or {}).get("currentManifest")
        if not current:
            raise ManifestError(f"{version.ref} has no manifest")
        url = check_url(current["file"]["directUrl"])
        with translated(what, url), self._session.http.stream("GET", url) as answer:
            if answer.status_code in {401, 403}:  # the signed URL is too old; the next one is new
                raise ServiceUnavailableError(f"{what}: {place(url)} refused the signed URL")
            check_status(what, answer)
            for chunk in answer.iter_bytes(CHUNK_BYTES):
                seen.update(chunk)
                yield chunk

    def read(self, version: Version, entry: Entry) -> Iterator[bytes]:
        """The bytes of one entry, in chunks of 1 MiB; a refused signed URL is renewed once."""
        what = f"download {version.ref} {entry.path}"
        for renewed in (False, True):
            url = self._file_url(version, entry, renew=renewed)
            stream = self._session.http.stream("GET", url, headers=AS_STORED)
            with translated(what, url), stream as answer:
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
            for node in self._session.pages(
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


def _decoded(body: Iterable[bytes], what: str) -> Manifest:
    try:
        return read_manifest(body)
    except ValueError as error:
        raise IntegrityError(
            f"{what}: it is not JSON: {error}", hint=ManifestError.default_hint
        ) from error


def _exactly(answer: httpx.Response, what: str) -> Iterator[bytes]:
    """The body in chunks, as many bytes as were promised (gzip is not asked for, nor undone)."""
    promised = answer.headers.get("content-length")
    count = 0
    for chunk in answer.iter_raw(CHUNK_BYTES):
        count += len(chunk)
        yield chunk
    if promised is not None and promised.isdecimal() and int(promised) != count:
        raise IntegrityError(f"{what}: {count} of {promised} bytes arrived")
