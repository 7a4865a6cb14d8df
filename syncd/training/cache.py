"""Contents on this machine's disk, each once under its hash, shared by all scripts of a user.

A content is written beside its place, hashed while it passes, and renamed into it: whoever finds it
there finds all of it. It is read-only and carries a fixed time; one that somebody wrote into all the
same has another, and is fetched again.

Who is killed on the way leaves a half file. It is locked while it is written, which other processes of
the machine see, and machines that share a disk where that carries locks; where it does not, they see by
the disk's own clock that it is written to. What neither holds of is taken away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
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
FORSAKEN = (
    3600.0  # seconds without a write after which nobody writes any more, where locks do not tell
)
_NO_LOCKS = (
    "Contents are shared under locks, which this disk refuses: let SYNCD_CACHE_DIR name a folder on "
    "another one, such as a disk of this machine's own."
)


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
            self._parts.mkdir(exist_ok=True)
            with NamedTemporaryFile(dir=self._parts, prefix=PART, delete=False) as file:
                path = Path(file.name)
                try:
                    with suppress(OSError):  # a disk without locks has its clock
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def tidy(self) -> None:
        """Take away what downloads left that were killed."""
        with suppress(FileNotFoundError):
            remove_forsaken(self._parts, [path.name for path in self._parts.iterdir()])

    @property
    def _parts(self) -> Path:
        """What is on its way into the cache; on the same disk as what has arrived."""
        return self.folder / "contents" / "parts"

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

        Raises:
            PermanentError: when the disk does not let itself be written to, or has no locks.
        """
        folder = self.folder / "locks"
        with disk(f"cannot write to {self.folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / name).open("a")
        with file:
            with disk(f"cannot lock {folder / name}", hint=_NO_LOCKS):
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


def remove_forsaken(folder: Path, names: Iterable[str]) -> None:
    """Take away half files that nobody writes any more.

    Args:
        folder: where they lie.
        names: of files in it; those that are no half files are left alone.
    """
    parts = [folder / name for name in names if name.startswith(PART)]
    if not parts:
        return
    with suppress(OSError):  # of another user, or gone meanwhile: whoever owns it takes it away
        os.utime(folder)
        now = folder.stat().st_ctime  # by the clock of the disk, which may be another machine's
        for part in parts:
            with suppress(OSError):
                if _is_forsaken(part, now):
                    part.unlink()


def _is_forsaken(part: Path, now: float) -> bool:
    found = part.lstat()
    # The time of a change, which nobody can set: what is almost done carries the fixed time.
    if not stat.S_ISREG(found.st_mode) or now - found.st_ctime < FORSAKEN:
        return False
    with part.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # however long nothing came
        except OSError:
            return True  # a disk without locks
        return True


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
