"""Contents on this machine's disk, each once under its hash, shared by all scripts of a user.

A content is written beside its place, hashed while it passes, and renamed into it: whoever finds it
there finds all of it. It is read-only and carries a fixed time; one that somebody wrote into all the
same has another, and is fetched again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import xxhash

from syncd.clients.disk import disk
from syncd.config.model import home
from syncd.errors import IntegrityError

VARIABLE = "SYNCD_CACHE_DIR"
STAMP = 946_684_800  # seconds: the year 2000, which no file is written in any more
READ_ONLY = 0o444
CHUNK = 1 << 20  # bytes copied at once
PART = ".syncd-part-"  # begins the name of what is on its way into a folder


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where contents are kept: SYNCD_CACHE_DIR, else `$XDG_CACHE_HOME/syncd`, else ~/.cache/syncd."""
    if named := environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else home(environ) / ".cache") / "syncd"


class Cache:
    """The contents of a folder.

    Args:
        folder: made on demand.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, content: str) -> Path:
        """Where a content is, or would be."""
        padded = content.rjust(32, "0")
        return self.folder / "contents" / padded[:2] / padded

    def has(self, content: str, size: int) -> bool:
        """Whether a content is here, as it was written."""
        return self._is_whole(self.place(content), size)

    def keep(self, content: str, size: int, chunks: Iterable[bytes], what: str) -> None:
        """Take a content in.

        Args:
            content: its hash in Oxen's spelling.
            size: bytes.
            chunks: its bytes.
            what: whose they are, for messages.

        Raises:
            IntegrityError: when they are not what the hash promises.
            DiskFullError: when there is no room.
        """
        place = self.place(content)
        with disk(f"cannot keep {what} in {self.folder}"):
            place.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=place.parent, prefix=PART, delete=False) as file:
                path = Path(file.name)
                try:
                    hasher = xxhash.xxh3_128()
                    passed = 0
                    for chunk in chunks:
                        hasher.update(chunk)
                        passed += len(chunk)
                        file.write(chunk)
                    _check(what, f"{hasher.intdigest():x}", passed, content, size)
                    file.flush()
                    settle(path)
                    path.replace(place)
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise

    def put_into(self, content: str, size: int, target: Path) -> None:
        """Make a file be this content, by a link where the disk allows it, else as a copy.

        Args:
            content: its hash; it is here.
            size: bytes.
            target: the file, in a folder that exists.
        """
        place = self.place(content)
        with suppress(FileNotFoundError):
            if place.samefile(target):
                return
            if self._is_whole(target, size) and _hash(target) == content:
                return  # a copy of it
        part = target.with_name(f"{PART}{os.getpid()}-{os.urandom(4).hex()}")
        with disk(f"cannot write {target}"):
            try:
                try:
                    part.hardlink_to(place)
                except OSError as error:
                    if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                        raise
                    shutil.copyfile(place, part)
                    settle(part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Nobody else fetches the same within the block; the processes of a training wait here.

        Args:
            name: of what is fetched, a plain word.
        """
        folder = self.folder / "locks"
        with disk(f"cannot write to {self.folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @staticmethod
    def _is_whole(path: Path, size: int) -> bool:
        try:
            found = path.stat()
        except OSError:
            return False
        return found.st_size == size and int(found.st_mtime) == STAMP


def settle(path: Path) -> None:
    """Give a file the fixed time, and take from all the right to write to it."""
    path.chmod(READ_ONLY)
    os.utime(path, (STAMP, STAMP))


def _check(what: str, found: str, passed: int, content: str, size: int) -> None:
    if (found, passed) != (content, size):
        raise IntegrityError(
            f"{what}: {passed} bytes with hash {found} arrived, the commit names {size} bytes with "
            f"hash {content}",
            hint="Try again; if it stays, run `syncd verify` on the commit.",
        )


def _hash(path: Path) -> str:
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
    return f"{hasher.intdigest():x}"
