"""Files of the embedded store's folder, for the gateway.

It finds the stored bytes through the index files (`oxen_index`) and never opens a repository, so it
works while another process writes and while syncd is down.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from syncd.clients.origins import Found, Room, located, no_file, no_repository, tree_path
from syncd.clients.oxen_index import Branches, IndexEntry, RepoIndex
from syncd.clients.oxen_mark import Mark
from syncd.errors import NotFoundError, ServiceUnavailableError, VerificationError
from syncd.refs import RepoRef

SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class FolderOrigin:
    """An `Origin` over the directory of an embedded store.

    Args:
        root: the directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._room = Room()

    def find(self, repo: RepoRef, names: Sequence[str]) -> Found:
        """See `Origin.find`."""
        with _enough():
            return self._find(repo, names)

    def _find(self, repo: RepoRef, names: Sequence[str]) -> Found:
        index = RepoIndex(self._root, repo)
        if not index.directory.parent.is_dir():
            if Mark(self._root).read() is None and _is_empty(self._root):
                raise ServiceUnavailableError(
                    f"there is nothing in {self._root}",
                    hint="Mount the disk of [oxen] url; where nothing was moved yet, move something.",
                )
            raise NotFoundError(f"no namespace {repo.namespace!r} here", hint="Check the spelling.")
        if not index.exists():
            raise no_repository(repo)
        commit, rest, permanent = located(
            repo, names, index.holds, lambda: (index.branches() or Branches()).heads
        )
        opened = index.open(commit)
        if opened is None:
            raise NotFoundError(
                f"no index of commit {commit} in {repo}",
                hint="Run `syncd verify` on this commit.",
            )
        with opened:
            path = tree_path(rest)
            entry = opened.find(path) if path is not None else None
        if entry is None:
            raise no_file(repo, commit, rest)
        _check(index, entry, commit)
        return Found(
            repo=repo,
            commit=commit,
            path=entry.path,
            hash=entry.hash,
            size=entry.size,
            permanent=permanent,
        )

    def read(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """See `Origin.read`."""
        try:
            content = RepoIndex(self._root, found.repo).content(found.hash)
            with self._room.reader() as piece, _enough(), content.open("rb") as file:
                file.seek(begin)
                while begin < end and (data := file.read(min(piece(), end - begin))):
                    begin += len(data)
                    yield data
        except OSError as error:
            raise _unreadable(found.path, found.repo, found.commit, "cannot be read") from error


@contextmanager
def _enough() -> Iterator[None]:
    """Tell a lack of open files from damage: it passes when others have what they came for.

    Raises:
        ServiceUnavailableError: when this process may open no more.
    """
    try:
        yield
    except OSError as error:
        if error.errno in SCARCE:
            raise ServiceUnavailableError(
                f"the gateway serves as many as it can: {error.strerror}",
                hint="Let it open more files (LimitNOFILE=, ulimit -n).",
            ) from error
        raise


def _is_empty(folder: Path) -> bool:
    return not folder.is_dir() or not any(folder.iterdir())


def _check(index: RepoIndex, entry: IndexEntry, commit: str) -> None:
    """Make sure that the stored bytes have the length the index promises."""
    try:
        size = index.content(entry.hash).stat().st_size
    except OSError as error:
        raise _unreadable(entry.path, index.repo, commit, "cannot be read") from error
    if size != entry.size:
        raise _unreadable(entry.path, index.repo, commit, "have another length")


def _unreadable(path: str, repo: RepoRef, commit: str, why: str) -> VerificationError:
    return VerificationError(
        f"the stored bytes of {path!r} in {repo}@{commit} {why}",
        hint="Run `syncd verify` on the host.",
    )
