"""The pulse: a hint waits once until it is taken, a beat replaces the last one, in every process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from syncd.catalog.catalog import Catalog
from syncd.catalog.pulse import Beat


@pytest.fixture
def catalog(database: str) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(database)
    yield made
    made.close()


def test_a_hint_said_twice_waits_once(catalog: Catalog) -> None:
    """The later time counts; another collection, or the whole project, is another hint."""
    pulse = catalog.pulse
    pulse.hint("team/proj", "ds", at=1.5)
    pulse.hint("team/proj", None, at=2.0)
    pulse.hint("team/proj", "ds", at=3.25)

    assert [(item.project, item.collection, item.at) for item in pulse.hints()] == [
        ("team/proj", None, 2.0),
        ("team/proj", "ds", 3.25),
    ]


def test_a_taken_hint_is_gone_and_may_come_again(catalog: Catalog) -> None:
    """Only what was taken goes."""
    pulse = catalog.pulse
    pulse.hint("team/proj", "ds", at=1.0)
    pulse.hint("team/other", "ds", at=1.0)
    pulse.taken([item for item in pulse.hints() if item.project == "team/proj"])
    assert [item.project for item in pulse.hints()] == ["team/other"]
    pulse.hint("team/proj", "ds", at=2.0)

    assert [item.project for item in pulse.hints()] == ["team/other", "team/proj"]


def test_a_hint_said_again_after_it_was_read_is_not_lost(catalog: Catalog) -> None:
    """What came after the look asks for another look."""
    pulse = catalog.pulse
    pulse.hint("team/proj", "ds", at=1.0)
    read = pulse.hints()
    pulse.hint("team/proj", "ds", at=2.0)
    pulse.taken(read)

    assert [item.at for item in pulse.hints()] == [2.0]


def test_an_old_answer_never_takes_a_new_hint(catalog: Catalog) -> None:
    """Not even one of the same moment: an id is used once."""
    pulse = catalog.pulse
    pulse.hint("team/proj", "ds", at=1.0)
    read = pulse.hints()
    pulse.taken(read)
    pulse.hint("team/proj", "ds", at=1.0)
    pulse.taken(read)

    assert len(pulse.hints()) == 1


def test_a_beat_replaces_the_last_one(catalog: Catalog) -> None:
    """One row per name, with all that was told."""
    pulse = catalog.pulse
    pulse.beat("face", {"port": 1}, at=1.0)
    pulse.beat("engine:local", {"phase": "polling", "lag": {"team/proj": 0.5}}, at=2.0)
    pulse.beat("face", {"port": 2, "waiting_for": None}, at=3.0)

    assert pulse.beats() == [
        Beat(name="engine:local", at=2.0, detail={"phase": "polling", "lag": {"team/proj": 0.5}}),
        Beat(name="face", at=3.0, detail={"port": 2, "waiting_for": None}),
    ]


def test_processes_that_are_long_gone_are_forgotten(catalog: Catalog) -> None:
    """Those of a kind, and nobody else."""
    for name, at in (("engine:a", 10.0), ("engine:b", 30.0), ("engine_c", 10.0), ("verify", 10.0)):
        catalog.pulse.beat(name, {}, at=at)
    catalog.pulse.forget("engine:", before=20.0)

    assert {beat.name for beat in catalog.pulse.beats()} == {"engine:b", "engine_c", "verify"}


def test_processes_talk_through_the_database_alone(database: str, catalog: Catalog) -> None:
    """Two catalogs on one database, many threads: every hint arrives, and is there once."""
    other = Catalog(database)
    try:

        def say(number: int) -> None:
            (catalog if number % 2 else other).pulse.hint(f"team/{number % 5}", None, at=number)
            other.pulse.beat(f"engine:{number % 3}", {"n": number}, at=number)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(say, range(60)))

        assert {item.project for item in other.pulse.hints()} == {f"team/{n}" for n in range(5)}
        assert len(catalog.pulse.hints()) == 5
        assert [beat.name for beat in catalog.pulse.beats()] == [f"engine:{n}" for n in range(3)]
    finally:
        other.close()
