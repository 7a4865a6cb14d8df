"""What lies beside an embedded Oxen repository, so that readers need not open it.

liboxen locks a repository for the process that uses it. So each commit leaves one immutable file
with its tree, from which the gateway finds the stored bytes without liboxen:

    {root}/{namespace}/{repo}/.oxen/            the repository, liboxen's own format
    {root}/{namespace}/.syncd/{repo}/
        commits/{commit}.index                  one per commit, see below
        pending.index                           the tree of a commit under way
        branches.json                           branch -> commit, and moves under way
        tmp/                                    contents on their way in

An index file is one line of JSON (message, author, parents), then one line per file, sorted by
path: path, xxh3-128, bytes and modification time (nanoseconds), tab between them. Paths hold no
control characters (`refs.check_path`) and a tab sorts before every other character that may
occur, so lines are in path order and a lookup is a binary search in a mapped file. A last line
carries the xxh3-128 of all before it. Every file appears by an atomic rename, after an fsync.

This module reads and writes files only; it never imports oxen.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import xxhash

from syncd.clients.commits import Author, Commit, TreeEntry
from syncd.clients.oxen_paths import check_repo
from syncd.errors import InvalidNameError, PermanentError
from syncd.refs import HASH, CommitRef, RepoRef

INDEX_DIR = ".syncd"
_COMMIT = re.compile(r"[0-9a-f]{1,64}")
_SUM = b"\x00"  # begins the last line of an index; no path can
_PIECE = 1 << 20  # bytes that are read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """A file of a commit, with the modification time (ns) liboxen saw when it was staged."""

    path: str
    hash: str
    size: int
    mtime: int = 0

    def tree_entry(self) -> TreeEntry:
        """What the rest of syncd sees of it."""
        return TreeEntry(path=self.path, hash=self.hash, size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """The branches of a repository; `moving` are those whose move may not have ended."""

    heads: Mapping[str, str] = field(default_factory=dict)
    moving: Mapping[str, str] = field(default_factory=dict)


class CommitIndex:
    """An open index file; safe to read while its repository is written.

    Args:
        path: the index file.

    Raises:
        FileNotFoundError: when there is none.
        PermanentError: when the file is damaged at its ends (`check` reads all of it).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            self._file.close()
            raise self._damaged() from error
        self._start = self._map.find(b"\n") + 1
        self._end = self._map.rfind(b"\n" + _SUM) + 1
        if not 0 < self._start <= self._end or self._map[-1:] != b"\n":
            self._close()
            raise self._damaged()
        try:
            self.header: dict[str, Any] = json.loads(self._map[: self._start])
        except ValueError as error:
            self._close()
            raise self._damaged() from error

    def _damaged(self) -> PermanentError:
        return PermanentError(
            f"the index {self._path.name} is damaged",
            hint=f"Delete {self._path}; it is rebuilt from the repository.",
        )

    def commit(self, ref: CommitRef) -> Commit:
        """The commit as the index describes it."""
        header = self.header
        return Commit(
            ref=ref,
            message=header["message"],
            author=Author(name=header["author"], email=header["email"]),
            parents=tuple(header["parents"]),
        )

    def find(self, path: str) -> IndexEntry | None:
        """The file at a path, or None; constant memory, logarithmic time."""
        key = path.encode(errors="surrogatepass") + b"\t"
        begin = self._seek(key)
        line = self._map[begin : self._map.find(b"\n", begin)]
        return _entry(line) if line.startswith(key) else None

    def below(self, prefix: str) -> Iterator[IndexEntry]:
        """The files whose paths begin so."""
        begin = self._seek(prefix.encode(errors="surrogatepass"))
        return takewhile(lambda entry: entry.path.startswith(prefix), self._entries(begin))

    def _seek(self, key: bytes) -> int:
        """Where the first line begins that does not sort before a key."""
        low, high = self._start, self._end
        while low < high:
            middle = (low + high) // 2
            end = self._map.find(b"\n", middle)
            begin = self._map.rfind(b"\n", self._start - 1, middle) + 1
            if self._map[begin:end] < key:
                low = end + 1
            else:
                high = begin
        return low

    def __iter__(self) -> Iterator[IndexEntry]:
        return self._entries(self._start)

    def _entries(self, begin: int) -> Iterator[IndexEntry]:
        rest = b""
        for piece in self._pieces(begin):
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            yield from map(_entry, lines)

    def check(self) -> None:
        """Read all of it.

        Raises:
            PermanentError: when it is not what was written.
        """
        digest = xxhash.xxh3_128()
        for piece in self._pieces(0):
            digest.update(piece)
        if self._map[self._end + 1 : -1] != digest.hexdigest().encode():
            raise self._damaged()

    def _pieces(self, begin: int) -> Iterator[bytes]:
        """The file from a byte on, without its last line; read, not mapped: it may be large."""
        while begin < self._end:
            piece = os.pread(self._file.fileno(), min(_PIECE, self._end - begin), begin)
            if not piece:
                raise self._damaged()
            begin += len(piece)
            yield piece

    def _close(self) -> None:
        self._map.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()


def _entry(line: bytes) -> IndexEntry:
    path, content, size, mtime = line.split(b"\t")
    return IndexEntry(path=path.decode(), hash=content.decode(), size=int(size), mtime=int(mtime))


def repositories(root: Path, namespace: str) -> list[RepoRef]:
    """The repositories of a namespace that have been made, by name.

    Raises:
        InvalidNameError: when it is not a plain name.
    """
    folder = RepoIndex(root, RepoRef(namespace=namespace, repo="any")).worktree.parent
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = [RepoRef(namespace=namespace, repo=name) for name in names if name != INDEX_DIR]
    return [repo for repo in found if RepoIndex(root, repo).exists()]


class RepoIndex:
    """The files beside one repository.

    Args:
        root: the directory of all repositories.
        repo: the repository.

    Raises:
        InvalidNameError: when namespace or repository is not a plain name.
    """

    def __init__(self, root: Path, repo: RepoRef) -> None:
        self.repo = check_repo(repo)
        self.worktree = root / repo.namespace / repo.repo
        self.oxen = self.worktree / ".oxen"
        self._versions = self.oxen / "versions" / "files"
        self.directory = root / repo.namespace / INDEX_DIR / repo.repo
        self.lock = self.directory / "lock"
        self.tmp = self.directory / "tmp"
        self.pending = self.directory / "pending.index"
        self._commits = self.directory / "commits"
        self._branches = self.directory / "branches.json"

    def exists(self) -> bool:
        """Whether the repository has been made."""
        return self.oxen.is_dir()

    def content(self, content: str) -> Path:
        """Where liboxen keeps the bytes with this hash (storage/local.rs, `version_path`).

        Raises:
            InvalidNameError: when it is not a hash.
        """
        if not HASH.fullmatch(content):
            raise InvalidNameError(f"{content!r} is not an xxh3-128 hash")
        return Path(f"{self._versions}/{content[:2]}/{content[2:]}/data")

    def holds(self, commit: str) -> bool:
        """Whether the repository itself has the commit: liboxen keeps a folder for each."""
        return bool(_COMMIT.fullmatch(commit)) and (self.oxen / "history" / commit).is_dir()

    def has_commits(self) -> bool:
        """Whether a commit was ever made, on a branch or not."""
        try:
            return any((self.oxen / "history").iterdir())
        except FileNotFoundError:
            return False

    def index_path(self, commit: str) -> Path:
        """Where a commit's index is."""
        return self._commits / f"{commit}.index"

    def open(self, commit: str) -> CommitIndex | None:
        """A commit's index, or None when there is none."""
        if not _COMMIT.fullmatch(commit):
            return None
        try:
            return CommitIndex(self.index_path(commit))
        except FileNotFoundError:
            return None

    def write_pending(self, header: Mapping[str, Any], entries: Iterable[IndexEntry]) -> None:
        """Write, durably, the index of a commit that is about to be made."""
        with replaced(self.pending) as path, path.open("wb") as file:
            digest = xxhash.xxh3_128()

            def write(text: str) -> None:
                data = text.encode()
                digest.update(data)
                file.write(data)

            write(json.dumps(header, sort_keys=True) + "\n")
            for entry in entries:
                write(f"{entry.path}\t{entry.hash}\t{entry.size}\t{entry.mtime}\n")
            file.write(_SUM + digest.hexdigest().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def adopt_pending(self, commit: str) -> None:
        """Make the pending index the commit's."""
        self._commits.mkdir(parents=True, exist_ok=True)
        self.pending.rename(self.index_path(commit))
        sync_directory(self._commits)

    def branches(self) -> Branches | None:
        """The branches as last written, or None when nothing was."""
        try:
            data = json.loads(self._branches.read_bytes())
            return Branches(heads=data["branches"], moving=data["moving"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError):
            return None  # damaged: the repository itself knows them

    def write_branches(self, branches: Branches) -> None:
        """Replace the branches file, durably."""
        data = {"branches": dict(branches.heads), "moving": dict(branches.moving)}
        with replaced(self._branches) as path, path.open("w") as file:
            json.dump(data, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of `path` at the end, and vanishes on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    try:
        yield fresh
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames inside a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Make durable whatever was written to the file system of a path.

    One call for all contents of a commit: an fsync of each one's two folders costs more.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle):
            os.sync()
    finally:
        os.close(handle)
