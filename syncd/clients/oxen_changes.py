"""What to stage so that a commit's tree becomes another one; pure, no liboxen.

Trees may have millions of files. They are gone through, again and again, and never held: what is
kept are folders, a byte per file, and the few paths that are staged for another reason than theirs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from operator import attrgetter

from syncd.blocks import paired
from syncd.clients.commits import TreeEntry
from syncd.clients.oxen_index import IndexEntry
from syncd.clients.oxen_paths import escaped, parents

KEPT, ADDED, MODIFIED, LATER = range(4)  # what a byte of `Changes.kinds` says
_PASSED = bytes([KEPT, KEPT, KEPT, LATER, *range(4, 256)])
_COMING = bytes([KEPT, LATER, KEPT, LATER, *range(4, 256)])
ONE_BY_ONE = 200  # modified files to stage singly, some 5 ms each...
ONE_BY_ONE_ENTRIES = 400_000  # ...and 5 us for each file of the folder: this many take 2 s
# Seconds tried on two cores (oxenai 0.65.1). They only choose between two ways to the same tree.
REMOVE_SECONDS = 0.005
REMOVE_SECONDS_PER_ENTRY = 4e-6  # of the folder, which is read each time
ADD_SECONDS = 0.0006
ADD_SECONDS_PER_BYTE = 1 / 400e6


PATH: Callable[[IndexEntry | TreeEntry], str] = attrgetter("path")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How one tree differs from the one before.

    Args:
        kinds: a byte for each file of the new tree: KEPT, ADDED (staged as new: files that are, and
            some that are not, see `changes`), MODIFIED (other content than before), or LATER (not
            yet in the tree, see `parts`).
        folders: the folders of the new tree.
        removals: files, and whole folders, of the old tree to remove; none for a rebuild.
        rebuild: removing so much is slower than removing all and adding all of the new tree.
    """

    kinds: bytes | bytearray
    folders: frozenset[str]
    removals: Sequence[str]
    rebuild: bool

    def chosen(self, entries: Iterable[IndexEntry], *kinds: int) -> Iterator[IndexEntry]:
        """The entries of the new tree that are of these kinds."""
        return (entry for entry, kind in zip(entries, self.kinds, strict=True) if kind in kinds)

    def staged(self, entries: Iterable[IndexEntry]) -> Iterator[IndexEntry]:
        """The entries of the new tree that are staged."""
        return iter(entries) if self.rebuild else self.chosen(entries, ADDED, MODIFIED)

    def singly(self, entries: Iterable[IndexEntry]) -> list[IndexEntry]:
        """Those that have changed, when they are few: each is compared with the commit."""
        count = self.kinds.count(MODIFIED)
        few = count <= ONE_BY_ONE and count * len(self.kinds) <= ONE_BY_ONE_ENTRIES
        if self.rebuild or not few:
            return []
        return [e for e in self.chosen(entries, MODIFIED) if escaped(e.path) == e.path]

    def left(self, entries: Iterable[IndexEntry]) -> Iterator[IndexEntry]:
        """Those that are not, and stay."""
        return iter(()) if self.rebuild else self.chosen(entries, KEPT)

    def parts(self, size: int) -> list[Callable[[], Changes]]:
        """The same in steps that stage so many files each; one step when anything is removed.

        What is removed from a folder must go together with what is staged in it ("node names").
        """
        staged = len(self.kinds) - self.kinds.count(KEPT)
        if self.removals or self.rebuild or staged <= size:
            return [lambda: self]
        ends: list[int] = [0]
        for number, position in enumerate((n for n, kind in enumerate(self.kinds) if kind), 1):
            if number % size == 0 or number == staged:
                ends.append(position + 1)

        def part(begin: int, end: int) -> Changes:
            kinds = self.kinds[:begin].translate(_PASSED) + self.kinds[begin:end]
            return replace(self, kinds=kinds + self.kinds[end:].translate(_COMING))

        return [partial(part, *bounds) for bounds in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class _Scaffold:
    """A tree with a placeholder in some folders, and without what stands in their way."""

    _before: Iterable[IndexEntry]
    _placeholder: TreeEntry
    _fresh: set[str]  # folders
    _files: set[str]  # that were folders

    def __iter__(self) -> Iterator[TreeEntry]:
        kept = (
            entry.tree_entry()
            for entry in self._before
            if entry.path not in self._fresh and self._files.isdisjoint(parents(entry.path))
        )
        name = self._placeholder.path
        paths = sorted(f"{folder}/{name}".lstrip("/") for folder in self._fresh)
        return heapq.merge(kept, (replace(self._placeholder, path=p) for p in paths), key=PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Groundwork:
    """What a commit needs to be committed before it; see `groundwork`."""

    removals: tuple[str, ...]
    placeholders: tuple[str, ...]

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.removals or self.placeholders)


def changes(before: Iterable[IndexEntry], after: Iterable[TreeEntry]) -> Changes:
    """Compare two trees, both sorted by path.

    A folder that only loses files gets one of those it keeps (or that lie deeper) staged anew, and
    so does a root that does not change: see `oxen_repo`, "node names".

    Args:
        before: the tree of the branch's head; empty when there is none.
        after: the tree to commit.
    """
    kinds, size, lost = bytearray(), 0, 0

    def staged() -> Iterator[str]:
        nonlocal size, lost
        for old, new in paired(before, after, PATH, PATH):
            if new is None:
                lost += 1
                continue
            size += new.size
            same = old is not None and old.hash == new.hash
            kinds.append(KEPT if same else ADDED if old is None else MODIFIED)
            if not same:
                yield new.path

    richer = folders_of(staged())
    folders = folders_of(map(PATH, after))

    def removed() -> Iterator[str]:
        pairs = paired(before, after, PATH, PATH)
        return topmost((old.path for old, new in pairs if old and not new), folders)

    count, poorer = 0, set[str]()
    for path in removed() if lost else ():
        count += 1
        poorer.add(path.rpartition("/")[0])
    for number in _smallest(after, (poorer or {""}) - richer):
        kinds[number] = ADDED
    removing = REMOVE_SECONDS + REMOVE_SECONDS_PER_ENTRY * len(kinds)
    adding = ADD_SECONDS * len(kinds) + ADD_SECONDS_PER_BYTE * size
    rebuild = count * removing > 0.5 + adding
    return Changes(
        kinds=kinds,
        folders=frozenset(folders),
        removals=list(removed()) if lost and not rebuild else [],
        rebuild=rebuild,
    )


def timed(
    before: Iterable[IndexEntry],
    after: Iterable[TreeEntry],
    kinds: bytes | bytearray,
    clock: Callable[[str], int],
) -> Iterator[IndexEntry]:
    """The new tree; what is staged carries a fresh time, the rest the time it was staged with.

    Args:
        before: the tree of the branch's head.
        after: the tree to commit.
        kinds: see `Changes`.
        clock: the modification time of a content: equal ones share one, others never do.
    """
    pairs = ((old, new) for old, new in paired(before, after, PATH, PATH) if new is not None)
    for (old, new), kind in zip(pairs, kinds, strict=True):
        if kind == KEPT and old is not None:
            yield old
        else:
            yield IndexEntry(path=new.path, hash=new.hash, size=new.size, mtime=clock(new.hash))


def scaffold(
    before: Iterable[IndexEntry], after: Iterable[TreeEntry], placeholder: TreeEntry
) -> Iterable[TreeEntry] | None:
    """The tree before, made ready for the one after.

    It has a placeholder in every folder that only the tree after has, and neither files that
    become folders nor folders that become files: liboxen keeps such a folder's node (tried).

    Args:
        before: the tree of the branch's head; empty when there is none.
        after: the tree to commit.
        placeholder: its content, and the name it gets in each folder.

    Returns:
        The tree, sorted by path, made anew each time; None when the tree before is ready as it is.
    """
    known = folders_of(map(PATH, before))
    fresh = {"", *folders_of(map(PATH, after))} - known
    files = {entry.path for entry in after if entry.path in known}
    return _Scaffold(before, placeholder, fresh, files) if fresh or files else None


def groundwork(
    before: Callable[[], Iterable[TreeEntry]],
    after: Callable[[], Iterable[str]],
    name: str,
    *,
    fresh_repository: bool,
    unchanged: bool = False,
    anew: Iterable[str] = (),
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
        anew: paths of both trees that must come as if they had not been there.

    Returns:
        Paths of the tree before to remove, topmost first, and placeholders to add.
    """
    known = folders_of(map(PATH, before()))
    folders = folders_of(after())
    removals = {*anew, *(path for path in after() if path in known)}
    removals |= {entry.path for entry in before() if entry.path in folders}
    losing: set[str] = {""} if unchanged else set()

    def gained() -> Iterator[str]:
        for old, new in paired((entry.path for entry in before()), after(), str, str):
            if new is None:
                losing.add(str(old).rpartition("/")[0])
            elif old is None:
                yield new

    gaining = folders_of(gained())
    losing -= gaining
    if losing:
        both = paired(before(), after(), PATH, str)
        removals.update(_smallest((old for old, path in both if old and path), losing).values())
    homes = set() if fresh_repository else folders - known - {""}
    homes |= {path.rpartition("/")[0] for path in removals}
    if unchanged and not removals:
        homes.add("")
    return Groundwork(
        removals=tuple(sorted(removals)),
        placeholders=tuple(sorted(f"{folder}/{name}".lstrip("/") for folder in homes)),
    )


def folders_of(paths: Iterable[str]) -> set[str]:
    """The folders that paths lie in; the root is `""`."""
    found: set[str] = set()
    last = None
    for path in paths:
        folder = path.rpartition("/")[0]
        if folder != last:  # neighbours share theirs
            last = folder
            found.update((folder, *parents(folder), ""))
    return found


def _smallest(entries: Iterable[IndexEntry | TreeEntry], folders: set[str]) -> dict[int, str]:
    """The smallest file at or below each of these folders: its number, and its path."""
    if not folders:
        return {}
    smallest: dict[str, tuple[int, int, str]] = {}
    for number, entry in enumerate(entries):
        for folder in folders.intersection((*parents(entry.path), "")):
            if folder not in smallest or entry.size < smallest[folder][0]:
                smallest[folder] = (entry.size, number, entry.path)
    return {number: path for _, number, path in smallest.values()}


def topmost(paths: Iterable[str], folders: Collection[str]) -> Iterator[str]:
    """Paths that are gone from a tree or, in the place of all below it, the topmost folder that is.

    Args:
        paths: what is gone, sorted.
        folders: the folders that are there.
    """
    last = None
    for path in paths:
        target = path
        for folder in parents(path):
            if folder in folders:
                break
            target = folder
        if target != last:
            yield target
        last = target
