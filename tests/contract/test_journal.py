"""The journal of promotions on every store: a branch that no alias has, beside all others."""

from __future__ import annotations

import pytest
from contract_files import REPO, commit, contents

from syncd.clients.protocols import VersionStore
from syncd.promotion import journal
from syncd.promotion.journal import BRANCH, Journal
from syncd.refs import CommitRef
from syncd.testing import StoreHarness
from syncd.versions.events import Event, Kind, Point, State


def _event(name: str, at: CommitRef, state: State) -> Event:
    point = Point(version="t/p/model:v1", logged="t/p/model:v0", artifact_id="one", commit=at)
    return Event(
        id=name,
        kind=Kind.PROMOTE,
        subject="team/proj/model:production",
        before=None,
        after=point,
        by="ann ü",
        at="2026-01-01",
        state=state,
    )


@pytest.mark.parametrize("full", [journal.FULL, 1])
def test_events_are_kept_in_order_and_found_by_another_process(
    harness: StoreHarness, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line a commit on the one before; other branches of the repository stay as they are."""
    monkeypatch.setattr(journal, "FULL", full)  # in one file, or one for each line
    made = commit(harness.store, {"d/weights": b"weights", "a": b"1"})
    intended, done = (_event("one", made, state) for state in (State.INTENDED, State.DONE))
    other = _event("two", made, State.DONE)
    Journal(harness.store, REPO).append(intended)
    Journal(harness.reopened(), REPO).append(done)
    Journal(harness.reopened(), REPO).append(other)

    store: VersionStore = harness.reopened()
    assert Journal(store, REPO).events() == [done, other]
    assert contents(store, made) == {"d/weights": b"weights", "a": b"1"}
    assert store.branches(REPO)["main"] == made.commit
    head = store.resolve(REPO, BRANCH)
    assert head is not None
    assert head.author.name == "ann ü"
    [parent] = head.parents
    before = store.resolve(REPO, parent)
    assert before is not None
    assert before.message.endswith("done")
