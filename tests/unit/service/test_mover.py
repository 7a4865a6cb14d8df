"""The mover: when a version that failed is tried again."""

from __future__ import annotations

import queue
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit_world import World

from syncd.catalog.catalog import State
from syncd.config import Config
from syncd.durable import lines as lines_module
from syncd.durable.lines import Lines
from syncd.errors import PermanentError, ServiceUnavailableError
from syncd.refs import Target
from syncd.service import mover as module
from syncd.service.mover import Mover, due
from syncd.service.patience import Waiting
from syncd.service.vitals import STALLED, Vitals, age
from syncd.stages.discover import Discovered
from syncd.testing import Fault, MemoryArtifactSource

HOUR = 3600
PROJECTS: dict[str, Any] = {"wandb": {"projects": ["team/proj"]}}


@pytest.mark.parametrize(
    ("attempts", "hours"),
    [
        (0, 1),  # of a catalog that was rebuilt
        (1, 1),
        (2, 2),
        (5, 16),
        (6, 24),
        (1000, 24),
    ],
)
def test_each_failure_doubles_the_time_up_to_a_day(
    tmp_path: Path, attempts: int, hours: int
) -> None:
    """Counted from the last one."""
    world = World(tmp_path)
    version = world.source.log("ds", {"a": b"payload"})
    world.catalog.note(version, State.QUARANTINED, attempts=attempts)
    found = world.catalog.get(version.id)
    world.catalog.close()
    assert found is not None
    record = replace(found, updated_at="1970-01-01T00:00:00+00:00")

    assert age(record.updated_at, hours * HOUR - 1) == hours * HOUR - 1
    assert not due(record, hours * HOUR - 1)
    assert due(record, hours * HOUR)


def test_what_failed_under_a_clock_that_was_ahead_is_tried_again(tmp_path: Path) -> None:
    """Not only when that time has come."""
    world = World(tmp_path)
    version = world.source.log("ds", {"a": b"payload"})
    world.catalog.note(version, State.QUARANTINED, attempts=1)
    found = world.catalog.get(version.id)
    world.catalog.close()
    assert found is not None
    record = replace(found, updated_at="1971-01-01T00:00:00+00:00")

    assert due(record, HOUR)


def test_what_is_on_its_way_is_not_added_twice(tmp_path: Path) -> None:
    """And what has ended may come again."""
    world = World(tmp_path)
    lines = Lines(world.runtime)
    item = Discovered(version=world.source.log("ds", {"a": b"payload"}))
    lines.add([item], {})
    lines.add([item, item], {})
    assert [len(line) for line in lines._lines.values()] == [1]

    assert lines.ended(item.version.id)
    assert not lines.ended(item.version.id)
    world.catalog.close()


# --- polls


def mover_of(world: World, vitals: Vitals | None = None) -> Mover:
    """One whose thread has not begun."""
    died: list[BaseException] = []
    return Mover(world.runtime, vitals or Vitals(), Waiting({}), died.append)


def test_a_poll_of_all_projects_makes_good_what_failed_for_one(tmp_path: Path) -> None:
    """A hint asked for that one, and nobody may give another."""
    away = Fault(method="collections", error=PermanentError("not now"))
    everything: dict[str, Any] = {"wandb": {"projects": ["team/*"]}}
    world = World(tmp_path, MemoryArtifactSource(faults=[away]), **everything)
    mover = mover_of(world)
    mover._poll(Target.parse("team/proj"))
    assert mover.failing == "team/proj: not now"
    mover._poll(Target.parse("team/*"))

    assert mover.failing is None
    world.catalog.close()


def test_a_project_that_is_named_no_more_is_no_trouble(tmp_path: Path) -> None:
    """The configuration was read again, without the name that was wrong."""
    vitals = Vitals()
    world = World(tmp_path, wandb={"projects": ["team/proj", "team/other", "team/porj"]})
    world.source.log("ds", {"tiny": b"no"})
    mover = mover_of(world, vitals)
    for name in ("team/proj", "team/porj"):
        mover._poll(Target.parse(name))
    assert (mover.failing or "").startswith("team/porj: ")
    projects = {"wandb": {"projects": ["team/other"]}}
    mover.exchange(replace(world.runtime, config=Config.model_validate(projects)))

    assert mover.failing is None
    assert vitals.projects == []
    world.catalog.close()


def test_thousands_of_runs_that_are_asked_for_are_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look may take hours before anything is queued; an absence in its midst undoes nothing."""
    now = [0.0]
    vitals = Vitals(clock=lambda: now[0])
    stuck: list[bool] = []

    def slowly(method: str, _at: int) -> None:
        if method == "run":
            stuck.append(vitals.stuck(busy=True))
            now[0] += STALLED * 0.6

    away = Fault(method="run", error=ServiceUnavailableError("W&B did not answer"), at=4)
    world = World(tmp_path, MemoryArtifactSource(faults=[away], before=slowly), **PROJECTS)
    for number in range(5):
        run = world.source.add_run(f"r{number}")
        world.source.log("ds", {"a": b"payload %d" % number}, run=run)
    queued: list[str] = []

    def enqueue(_runtime: Any, item: Discovered, _repo: Any) -> str:
        queued.append(item.version.id)
        return item.version.id

    monkeypatch.setattr(lines_module, "_enqueue", enqueue)
    mover = mover_of(world, vitals)
    mover._poll(Target.parse("team/proj"))
    assert (len(queued), world.source.calls["run"]) == (0, 4)
    mover._poll(Target.parse("team/proj"))

    assert (len(queued), world.source.calls["run"]) == (5, 6)
    assert not any(stuck)
    world.catalog.close()


def test_what_is_handed_over_in_pieces_is_handed_over_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nothing is heard between two of them; and what is told meanwhile is heard."""
    monkeypatch.setattr(module, "AT_A_TIME", 2)
    world = World(tmp_path, **PROJECTS)
    ids = [world.source.log("ds", {"a": b"payload %d" % number}).id for number in range(5)]
    queued: queue.SimpleQueue[str] = queue.SimpleQueue()
    vitals = Vitals()
    mover = mover_of(world, vitals)
    heard: list[int] = []  # of ends, when each is handed over

    def enqueue(_runtime: Any, item: Discovered, _repo: Any) -> str:
        queued.put(item.version.id)
        if item.version.id == ids[1]:
            mover.ended({"artifact_id": ids[0], "state": "replaced"})
        heard.append(vitals.replaced)
        return item.version.id

    monkeypatch.setattr(lines_module, "_enqueue", enqueue)
    mover.start()
    mover.poll(Target.parse("team/proj"))
    found = [queued.get(timeout=20) for _ in ids]
    mover.stop()
    mover._thread.join(20)

    assert found == ids
    assert (heard[0], heard[-1]) == (0, 1)
    world.catalog.close()
