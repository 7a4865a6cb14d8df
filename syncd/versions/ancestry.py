"""Ancestry: how two commits of a repository are related.

A commit of Oxen's that syncd made as a merge has one parent there; the other one stands in its
message (`MERGED`). Both count.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from syncd.clients.commits import Commit
from syncd.clients.protocols import VersionStore
from syncd.refs import RepoRef

MERGED = "Wandb-Merged-Commit"  # the trailer that names what was merged
_MERGED = re.compile(rf"^{MERGED}: ([0-9a-f]+)$", re.MULTILINE)
# What the stores commit on the way to a commit; see `oxen_local` and `oxen_workspaces`.
_ON_THE_WAY = re.compile(r"Make folders\n\n|Gather files(?:\n\n|$)|Part \d+ of \d+\n\n")
_OURS, _THEIRS = 1, 2
_BOTH = _OURS | _THEIRS


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """How one commit, "theirs", stands to another one, "ours".

    Args:
        base: the latest commit that both come from; None when they have none in common.
        ahead: commits of theirs that ours lacks.
        behind: commits of ours that theirs lacks.
    """

    base: str | None
    ahead: int
    behind: int


def parents(commit: Commit) -> tuple[str, ...]:
    """What a commit was made of, by Oxen and by its message."""
    return (*commit.parents, *_MERGED.findall(commit.message))


def relation(
    store: VersionStore, repo: RepoRef, ours: str, theirs: str, *, merges: bool = True
) -> Relation:
    """Walk back from both until the rest is common; commits on the way to others are not counted.

    Args:
        store: Oxen.
        repo: the repository.
        ours: commit id.
        theirs: commit id.
        merges: whether what messages name counts; else Oxen's own history alone.
    """
    walk = _Walk(store, repo, merges=merges)
    walk.begin(ours, _OURS)
    walk.begin(theirs, _THEIRS)
    bases = walk.bases()
    return Relation(
        base=bases[0] if bases else None,
        ahead=walk.alone(_THEIRS),
        behind=walk.alone(_OURS),
    )


def descends(
    store: VersionStore, repo: RepoRef, commit: str, ancestor: str, *, merges: bool = True
) -> bool:
    """Whether a commit is, or comes from, another one; see `relation`."""
    return relation(store, repo, commit, ancestor, merges=merges).base == ancestor


class _Walk:
    """A walk from two commits towards their beginnings, in turns.

    Each commit is marked with the ends it was reached from; what has both marks is common, and so
    is all below it.
    """

    def __init__(self, store: VersionStore, repo: RepoRef, *, merges: bool) -> None:
        self._store, self._repo, self._merges = store, repo, merges
        self._marks: dict[str, int] = {}
        self._parents: dict[str, tuple[str, ...]] = {}  # of those that were looked at
        self._counted: set[str] = set()
        self._queue: deque[str] = deque()

    def begin(self, commit: str, mark: int) -> None:
        """Go on from a commit that was reached from an end."""
        before = self._marks.get(commit, 0)
        if before | mark != before:
            self._marks[commit] = before | mark
            self._queue.append(commit)

    def bases(self) -> list[str]:
        """The common commits that no other common one comes from; sorted."""
        while self._queue:
            if all(self._marks[commit] == _BOTH for commit in self._queue):
                found = self._latest()
                if len(found) == 1:  # what is still to be seen lies below it
                    return found
            commit = self._queue.popleft()
            for parent in self._above(commit):
                self.begin(parent, self._marks[commit])
        return self._latest()

    def alone(self, mark: int) -> int:
        """How many commits were reached from one end alone."""
        return sum(self._marks[commit] == mark for commit in self._counted)

    def _latest(self) -> list[str]:
        common = {commit for commit, mark in self._marks.items() if mark == _BOTH}
        below = {p for commit in common for p in self._parents.get(commit, ())}
        return sorted(common - below)

    def _above(self, commit: str) -> Iterator[str]:
        if commit not in self._parents:
            found = self._store.resolve(self._repo, commit)
            above = (parents(found) if self._merges else found.parents) if found else ()
            self._parents[commit] = above
            if found and not _ON_THE_WAY.match(found.message):
                self._counted.add(commit)
        yield from self._parents[commit]
