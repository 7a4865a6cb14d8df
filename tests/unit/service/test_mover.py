"""The mover: when a version that failed is tried again."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit_world import PROJECT, World

from syncd.catalog.catalog import State
from syncd.clients.artifacts import Collection, age
from syncd.config import Config
from syncd.durable import lines as lines_module
from syncd.durable.lines import Lines
from syncd.durable.locks import Locks
from syncd.errors import PermanentError, ServiceUnavailableError
from syncd.refs import Target
from syncd.replacements import commit_of
from syncd.service import mover as module
from syncd.service.mover import Mover
from syncd.service.patience import Waiting
from syncd.service.polling import due
from syncd.service.vitals import STALLED, Vitals
from syncd.stages.discover import Discovered
from syncd.testing import Fault, MemoryArtifactSource
from syncd.versions import whereabouts

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


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty project; nothing that is queued moves."""
    monkeypatch.setattr(lines_module, "_enqueue", lambda _runtime, item, _repo: item.version.id)
    made = World(tmp_path)
    yield made
    made.catalog.close()


def mover(world: World) -> Mover:
    """One whose thread does not run."""

    def died(error: BaseException) -> None:
        raise error

    return Mover(world.runtime, Vitals(), Waiting({}), died, locks=Locks())


def reads(world: World, looker: Mover) -> int:
    """How many collections a poll reads."""
    before = world.source.calls["versions"]
    looker._poll(PROJECT)
    assert looker.failing is None
    return world.source.calls["versions"] - before


def test_what_waits_for_its_turn_is_not_asked_for_at_each_poll(world: World) -> None:
    """Until something of its collection has ended, or is new; so it is while millions wait."""
    looker = mover(world)
    made = [world.source.log(f"ds-{number}", {"a": bytes([number] * 4)}) for number in range(3)]
    assert [reads(world, looker) for _ in range(3)] == [3, 0, 0]

    world.source.log("ds-0", {"a": b"news"})
    assert [reads(world, looker) for _ in range(2)] == [1, 0]
    assert looker._end(made[1].id)
    assert [reads(world, looker) for _ in range(2)] == [1, 0]
    assert looker.queued == 4


def test_what_is_set_aside_is_looked_after_though_others_of_its_collection_wait(
    world: World,
) -> None:
    """A person may let it out of quarantine at any time, and its own time comes."""
    looker = mover(world)
    version = world.source.log("ds", {"a": b"payload"})
    world.source.log("ds", {"a": b"more of it"})
    world.catalog.fail(version, stage="transfer", reason="it is damaged", hint="")
    assert [reads(world, looker) for _ in range(2)] == [1, 1]
    assert looker.queued == 1

    world.catalog.release(version.id)
    assert [reads(world, looker) for _ in range(2)] == [1, 0]
    assert looker.queued == 2


def test_reading_very_many_runs_is_progress(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes hours before the first version moves, and a watchdog would end the process meanwhile."""
    looker = mover(world)
    for number in range(3):
        run = world.source.add_run(f"train-{number}")
        world.source.log("model", {"w": bytes([number] * 4)}, run=run, kind="model")
    seen: list[int] = []
    monkeypatch.setattr(
        looker._vitals, "progressed", lambda: seen.append(world.source.calls["run"])
    )
    looker._poll(PROJECT)

    assert {1, 2, 3} <= {*seen}


def test_the_lag_is_that_of_the_oldest_that_has_not_ended(world: World) -> None:
    """By project."""
    looker = mover(world)
    old = world.source.log("ds", {"a": b"payload"})
    world.source.pass_time(3600)
    world.source.log("ds", {"a": b"more of it"})
    looker._poll(PROJECT)
    [(name, lag)] = ((key, value) for key, value in looker.lag().items() if value)

    assert name == "team/proj"
    assert lag == pytest.approx(age(old.created_at, time.time()), abs=60)


# --- hints


def told(world: World, *names: str | None, project: str = "team/proj", at: float = 1.0) -> None:
    """W&B has said that something is new in these collections, None for the whole project."""
    for name in names:
        world.catalog.pulse.hint(project, name, at=at)


def looked(world: World, looker: Mover) -> dict[str, int]:
    """Hand over what waits in the catalog, and let it be looked at; the calls of W&B it took."""
    before = Counter(world.source.calls)
    looker.hinted(world.catalog.pulse.hints())
    while not looker._told.empty():
        looker._take(looker._told.get())
    return dict(Counter(world.source.calls) - before)


def waiting(world: World) -> list[str | None]:
    """The collections of the hints in the catalog."""
    return [hint.collection for hint in world.catalog.pulse.hints()]


@pytest.fixture
def hinted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A project that is watched; nothing that is queued moves."""
    monkeypatch.setattr(lines_module, "_enqueue", lambda _runtime, item, _repo: item.version.id)
    made = World(tmp_path, **PROJECTS)
    yield made
    made.catalog.close()


def test_a_hint_has_its_collection_looked_at_and_no_other(hinted: World) -> None:
    """However many there are, and however often it is said; runs are for the poll."""
    for number in range(30):
        hinted.source.log(f"ds-{number}", {"a": bytes([number] * 4)})
    looker = mover(hinted)
    for at in (1.0, 2.0, 3.0):
        told(hinted, "ds-7", at=at)
        looker.hinted(hinted.catalog.pulse.hints())
    calls = looked(hinted, looker)

    assert calls == {"collections": 1, "versions": 1}
    assert looker.queued == 1
    assert waiting(hinted) == []
    assert looked(hinted, looker) == {}


def test_very_many_hints_of_a_project_are_one_poll(hinted: World) -> None:
    """W&B tells of a hundred collections a request."""
    for number in range(module.MANY + 1):
        hinted.source.log(f"ds-{number}", {"a": b"%4d" % number})
    looker = mover(hinted)
    told(hinted, *(f"ds-{number}" for number in range(module.MANY + 1)))

    assert looked(hinted, looker)["collections"] == 1
    assert (looker.queued, waiting(hinted)) == (module.MANY + 1, [])


def test_a_hint_at_what_is_not_there_is_harmless(hinted: World) -> None:
    """Another project, none at all, a name out of nowhere; and the poll goes on."""
    hinted.source.log("ds", {"a": b"payload"})
    looker = mover(hinted)
    told(hinted, "nothing", "../../etc", "ds:v1", 'a"{}b')
    told(hinted, "ds", None, project="nobody/knows")
    told(hinted, "ds", project="nonsense")
    calls = looked(hinted, looker)

    assert "versions" not in calls
    assert (looker.queued, looker.failing, waiting(hinted)) == (0, None, [])
    assert reads(hinted, looker) == 1


def test_a_hint_stays_until_it_was_acted_on(tmp_path: Path) -> None:
    """W&B is away, or the process is killed: whoever comes next finds it in the catalog."""
    away = Fault(method="collections", error=ServiceUnavailableError("W&B did not answer"))
    world = World(tmp_path, MemoryArtifactSource(faults=[away]), **PROJECTS)
    looker = mover(world)
    told(world, "ds")
    looked(world, looker)
    assert waiting(world) == ["ds"]
    assert looked(world, looker) == {}  # not twice a second

    looker._poll(PROJECT)
    assert looked(world, looker)["collections"] == 1
    assert (waiting(world), looker.failing) == ([], None)
    world.catalog.close()


def test_a_hint_that_is_said_again_during_the_look_leads_to_another(hinted: World) -> None:
    """What it is about may have come after W&B answered."""
    hinted.source.log("ds", {"a": b"payload"})
    looker = mover(hinted)
    told(hinted, "ds")
    looker.hinted(hinted.catalog.pulse.hints())
    told(hinted, "ds", at=2.0)
    while not looker._told.empty():
        looker._take(looker._told.get())

    assert [hint.at for hint in hinted.catalog.pulse.hints()] == [2.0]


def test_a_hint_waits_for_what_is_on_its_way_in_its_collection(hinted: World) -> None:
    """Our own aliases set off many while it is moved; afterwards one look tells what is left."""
    version = hinted.source.log("ds", {"a": b"payload"})
    looker = mover(hinted)
    looker._poll(PROJECT)
    told(hinted, "ds")
    assert looked(hinted, looker) == {}
    assert waiting(hinted) == ["ds"]

    looker._end(version.id)
    assert looked(hinted, looker)["collections"] == 1
    assert waiting(hinted) == []


def test_an_alias_that_goes_to_an_old_version_is_followed_by_a_hint_and_by_a_poll(
    tmp_path: Path,
) -> None:
    """Though it is older than the ten that W&B tells of in its list, and nothing else is new."""
    world = World(tmp_path, **PROJECTS)
    for name in ("read", "in-turn", *["ds"] * 13):
        world.source.log(name, {"a": b"payload %d" % len(world.source._logged)})
    assert len(world.backfill().replaced) == 15
    looker = mover(world)
    looker._poll(PROJECT)
    old, older = (record for record in world.catalog.records() if record.version_index in (1, 2))
    steps = [(record, "hint") for record in (old, older, old)]  # between old ones, and back
    for record, by in [*steps, (older, "poll"), (old, "poll")]:
        assert record.replacement_id
        made = world.source.version(record.replacement_id)
        world.source.move_aliases(made, ["best"])
        if by == "hint":
            told(world, "ds", at=time.time())
            looked(world, looker)
        else:
            looker._poll(PROJECT)
        commit = commit_of(made.metadata, made.digest)

        assert commit is not None
        assert world.store.branches(commit.repo)["best"] == commit.commit
    world.catalog.close()


# --- polls


def test_a_poll_goes_on_with_the_aliases_where_the_last_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are more than one poll may ask for; with the same collections each time others never come."""
    world = World(tmp_path, select={"exclude": {"types": ["dataset"]}})
    for name in ("a", "b", "c"):
        for number in range(11):
            aliases = ("latest",) if number else ("production",)
            world.source.log(name, {"a": b"%d" % number}, aliases=aliases)
    asked: list[str] = []

    def pointed(found: Sequence[Collection]) -> Any:
        asked.extend(collection.name for collection in found)
        return MemoryArtifactSource.pointed(world.source, found)

    monkeypatch.setattr(world.source, "pointed", pointed)
    monkeypatch.setattr(whereabouts, "ASKED", 1)
    looker = mover(world)
    for _ in range(5):
        looker._poll(PROJECT)
    world.catalog.close()

    assert asked == ["a", "b", "c", "a"]


def mover_of(world: World, vitals: Vitals | None = None) -> Mover:
    """One whose thread has not begun."""
    died: list[BaseException] = []
    return Mover(world.runtime, vitals or Vitals(), Waiting({}), died.append, locks=Locks())


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
