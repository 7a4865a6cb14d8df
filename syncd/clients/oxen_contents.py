"""How bytes get into the version store of an embedded repository.

    small    bytes -> tmp/, hashed while they pass; all of a batch are waited for at once, then renamed
    large    bytes -> tmp/partial/{W&B digest}, which outlives a failure and a kill; then renamed

The partial file lies on the same file system as its place in the version store: moving it there costs
nothing, and bytes that arrived are written once.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xxhash

from syncd.clients import oxen_proof
from syncd.clients.commits import Content, StoredContent
from syncd.clients.disk import translated
from syncd.clients.oxen_index import RepoIndex, sync
from syncd.clients.spool import Filling, Partial, Spool
from syncd.errors import SyncdError

LARGE = 8 << 20  # bytes; above, what arrived of a content is kept when the rest does not
PROCESS = uuid.uuid4().hex  # begins the names of this process's temporary files
Outcome = StoredContent | SyncdError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A temporary file with all bytes of a content."""

    path: Path
    stored: StoredContent


class Intake:
    """Takes contents into one repository; safe from any thread.

    Args:
        index: the repository, which exists.
        checkpoint: called with a name at each step.
    """

    def __init__(self, index: RepoIndex, checkpoint: Callable[[str], None]) -> None:
        self._index = index
        self._checkpoint = checkpoint
        self._what = f"cannot store bytes in {index.repo}"

    def put(self, chunks: Iterable[bytes]) -> StoredContent:
        """Store bytes, durably; stored bytes that are damaged are replaced.

        Raises:
            PermanentError: when the disk refuses.
        """
        with self._temporary() as path:
            written = self._write(path, chunks)
            with self._io(), path.open("rb") as file:
                os.fsync(file.fileno())
            self._place(written)
        return written.stored

    def bring(self, contents: Sequence[Content]) -> list[Outcome]:
        """See `VersionStore.bring`."""
        outcomes: dict[int, Outcome] = {}
        small: dict[int, _Written] = {}
        paths: list[Path] = []
        try:
            for number, content in enumerate(contents):
                try:
                    if content.size is not None and content.size > LARGE:
                        outcomes[number] = self._large(content, content.size)
                    else:
                        paths.append(self._fresh())
                        small[number] = self._write(paths[-1], content.chunks())
                except SyncdError as error:
                    outcomes[number] = error
            if small:
                outcomes |= self._keep(small)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)
        return [outcomes[number] for number in range(len(contents))]

    def _keep(self, small: dict[int, _Written]) -> dict[int, Outcome]:
        """Wait for the disk once for all, then give each its name."""
        outcomes: dict[int, Outcome] = {}
        self._checkpoint("bring.written")
        try:
            with self._io():
                sync(self._index.tmp)
        except SyncdError as error:
            return dict.fromkeys(small, error)
        for number, written in small.items():
            try:
                self._place(written)
                outcomes[number] = written.stored
            except SyncdError as error:
                outcomes[number] = error
        return outcomes

    def _large(self, content: Content, size: int) -> StoredContent:
        with self._io():
            partial = Spool(self._index.tmp, limit=sys.maxsize).partial(content.key, size)
        if partial is None:  # another thread is at it
            return self.put(content.chunks())
        with partial:
            return self._resumed(content, partial)

    def _resumed(self, content: Content, partial: Partial) -> StoredContent:
        """Go on behind what an earlier attempt left; what is no part of the content is deleted."""
        stored = Filling(partial, content).finish()
        self._checkpoint("bring.written")
        with self._io():
            partial.flush()
            target = self._index.content(stored.hash)
            if oxen_proof.damage(target, stored.hash, stored.size) is None:
                partial.remove()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.move(target)
        self._checkpoint("put.stored")
        return stored

    def _write(self, path: Path, chunks: Iterable[bytes]) -> _Written:
        digest, size = xxhash.xxh3_128(), 0
        with self._io():
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb", buffering=0)
        with file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                with self._io():
                    _write_all(file.fileno(), chunk)
        return _Written(path=path, stored=StoredContent(hash=f"{digest.intdigest():x}", size=size))

    def _place(self, written: _Written) -> None:
        target = self._index.content(written.stored.hash)
        with self._io():
            if oxen_proof.damage(target, written.stored.hash, written.stored.size) is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                written.path.rename(target)
        self._checkpoint("put.stored")

    def _fresh(self) -> Path:
        return self._index.tmp / f"{PROCESS}-{uuid.uuid4().hex}"

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        path = self._fresh()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _io(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translated(error, self._what) from error


def _write_all(handle: int, data: bytes) -> None:
    """All of it: one call may write less."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
