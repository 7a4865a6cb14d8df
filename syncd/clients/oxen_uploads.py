"""How bytes get to an Oxen server: small files many at a time, large ones in parts.

    several, or small       read into memory, one multipart request, staged where they will be
    hash known beforehand   W&B's ranges -> parts, nothing on disk; goes on after a kill
    comes soon              one pass: streamed through, hashed here and there
    takes long              W&B -> a partial file in the spool (goes on after a kill) -> parts

What comes soon is known when the first bytes are in: a file that would come again within two minutes
need not be kept on the way. One of more than ONE_PASS bytes is, for the way to Oxen may be slower.

The server keeps an upload for 60 s without a part (liboxen 0.65.2, `versions/uploads.rs`); when it
has forgotten one, its parts are sent again. Our note of an upload is a file beside the spool.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xxhash

from syncd.clients.commits import SMALL, Content, StoredContent, TreeEntry
from syncd.clients.disk import disk
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_wire import Json
from syncd.clients.spool import HINT, Filling, Partial, Spool
from syncd.errors import (
    AuthenticationError,
    IntegrityError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    SyncdError,
)
from syncd.refs import RepoRef

IN_MEMORY = 8 << 20  # bytes that `put` holds before it takes a file
LARGE = 64 << 20  # bytes; from here on a file of unknown hash begins in the spool
FIRST = 32 << 20  # bytes of it that tell how fast the rest will come
ONE_PASS = 1 << 30  # bytes; above, all of it goes through the spool
SOON = 120.0  # seconds in which what is not kept would come again
STAGED_AT_ONCE = 8  # requests that stage one content each
FILES_A_REQUEST = 250
CHUNK = 1 << 20
NOTING = "cannot note an upload in the spool"
Outcome = tuple[StoredContent | SyncdError, bool]  # what happened, and whether it is staged


class Uploads:
    """The ways of bytes into one server.

    Args:
        api: the server.
        spool: the folder of partial files and notes.
        limit: bytes that partial files may take at a time.
        clock: seconds; injected by tests.
    """

    def __init__(
        self,
        api: OxenApi,
        spool: Path,
        *,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._spool = Spool(spool, limit=limit)
        self._clock = clock

    def put(self, repo: RepoRef, chunks: Iterable[bytes]) -> StoredContent:
        """Store bytes of unknown size; beyond a few MiB they wait in a file that has no name."""
        digest, size = xxhash.xxh3_128(), 0
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            stored = StoredContent(hash=f"{digest.intdigest():x}", size=size)
            if not self._whole(repo, [stored]):
                if size <= IN_MEMORY:
                    file.seek(0)
                    self._api.store(repo, [(stored.hash, file.read())])
                else:

                    def part(begin: int, length: int) -> Iterator[bytes]:
                        file.seek(begin)
                        yield from _pieces(file.read, length)

                    self._in_parts(repo, stored, part)
        return stored

    def bring(
        self, repo: RepoRef, contents: Sequence[Content], workspace: str | None
    ) -> list[Outcome]:
        """Store contents, and stage the small ones where there is a workspace to stage them in."""
        if len(contents) > 1 or (contents and _small(contents[0])):
            return self._batch(repo, contents, workspace)
        return [self._single(repo, content, workspace) for content in contents]

    def stage(self, repo: RepoRef, workspace: str, entries: Sequence[TreeEntry]) -> None:
        """Stage contents that the server has.

        Raises:
            ServiceUnavailableError: when the server did not stage one.
        """
        empty = [(entry.path, b"") for entry in entries if not entry.size]
        for begin in range(0, len(empty), FILES_A_REQUEST):
            batch = empty[begin : begin + FILES_A_REQUEST]
            if lost := {path for path, _ in batch} - self._api.stage(repo, workspace, batch):
                raise ServiceUnavailableError(f"{repo}: the server did not stage {min(lost)!r}")

        def one(entry: TreeEntry) -> None:
            begun = self._api.begin_upload(repo, entry.hash, entry.size, (workspace, entry.path))
            if begun is not None:
                raise ServiceUnavailableError(f"{repo} has lost the content of {entry.path!r}")

        with ThreadPoolExecutor(STAGED_AT_ONCE, thread_name_prefix="stage") as pool:
            for _ in pool.map(one, (entry for entry in entries if entry.size)):
                pass

    def _whole(self, repo: RepoRef, contents: Sequence[StoredContent]) -> bool:
        """Whether the server has all of these, and what it has is whole.

        It never looks at what it has. Who brings a content that is there already may do so because
        it is damaged: then it is read back, and the server removes what is not what it should be.
        """
        absent = self._api.missing(repo, sorted({content.hash for content in contents}))
        for stored in {content for content in contents if content.hash not in absent}:
            digest = xxhash.xxh3_128()
            for chunk in self._api.content(repo, stored.hash):
                digest.update(chunk)
            if f"{digest.intdigest():x}" != stored.hash:
                self._api.remove_damaged(repo)
                return False
        return not absent

    # --- small

    def _batch(
        self, repo: RepoRef, contents: Sequence[Content], workspace: str | None
    ) -> list[Outcome]:
        read: list[tuple[bytes, StoredContent] | SyncdError] = []
        for content in contents:
            try:
                data = b"".join(content.chunks())
                read.append((data, StoredContent.of(data)))
            except SyncdError as error:
                read.append(error)
        pairs = list(zip(contents, read, strict=True))
        whole = [(content.path, *came) for content, came in pairs if isinstance(came, tuple)]
        failed: SyncdError | None = None
        staged: set[str] = set()
        try:
            self._whole(repo, [stored for _, _, stored in whole])
            if workspace is not None:
                staged = self._api.stage(repo, workspace, [(path, data) for path, data, _ in whole])
            else:
                self._api.store(repo, [(stored.hash, data) for _, data, stored in whole])
        except SyncdError as error:
            failed = error
        outcomes: list[Outcome] = []
        for content, came in pairs:
            if not isinstance(came, tuple):
                outcomes.append((came, False))
            elif failed is not None:
                outcomes.append((failed, False))
            elif workspace is not None and content.path not in staged:
                lost = ServiceUnavailableError(f"the server did not store {content.path!r}")
                outcomes.append((lost, False))
            else:
                outcomes.append((came[1], workspace is not None))
        return outcomes

    # --- large

    def _single(self, repo: RepoRef, content: Content, workspace: str | None) -> Outcome:
        try:
            if content.hash is not None and content.size:
                stored = StoredContent(hash=content.hash, size=content.size)
                self._in_parts(repo, stored, content.part)
                return stored, False
            if content.size is not None and content.size >= LARGE:
                partial = self._spool.partial(content.key, content.size)
                if partial is not None:
                    with partial:
                        return self._large(repo, content, content.size, partial, workspace)
            if workspace is None:
                return self.put(repo, content.chunks()), False
            return self._streamed(repo, content, content.chunks(), workspace), True
        except SyncdError as error:
            return error, False

    def _large(
        self, repo: RepoRef, content: Content, size: int, partial: Partial, workspace: str | None
    ) -> Outcome:
        """Through a partial file, all of it or the beginning; the file outlives a failure."""
        filling = Filling(partial, content)
        had, began = partial.size, self._clock()
        if workspace is not None and size <= ONE_PASS:
            filling.begin(lambda there: there - had >= FIRST)
            came = filling.size - had
            if (self._clock() - began) * size <= SOON * came:
                stored = self._streamed(repo, content, filling.through(), workspace)
                partial.remove()
                return stored, True
        stored = filling.finish()
        partial.flush()
        self._in_parts(repo, stored, partial.read)
        partial.remove()
        return stored, False

    def _streamed(
        self, repo: RepoRef, content: Content, chunks: Iterable[bytes], workspace: str
    ) -> StoredContent:
        """In one pass, which stages it too."""
        digest, size = xxhash.xxh3_128(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        if not self._api.stage_stream(repo, workspace, content.path, counted(), content.size):
            raise ServiceUnavailableError(f"the server did not store {content.path!r}")
        stored = StoredContent(hash=f"{digest.intdigest():x}", size=size)
        if self._api.missing(repo, [stored.hash]):
            raise IntegrityError(f"{content.path}: the server stored other bytes than were sent")
        return stored

    def _in_parts(
        self, repo: RepoRef, stored: StoredContent, read: Callable[[int, int], Iterator[bytes]]
    ) -> None:
        """Send a content of known hash part by part; the server compares the hash at the end.

        Raises:
            IntegrityError: when the bytes have another hash.
        """
        note = self._spool.note(f"{repo.namespace}-{repo.repo}-{stored.hash}")
        upload, done = _noted(note, stored.size)
        begin = done + 1
        while True:
            fresh = upload is None
            if upload is None:
                begun = self._api.begin_upload(repo, stored.hash, stored.size)
                if begun is None:
                    if self._whole(repo, [stored]):
                        break
                    continue
                upload = {**begun, "size": stored.size}
                with disk(NOTING, hint=HINT):
                    note.write_text(f"{json.dumps(upload)}\n")
                begin = 1
            try:
                self._send(repo, stored, upload, begin, read, note)
                break
            except NotFoundError:
                if fresh:
                    raise
                upload = None  # the server has forgotten it, or it is complete
        note.unlink(missing_ok=True)

    def _send(  # noqa: PLR0917
        self,
        repo: RepoRef,
        stored: StoredContent,
        upload: Json,
        begin: int,
        read: Callable[[int, int], Iterator[bytes]],
        note: Path,
    ) -> None:
        part_size = int(upload["part_size"])
        last = int(upload["num_parts"])
        with disk(NOTING, hint=HINT):
            done = note.open("a", buffering=1)
        with done:
            for number in range(begin, last + 1):
                offset = (number - 1) * part_size
                length = min(part_size, stored.size - offset)
                body = (read(offset, length), length)
                try:
                    if self._api.send_part(repo, upload["upload_id"], number, body):
                        return
                except PermanentError as error:
                    if number < last or isinstance(error, NotFoundError | AuthenticationError):
                        raise
                    # Only the last part can be refused for what all of them hold.
                    raise IntegrityError(f"{stored.hash}: {error}") from error
                with disk(NOTING, hint=HINT):
                    done.write(f"{number}\n")
        note.unlink(missing_ok=True)  # the next attempt begins anew
        raise IntegrityError(
            f"{repo}: all parts of {stored.hash} were sent, and it is not complete"
        )


def _noted(note: Path, size: int) -> tuple[Json | None, int]:
    """An upload that was begun, and how many parts of it were sent.

    The file's first line is the upload, each further one the number of a part. It only grows: to
    write a file anew waits for the disk (ext4), which took a tenth of the time of a transfer.
    """
    try:
        upload, *parts = note.read_text().splitlines(keepends=True)
        begun: Json = json.loads(upload)
        done = [int(part) for part in parts if part.endswith("\n")]
        valid = begun["size"] == size and {"upload_id", "part_size", "num_parts"} <= begun.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, 0
    return (begun, max(done, default=0)) if valid else (None, 0)


def _small(content: Content) -> bool:
    return content.size is not None and content.size <= SMALL


def _pieces(read: Callable[[int], bytes], length: int) -> Iterator[bytes]:
    while length and (data := read(min(CHUNK, length))):
        length -= len(data)
        yield data
