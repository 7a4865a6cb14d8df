"""What to stage, of trees that are never held."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.clients.commits import TreeEntry
from syncd.clients.oxen_changes import (
    ADDED,
    KEPT,
    MODIFIED,
    changes,
    groundwork,
    scaffold,
    timed,
    topmost,
)
from syncd.clients.oxen_index import IndexEntry
from syncd.clients.oxen_paths import check_tree
from syncd.clients.oxen_times import content_times

FILES = 10_000
FOLDERS = 10
PLACEHOLDER = TreeEntry(path="placeholder", hash="1" + "0" * 31, size=1)


T = TypeVar("T", IndexEntry, TreeEntry)


class Generated(Generic[T]):
    """A tree whose entries are made each time.

    Args:
        make: the entries' class.
        changed: one file of a hundred has other content.
        fewer: one file of a hundred is not there.
    """

    def __init__(
        self,
        make: type[T],
        *,
        changed: bool = False,
        fewer: bool = False,
    ) -> None:
        self._make: type[T] = make
        self._changed, self._fewer = changed, fewer

    def __iter__(self) -> Iterator[T]:
        for number in range(FILES):
            hundredth = number % 100 == 0
            if not (self._fewer and hundredth):
                content = number + FILES * (self._changed and hundredth) + (1 << 127)
                path = f"train/class_{number * FOLDERS // FILES:04}/image_{number:09}.jpeg"
                yield self._make(path=path, hash=f"{content:x}", size=number)

    def paths(self) -> Iterator[str]:
        """Of its files."""
        return (entry.path for entry in self)


OLD, NEW = Generated(IndexEntry), Generated(TreeEntry)
CHANGED, FEWER = Generated(TreeEntry, changed=True), Generated(TreeEntry, fewer=True)
WORK: dict[str, Callable[[], object]] = {
    "check": lambda: check_tree(NEW),
    "all new": lambda: changes((), NEW),
    "all gone": lambda: changes(OLD, ()),
    "changed": lambda: changes(OLD, CHANGED),
    "fewer": lambda: changes(OLD, FEWER),
    "timed": lambda: len(
        {e.mtime % 7 for e in timed((), NEW, bytes([1]) * FILES, content_times())}
    ),
    "scaffold": lambda: sum(1 for _ in scaffold(OLD, [PLACEHOLDER], PLACEHOLDER) or ()),
    "groundwork": lambda: groundwork(lambda: NEW, FEWER.paths, "x", fresh_repository=False),
    "topmost": lambda: sum(1 for _ in topmost(NEW.paths(), {"", "train"})),
}


@pytest.mark.parametrize("work", WORK)
def test_a_tree_is_never_held(work: str) -> None:
    """Peak memory is a few bytes a file, whatever is done to a tree."""
    tracemalloc.start()
    WORK[work]()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak / FILES < 6


def test_every_file_is_of_one_kind() -> None:
    """New, changed, or kept; what is kept keeps its time, equal contents share a fresh one."""
    old = [
        IndexEntry(path=path, hash=content * 32, size=1, mtime=number)
        for number, (path, content) in enumerate(zip("acd", "123", strict=True), 1)
    ]
    new = [
        TreeEntry(path=path, hash=content * 32, size=1)
        for path, content in zip("abc", "199", strict=True)
    ]

    found = changes(old, new)
    entries = list(timed(old, new, found.kinds, content_times()))

    assert list(found.kinds) == [KEPT, ADDED, MODIFIED]
    assert found.removals == ["d"]
    assert [entry.path for entry in found.staged(entries)] == ["b", "c"]
    assert [entry.path for entry in found.left(entries)] == ["a"]
    assert entries[0].mtime == 1
    assert entries[1].mtime == entries[2].mtime > 3


def test_a_folder_that_only_loses_files_gets_its_smallest_staged() -> None:
    """Node names."""
    old = [IndexEntry(path=f"d/{name}", hash="1" * 32, size=ord(name)) for name in "zyxw"]
    old.sort(key=lambda entry: entry.path)

    found = changes(old, [entry.tree_entry() for entry in old[:-1]])

    assert list(found.kinds) == [ADDED, KEPT, KEPT]


def test_parts_stage_everything_once() -> None:
    """A file is left out until its part has come, and left alone afterwards."""
    names = "abcdefgh"
    old = [IndexEntry(path=path, hash="1" * 32, size=1) for path in "bdf"]
    new = [TreeEntry(path=path, hash=("2" if path in "df" else "1") * 32, size=1) for path in names]
    found = changes(old, new)
    entries = list(timed(old, new, found.kinds, content_times()))

    parts = [part() for part in found.parts(3)]

    assert [
        (
            "".join(entry.path for entry in part.staged(entries)),
            "".join(entry.path for entry in part.left(entries)),
        )
        for part in parts
    ] == [("acd", "bf"), ("efg", "abcd"), ("h", "abcdefg")]
    assert [len(changes(old, new[:2]).parts(1)), len(found.parts(7))] == [1, 1]


def test_what_is_left_of_a_rebuild_is_nothing() -> None:
    """Then everything is staged, and nothing is removed one by one."""
    old = [IndexEntry(path=f"{number:05}", hash="1" * 32, size=1) for number in range(5000)]
    new = [entry.tree_entry() for entry in old[::50]]

    found = changes(old, new)
    entries = list(timed(old, new, found.kinds, content_times()))

    assert found.rebuild
    assert found.removals == []
    assert list(found.staged(entries)) == entries
    assert list(found.left(entries)) == []


def as_tree(files: Iterable[str]) -> list[str]:
    """Sorted, without files that are folders."""
    paths = set(files)
    return sorted(p for p in paths if not any(other.startswith(f"{p}/") for other in paths))


PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@given(st.sets(PATHS).map(as_tree), st.sets(st.integers(0, 30)))
def test_topmost_paths_stand_for_all_that_is_gone(paths: list[str], kept: set[int]) -> None:
    """Each file that is gone lies at or below one of them, no file that stays does; each once."""
    stays = [path for number, path in enumerate(paths) if number in kept]
    gone = [path for number, path in enumerate(paths) if number not in kept]
    folders = {path[:end] for path in stays for end, char in enumerate(path) if char == "/"}

    found = Counter(topmost(gone, folders))

    assert set(found.values()) <= {1}
    for path, wanted in [*((p, 1) for p in gone), *((p, 0) for p in stays)]:
        assert sum(path == top or path.startswith(f"{top}/") for top in found) == wanted
