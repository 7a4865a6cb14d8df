"""What the gateway reads from: an embedded folder or an Oxen server, behind one seam.

A URL's part behind `/file/` is a revision and a path, and where one ends is not written: a branch
name may hold slashes. Only who knows the branches can tell, so an origin is asked with all of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from syncd.errors import NotFoundError
from syncd.refs import RepoRef

ROOM = 256 << 20  # bytes of pieces on their way, of all readers
LARGEST, SMALLEST = 1 << 20, 64 << 10  # bytes of a piece
HELD = 3  # pieces of a reader whose client is slow: on the wire, behind it, and one that waits for proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that can be read.

    Args:
        repo: its repository.
        commit: the id of the commit that holds it.
        path: where in the commit's tree.
        hash: of its content, xxh3-128 as Oxen writes it.
        size: bytes.
        permanent: whether it was named by the commit's id, so that the name never means another.
    """

    repo: RepoRef
    commit: str
    path: str
    hash: str
    size: int
    permanent: bool


class Room:
    """The memory that readers share: many slow clients get smaller pieces, not more of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0

    @contextmanager
    def reader(self) -> Iterator[Callable[[], int]]:
        """Be one of the readers; gives what tells the bytes of a piece now."""
        with self._lock:
            self._readers += 1
        try:
            yield self._piece
        finally:
            with self._lock:
                self._readers -= 1

    def _piece(self) -> int:
        return max(SMALLEST, min(LARGEST, ROOM // (HELD * self._readers)))


class Origin(Protocol):
    """Where moved files lie; called from several threads at a time."""

    def find(self, repo: RepoRef, names: Sequence[str]) -> Found:
        """The file that a URL names.

        Args:
            repo: the repository.
            names: the segments behind `/file/`, decoded: a revision, then a path.

        Raises:
            NotFoundError, InvalidNameError: saying which part of the name leads nowhere.
            AuthenticationError: when the origin does not let us read.
            TransientError: when it cannot be asked now.
            PermanentError: when what it keeps is damaged, or not understood.
        """
        ...

    def read(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """The bytes of a file from `begin` up to but not including `end`, in constant memory.

        The first piece comes only when there are bytes to send. Whoever reads compares their number.

        Raises:
            SyncdError: as `find`; in the middle too, when the bytes end early.
        """
        ...


def located(
    repo: RepoRef,
    names: Sequence[str],
    holds: Callable[[str], bool],
    heads: Callable[[], Mapping[str, str]],
) -> tuple[str, Sequence[str], bool]:
    """The commit, the path's segments behind it, and whether it is named by its id.

    Of branch names, encoded slashes or not, the shortest that exists is meant.

    Args:
        repo: the repository.
        names: the segments behind `/file/`, at least two.
        holds: whether it has a commit of this id.
        heads: its branches, with the commit each points at.

    Raises:
        NotFoundError: when there is neither such a commit nor such a branch.
    """
    if holds(names[0]):
        return names[0], names[1:], True
    branches = heads()
    for count in range(1, len(names)):
        branch = "/".join(names[:count])
        if branch in branches:
            return branches[branch], names[count:], False
    raise NotFoundError(
        f"no commit or branch {names[0][:100]!r} in {repo}",
        hint="Check the spelling; a slash in a branch name is written %2F.",
    )


def tree_path(names: Sequence[str]) -> str | None:
    """The path in a tree that decoded segments spell, or None when no file can be there."""
    safe = all(name not in {"", ".", ".."} and "/" not in name for name in names)
    return "/".join(names) if names and safe else None


def no_repository(repo: RepoRef) -> NotFoundError:
    """The repository does not exist."""
    return NotFoundError(f"no repository {str(repo)!r} here", hint="Check the spelling.")


def no_file(repo: RepoRef, commit: str, names: Sequence[str]) -> NotFoundError:
    """The commit has no such file."""
    return NotFoundError(
        f"no file {'/'.join(names)[:300]!r} in {repo}@{commit}",
        hint="Check the path; names are percent-encoded segment by segment.",
    )
