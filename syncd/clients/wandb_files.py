"""A version's manifest and the bytes that W&B holds, over signed URLs."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from syncd import retry
from syncd.clients import wandb_graphql as gql
from syncd.clients.artifacts import Version
from syncd.clients.commits import SMALL
from syncd.clients.http import (
    CHUNK_BYTES,
    check_status,
    check_url,
    place,
    raise_for_status,
    translated,
)
from syncd.clients.payload import Answer, Payload
from syncd.clients.small import SmallAnswer, SmallGets
from syncd.clients.wandb_session import WandbSession
from syncd.documents import read_manifest
from syncd.errors import (
    IntegrityError,
    ManifestError,
    NotFoundError,
    ServiceUnavailableError,
    SizeMismatchError,
)
from syncd.manifest import Entry, Manifest
from syncd.replacements import version_digest

FILE_URL_PAGE = 5000  # signed URLs a request, as the SDK asks (wandb 0.31.0, `artifact.py`)
KEPT_URLS = 40_000  # signed URLs, some 30 MB: a batch of each of eight versions at a time
# W&B does not say for how long it signs; a URL that is refused is renewed at any age.
FRESH_SECONDS = 3600.0
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Entries whose URLs were signed, and run out, together."""

    version: Version
    paths: tuple[str, ...]
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Signed:
    url: str
    batch: _Batch
    signed_at: float


class WandbFiles:
    """Reads what lies behind versions; signed URLs are fetched in pages and kept for a while.

    Args:
        session: the server.
        clock: seconds; injected by tests.
    """

    def __init__(
        self, session: WandbSession, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session, self._clock = session, clock
        self._payload, self._small = Payload(), SmallGets()
        self._urls: OrderedDict[tuple[str, str], _Signed] = OrderedDict()  # by version and path
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that files come over."""
        self._payload.close()
        self._small.close()

    def manifest(self, version: Version, *, found: Mapping[str, Any] | None = None) -> Manifest:
        """The version's manifest.

        One whose digest is not the version's is read a second time: W&B itself may have merged
        it from parts, but then it comes twice the same, and a damaged one does not.

        Args:
            version: the version.
            found: its `currentManifest` with a URL signed just now; asked for when None.

        Raises:
            ManifestError: when there is none, or it is no version 1 manifest.
            IntegrityError: when it stays damaged.
        """
        what = f"read the manifest of {version.ref}"
        signed = [found] if found else []  # tried once; whoever tries again wants a new URL

        def attempt() -> Manifest:
            seen = hashlib.sha256()
            current = signed.pop() if signed else None
            manifest = _decoded(self._manifest_bytes(version, what, seen, current), what)
            if version_digest(manifest, version.digest_algorithm) != version.digest:
                again = hashlib.sha256()
                for _ in self._manifest_bytes(version, what, again):
                    pass
                if again.digest() != seen.digest():
                    raise IntegrityError(f"{what}: two downloads differ")
            return manifest

        return retry.call(attempt, what=what)

    def _manifest_bytes(
        self,
        version: Version,
        what: str,
        seen: hashlib._Hash,
        current: Mapping[str, Any] | None = None,
    ) -> Iterator[bytes]:
        if current is None:
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

    def sign(self, version: Version, paths: Sequence[str]) -> None:
        """Fetch the signed URLs of these entries, 5,000 a request.

        They are forgotten again when newer ones need the room.
        """
        for begin in range(0, len(paths), FILE_URL_PAGE):
            self._fetch(_Batch(version, tuple(paths[begin : begin + FILE_URL_PAGE])))

    def read(
        self, version: Version, entry: Entry, *, begin: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """The bytes of one entry, in chunks of 1 MiB; a refused signed URL is renewed once.

        Args:
            version: the version.
            entry: one of its entries that is no reference.
            begin: the first byte wanted.
            size: how many bytes are wanted; None for all that follow.

        Raises:
            NotFoundError: when W&B has no URL for it.
            IntegrityError: when the bytes end early, or are others than were asked for.
            SizeMismatchError: before any byte, when the file is announced to have another size than
                the entry.
        """
        if size == 0:
            return
        what = f"download {version.ref} {entry.path}"
        headers = {}
        whole = not begin and size is None
        if not whole:
            headers["Range"] = f"bytes={begin}-{'' if size is None else begin + size - 1}"
        small = entry.size if whole and entry.size is not None and entry.size <= SMALL else None
        refused: _Signed | None = None
        while True:
            signed = self._signed(version, entry, refused)
            url = check_url(signed.url)
            with self._asked(url, what, headers, small) as answer:
                if answer.status in {401, 403} and refused is None:
                    refused = signed
                    continue
                if (
                    answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                    and size is None
                    and answer.headers.get("content-range") == f"bytes */{begin}"
                ):
                    return  # nothing follows
                raise_for_status(what, answer.status, answer.headers, url)
                _check_size(answer, entry, f"{version.ref} {entry.path}")
                if answer.status == HTTPStatus.PARTIAL_CONTENT:
                    yield from _ranged(answer, begin, size, what)
                else:
                    yield from _cut_out(_exactly(answer, what), begin, size, what)
                return

    @contextmanager
    def _asked(
        self, url: str, what: str, headers: Mapping[str, str], small: int | None
    ) -> Iterator[Answer | SmallAnswer]:
        """The answer for a file, of which `small` is the number of bytes where they are few."""
        if small is not None:
            answer = self._small.get(url, what=what, limit=small)
            if answer is not None:
                yield answer
                return
        with self._payload.request("GET", url, what=what, headers=headers) as streamed:
            yield streamed

    def _signed(self, version: Version, entry: Entry, refused: _Signed | None) -> _Signed:
        """The URL of an entry, signed not too long ago, and later than one that was refused.

        With one URL of a batch the others have run out, too: the batch is signed anew, once.
        """
        key = version.id, entry.path
        found = self._kept(key)
        old = found is not None and self._clock() - found.signed_at > FRESH_SECONDS
        if found is None or found is refused or old:
            batch = _Batch(version, (entry.path,)) if found is None else found.batch
            with batch.lock:
                if self._kept(key) is found:
                    self._fetch(batch)
            found = self._kept(key)
        if found is None or found is refused:
            raise NotFoundError(f"{version.ref} {entry.path}: W&B has no download URL for it")
        return found

    def _kept(self, key: tuple[str, str]) -> _Signed | None:
        with self._lock:
            return self._urls.get(key)

    def _fetch(self, batch: _Batch) -> None:
        ref = batch.version.ref
        now = self._clock()
        nodes = self._session.pages(
            f"sign the files of {ref}",
            gql.FILE_URLS,
            {
                "entity": ref.entity,
                "project": ref.project,
                "collection": ref.collection,
                "alias": ref.alias,
                "fileNames": list(batch.paths),
            },
            lambda data: data["project"]["artifactCollection"]["artifactMembership"]["files"],
            page=FILE_URL_PAGE,
        )
        for node in nodes:
            key = batch.version.id, node["name"]
            with self._lock:
                self._urls.pop(key, None)
                self._urls[key] = _Signed(url=node["directUrl"], batch=batch, signed_at=now)
                while len(self._urls) > KEPT_URLS:
                    self._urls.popitem(last=False)


def _decoded(body: Iterable[bytes], what: str) -> Manifest:
    try:
        return read_manifest(body)
    except ValueError as error:
        raise IntegrityError(
            f"{what}: it is not JSON: {error}", hint=ManifestError.default_hint
        ) from error


def _check_size(answer: Answer | SmallAnswer, entry: Entry, what: str) -> None:
    """See that the whole file is as large as the manifest says, as far as the answer tells.

    Bytes of a file whose digest Oxen shares go there in parts that nobody hashes on their way: what
    tells otherwise is the last part, as if bytes were damaged.
    """
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        total = match[3] if match else ""
    else:
        total = answer.headers.get("content-length", "")
    if entry.size is not None and total.isdecimal() and int(total) != entry.size:
        raise SizeMismatchError.of(what, entry.size, int(total))


def _exactly(answer: Answer | SmallAnswer, what: str) -> Iterator[bytes]:
    """The body in chunks, as many bytes as were promised."""
    promised = answer.headers.get("content-length")
    count = 0
    for chunk in answer.chunks(CHUNK_BYTES):
        count += len(chunk)
        yield chunk
    if promised is not None and promised.isdecimal() and int(promised) != count:
        raise IntegrityError(f"{what}: {count} of {promised} bytes arrived")


def _ranged(
    answer: Answer | SmallAnswer, begin: int, size: int | None, what: str
) -> Iterator[bytes]:
    """The body of an answer that says it is the range that was asked for."""
    said = answer.headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(said)
    end = None if size is None else begin + size
    if match is None or int(match[1]) != begin or (end is not None and int(match[2]) + 1 != end):
        raise IntegrityError(f"{what}: another range came than was asked for ({said!r})")
    if end is None and match[3] not in {"*", str(int(match[2]) + 1)}:
        raise IntegrityError(f"{what}: the range that came ends early ({said!r})")
    left = int(match[2]) + 1 - begin
    for chunk in _exactly(answer, what):
        left -= len(chunk)
        yield chunk
    if left:
        raise IntegrityError(f"{what}: the range that came is {left} bytes short")


def _cut_out(chunks: Iterator[bytes], begin: int, size: int | None, what: str) -> Iterator[bytes]:
    """A range of a body that came whole, because the server knows no ranges."""
    skip, left = begin, size
    for chunk in chunks:
        piece = chunk[skip:] if left is None else chunk[skip : skip + left]
        skip = max(0, skip - len(chunk))
        if piece:
            yield piece
        if left is not None:
            left -= len(piece)
            if not left:
                return
    if skip or left:
        raise IntegrityError(f"{what}: the file ends before the range that was asked for")
