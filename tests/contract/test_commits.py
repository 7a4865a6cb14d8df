"""What every VersionStore promises of commits and branches. Stores: `conftest.HARNESSES`."""

from __future__ import annotations

import pytest
import xxhash
from contract_files import ANN, MESSAGE, OTHER, REPO, ancestors, commit, contents, put

from syncd.clients.commits import TreeEntry
from syncd.errors import InvalidNameError, PermanentError
from syncd.refs import RepoRef
from syncd.testing import StoreHarness

# --- commits


def test_a_commit_gives_back_what_was_put(harness: StoreHarness) -> None:
    """Same paths, same bytes, also for another process later."""
    files = {"b/2.bin": b"two" * 100, "a.bin": b"one", "b/empty": b"", "z": b"one"}

    ref = commit(harness.store, files)

    assert contents(harness.store, ref) == files
    assert contents(harness.reopened(), ref) == files


def test_a_tree_is_sorted_by_path_and_names_hash_and_size(harness: StoreHarness) -> None:
    """By code points, whatever order it was given in."""
    files = {"b": b"1", "a/c": b"22", "a b": b"333", "a": b"", "ä": b"5", "Z": b"6"}
    del files["a"]

    entries = list(harness.store.tree(commit(harness.store, files)))

    assert [entry.path for entry in entries] == sorted(files)
    assert entries == [
        TreeEntry(
            path=path, hash=f"{xxhash.xxh3_128_intdigest(files[path]):x}", size=len(files[path])
        )
        for path in sorted(files)
    ]


def test_a_commit_keeps_message_author_and_parent(harness: StoreHarness) -> None:
    """The message to the byte: trailers are read from it."""
    first = commit(harness.store, {"a": b"1"})
    second = commit(harness.store, {"a": b"2"}, message="v1\n\nKey: wert — ü\n")

    for store in (harness.store, harness.reopened()):
        one, two = store.resolve(REPO, first.commit), store.resolve(REPO, "main")
        assert one is not None
        assert two is not None
        assert (one.ref, one.message, one.author, one.parents) == (first, MESSAGE, ANN, ())
        assert (two.ref, two.message) == (second, "v1\n\nKey: wert — ü\n")
        assert first.commit in ancestors(store, second)


def test_every_commit_is_one_commit(harness: StoreHarness) -> None:
    """Also when the tree is the same as before, or empty: a version is a commit."""
    trees: list[dict[str, bytes]] = [{}, {}, {"a": b"1"}, {"a": b"1"}, {}, {"d/e": b"1"}]

    refs = [commit(harness.store, tree, message=f"{n}") for n, tree in enumerate(trees)]

    assert len({ref.commit for ref in refs}) == len(trees)
    for number, (ref, tree) in enumerate(zip(refs, trees, strict=True)):
        assert contents(harness.store, ref) == tree
        older = ancestors(harness.store, ref)
        assert [r.commit in older for r in refs] == [n < number for n in range(len(refs))]


def test_a_tree_whose_contents_are_not_there_is_refused(harness: StoreHarness) -> None:
    """Missing, or of another size; the branch stays where it was."""
    ref = commit(harness.store, {"a": b"1"})
    stored = put(harness.store, b"12")

    for entry in (
        TreeEntry(path="b", hash="ab" * 16, size=1),
        TreeEntry(path="b", hash=stored.hash, size=3),
    ):
        with pytest.raises(PermanentError):
            harness.store.commit(REPO, branch="main", tree=[entry], message="m", author=ANN)

    assert harness.store.branches(REPO) == {"main": ref.commit}
    assert contents(harness.store, ref) == {"a": b"1"}


def test_a_tree_that_is_not_sorted_is_refused(harness: StoreHarness) -> None:
    """What goes through trees of millions of files relies on their order."""
    stored = put(harness.store, b"1")
    tree = [TreeEntry(path=path, hash=stored.hash, size=1) for path in ("b", "a")]

    with pytest.raises(PermanentError, match="sorted"):
        harness.store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)


def test_two_thousand_files_and_a_small_change(harness: StoreHarness) -> None:
    """The size of an ordinary dataset."""
    store = harness.store
    stored = [put(store, f"content {n % 50}".encode()) for n in range(50)]
    tree = [
        TreeEntry(path=f"d{n // 125:02}/{n:05}", hash=stored[n % 50].hash, size=stored[n % 50].size)
        for n in range(2000)
    ]
    changed = put(store, b"changed")
    after = [
        TreeEntry(path=e.path, hash=changed.hash, size=changed.size) if n % 500 == 0 else e
        for n, e in enumerate(tree)
        if n % 700
    ]

    first = store.commit(REPO, branch="main", tree=tree, message="0", author=ANN)
    second = store.commit(REPO, branch="main", tree=after, message="1", author=ANN)

    assert list(store.tree(first)) == tree
    assert list(store.tree(second)) == after
    assert list(store.verify(second)) == []


# --- branches


def test_a_branch_is_made_and_moved_without_touching_commits(harness: StoreHarness) -> None:
    """Forward, back to an older commit, to the same one, with slashes in its name."""
    first, second, third = (commit(harness.store, {"a": data}) for data in (b"1", b"2", b"3"))

    for name in ("wandb/v0", "latest"):
        for ref in (second, first, third, third, first):
            harness.store.set_branch(ref, name)
            found = harness.reopened().resolve(REPO, name)
            assert found is not None
            assert found.ref == ref

    assert harness.store.branches(REPO) == {
        "main": third.commit,
        "wandb/v0": first.commit,
        "latest": first.commit,
    }
    for ref, data in ((first, b"1"), (second, b"2"), (third, b"3")):
        assert contents(harness.store, ref) == {"a": data}


def test_main_can_be_moved_back_and_goes_on_from_there(harness: StoreHarness) -> None:
    """The next commit's parent is the commit the branch points at."""
    first = commit(harness.store, {"a": b"1", "b": b"2"})
    second = commit(harness.store, {"b": b"3"})
    harness.store.set_branch(first, "main")

    third = commit(harness.store, {"a": b"1", "c": b"4"})

    older = ancestors(harness.store, third)
    assert first.commit in older
    assert second.commit not in older
    assert contents(harness.store, third) == {"a": b"1", "c": b"4"}
    assert contents(harness.store, second) == {"b": b"3"}


def test_a_commit_to_a_new_branch_begins_anew_and_leaves_others(harness: StoreHarness) -> None:
    """A branch is made on demand; set_branch before it gives it a past."""
    first = commit(harness.store, {"a": b"1"})
    alone = commit(harness.store, {"b": b"2"}, branch="side/line")
    harness.store.set_branch(first, "based")
    based = commit(harness.store, {"c": b"3"}, branch="based")

    assert first.commit not in ancestors(harness.store, alone)
    assert first.commit in ancestors(harness.store, based)
    assert harness.store.branches(REPO) == {
        "main": first.commit,
        "side/line": alone.commit,
        "based": based.commit,
    }
    assert contents(harness.store, alone) == {"b": b"2"}
    assert contents(harness.store, based) == {"c": b"3"}


@pytest.mark.parametrize(
    "name", ["", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a[", "a*", "a\\b", "@{x", "@", "x.", "HEAD"]
)  # fmt: skip
def test_a_name_that_oxen_refuses_for_a_branch_is_refused(harness: StoreHarness, name: str) -> None:
    """By set_branch and by commit."""
    ref = commit(harness.store, {"a": b"1"})

    with pytest.raises(InvalidNameError):
        harness.store.set_branch(ref, name)
    with pytest.raises(InvalidNameError):
        commit(harness.store, {"a": b"1"}, branch=name)

    assert harness.store.branches(REPO) == {"main": ref.commit}


# --- repositories


def test_the_repositories_of_a_namespace_are_listed_by_name(harness: StoreHarness) -> None:
    """And no other namespace's; one that does not exist has none."""
    elsewhere = RepoRef(namespace="others", repo="theirs")
    for repo in (REPO, OTHER, elsewhere):
        commit(harness.store, {"a": b"1"}, repo=repo)

    assert list(harness.reopened().repositories("team")) == sorted([REPO, OTHER])
    assert list(harness.store.repositories("others")) == [elsewhere]
    assert list(harness.store.repositories("nobody")) == []
    with pytest.raises(InvalidNameError):
        harness.store.repositories("../team")
