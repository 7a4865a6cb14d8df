"""Files that wait on this machine on their way to a server, within a budget of bytes.

A partial file holds the first bytes of a content and outlives the process: whoever asks for the
same content next goes on behind them. Its name is the content's W&B digest, so nothing else is
needed to find it again.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import xxhash

from syncd.clients.commits import Content, StoredContent
from syncd.clients.disk import disk
from syncd.errors import IntegrityError

CHUNK = 1 << 20
HINT = "Check the free space under [transfer] spool_dir, then run again."
KEPT = 7 * 24 * 3600.0  # seconds that a partial file nobody asks for is kept
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


class Partial:
    """The first bytes of a content; open for one user at a time.

    Args:
        path: the file.
        spool: gets the room back at the end.
        reserved: bytes of the budget that it has.
    """

    def __init__(self, path: Path, spool: Spool, reserved: int) -> None:
        self._path, self._spool, self._reserved = path, spool, reserved
        self._file = path.open("a+b")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, begin: int, size: int) -> Iterator[bytes]:
        """A range of the bytes, in chunks."""
        while size and (data := os.pread(self._file.fileno(), min(CHUNK, size), begin)):
            begin, size = begin + len(data), size - len(data)
            yield data

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end.

        Raises:
            DiskFullError: when there is no room.
            PermanentError: when the disk refuses.
        """
        with disk("cannot write to the spool", hint=HINT):
            self._file.write(chunk)

    def flush(self) -> None:
        """Hand what was added to the operating system.

        Raises:
            DiskFullError: when there is no room.
        """
        with disk("cannot write to the spool", hint=HINT):
            self._file.flush()

    def remove(self) -> None:
        """Delete the file; what is open stays readable until the end."""
        self._path.unlink(missing_ok=True)

    def move(self, target: Path) -> None:
        """Make the bytes durable and give them another name on the same file system.

        Raises:
            OSError: when the disk refuses.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.rename(target)

    def lock(self) -> bool:
        """Take the file for this user alone; False when another has it, or it is gone."""
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have moved it between our opening and our locking it.
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except (BlockingIOError, FileNotFoundError):
            return False

    def close(self) -> None:
        """Give the file and its room back.

        What the disk refuses to take then is not in the file, and is brought again: why it does was
        told when it was written.
        """
        try:
            with suppress(OSError):
                self._file.close()
        finally:
            self._spool.release(self._reserved)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Filling:
    """A content on its way into its partial file, or through it to somewhere else.

    Args:
        partial: holds the first bytes already, or nothing.
        content: what is to be there.

    `size` is the number of bytes that are in the file, or on their way there.
    """

    def __init__(self, partial: Partial, content: Content) -> None:
        self._partial = partial
        self._digest, self.size = xxhash.xxh3_128(), 0
        self._arriving = content.chunks(self._there())

    def _there(self) -> Iterator[bytes]:
        for chunk in self._partial.read(0, self._partial.size):
            self._take(chunk)
            yield chunk

    def _take(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.size += len(chunk)

    def begin(self, enough: Callable[[int], bool]) -> None:
        """Get bytes into the file until `enough`, told how many are there, says so, or all are.

        Raises:
            IntegrityError: when it is not what W&B promises; then the file is removed.
            PermanentError: when the disk refuses.
        """
        with self._spoiled():
            for chunk in self._arriving:
                self._take(chunk)
                self._partial.append(chunk)
                if enough(self.size):
                    return

    def finish(self) -> StoredContent:
        """Get all that is missing into the file; `Partial.flush` comes after.

        Raises:
            IntegrityError: when it is not what W&B promises; then the file is removed.
            PermanentError: when the disk refuses.
        """
        self.begin(lambda _size: False)
        return StoredContent(hash=f"{self._digest.intdigest():x}", size=self.size)

    def through(self) -> Iterator[bytes]:
        """All bytes: those in the file, then those that arrive and are kept nowhere.

        Raises:
            IntegrityError: at the end, when they are not what W&B promises; the file is removed.
        """
        self._partial.flush()
        yield from self._partial.read(0, self._partial.size)
        with self._spoiled():
            yield from self._arriving

    @contextmanager
    def _spoiled(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            self._partial.remove()
            raise


class Spool:
    """A folder with a budget.

    Args:
        folder: made on demand.
        limit: bytes that partial files in use may take together.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._used = 0
        self._lock = threading.Lock()

    def partial(self, key: str, size: int) -> Partial | None:
        """The partial file of a content, alone for the caller until it is closed.

        Args:
            key: the content's W&B digest.
            size: bytes of the whole content.

        Returns:
            None when the budget has no room for it, or somebody else is at it.
        """
        path = self._made("partial") / _checked(key)
        with self._lock:
            if self._used + size > self._limit:
                return None
            self._used += size
        try:
            with disk("cannot use the spool", hint=HINT):
                self._tidy(path.parent)
                partial = Partial(path, self, size)
        except BaseException:
            self.release(size)
            raise
        if partial.lock() and partial.size <= size:
            return partial
        partial.close()
        return None

    def note(self, name: str) -> Path:
        """Where a small note of this name is kept."""
        return self._made("notes") / f"{_checked(name)}.json"

    def tidy(self) -> None:
        """Delete partial files that nobody has asked for in days."""
        if (folder := self._folder / "partial").is_dir():
            self._tidy(folder)

    def release(self, size: int) -> None:
        """Give room back."""
        with self._lock:
            self._used -= size

    def _made(self, name: str) -> Path:
        folder = self._folder / name
        with disk("cannot use the spool", hint=HINT):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    @staticmethod
    def _tidy(folder: Path) -> None:
        """Delete what nobody has asked for in days."""
        oldest = time.time() - KEPT
        for file in folder.iterdir():
            try:
                if file.stat().st_mtime < oldest:
                    file.unlink()
            except FileNotFoundError:
                continue  # another process did it


def _checked(name: str) -> str:
    assert _NAME.fullmatch(name), f"{name!r} makes no file name"
    return name
