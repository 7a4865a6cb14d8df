"""Chores: what is done beside moving, when, and from where on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from unit_world import World

from syncd.durable import engine
from syncd.durable.locks import Locks
from syncd.service import chores as module
from syncd.service.chores import Chores, parts
from syncd.service.patience import Waiting

CONFIG: dict[str, Any] = {"wandb": {"projects": ["team/proj"]}}


class Told:
    """Chores that were done, as their beats tell."""

    def __init__(self, world: World, **others: Any) -> None:
        self.world = world
        self.died: list[BaseException] = []
        self.chores = Chores(world.runtime, Waiting({}), self.died.append, **others)
        self.chores.start()

    def of(self, name: str) -> dict[str, Any]:
        """The last beat of a chore."""
        beats = self.world.catalog.pulse.beats()
        return next((dict(beat.detail) for beat in beats if beat.name == name), {})

    def do(self, name: str, done: Callable[[dict[str, Any]], bool] = bool) -> dict[str, Any]:
        """Do a chore; its beat."""
        self.chores.do(name)
        for _ in range(1000):
            if done(found := self.of(name)):
                return found
            threading.Event().wait(0.01)
        raise AssertionError(f"{name} was not done: {self.died}")


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """A project of ten moved versions, and its chores."""
    world = World(tmp_path, **CONFIG)
    for number in range(10):
        world.source.log("ds", {"a": b"payload %d" % number})
    world.backfill()
    made = Told(world)
    yield made
    made.chores.stop()
    made.chores._thread.join(10)
    world.catalog.close()


@pytest.mark.parametrize(
    ("whole", "count"),
    [
        (timedelta(days=7), 168),  # one an hour
        (timedelta(days=30), 168),
        (timedelta(days=1), 24),
        (timedelta(minutes=1), 7),
    ],
)
def test_everything_is_verified_in_parts(whole: timedelta, count: int) -> None:
    """Small ones, but not too many."""
    assert parts(whole) == count


def test_all_parts_together_are_everything(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, each once, and from the beginning again."""
    monkeypatch.setattr(module, "MOST_PARTS", 7)
    found = [
        told.do("verify", lambda beat, n=number: beat.get("part") == n)  # type: ignore[misc]
        for number in [*range(1, 8), 1]
    ]

    assert sum(beat["versions"] for beat in found[:7]) == 10
    assert {beat["parts"] for beat in found} == {7}
    assert found[7] == found[0]
    assert {beat["failed"] for beat in found} == {0}


def test_what_is_wrong_is_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, as many as a person reads."""
    monkeypatch.setattr(module, "parts", lambda _whole: 1)
    for repository in told.world.store._repositories.values():
        repository.contents.clear()
    found = told.do("verify")

    assert found["failed"] == 10
    assert found["problems"][0].startswith("team/proj/ds:v")


def test_a_copy_of_the_catalog_is_made(told: Told, tmp_path: Path) -> None:
    """In the state directory."""
    found = told.do("backup")

    assert [path.name for path in (tmp_path / "backups").iterdir()] == [found["file"]]
    assert found["bytes"] > 0


def test_nothing_is_reclaimed_without_a_policy(told: Told) -> None:
    """It is not even scheduled."""
    assert {job.name for job in told.chores.jobs()} == {"verify", "backup", "tidy"}


def test_what_was_done_lately_is_not_done_again_at_a_restart(told: Told) -> None:
    """It is due when it would have been; what was never done is done soon."""
    told.do("backup")
    first = {job.name: job.first for job in told.chores.jobs()}

    assert timedelta(hours=23) < first["backup"] <= timedelta(days=1)
    assert first["verify"] <= timedelta(minutes=10)


def test_a_chore_that_fails_leaves_the_others_alone(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, and tried when it is due again."""
    target = told.world.runtime.config.engine.state_dir / "backups"
    target.touch()  # no folder can be made there
    told.chores.do("backup")
    told.do("verify")

    assert '"event": "chore.failed"' in capsys.readouterr().err
    assert told.of("backup") == {}
    assert told.died == []


def test_daemons_that_share_a_database_share_their_chores(told: Told, tmp_path: Path) -> None:
    """What one has done is not due at the other; what nobody has done is."""
    told.do("backup")
    before = told.of("backup")
    other = Told(told.world, locks=Locks(), shared=True)
    other.chores.do("backup")
    other.do("verify")  # behind it, in the same thread
    other.chores.stop()

    assert told.of("backup") == before
    assert len(list((tmp_path / "backups").iterdir())) == 1
    assert other.died == []


def test_a_clock_that_was_ahead_puts_no_chore_off(told: Told, tmp_path: Path) -> None:
    """One daemon's clock was set a year ahead for a while; all the others would wait for that year."""
    told.world.catalog.pulse.beat("backup", {"file": "of 2090"}, at=time.time() + 365 * 86_400)
    other = Told(told.world, locks=Locks(), shared=True)
    assert {job.name: job.first for job in other.chores.jobs()}["backup"] == timedelta()
    other.do("backup", lambda beat: beat.get("file") != "of 2090")
    other.chores.stop()

    assert len(list((tmp_path / "backups").iterdir())) == 1


def test_a_machine_that_is_gone_for_days_is_forgotten(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last sign of life is tidied away; what was done stays known."""
    monkeypatch.setattr(engine, "forget_ended", lambda _before: 0)  # no engine runs here
    pulse = told.world.catalog.pulse
    pulse.beat("engine:gone", {}, at=time.time() - 90_000)
    pulse.beat("engine:here", {}, at=time.time())
    pulse.beat("verify", {"part": 3}, at=time.time() - 90_000)
    told.do("tidy")

    names = {beat.name for beat in pulse.beats()}
    assert names >= {"engine:here", "verify", "tidy"}
    assert "engine:gone" not in names
