"""Files as W&B takes them.

A file goes to a signed URL in one piece, or in parts from 2 GiB on, each part with its MD5
(wandb-core 0.31.0). W&B names no URL for what it holds already, so that a repeat sends nothing
again. Files are read as they are sent, and never held.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from syncd import retry
from syncd.blocks import Builder, batches
from syncd.clients import wandb_graphql as gql
from syncd.clients.http import raise_for_status
from syncd.clients.payload import Payload
from syncd.clients.protocols import Version
from syncd.clients.wandb_session import WandbSession
from syncd.clients.wandb_versions import WandbVersions, headers_of
from syncd.entry import Entries, entry_of, entry_row
from syncd.errors import PermanentError, ServiceUnavailableError
from syncd.manifest import Entry, Manifest
from syncd.replacements import XXH128

WHOLE_UP_TO = (2 << 30) - 1  # bytes; larger files go in parts, as wandb-core sends them
PART = 100 << 20  # bytes
MOST_PARTS = 10_000
BATCH = 200  # files announced in a request
AT_A_TIME = 4  # files
Json = dict[str, Any]
Read = Callable[[Entry], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file that is to be there.

    Args:
        entry: its entry.
        size: bytes.
        md5: base64.
        parts: the hex MD5 of each part; empty for a file in one piece.
        part: bytes of a part, all but the last.
    """

    entry: Entry
    size: int
    md5: str
    parts: tuple[str, ...] = ()
    part: int = 0


class WandbUploads:
    """Logs versions with their files on one server.

    Args:
        session: the server.
        whole_up_to: bytes; larger files go in parts.
        part: bytes of a part.
    """

    def __init__(
        self, session: WandbSession, *, whole_up_to: int = WHOLE_UP_TO, part: int = PART
    ) -> None:
        self._session, self._whole_up_to, self._part = session, whole_up_to, part
        self._versions = WandbVersions(session)
        self._payload = Payload()

    def close(self) -> None:
        """Close the connections that files go over."""
        self._payload.close()

    def upload(self, draft: Version, manifest: Manifest, read: Read) -> str:
        """Log a version with its files; see `ArtifactSource.upload`. Its id is returned."""
        what = f"upload a version of {draft.ref.collection}"
        artifact_id, there = self._versions.create(what, draft, draft.digest, draft.metadata)
        if there:
            return artifact_id
        announced = self._versions.announce(what, draft, artifact_id, "", None)["id"]
        fields = {"artifactID": artifact_id, "artifactManifestID": announced}
        algorithm = draft.digest_algorithm if draft.digest_algorithm == XXH128 else None
        layout = manifest.storage_policy_config.get("storageLayout", "V1")
        files = _Files(self, what, read, fields=fields, algorithm=algorithm, layout=str(layout))
        rows = Builder()
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="upload") as pool:
            for batch in batches(manifest.entries.rows, BATCH):
                entries = [entry_of(row) for row in batch]
                fresh = [
                    entry
                    for entry in entries
                    if not entry.is_reference and entry.birth_artifact_id is None
                ]
                files.bring(list(pool.map(lambda entry: self.look(entry, read), fresh)), pool)
                born = {entry.path for entry in fresh}
                for entry in entries:
                    birth = artifact_id if entry.path in born else entry.birth_artifact_id
                    path, hashed, size, ref, _, kind, extra = entry_row(entry)
                    rows.add((path, hashed, size, ref, birth, kind, extra))
        whole = Manifest(
            entries=Entries(rows.build()), storage_policy_config=manifest.storage_policy_config
        )
        self._versions.commit(what, draft, artifact_id, whole, base_id=None)
        return artifact_id

    def look(self, entry: Entry, read: Read) -> _File:
        """What has to be known of a file before it is sent; it is read where the manifest lacks it."""
        in_parts = entry.size is None or entry.size > self._whole_up_to
        if entry.algorithm == "MD5" and not in_parts:
            assert entry.size is not None, "it is not known to be small"
            return _File(entry=entry, size=entry.size, md5=entry.digest)
        part = self._part
        while entry.size is not None and entry.size > part * MOST_PARTS:
            part *= 2
        whole, hashes = hashlib.md5(usedforsecurity=False), _PartHashes(part)
        size = 0
        for chunk in read(entry):
            whole.update(chunk)
            hashes.update(chunk)
            size += len(chunk)
        return _File(
            entry=entry,
            size=size,
            md5=base64.b64encode(whole.digest()).decode(),
            parts=hashes.done() if size > self._whole_up_to else (),
            part=part,
        )

    def announce(self, what: str, files: Sequence[_File], fields: Json, common: Json) -> list[Json]:
        """Where each of these files goes, in their order."""
        specs = [
            {**fields, **_spec(file, with_digest="digestAlgorithm" in common)} for file in files
        ]
        data = self._session.query(
            what, gql.CREATE_FILES, {"input": {"artifactFiles": specs, **common}}
        )
        nodes = [edge["node"] for edge in data["createArtifactFiles"]["files"]["edges"]]
        if len(nodes) != len(files):
            raise PermanentError(f"{what}: W&B named {len(nodes)} places for {len(files)} files")
        return nodes

    def put(
        self, what: str, url: str, headers: Mapping[str, str], chunks: Iterator[bytes], size: int
    ) -> str:
        """Send so many bytes to a signed URL; the ETag that comes back."""
        target = self._versions.url(url)
        with self._payload.request(
            "PUT", target, what=what, headers=headers, body=(chunks, size)
        ) as answer:
            if answer.status in {401, 403}:  # the signed URL is too old; the next one is new
                raise ServiceUnavailableError(f"{what}: W&B refused the signed URL")
            raise_for_status(what, answer.status, answer.headers, target)
            return str(answer.headers.get("etag", ""))

    def complete(self, what: str, artifact_id: str, node: Json, etags: Sequence[str]) -> None:
        """Have W&B put the parts of a file together."""
        self._session.query(
            what,
            gql.COMPLETE_MULTIPART,
            {
                "completeMultipartAction": "Complete",
                "completedParts": [
                    {"partNumber": number, "hexMD5": etag}
                    for number, etag in enumerate(etags, start=1)
                ],
                "artifactID": artifact_id,
                "storagePath": node["storagePath"],
                "uploadID": node["uploadMultipartUrls"]["uploadID"],
            },
        )


class _Files:
    """Brings the files of one version.

    Args:
        uploads: the server.
        what: what is done, for errors.
        read: gives an entry's bytes.
        fields: what is said of every file.
        algorithm: the version's digest algorithm, where files are announced with their digests.
        layout: W&B's storage layout.
    """

    def __init__(
        self,
        uploads: WandbUploads,
        what: str,
        read: Read,
        *,
        fields: Json,
        algorithm: str | None,
        layout: str,
    ) -> None:
        self._uploads, self._what, self._fields, self._read = uploads, what, fields, read
        self._common: Json = {"storageLayout": layout}
        if algorithm is not None:
            self._common["digestAlgorithm"] = algorithm

    def bring(self, files: Sequence[_File], pool: ThreadPoolExecutor) -> None:
        """Send those of the files that W&B does not hold; equal ones once."""
        seen: set[str] = set()
        first: list[_File] = []
        again: list[_File] = []
        for file in files:
            (again if file.md5 in seen else first).append(file)
            seen.add(file.md5)
        for some in (first, again):  # announced anew, when W&B holds their bytes
            if some:
                list(pool.map(self._bring, some, self._announce(some)))

    def _announce(self, files: Sequence[_File]) -> list[Json]:
        return self._uploads.announce(self._what, files, self._fields, self._common)

    def _bring(self, file: _File, node: Json) -> None:
        what = f"{self._what}: {file.entry.path}"
        places = [node]  # a URL serves one attempt: it may have been refused for its age

        def attempt() -> None:
            place = places.pop() if places else self._announce([file])[0]
            if file.parts and place["uploadMultipartUrls"]:
                self._in_parts(what, file, place)
            elif place["uploadUrl"]:
                chunks = self._read(file.entry)
                self._uploads.put(what, place["uploadUrl"], headers_of(place), chunks, file.size)

        retry.call(attempt, what=what)

    def _in_parts(self, what: str, file: _File, place: Json) -> None:
        urls = {
            item["partNumber"]: item["uploadUrl"]
            for item in place["uploadMultipartUrls"]["uploadUrlParts"]
        }
        kind = headers_of(place).get("Content-Type", "application/octet-stream")
        source = _Cut(self._read(file.entry))
        etags = []
        for number, md5 in enumerate(file.parts, start=1):
            size = min(file.part, file.size - (number - 1) * file.part)
            headers = {
                "Content-MD5": base64.b64encode(bytes.fromhex(md5)).decode(),
                "Content-Type": kind,
            }
            etags.append(self._uploads.put(what, urls[number], headers, source.take(size), size))
        self._uploads.complete(what, self._fields["artifactID"], place, etags)


class _PartHashes:
    """The MD5 of each part of a file that passes."""

    def __init__(self, part: int) -> None:
        self._part, self._left = part, part
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._done: list[str] = []

    def update(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while len(view) >= self._left:
            self._md5.update(view[: self._left])
            view = view[self._left :]
            self._done.append(self._md5.hexdigest())
            self._md5, self._left = hashlib.md5(usedforsecurity=False), self._part
        self._md5.update(view)
        self._left -= len(view)

    def done(self) -> tuple[str, ...]:
        """All of them; the last part may be short."""
        last = [self._md5.hexdigest()] if self._left < self._part else []
        return (*self._done, *last)


class _Cut:
    """A file's chunks, taken a number of bytes at a time."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def take(self, size: int) -> Iterator[bytes]:
        """The next so many bytes."""
        while size:
            chunk = self._rest or next(self._chunks, b"")
            if not chunk:
                return  # whoever sends them knows how many were promised
            piece, self._rest = chunk[:size], chunk[size:]
            size -= len(piece)
            yield piece


def _spec(file: _File, *, with_digest: bool) -> Json:
    spec: Json = {
        "name": file.entry.path,
        "md5": file.md5,
        "mimetype": mimetypes.guess_type(file.entry.path)[0],
    }
    if with_digest:
        spec["digest"] = file.entry.digest
    if file.parts:
        spec["uploadPartsInput"] = [
            {"partNumber": number, "hexMD5": md5} for number, md5 in enumerate(file.parts, start=1)
        ]
    return spec
