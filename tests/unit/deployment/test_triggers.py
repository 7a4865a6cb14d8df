"""Triggers: told once of each version, whatever fails, and never in a version's way."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from unit_world import PROJECT, World

from syncd.catalog.catalog import Catalog
from syncd.catalog.firings import DONE, DUE, FAILED, Firing
from syncd.config import Config
from syncd.config.hooks import Trigger
from syncd.deployment import triggers
from syncd.errors import PermanentError, ServiceUnavailableError
from syncd.operations.rebuild import rebuild
from syncd.refs import CommitRef, RepoRef, reference_url
from syncd.replacements import Published
from syncd.testing import Fault, MemoryArtifactSource
from syncd.versions.plans import LINEAGE_PATH

WRITE = "import os,sys; open(os.environ['SYNCD_IDEMPOTENCY_KEY'].replace(':', '.'), 'a').write(sys.stdin.read() + '\\n')"


def hook(folder: Path, **more: Any) -> dict[str, Any]:
    """A trigger whose command appends what it is told to a file of its key's name."""
    code = f"import os; os.chdir({str(folder)!r})\n{WRITE}"
    return {"command": [sys.executable, "-c", code], **more}


def told(folder: Path) -> list[dict[str, Any]]:
    """What the commands were told."""
    lines = [line for file in sorted(folder.glob("*.*")) for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where commands write."""
    made = tmp_path / "out"
    made.mkdir()
    return made


@pytest.fixture
def world(tmp_path: Path, out: Path) -> Iterator[World]:
    """A project that retrains when a dataset is `latest`, and tells of all that moves."""
    retrain = hook(out, types=["dataset"], aliases=["latest"], collections=["d*"])
    made = World(tmp_path, triggers={"retrain": retrain, "all": hook(out)})
    yield made
    made.catalog.close()


def test_each_moved_version_is_told_of_once(world: World, out: Path) -> None:
    """To those it matches, with where it is; a second backfill tells nobody."""
    old = world.source.log("ds", {"a": b"payload"})
    world.source.log("ds", {"a": b"newer payload"})
    world.source.log("model", {"w": b"weights"}, kind="model")
    assert world.backfill().failures == []
    found = [(item["trigger"], item["version"]) for item in told(out)]

    assert sorted(found) == [
        ("all", "team/proj/ds:v0"),
        ("all", "team/proj/ds:v1"),
        ("all", "team/proj/model:v0"),
        ("retrain", "team/proj/ds:v1"),
    ]
    one = next(item for item in told(out) if item["version"] == str(old.ref))
    commit = CommitRef.parse(one["oxen"])
    base = world.runtime.config.references.base_url
    assert one["files"] + LINEAGE_PATH == reference_url(base, commit, LINEAGE_PATH)
    assert b"".join(world.store.read(commit, "a")) == b"payload"
    world.backfill()
    assert len(told(out)) == 4
    assert {item.state for item in world.catalog.firings.all([DUE, FAILED, DONE])} == {DONE}


def test_a_failure_at_the_end_of_the_path_loses_nothing(tmp_path: Path, out: Path) -> None:
    """Until a version is marked complete it is gone through again; it is told of once all the same."""
    refused = Fault(method="update_metadata", error=PermanentError("W&B refused"))
    source = MemoryArtifactSource(faults=[refused])
    world = World(tmp_path, source, triggers={"all": hook(out)})
    source.log("ds", {"a": b"payload"})
    assert len(world.backfill().failures) == 1
    assert world.backfill().failures == []
    assert [item["trigger"] for item in told(out)] == ["all"]
    world.catalog.close()


def test_what_was_born_in_oxen_is_told_of_too(world: World, out: Path) -> None:
    """Nothing of it moves, so nothing else would."""
    commit = CommitRef(repo=RepoRef(namespace="team", repo="proj-ds"), commit="ab12")
    version = world.source.log("ds", {"tiny": b"no"})
    url = reference_url("https://data.example", commit, LINEAGE_PATH)
    born = Published(commit=commit, url=url, digest=version.digest)
    world.source.update_metadata(version, born.into({}))
    world.backfill()

    assert {item["trigger"] for item in told(out)} == {"retrain", "all"}
    assert {item["oxen"] for item in told(out)} == {str(commit)}


class Told:
    """Triggers that are told, and fail as they are set to.

    Args:
        failures: of the coming attempts, in turn.
    """

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.keys: list[str] = []

    def __call__(self, _trigger: Trigger, firing: Firing, _names: Mapping[str, str]) -> str:
        """Tell one."""
        self.keys.append(firing.key)
        if self.failures:
            raise self.failures.pop(0)
        return ""


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog in which one trigger is due."""
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    names = ("trigger", "version", "reference", "type", "repo", "commit", "oxen", "folder", "files")
    catalog.firings.enlist("retrain:1", "retrain", "e/p/ds:v1", dict.fromkeys(names, ""))
    yield catalog
    catalog.close()


CONFIG = Config.model_validate({"triggers": {"retrain": {"command": ["retrain"]}}})


def test_a_trigger_that_fails_is_told_again_later_then_given_up(waiting: Catalog) -> None:
    """With ever longer pauses; a person sees why, and may have it told again."""
    away = Told(*[ServiceUnavailableError("nobody answers")] * 99)
    clock, pauses = Clock(), []
    while waiting.firings.all([DUE]):
        triggers.fire(waiting, CONFIG, told=away, clock=clock)
        [firing] = waiting.firings.all([DUE, FAILED])
        pauses.append(firing.next_at - clock.now)
        triggers.fire(waiting, CONFIG, told=away, clock=clock)  # too early
        clock.now = firing.next_at

    [firing] = waiting.firings.all([FAILED])
    assert len(away.keys) == triggers.ATTEMPTS
    assert pauses == [60.0 * 2**number for number in range(triggers.ATTEMPTS)]
    assert (firing.state, firing.error) == (FAILED, "nobody answers")
    works = Told()
    assert triggers.retry(waiting, ["retrain:1", "retrain:7"]) == 1
    assert triggers.fire(waiting, CONFIG, told=works, clock=clock).done == 1
    assert works.keys == ["retrain:1"]


def test_a_trigger_that_was_taken_out_of_the_configuration_is_given_up(waiting: Catalog) -> None:
    """With what to do when that was a mistake."""
    triggers.fire(waiting, Config(), told=Told())
    [firing] = waiting.firings.all([FAILED])

    assert "no trigger 'retrain'" in firing.error
    assert "[triggers.retrain]" in firing.hint


def test_two_that_look_at_once_tell_it_once(waiting: Catalog) -> None:
    """And when one dies while it tells, the other does it later."""

    def nested(_trigger: Trigger, _firing: Firing, _names: Mapping[str, str]) -> str:
        assert triggers.fire(waiting, CONFIG, told=other, clock=lambda: 1.0).done == 0
        raise KeyboardInterrupt

    other = Told()
    with pytest.raises(KeyboardInterrupt):
        triggers.fire(waiting, CONFIG, told=nested, clock=lambda: 1.0)
    assert other.keys == []
    triggers.fire(waiting, CONFIG, told=other, clock=lambda: 1.0 + 600 + triggers.SPARE)
    assert other.keys == ["retrain:1"]


def test_a_rebuild_keeps_what_nobody_else_knows(world: World) -> None:
    """What was told is not told again, and what waits goes on waiting."""
    world.source.log("ds", {"a": b"payload"})
    world.backfill()
    before = world.catalog.firings.all([DONE])
    rebuild(world.runtime, [PROJECT], everything=True)

    assert world.catalog.firings.all([DUE, FAILED, DONE]) == before
