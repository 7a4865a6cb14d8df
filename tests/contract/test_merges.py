"""Merges and differences on every kind of store. Stores: `conftest.HARNESSES`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from contract_files import ANN, REPO, commit, contents

from syncd.changes.difference import Kind, difference
from syncd.changes.merging import State, merge, review
from syncd.clients.protocols import VersionStore
from syncd.errors import MergeConflictError
from syncd.refs import CommitRef
from syncd.testing import StoreHarness

NOW = datetime(2026, 11, 26, tzinfo=UTC)
FIRST = {"a/one": b"1", "a/two": b"2" * 9, "b/three": b"3", "same": b"same"}
ONE = {**FIRST, "a/one": b"ours", "new/four": b"4"}
TWO = {"a/one": b"1", "c/two": b"2" * 9, "b/three": b"theirs", "same": b"same"}


def candidate(
    store: VersionStore, name: str, start: CommitRef, files: dict[str, bytes]
) -> CommitRef:
    """A version on a branch of its own."""
    store.set_branch(start, f"candidate/{name}")
    said = f"ds {name}\n\nWandb-Artifact: team/project/data:{name}"
    return commit(store, files, branch=f"candidate/{name}", message=said)


def merged(
    store: VersionStore, what: CommitRef, state: State, *, theirs: bool = False
) -> CommitRef:
    """Merge a candidate into the main branch, which has to be of this kind."""
    reviewed = review(store, what, "main", theirs=theirs)
    assert reviewed.state is state
    return merge(store, reviewed, author=ANN, now=NOW)


def test_candidates_are_merged_and_found_merged(harness: StoreHarness) -> None:
    """One moves the branch, one makes a commit of both; none is merged twice, none is lost."""
    store = harness.store
    first = commit(store, FIRST)
    one, two = candidate(store, "v1", first, ONE), candidate(store, "v2", first, TWO)
    clash = candidate(store, "v3", first, {**FIRST, "a/one": b"another"})
    kinds = {item.path: item.kind for item in difference(store, first, two).changes()}
    assert kinds == {"c/two": Kind.RENAMED, "b/three": Kind.CHANGED}

    assert merged(store, one, State.FORWARD) == one
    made = merged(store, two, State.MERGE)
    with pytest.raises(MergeConflictError, match="a/one"):
        merged(store, clash, State.CONFLICT)

    again = harness.reopened()
    wanted = {"a/one": b"ours", "b/three": b"theirs", "c/two": b"2" * 9, "new/four": b"4"}
    assert contents(again, made) == {**wanted, "same": b"same"}
    for what in (first, one, two, made):
        assert merged(again, what, State.MERGED) == made
    last = merged(again, clash, State.MERGE, theirs=True)
    assert contents(again, last)["a/one"] == b"another"
    assert again.branches(REPO)["main"] == last.commit
    for ref, files in ((first, FIRST), (one, ONE), (two, TWO)):
        assert contents(again, ref) == files
        assert list(again.verify(ref)) == []
