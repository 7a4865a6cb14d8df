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
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TextIO

import xxhash

from syncd import log
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
SILENCE = 60.0  # seconds that a process waits for another one without a word
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
        self._contents = str(folder / "contents")

    def place(self, content: str) -> Path:
        """Where a content is, or would be."""
        return Path(self._place(content))

    def _place(self, content: str) -> str:
        padded = content.rjust(32, "0")
        return f"{self._contents}/{padded[:2]}/{padded}"  # a `Path` costs more than the rest

    def has(self, content: str, size: int) -> bool:
        """Whether a content is here, as it was written."""
        return _is_whole(_stat(self._place(content)), size)

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
        folders = [self._parts]
        with suppress(FileNotFoundError):
            if not self._parts.exists():  # an older syncd wrote beside the contents: looked at once
                folders = [path for path in self._parts.parent.iterdir() if path.is_dir()]
        for folder in folders:
            with suppress(FileNotFoundError):
                remove_forsaken(folder, [path.name for path in folder.iterdir()])

    @property
    def _parts(self) -> Path:
        """What is on its way into the cache; on the same disk as what has arrived."""
        return self.folder / "contents" / "parts"

    def is_in(self, content: str, size: int, target: Path) -> bool:
        """Whether a file is this content, as it was written."""
        there, held = _stat(f"{target}"), _stat(self._place(content))
        if there is not None and held is not None and os.path.samestat(there, held):
            return _is_whole(held, size)
        return _is_whole(there, size) and _hash(target) == content  # a copy of it

    def put_into(self, content: str, size: int, target: Path) -> None:
        """Make a file be this content, by a link where the disk allows it, else as a copy.

        Args:
            content: its hash; it is here.
            size: bytes.
            target: the file, in a folder that exists.
        """
        if self.is_in(content, size, target):
            return
        place = self.place(content)
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
    def turn(self, *names: str) -> Iterator[bool]:
        """Nobody fetches the same within the block; the processes of a training wait here.

        Whoever comes first is alone. Who had to wait looks at what that one brought together with all
        others who waited.

        Args:
            names: of what is fetched, plain words, in the order in which everybody names them.

        Yields:
            Whether this process is alone.

        Raises:
            PermanentError: when the disk does not let itself be written to, or has no locks.
        """
        with ExitStack() as stack:
            files = [stack.enter_context(self._opened(name)) for name in names]
            is_alone = all(_locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB) for file in files)
            for file in () if is_alone else files:
                _locked(file, fcntl.LOCK_UN)
            for file in () if is_alone else files:
                _locked(file, fcntl.LOCK_SH)
            yield is_alone

    @contextmanager
    def alone(self, *names: str) -> Iterator[None]:
        """Likewise, and whoever else is there is waited for."""
        with ExitStack() as stack:
            for name in names:
                _locked(stack.enter_context(self._opened(name)), fcntl.LOCK_EX)
            yield

    def _opened(self, name: str) -> TextIO:
        folder = self.folder / "locks"
        with disk(f"cannot write to {self.folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            return (folder / name).open("a")


def _locked(file: TextIO, how: int) -> bool:
    """Whether a lock was given; it is waited for unless `how` says otherwise."""
    telling = threading.Timer(SILENCE, _tell_of_waiting, [file.name])
    telling.daemon = True
    with disk(f"cannot lock {file.name}", hint=_NO_LOCKS):
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if how & fcntl.LOCK_NB:
                return False
            telling.start()
            try:
                fcntl.flock(file, how)
            finally:
                telling.cancel()
    return True


def _tell_of_waiting(lock: str) -> None:
    log.get().warning(
        log.Life.FETCH_WAITING,
        lock=lock,
        hint="Another process fetches the same. If none is there any more, a machine that shares the "
        "cache may have died with the lock: delete that file, and start again.",
    )


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 see `Cache._place`
    except OSError:
        return None


def _is_whole(found: os.stat_result | None, size: int) -> bool:
    return found is not None and found.st_size == size and int(found.st_mtime) == STAMP


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
