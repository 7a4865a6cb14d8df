"""Which trees Oxen can hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.clients.commits import TreeEntry
from syncd.clients.oxen_paths import check_tree, files_and_folders, plain, unsupported_path
from syncd.errors import InvalidNameError, PermanentError

HASH = "1" + "0" * 31


def entries(*paths: str) -> Iterator[TreeEntry]:
    """Once, as a stream."""
    return (TreeEntry(path=path, hash=HASH, size=1) for path in paths)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.text("a/.-", min_size=1, max_size=6), max_size=12))
def test_a_folder_is_whatever_another_path_goes_through(paths: set[str]) -> None:
    """As a set of all folders says."""
    folders = {path[:end] for path in paths for end, char in enumerate(path) if char == "/"}

    assert set(files_and_folders(sorted(paths))) == paths & folders


@settings(max_examples=200, deadline=None)
@given(st.text("aB0_-. /~:\\oxen\n\u00e9", max_size=12))
def test_the_quick_answer_is_never_a_wrong_one(path: str) -> None:
    """A plain path is one that Oxen can hold."""
    assert not plain(path) or unsupported_path(path) is None


@pytest.mark.parametrize(
    "paths", [[], ["a"], ["a", "a b", "a-b/c", "b/a", "b/c/d"], ["x/" + "n" * 240]]
)
def test_a_tree_is_gone_through_once(paths: list[str]) -> None:
    """A stream will do: nothing of millions of entries is kept."""
    check_tree(entries(*paths))


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        (["b", "a"], "not sorted: 'a' follows 'b'"),
        (["a", "a"], "'a' occurs twice"),
        (["a", "a-", "a/b/c"], "'a' is a file and a folder"),
        (["a/b", "a/b-", "a/b/c"], "'a/b' is a file and a folder"),
    ],
)
def test_a_tree_that_contradicts_itself_is_refused(paths: list[str], complaint: str) -> None:
    """The path is named."""
    with pytest.raises(PermanentError, match=complaint):
        check_tree(entries(*paths))


@pytest.mark.parametrize("path", ["../up", "a\\b", ".oxen/HEAD", ".oxenignore", "x" * 241])
def test_a_path_that_oxen_cannot_hold_is_refused(path: str) -> None:
    """What to do about it is said."""
    with pytest.raises(InvalidNameError) as caught:
        check_tree(entries(path))

    assert "exclude it" in caught.value.hint


@pytest.mark.parametrize(("folders", "fits"), [(100, True), (101, False), (250, False)])
def test_folders_may_lie_in_each_other_as_deep_as_a_server_survives(
    folders: int, fits: bool
) -> None:
    """A tree of 250 ended an oxen-server, and again after each of its starts."""
    path = "d/" * folders + "f"
    assert plain(path) is fits
    assert (unsupported_path(path) is None) is fits
