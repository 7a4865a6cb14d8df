"""Difference: what a dictionary would find, in streams; the same from both ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.changes.difference import Change, Kind, Tally, compare, difference
from syncd.clients.commits import Author, TreeEntry
from syncd.errors import NotFoundError
from syncd.refs import CommitRef, RepoRef
from syncd.testing import MemoryVersionStore

REPO = RepoRef(namespace="team", repo="ds")
Tree = Mapping[str, int]  # path -> content, which is its size, too
trees = st.dictionaries(
    st.text(st.sampled_from("ab/\0é"), min_size=1, max_size=4), st.integers(0, 3), max_size=12
)


def rows(tree: Tree) -> list[tuple[str, str, int]]:
    """A side."""
    return [(path, f"c{tree[path]}", tree[path]) for path in sorted(tree)]


def tally(tree: Tree, paths: set[str]) -> Tally:
    """Some files of a tree."""
    return Tally(files=len(paths), bytes=sum(tree[path] for path in paths))


@given(trees, trees)
def test_a_difference_is_what_two_dictionaries_tell(before: Tree, after: Tree) -> None:
    """Every path is told once, with the bytes of both sides; equal contents are renames."""
    found = compare(rows(before), rows(after))
    gone, come = before.keys() - after.keys(), after.keys() - before.keys()
    both = before.keys() & after.keys()
    changed = {path for path in both if before[path] != after[path]}
    went, came = Counter(before[path] for path in gone), Counter(after[path] for path in come)

    assert tally(before, set(before)) == found.before
    assert tally(after, set(after)) == found.after
    assert tally(after, changed) == found.changed
    assert sum(before[path] for path in changed) == found.overwritten
    assert tally(after, both - changed) == found.unchanged
    assert found.renamed.files == (went & came).total()
    assert found.removed.files == (went - came).total()
    assert found.added.files == (came - went).total()
    changes = list(found.changes())
    assert [item.path for item in changes] == sorted(item.path for item in changes)
    assert {item.path for item in changes if item.kind is not Kind.REMOVED} == come | changed
    assert {item.was or item.path for item in changes if item.kind is not Kind.ADDED} == (
        gone | changed
    )
    for item in changes:
        assert item.after == (None if item.kind is Kind.REMOVED else after[item.path])
        assert item.before == before.get(item.was or item.path)
        if item.kind is Kind.RENAMED:
            assert before[item.was] == after[item.path]


@given(trees, trees)
def test_a_difference_is_the_same_from_the_other_end(before: Tree, after: Tree) -> None:
    """What was added was removed, and a rename goes back."""
    swapped = {Kind.ADDED: Kind.REMOVED, Kind.REMOVED: Kind.ADDED}

    def mirrored(item: Change) -> Change:
        renamed = item.kind is Kind.RENAMED
        return Change(
            kind=swapped.get(item.kind, item.kind),
            path=item.was if renamed else item.path,
            was=item.path if renamed else "",
            before=item.after,
            after=item.before,
        )

    there, back = compare(rows(before), rows(after)), compare(rows(after), rows(before))

    assert set(map(mirrored, there.changes())) == set(back.changes())
    assert (there.added, there.removed, there.renamed) == (back.removed, back.added, back.renamed)
    assert there.equal is back.equal is (before == after)


def committed(store: MemoryVersionStore, files: Mapping[str, bytes], branch: str) -> CommitRef:
    """A commit with these files."""
    tree = []
    for path, data in sorted(files.items()):
        stored = store.put(REPO, [data])
        tree.append(TreeEntry(path=path, hash=stored.hash, size=stored.size))
    author = Author(name="Ann", email="ann@example.com")
    return store.commit(REPO, branch=branch, tree=tree, message=branch, author=author)


def test_commits_are_compared_without_syncds_own_files() -> None:
    """Also below a folder, as several collections of one repository lie."""
    store = MemoryVersionStore()
    one = committed(
        store, {"ds/a": b"1", "ds/b": b"22", "ds/.syncd/x": b"one", "other/c": b"333"}, "one"
    )
    two = committed(
        store, {"ds/a": b"9", "ds/d/b": b"22", "ds/.syncd/x": b"two", "other/c": b"4444"}, "two"
    )

    found = difference(store, one, two, folder="ds")
    assert [
        Change(kind=Kind.CHANGED, path="a", before=1, after=1),
        Change(kind=Kind.RENAMED, path="d/b", was="b", before=2, after=2),
    ] == list(found.changes())
    assert (found.unchanged, found.added, found.removed) == (Tally(), Tally(), Tally())
    assert [item.path for item in difference(store, one, two).changes()] == [
        "ds/a",
        "ds/d/b",
        "other/c",
    ]


def test_a_commit_that_is_not_there_is_no_empty_one() -> None:
    """Everything would be new otherwise."""
    store = MemoryVersionStore()
    made = committed(store, {"a": b"1"}, "one")

    with pytest.raises(NotFoundError, match="does not exist"):
        difference(store, made, CommitRef(repo=REPO, commit="f" * 32))
