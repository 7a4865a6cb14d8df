"""What to stage so that a commit's tree becomes another one; pure, no liboxen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from syncd.blocks import paired
from syncd.clients.oxen_index import IndexEntry
from syncd.clients.oxen_paths import parents
from syncd.clients.protocols import TreeEntry

# Seconds tried on two cores (oxenai 0.65.1). They only choose between two ways to the same tree.
REMOVE_SECONDS = 0.005
REMOVE_SECONDS_PER_ENTRY = 4e-6  # of the folder, which is read each time
ADD_SECONDS = 0.0006
ADD_SECONDS_PER_BYTE = 1 / 400e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How one tree differs from the one before.

    Args:
        entries: the complete new tree, sorted by path. What is staged carries a fresh time, the
            rest the time it was staged with.
        added: the paths to stage as new: files that are, and some that are not (see `changes`).
        modified: the paths that have other content than before.
        removals: files, and whole folders, of the old tree to remove, topmost first.
        rebuild: removing so much is slower than removing all and adding all of the new tree.
    """

    entries: Sequence[IndexEntry]
    added: frozenset[str]
    modified: frozenset[str]
    removals: Sequence[str]
    rebuild: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Groundwork:
    """What a commit needs to be committed before it; see `groundwork`."""

    removals: tuple[str, ...]
    placeholders: tuple[str, ...]

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.removals or self.placeholders)


def changes(
    before: Iterable[IndexEntry], after: Sequence[TreeEntry], clock: Callable[[], int]
) -> Changes:
    """Compare two trees, both sorted by path.

    A folder that only loses files gets one of those it keeps (or that lie deeper) staged anew, and
    so does a root that does not change: see `oxen_repo`, "node names".

    Args:
        before: the tree of the branch's head; empty when there is none.
        after: the tree to commit.
        clock: gives modification times, never the same twice; equal contents share one.
    """
    added: set[str] = set()
    modified: set[str] = set()
    removed: list[str] = []
    entries: list[IndexEntry] = []
    for old, new in paired(before, after, attrgetter("path"), attrgetter("path")):
        if new is None:
            assert old is not None, "a pair holds one entry at least"
            removed.append(old.path)
        elif old is not None and old.hash == new.hash:
            entries.append(old)
        else:
            (added if old is None else modified).add(new.path)
            entries.append(IndexEntry(path=new.path, hash=new.hash, size=new.size))
    removals = topmost(removed, entries)
    added |= _touched(removals, entries, added | modified)
    times: dict[str, int] = {}
    for position, entry in enumerate(entries):
        if entry.path in added or entry.path in modified:
            if entry.hash not in times:
                times[entry.hash] = clock()
            entries[position] = replace(entry, mtime=times[entry.hash])
    removing = REMOVE_SECONDS + REMOVE_SECONDS_PER_ENTRY * len(entries)
    adding = ADD_SECONDS * len(entries) + ADD_SECONDS_PER_BYTE * sum(e.size for e in entries)
    return Changes(
        entries=entries,
        added=frozenset(added),
        modified=frozenset(modified),
        removals=removals,
        rebuild=len(removals) * removing > 0.5 + adding,
    )


def scaffold(
    before: Iterable[IndexEntry], after: Sequence[TreeEntry], placeholder: TreeEntry
) -> list[TreeEntry] | None:
    """The tree before, made ready for the one after.

    It has a placeholder in every folder that only the tree after has, and neither files that
    become folders nor folders that become files: liboxen keeps such a folder's node (tried).

    Args:
        before: the tree of the branch's head; empty when there is none.
        after: the tree to commit.
        placeholder: its content, and the name it gets in each folder.

    Returns:
        The tree, sorted by path, or None when the tree before is ready as it is.
    """
    old = list(before)
    known = {"", *_folders(old)} if old else set()
    fresh = {"", *_folders(after)} - known
    files = {entry.path for entry in after} & known
    if not fresh and not files:
        return None
    tree = [
        entry.tree_entry()
        for entry in old
        if entry.path not in fresh and files.isdisjoint(parents(entry.path))
    ]
    tree += [
        replace(placeholder, path=f"{folder}/{placeholder.path}".lstrip("/")) for folder in fresh
    ]
    return sorted(tree, key=lambda entry: entry.path)


def groundwork(
    before: Callable[[], Iterable[TreeEntry]],
    after: Callable[[], Iterable[str]],
    name: str,
    *,
    fresh_repository: bool,
    unchanged: bool = False,
) -> Groundwork:
    """What must be committed first, so that the commit after it stages something in every folder.

    As `scaffold`, for a store that cannot stage a file again that has not changed: of a folder that
    only loses files one that it keeps is taken out, and comes back with the next commit.

    Args:
        before: the tree of the branch's head, sorted by path.
        after: the paths of the tree to commit, sorted.
        name: what placeholders are called; no file has that name.
        fresh_repository: nothing was ever committed that new folders could clash with.
        unchanged: the trees are known to be equal.

    Returns:
        Paths of the tree before to remove, topmost first, and placeholders to add.
    """
    known = _folders(before())
    folders = {folder for path in after() for folder in parents(path)}
    removals = {path for path in after() if path in known}
    removals |= {entry.path for entry in before() if entry.path in folders}
    losing: set[str] = {""} if unchanged else set()
    staged: set[str] = set()
    for old, new in paired((entry.path for entry in before()), after(), str, str):
        if new is None:
            losing.add(str(old).rpartition("/")[0])
        elif old is None:
            staged.update((*parents(new), ""))
    losing -= staged
    if losing:
        both = paired(before(), after(), attrgetter("path"), str)
        removals |= _smallest((old for old, path in both if old and path), losing)
    homes = set() if fresh_repository else folders - known
    homes |= {path.rpartition("/")[0] for path in removals}
    if unchanged and not removals:
        homes.add("")
    return Groundwork(
        removals=tuple(sorted(removals)),
        placeholders=tuple(sorted(f"{folder}/{name}".lstrip("/") for folder in homes)),
    )


def _folders(entries: Iterable[IndexEntry | TreeEntry]) -> set[str]:
    return {folder for entry in entries for folder in parents(entry.path)}


def _touched(removals: Iterable[str], entries: Iterable[IndexEntry], staged: set[str]) -> set[str]:
    """The smallest file in each folder that would lose files without getting any."""
    poorer = {path.rpartition("/")[0] for path in removals} or {""}
    poorer -= {folder for path in staged for folder in (*parents(path), "")}
    return _smallest(entries, poorer) if poorer else set()


def _smallest(entries: Iterable[IndexEntry | TreeEntry], folders: set[str]) -> set[str]:
    """The smallest file at or below each of these folders."""
    smallest: dict[str, IndexEntry | TreeEntry] = {}
    for entry in entries:
        for folder in folders.intersection((*parents(entry.path), "")):
            if folder not in smallest or entry.size < smallest[folder].size:
                smallest[folder] = entry
    return {entry.path for entry in smallest.values()}


def topmost(removed: Iterable[str], kept: Iterable[IndexEntry | TreeEntry]) -> list[str]:
    """The removed files, or instead the topmost folder in which nothing is kept."""
    folders = _folders(kept)
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
    tree: Iterable[IndexEntry], present: frozenset[str], folders: set[str]
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
