"""What to stage so that a commit's tree becomes another one; pure, no liboxen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from syncd.clients.oxen_index import IndexEntry
from syncd.clients.oxen_paths import parents
from syncd.clients.protocols import TreeEntry

# Seconds tried on two cores (oxenai 0.65.1). They only choose between two ways to the same tree.
REMOVE_SECONDS = 0.005
ADD_SECONDS = 0.0006
ADD_SECONDS_PER_BYTE = 1 / 400e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How one tree differs from the one before.

    Args:
        entries: the complete new tree, sorted by path. New and changed files carry a fresh time,
            the others the time they were staged with.
        changed: the paths that are new or have new content.
        removals: files, and whole folders, of the old tree to remove, topmost first.
        rebuild: removing so much is slower than removing all and adding all of the new tree.
    """

    entries: Sequence[IndexEntry]
    changed: frozenset[str]
    removals: Sequence[str]
    rebuild: bool


def changes(
    before: Iterable[IndexEntry], after: Sequence[TreeEntry], clock: Callable[[], int]
) -> Changes:
    """Compare two trees, both sorted by path.

    Args:
        before: the tree of the branch's head; empty when there is none.
        after: the tree to commit.
        clock: gives modification times, never the same twice; equal contents share one.
    """
    times: dict[str, int] = {}
    changed: set[str] = set()
    removed: list[str] = []
    entries: list[IndexEntry] = []
    for old, new in _paired(before, after):
        if new is None:
            assert old is not None, "a pair holds one entry at least"
            removed.append(old.path)
            continue
        if old is not None and old.hash == new.hash:
            entries.append(old)
            continue
        changed.add(new.path)
        if new.hash not in times:
            times[new.hash] = clock()
        entries.append(
            IndexEntry(path=new.path, hash=new.hash, size=new.size, mtime=times[new.hash])
        )
    removals = _topmost(removed, entries)
    adding = ADD_SECONDS * len(entries) + ADD_SECONDS_PER_BYTE * sum(e.size for e in entries)
    return Changes(
        entries=entries,
        changed=frozenset(changed),
        removals=removals,
        rebuild=len(removals) * REMOVE_SECONDS > 0.5 + adding,
    )


def _paired(
    before: Iterable[IndexEntry], after: Iterable[TreeEntry]
) -> Iterator[tuple[IndexEntry | None, TreeEntry | None]]:
    olds, news = iter(before), iter(after)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old.path < new.path):
            yield old, None
            old = next(olds, None)
        elif old is None or new.path < old.path:
            yield None, new
            new = next(news, None)
        else:
            yield old, new
            old, new = next(olds, None), next(news, None)


def _topmost(removed: Iterable[str], kept: Iterable[IndexEntry]) -> list[str]:
    """The removed files, or instead the topmost folder in which nothing is kept."""
    folders = {folder for entry in kept for folder in parents(entry.path)}
    topmost: dict[str, None] = {}
    for path in removed:
        target = path
        for folder in parents(path):
            if folder in folders:
                break
            target = folder
        topmost[target] = None
    return list(topmost)


def expected_missing(
    tree: Iterable[IndexEntry], present: Mapping[str, object] | frozenset[str], folders: set[str]
) -> set[str]:
    """What a work tree lacks of a tree: files beside present ones, and topmost absent folders.

    Args:
        tree: the complete tree.
        present: the files in the work tree.
        folders: the folders in the work tree.
    """
    missing: set[str] = set()
    for entry in tree:
        if entry.path in present:
            continue
        absent = entry.path
        for folder in parents(entry.path):
            if folder in folders:
                break
            absent = folder
        missing.add(absent)
    return missing
