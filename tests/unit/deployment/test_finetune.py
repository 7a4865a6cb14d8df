"""Fine-tunes of the hub: pinned to a commit, written down, and never begun twice by themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from moved_project import MovedProject

from syncd.clients.artifacts import Version
from syncd.clients.oxen_hub import OxenHub
from syncd.deployment.finetune import Tuner, named, start
from syncd.errors import NotFoundError, PermanentError, TransientError
from syncd.promotion.journal import Journal, home
from syncd.promotion.located import from_ref
from syncd.refs import CommitRef
from syncd.testing.hub import Hub, hub
from syncd.versions.deployments import FineTuned, Recipe, fine_tuned, users
from syncd.versions.events import Event, State

TOKEN = "hub-token-0123456789abcdef"
ROWS = {"train.parquet": b"rows of training data", "test.parquet": b"rows to test with"}
RECIPE = Recipe(
    path="train.parquet",
    base_model="Qwen/Qwen3-0.6B",
    script_type="text_generation",
    training_params={"epochs": 3},
)


class Tuning:
    """A dataset that was moved, and a hub that learns from it.

    Args:
        moved: the project on the doubles.
        stand_in: the hub.
    """

    def __init__(self, moved: MovedProject, stand_in: Hub) -> None:
        self.moved, self.hub = moved, stand_in
        runtime = moved.runtime
        self.journal = Journal(moved.store, home(runtime.config, "team"), runtime.catalog.mirror)
        self.client = OxenHub(stand_in.url, TOKEN)
        ids = count(1)
        self.tuner = Tuner(
            journal=self.journal,
            events=self.journal.events,
            store=moved.store,
            hub=self.client,
            by="ann",
            clock=lambda: datetime(2026, 3, 1, tzinfo=UTC),
            new_id=lambda: f"event-{next(ids)}",
        )
        self.version: Version = moved.log_and_move("rows", ROWS, kind="dataset")[1]

    @property
    def commit(self) -> CommitRef:
        """Where the data lies."""
        return self.moved.link(self.version).commit

    def start(self, **changed: Any) -> FineTuned:
        """Begin a fine-tune, as a process of its own."""
        found = from_ref(self.moved.source, self.moved.store, str(self.version.ref))
        recipe = {**{name: getattr(RECIPE, name) for name in RECIPE.__slots__}, **changed}
        return start(self.tuner, found.point, Recipe(**recipe))

    def events(self) -> list[Event]:
        """What the journal in Oxen holds."""
        return self.journal.events()


@pytest.fixture
def tuning(moved: MovedProject) -> Iterator[Tuning]:
    """Nothing has been begun yet."""
    with hub(TOKEN) as stand_in:
        made = Tuning(moved, stand_in)
        yield made
        made.client.close()


def test_a_fine_tune_learns_from_the_commit_and_the_journal_knows_from_which(
    tuning: Tuning,
) -> None:
    """Not from a branch, which may stand elsewhere when the hub reads it."""
    begun = tuning.start()

    there = tuning.hub.tunes["ft-1"]
    assert there["resource"] == f"{tuning.commit.commit}/train.parquet"
    assert there["repo"] == f"{tuning.commit.repo.namespace}/{tuning.commit.repo.repo}"
    assert there["training_params"] == {"epochs": 3}
    assert there["status"] == "running"
    assert fine_tuned(tuning.events()) == [begun]
    assert (begun.id, begun.commit, begun.by) == ("ft-1", tuning.commit, "ann")
    assert begun.version == tuning.moved.link(tuning.version).source_version
    assert begun.recipe == RECIPE
    assert named(tuning.events(), "ft-1") == begun
    assert users(tuning.moved.runtime.catalog.mirror.events()) == [begun]


def test_a_file_that_the_version_has_not_is_told_before_anything_costs_money(
    tuning: Tuning,
) -> None:
    """With those it has."""
    with pytest.raises(NotFoundError, match=r"no file 'train.csv'") as error:
        tuning.start(path="train.csv")
    assert "train.parquet" in error.value.hint
    assert tuning.hub.asked == []
    assert tuning.events() == []


def test_a_lost_answer_is_not_asked_for_again_and_leaves_a_trace(tuning: Tuning) -> None:
    """Nobody knows whether it was made: the journal says so, and lineage does not guess."""
    tuning.hub.refuse = [503]
    with pytest.raises(TransientError, match="nobody knows whether it was made") as error:
        tuning.start()
    assert "before you start another" in error.value.hint
    assert len(tuning.hub.asked) == 1
    (left,) = fine_tuned(tuning.events())
    assert (left.id, left.state) == ("", State.INTENDED)
    assert users(tuning.events()) == []


def test_a_hub_that_refuses_has_begun_nothing(tuning: Tuning) -> None:
    """And the journal says so, too."""
    tuning.hub.refuse = [422]
    with pytest.raises(PermanentError, match="422"):
        tuning.start()
    (left,) = fine_tuned(tuning.events())
    assert (left.id, left.state) == ("", State.FAILED)
    assert "422" in tuning.events()[0].note


def test_one_that_was_made_and_does_not_run_can_be_found_and_run(tuning: Tuning) -> None:
    """Its name is written down before it is run."""
    tuning.hub.refuse = []
    create = tuning.client.create

    def then_refused(*words: Any, **more: Any) -> Any:
        made = create(*words, **more)
        tuning.hub.refuse = [503]
        return made

    tuning.client.create = then_refused  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="fine-tune ft-1 was made") as error:
        tuning.start()
    assert "syncd finetune run ft-1" in error.value.hint
    assert named(tuning.events(), "ft-1").state is State.DONE


def test_two_of_the_same_are_two(tuning: Tuning) -> None:
    """Each `start` begins another one."""
    assert [tuning.start().id, tuning.start().id] == ["ft-1", "ft-2"]
    assert [item.id for item in fine_tuned(tuning.events())] == ["ft-1", "ft-2"]
    with pytest.raises(NotFoundError, match="no fine-tune 'ft-3'"):
        named(tuning.events(), "ft-3")


def test_a_note_of_somebody_else_is_told_and_not_guessed(tuning: Tuning) -> None:
    """The journal is a file that people can write to."""
    tuning.start()
    (event,) = tuning.events()
    item = event.document()
    item["note"] = "{}"
    with pytest.raises(PermanentError, match="in another way"):
        fine_tuned([Event.read(json.dumps(item))])
