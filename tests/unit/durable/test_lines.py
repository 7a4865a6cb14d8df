"""Lines: what waits for its inputs, and what others bring to its end meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit_world import World

from syncd.catalog.catalog import State
from syncd.clients.artifacts import Version
from syncd.durable import lines as module
from syncd.durable.lines import Lines, slim, uses
from syncd.errors import ServiceUnavailableError
from syncd.stages.discover import Discovered


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty project."""
    made = World(tmp_path)
    yield made
    made.catalog.close()


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of what is handed to the engine, which is none here."""
    ids: list[str] = []

    def enqueue(_runtime: Any, item: Discovered, _repo: Any) -> str:
        ids.append(item.version.id)
        return item.version.id

    monkeypatch.setattr(module, "_enqueue", enqueue)
    return ids


def chain(world: World) -> tuple[Version, Version, Version]:
    """Data, and two versions of a model."""
    return (
        world.source.log("data", {"d": b"prepared data"}),
        world.source.log("model", {"w": b"weights"}, kind="model"),
        world.source.log("model", {"w": b"better weights"}, kind="model"),
    )


def test_a_version_that_others_brought_to_its_end_does_not_block_its_line(
    world: World, queued: list[str]
) -> None:
    """The engine goes on with what a killed process had queued, or another machine took it."""
    data, model, later = chain(world)
    lines = Lines(world.runtime)
    items = [Discovered(version=version) for version in (data, model, later)]
    lines.add(items, {model.id: [data.id], later.id: [data.id]})
    lines.release()
    assert queued == [data.id]

    assert lines.ended(model.id)  # it ran all the same
    assert lines.ended(data.id)
    lines.release()

    assert queued == [data.id, later.id]


def test_who_waits_behind_one_that_others_brought_to_its_end_goes_on(
    world: World, queued: list[str]
) -> None:
    """It does not wait for what that one waited for."""
    data, model, later = chain(world)
    lines = Lines(world.runtime)
    lines.add([Discovered(version=item) for item in (data, model, later)], {model.id: [data.id]})
    lines.release()
    assert queued == [data.id]

    assert lines.ended(model.id)
    lines.release()

    assert queued == [data.id, later.id]


def test_all_inputs_are_waited_for_in_whatever_order_they_end(
    world: World, queued: list[str]
) -> None:
    """Also where the line is looked at in between, because something was added to it."""
    data = [world.source.log(f"data-{number}", {"d": bytes([number])}) for number in range(3)]
    model = world.source.log("model", {"w": b"weights"}, kind="model")
    later = world.source.log("model", {"w": b"better weights"}, kind="model")
    lines = Lines(world.runtime)
    ids = [item.id for item in data]
    lines.add([Discovered(version=item) for item in (*data, model)], {model.id: ids})
    for number in (1, 2, 0):
        lines.release()
        lines.add([Discovered(version=later)], {})
        lines.release()
        assert queued == ids
        lines.ended(ids[number])
    lines.release()

    assert queued == [*ids, model.id, later.id]


def test_versions_of_a_collection_do_not_wait_for_each_other(
    world: World, queued: list[str]
) -> None:
    """A run that goes on from its own checkpoints uses what it logged: its versions go in order anyway."""
    run = world.source.add_run("train")
    made = [world.source.log("model", {"w": bytes([n])}, run=run, kind="model") for n in range(3)]
    other = world.source.log("data", {"d": b"data"})
    ids = [version.id for version in made]
    lines = Lines(world.runtime)
    items = [Discovered(version=version) for version in (other, *made)]
    lines.add(items, dict.fromkeys(ids, frozenset(ids)))
    lines.release()

    assert queued == [other.id, *ids]


def test_the_engine_is_handed_some_at_a_time(
    world: World, queued: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them in the end, each once and in the order of its collection; all are known to wait."""
    monkeypatch.setattr(module, "MOST", 5)
    monkeypatch.setattr(module, "AHEAD", 2)
    made = [
        world.source.log(f"ds-{name}", {"a": bytes([name, number])})
        for name in range(4)
        for number in range(6)
    ]
    lines = Lines(world.runtime)
    lines.add([Discovered(version=version) for version in made], {})
    assert sum(record.state is State.WAITING for record in world.catalog.records()) == len(made)
    lines.release()
    while lines.open:
        assert 0 < len(lines.running) <= 5
        lines.ended(next(iter(lines.running)))
        lines.release()

    assert sorted(queued) == sorted(version.id for version in made)
    for name in range(4):
        own = [item.id for item in made if item.ref.collection == f"ds-{name}"]
        assert [item for item in queued if item in own] == own


@pytest.mark.parametrize("count", [8, 32])
def test_an_end_costs_nothing_for_lines_that_wait_for_others(
    count: int, world: World, queued: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many lines, each behind an input of its own: the work grows as they do, and not as their square."""
    looks = 0
    look = Lines._is_stopped

    def counted(self: Lines, *names: Any) -> bool:
        nonlocal looks
        looks += 1
        return look(self, *names)

    monkeypatch.setattr(Lines, "_is_stopped", counted)
    data = [world.source.log(f"data-{n}", {"d": bytes([n])}) for n in range(count)]
    models = [world.source.log(f"model-{n}", {"w": bytes([n])}) for n in range(count)]
    lines = Lines(world.runtime)
    needs = {model.id: [used.id] for model, used in zip(models, data, strict=True)}
    lines.add([Discovered(version=version) for version in (*data, *models)], needs)
    lines.release()
    for version in (*data, *models):
        assert lines.ended(version.id)
        lines.release()

    assert len(queued) == 2 * count
    assert looks <= 4 * count


def test_a_run_is_read_once_for_all_that_it_logged(world: World) -> None:
    """What it used is in memory once, and whoever watches is told that it goes on."""
    run = world.source.add_run("train")
    used = [world.source.log("data", {"d": bytes([number])}) for number in range(3)]
    for version in used:
        world.source.record_use(run, version)
    made = [world.source.log("model", {"w": bytes([n])}, run=run, kind="model") for n in range(4)]
    told: list[int] = []
    found = uses(world.runtime, [*used, *made], asked=lambda: told.append(1))

    assert world.source.calls["run"] == len(told) == 1
    assert found.keys() == {version.id for version in made}
    assert len({id(ids) for ids in found.values()}) == 1
    assert found[made[0].id] == {version.id for version in used}


def test_what_waits_is_small(world: World) -> None:
    """What people wrote on a version is read again when its turn comes."""
    version = world.source.log(
        "ds", {"a": b"payload"}, metadata={"notes": "n" * 1000}, description="d" * 1000
    )
    waits = slim(Discovered(version=version, replacement=version))

    for item in (waits.version, waits.replacement):
        assert item is not None
        assert (item.id, item.ref, item.created_at) == (version.id, version.ref, version.created_at)
        assert not item.metadata
        assert not item.description
        assert item.ref.entity is waits.version.ref.entity


def test_a_long_line_is_handed_over_in_pieces_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand versions take an hour, in which others have ended and more has come."""
    world = World(tmp_path)
    long = [world.source.log("long", {"d": b"data %d" % number}) for number in range(5)]
    short = world.source.log("short", {"d": b"other data"})
    queued: list[str] = []

    def enqueue(_runtime: Any, item: Discovered, _repo: Any) -> str:
        queued.append(item.version.id)
        return item.version.id

    monkeypatch.setattr(module, "_enqueue", enqueue)
    lines = Lines(world.runtime)
    lines.add([Discovered(version=version) for version in (*long, short)], {})

    assert lines.release(2)
    assert queued == [long[0].id, short.id]
    assert lines.release(2)
    assert not lines.release(2)
    assert queued == [long[0].id, short.id, *(version.id for version in long[1:])]
    world.catalog.close()


def test_what_could_not_be_handed_over_is_the_next_ones_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalog that is away for a moment loses nobody his turn."""
    made = [world.source.log("ds", {"a": bytes([number])}) for number in range(3)]
    queued: list[str] = []
    fails = [False, True, False]

    def enqueue(_runtime: Any, item: Discovered, _repo: Any) -> str:
        if fails.pop(0) if fails else False:
            raise ServiceUnavailableError("the catalog did not answer")
        queued.append(item.version.id)
        return item.version.id

    monkeypatch.setattr(module, "_enqueue", enqueue)
    lines = Lines(world.runtime)
    lines.add([Discovered(version=version) for version in made], {})
    with pytest.raises(ServiceUnavailableError):
        lines.release()
    lines.release()

    assert queued == [version.id for version in made]
