"""Versions that were born in Oxen: the catalog learns their lineage at the first look, and then knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit_world import PROJECT, World

from syncd.errors import NotFoundError
from syncd.operations.births import keep_born
from syncd.operations.inquiry import Question, Teller, ask
from syncd.operations.rebuild import rebuild
from syncd.refs import CommitRef
from syncd.testing import Fault

COMMIT = CommitRef.parse("oxen://team/proj-model@0123456789abcdef0123456789abcdef")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty project."""
    made = World(tmp_path)
    yield made
    made.catalog.close()


def around(world: World) -> set[str]:
    """The names in the model's lineage, as the catalog knows it."""
    answer = ask(Question(ref="team/proj/model:v0", teller=Teller.CATALOG), world.runtime)
    return {node.name.rpartition("/")[2] for node in answer.graph.nodes.values()}


def test_a_look_learns_of_it_once(world: World) -> None:
    """Its run is asked for one time, however often somebody looks."""
    run = world.source.add_run("train")
    data = world.source.log("ds", {"data": b"payload"})
    world.source.record_use(run, data)
    world.published(run, COMMIT)
    world.backfill()
    asked = world.source.calls["run"]
    world.backfill()

    assert around(world) == {"ds:v0", "train", "model:v0"}
    assert world.catalog.descent.commit(COMMIT) is not None
    assert world.source.calls["run"] == asked


def test_a_run_that_goes_on_is_looked_at_when_it_has_ended(world: World) -> None:
    """What it used after it had published belongs to it, too."""
    run = world.source.add_run("train", state="running")
    version = world.published(run, COMMIT)
    keep_born(world.runtime, version)
    world.source.record_use(run, world.source.log("ds", {"tiny": b"no"}))
    world.source.add_run("train")
    world.backfill()

    assert around(world) == {"ds:v0", "train", "model:v0"}
    assert world.catalog.runs_due() == []


def test_one_whose_run_is_gone_is_known_by_its_name(world: World) -> None:
    """Nothing fails for that."""
    version = world.published(world.source.add_run("train"), COMMIT)
    world.source._call._faults = (Fault(method="run", error=NotFoundError("deleted"), at=1),)
    keep_born(world.runtime, version)

    assert around(world) == {"train", "model:v0"}


def test_a_rebuild_learns_of_it_again(world: World) -> None:
    """From nothing."""
    run = world.source.add_run("train")
    world.source.record_use(run, world.source.log("ds", {"data": b"payload"}))
    world.published(run, COMMIT)
    world.backfill()
    before = around(world)
    rebuild(world.runtime, [PROJECT], everything=True)

    assert around(world) == before == {"ds:v0", "train", "model:v0"}


def test_other_versions_cost_nothing(world: World) -> None:
    """Neither a request nor a row."""
    version = world.source.log("ds", {"data": b"payload"}, run=world.source.add_run("train"))
    keep_born(world.runtime, version)

    assert world.source.calls.get("run", 0) == 0
    assert world.catalog.descent.version(version.ref) is None
