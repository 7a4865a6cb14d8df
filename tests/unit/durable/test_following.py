"""Runs that use what was moved, after it was moved, are found, known, and say so themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from unit_world import World

from syncd.clients.artifacts import utc
from syncd.durable.following import finish_runs, follow_runs
from syncd.durable.locks import Locks
from syncd.refs import RunRef, Target

PROJECT = Target.parse("team/proj")
BEGAN = utc("2026-01-01T00:00:00Z")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A moved dataset; its runs have been looked at."""
    made = World(tmp_path)
    made.source.log("ds", {"a": b"payload"}, run=run(made, "log", 0))
    follow_runs(made.runtime, PROJECT)
    made.backfill()
    yield made
    made.catalog.close()


def run(world: World, name: str, minute: int, state: str = "finished") -> RunRef:
    """A run that was last heard of then."""
    at = (BEGAN + timedelta(minutes=minute)).isoformat()
    return world.source.add_run(name, state=state, active_at=at)


def use(world: World, ref: RunRef) -> RunRef:
    """Let a run use what `latest` is."""
    latest = next(v for v in world.source.versions(PROJECT) if "latest" in v.aliases)
    world.source.record_use(ref, latest)
    return ref


def told(world: World, ref: RunRef) -> bool:
    """Whether a run's config names the commit of its data."""
    return "dataset_commit" in world.source.run(ref).config


def users(world: World) -> set[str]:
    """The runs that the catalog knows to have used something."""
    descent = world.catalog.descent
    ids = [version.id for version in world.source.versions(PROJECT)]
    return {name.rpartition("/")[2] for _, name in descent.runs_of(ids, "input")}


def test_a_run_that_logs_nothing_is_known_and_says_what_it_used(world: World) -> None:
    """It began long after the dataset was moved."""
    ref = use(world, run(world, "evaluate", 10))
    follow_runs(world.runtime, PROJECT)

    assert told(world, ref)
    assert users(world) == {"evaluate"}


def test_a_run_is_looked_at_when_it_has_ended(world: World) -> None:
    """However late, and whoever was heard of later meanwhile."""
    slow = use(world, run(world, "slow", 10, "running"))
    use(world, run(world, "quick", 20))
    follow_runs(world.runtime, PROJECT)
    before = told(world, slow)
    run(world, "slow", 10)  # it crashed, and nobody heard of it any more
    follow_runs(world.runtime, PROJECT)

    assert (before, told(world, slow)) == (False, True)
    assert users(world) == {"slow", "quick"}


@pytest.mark.parametrize("seen", [True, False])
def test_a_run_that_is_resumed_is_looked_at_again(world: World, seen: bool) -> None:
    """It may go on with other data; between two looks it may have begun and ended once more."""
    use(world, run(world, "resumed", 10))
    follow_runs(world.runtime, PROJECT)
    world.source.log("ds", {"a": b"other payload"})
    world.backfill()
    if seen:
        use(world, run(world, "resumed", 20, "running"))
        follow_runs(world.runtime, PROJECT)
    ref = use(world, run(world, "resumed", 30))
    follow_runs(world.runtime, PROJECT)
    uses = list(world.catalog.descent.versions_of([str(ref)], "input"))
    calls = dict(world.source.calls)
    follow_runs(world.runtime, PROJECT)

    assert len(uses) == 2
    assert len(world.source.run(ref).config["oxen"]["inputs"]) == 2
    assert world.source.calls["run"] == calls["run"] + 1  # this test's own


def test_what_is_around_nothing_in_oxen_is_left_alone(world: World) -> None:
    """Its config is its own."""
    ref = run(world, "other", 10)
    follow_runs(world.runtime, PROJECT)

    assert world.source.run(ref).config == {}


def test_a_look_without_news_reads_no_run(world: World) -> None:
    """One request, however many runs there are."""
    for number in range(30):
        use(world, run(world, f"r{number}", 10 + number))
    follow_runs(world.runtime, PROJECT)
    before = dict(world.source.calls)
    follow_runs(world.runtime, PROJECT)

    assert dict(world.source.calls) == {**before, "heard": before["heard"] + 1}


def test_many_runs_are_read_some_at_a_time_and_none_is_left_out(world: World) -> None:
    """A poll goes on where the last one stopped."""
    names = {f"r{number:02}" for number in range(10)}
    for number, name in enumerate(sorted(names)):
        use(world, run(world, name, 10 + number))
    seen = []
    for _ in range(4):
        follow_runs(world.runtime, PROJECT, most=3)
        seen.append(len(users(world)))

    assert seen == [3, 6, 9, 10]
    assert users(world) == names


def test_the_first_look_begins_at_what_was_heard_of_last(tmp_path: Path) -> None:
    """Years of runs are not read; those around what is moved are, when it is."""
    world = World(tmp_path)
    run(world, "old", 5)
    run(world, "older", 4)
    follow_runs(world.runtime, PROJECT)
    calls = dict(world.source.calls)
    world.catalog.close()

    assert calls == {"heard": 1}


def test_a_run_that_waits_to_begin_does_not_make_every_look_longer(tmp_path: Path) -> None:
    """Nor one that W&B has not heard of for long: that is asked for by its name."""
    world = World(tmp_path)
    run(world, "first", 0)
    follow_runs(world.runtime, PROJECT)
    waiting = run(world, "queued", 1, state="pending")
    silent = run(world, "silent", 2, state="running")
    for number in range(300):
        run(world, f"r{number}", 100 + number)
    follow_runs(world.runtime, PROJECT)
    heard = list(world.source.heard("team", "proj"))
    since = world.catalog.descent.followed("team", "proj")

    assert since is not None
    assert len([item for item in heard if item.at >= since]) == 1
    assert world.catalog.runs_due() == [silent]
    finish_runs(world.runtime, world.catalog.runs_due(), Locks())
    assert world.catalog.runs_due() == [silent]
    world.source.add_run("silent", state="crashed")
    finish_runs(world.runtime, [silent, waiting], Locks())
    assert world.catalog.runs_due() == []
    assert "oxen" not in world.source.run(silent).config
    world.catalog.close()
