"""What every VersionStore promises of trees, whatever follows whatever, under any name."""

from __future__ import annotations

import pytest
from contract_files import ANN, HOSTILE, REPO, commit, contents, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.clients.commits import TreeEntry
from syncd.errors import InvalidNameError, PermanentError
from syncd.testing import StoreHarness


def test_every_commit_of_a_history_stays_readable(harness: StoreHarness) -> None:
    """Changes, additions, removals, and a file in the place of a folder and back."""
    history: list[dict[str, bytes]] = [
        {"a": b"1", "d/b": b"2", "d/c": b"3", "e/f/g": b"4"},
        {"a": b"1 changed", "d/b": b"2", "d/c": b"3", "e/f/g": b"4"},
        {"a": b"1 changed", "d/b": b"2", "n/m/o": b"5", "e/f/g": b"4"},
        {"a": b"1", "d": b"was a folder", "e": b"too", "n/m/o": b"5"},
        {"a/b": b"was a file", "d/b": b"2", "e/f/g": b"4"},
        {"x": b"2"},
        {"x": b"2", **{f"many/{n}": bytes([n]) for n in range(200)}},
        {"many/7": b"\x07"},
        {},
    ]

    refs = [commit(harness.store, tree) for tree in history]

    for ref, tree in zip(refs, history, strict=True):
        assert contents(harness.store, ref) == tree
        assert harness.checked_out(ref) == tree


@pytest.mark.parametrize(
    "history",
    [
        [{"k": b"k", "d/one": b"A"}, {"k": b"k"}, {"k": b"k", "d/two": b"A"}],
        [{"x": b"A", "y": b"A"}, {"y": b"A"}, {"x": b"A", "y": b"A"}, {"x": b"A"}],
        [
            {"d/x": b"A", "d/y": b"A", "k": b"1"},
            {"d/y": b"A", "k": b"1"},
            {"d/x": b"A", "d/y": b"A", "k": b"2"},
            {"d/x": b"A", "k": b"2"},
        ],
        [{"d/s/one": b"A"}, {"k": b"k"}, {"d/t/two": b"B"}, {}, {"d/s/three": b"A"}],
        [{"one": b"A"}, {"two": b"A"}, {"one": b"A"}, {"one": b"A"}],
        [{"d/a": b"A", "e/a": b"A"}, {"d/a": b"A"}, {"d/a": b"A", "e/b": b"A"}, {"e/a": b"A"}],
    ],
)
def test_a_later_commit_never_changes_an_earlier_one(
    harness: StoreHarness, history: list[dict[str, bytes]]
) -> None:
    """Equal bytes under other names, in folders that come and go: liboxen mixes these up."""
    refs = [commit(harness.store, tree, message=f"{n}") for n, tree in enumerate(history)]
    side = [
        commit(harness.store, tree, branch=f"side{n}", message=f"side {n}")
        for n, tree in enumerate(history)
    ]

    for ref, tree in zip([*refs, *side], [*history, *history], strict=True):
        assert contents(harness.store, ref) == tree
        assert harness.checked_out(ref) == tree


def test_swapped_contents_of_equal_size_are_seen(harness: StoreHarness) -> None:
    """Files that arrive in the same moment differ in nothing but their bytes."""
    first = commit(harness.store, {"x": b"A", "y": b"B", "z": b"C"})
    second = commit(harness.store, {"x": b"B", "y": b"A", "z": b"C"})
    third = commit(harness.store, {"x": b"C", "y": b"A", "z": b"B"})

    assert contents(harness.store, first) == {"x": b"A", "y": b"B", "z": b"C"}
    assert contents(harness.store, second) == {"x": b"B", "y": b"A", "z": b"C"}
    assert contents(harness.store, third) == {"x": b"C", "y": b"A", "z": b"B"}


def test_hostile_names_are_kept_exactly(harness: StoreHarness) -> None:
    """In a commit, in one that changes them, in one that removes every second, and at the end."""
    first = {path: path.encode() for path in HOSTILE}
    changed = {path: b"changed " + path.encode() for path in HOSTILE}
    fewer = dict(list(changed.items())[::2])
    history = [first, changed, fewer, {"only": b"this"}]

    refs = [commit(harness.store, tree) for tree in history]

    for ref, tree in zip(refs, history, strict=True):
        assert contents(harness.store, ref) == tree
        assert harness.checked_out(ref) == tree


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/absolute", "a//b", "a/", "../up", "a/../b", ".", "./a", "nul\x00", "new\nline",
        "tab\there", ".oxen", ".oxen/HEAD", "a/.OXEN/x", ".Oxen ", "oxen~1/x", ".oxen:stream",
        ".oxenignore", "back\\slash", "x" * 241, "/".join(["d" * 200] * 16), "lone\ud800surrogate",
    ],
)  # fmt: skip
def test_a_path_that_oxen_cannot_hold_is_refused(harness: StoreHarness, path: str) -> None:
    """Before anything is committed."""
    stored = put(harness.store, b"1")
    tree = [TreeEntry(path=path, hash=stored.hash, size=1)]

    with pytest.raises(InvalidNameError):
        harness.store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)

    assert harness.store.branches(REPO) == {}


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b", "a-b"]])
def test_a_tree_that_contradicts_itself_is_refused(harness: StoreHarness, paths: list[str]) -> None:
    """A path twice, or a file and a folder at once."""
    stored = put(harness.store, b"1")
    tree = [TreeEntry(path=path, hash=stored.hash, size=1) for path in sorted(paths)]

    with pytest.raises(PermanentError, match=r"twice|folder"):
        harness.store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)


SEGMENTS = st.sampled_from(["a", "b", "c d", "é", "[x]", "*", ".h"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.sampled_from([b"", b"A", b"B", b"CC"]), max_size=8)


def plausible(tree: dict[str, bytes]) -> dict[str, bytes]:
    """The tree without files that are also folders."""
    return {
        path: data
        for path, data in tree.items()
        if not any(other.startswith(f"{path}/") for other in tree)
    }


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(TREES.map(plausible), min_size=1, max_size=5))
def test_any_history_comes_back(harness: StoreHarness, history: list[dict[str, bytes]]) -> None:
    """Whatever follows whatever."""
    refs = [commit(harness.store, tree) for tree in history]

    for ref, tree in zip(refs, history, strict=True):
        assert contents(harness.store, ref) == tree
        assert harness.checked_out(ref) == tree
