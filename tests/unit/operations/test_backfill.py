"""Backfill: in which order versions move, that it always ends, and what it tells at the end.

The engine is the real one on a database of its own; both ends are doubles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from unit_world import PROJECT, World

from syncd.catalog.catalog import State
from syncd.clients.artifacts import Version
from syncd.errors import NotFoundError
from syncd.operations.backfill import Scope, new_bytes, preview
from syncd.refs import CommitRef, Target
from syncd.stages.plan import plan
from syncd.testing import Damage, Fault, MemoryArtifactSource

ALWAYS = 1000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty project."""
    made = World(tmp_path)
    yield made
    made.catalog.close()


def chain(source: MemoryArtifactSource) -> list[Version]:
    """A model, logged into the list first, that was trained on data of which one came later."""
    first, train = source.add_run("first"), source.add_run("train")
    old = source.log("model", {"w": b"old weights"}, kind="model", run=first)
    raw = source.log("raw", {"r": b"raw data"})
    prepare = source.add_run("prepare")
    source.record_use(prepare, raw)
    data = source.log("data", {"d": b"prepared data"}, run=prepare)
    source.record_use(train, data)
    new = source.log("model", {"w": b"new weights"}, kind="model", run=train)
    return [old, raw, data, new]


# --- order


def test_inputs_are_moved_before_what_was_made_of_them(world: World) -> None:
    """A model's commit names the commit of its data, and that one the commit of the raw data."""
    _, raw, data, new = chain(world.source)
    report = world.backfill()
    ends = world.told.ends

    assert report.failures == []
    assert ends.index("raw:v0") < ends.index("data:v0") < ends.index("model:v1")
    for made, used in ((new, data), (data, raw)):
        [item] = world.lineage(made)["inputs"]
        assert item["artifact"] == str(used.ref)
        commit = CommitRef.parse(item["oxen"])
        assert world.store.resolve(commit.repo, commit.commit) is not None


def test_versions_of_a_collection_are_committed_in_order(world: World) -> None:
    """Though the first one has to wait for its input and the second has not."""
    run = world.source.add_run("train")
    first = world.source.log("a", {"w": b"weights 0"}, run=run)
    world.source.log("a", {"w": b"weights 1"})
    world.source.log("a", {"w": b"weights 2"})
    world.source.record_use(run, world.source.log("z", {"d": b"data"}))
    world.backfill()
    repo = plan(first, world.source.manifest(first), world.runtime.config).repo
    history: list[str] = []
    commit = world.store.resolve(repo, "main")
    while commit is not None:
        history.append(commit.trailers["Wandb-Artifact"])
        commit = world.store.resolve(repo, commit.parents[0]) if commit.parents else None

    assert history == ["team/proj/a:v2", "team/proj/a:v1", "team/proj/a:v0"]


def test_a_circle_of_inputs_ends_with_everything_moved(world: World) -> None:
    """A run may use a version that was made of its own: somebody has to go first."""
    one, other = world.source.add_run("one"), world.source.add_run("other")
    model = world.source.log("model", {"w": b"weights"}, run=one)
    data = world.source.log("data", {"d": b"data"}, run=other)
    world.source.record_use(one, data)
    world.source.record_use(other, model)
    selfish = world.source.add_run("selfish")
    world.source.record_use(selfish, world.source.log("own", {"o": b"mine"}, run=selfish))
    report = world.backfill()

    assert report.failures == []
    assert len(report.replaced) == 3
    assert world.told.ends.index("model:v0") < world.told.ends.index("data:v0")  # the oldest first


def test_an_input_that_failed_holds_nobody_up(tmp_path: Path) -> None:
    """Its model moves all the same, and says that the data has no commit."""
    damage = Damage(path="d", change=lambda data: data[:-1], times=ALWAYS)
    world = World(tmp_path, MemoryArtifactSource(damages=[damage]))
    *_, new = chain(world.source)
    report = world.backfill()
    world.catalog.close()

    assert [failure["version"] for failure in report.failures] == ["team/proj/data:v0"]
    assert report.failures[0]["stage"] == "transfer"
    assert "the manifest says" in report.failures[0]["error"]
    assert report.failures[0]["hint"]
    assert len(report.replaced) == 3
    assert [item["oxen"] for item in world.lineage(new)["inputs"]] == [None]


def test_a_run_that_is_gone_holds_nobody_up(tmp_path: Path) -> None:
    """People delete runs; only its own version says so."""
    gone = NotFoundError("team/proj/runs/r1: there is no such run")
    faults = [Fault(method="run", error=gone, at=number) for number in range(1, 9)]
    world = World(tmp_path, MemoryArtifactSource(faults=faults))
    world.source.log("a", {"w": b"weights"}, run=world.source.add_run("r1"))
    world.source.log("b", {"w": b"other"})
    report = world.backfill()
    world.catalog.close()

    assert [outcome["version"] for outcome in report.replaced] == ["team/proj/b:v0"]
    assert [failure["version"] for failure in report.failures] == ["team/proj/a:v0"]


# --- the report


def test_the_report_counts_versions_and_bytes(world: World) -> None:
    """As `syncd backfill --json` prints it."""
    world.source.log("ds", {"big": b"payload", "again": b"payload", "small": b"abc"})
    world.source.log("ds", {"small": b"abc"})
    document = world.backfill().document()
    [replacement] = document["replacements"]

    assert document["versions"] == {"discovered": 2, "replaced": 1, "skipped": 1, "failed": 0}
    assert document["bytes"] == {
        "planned": 14,
        "downloaded": 10,
        "uploaded": 10,
        "deduplicated": 7,
        "kept": 3,
    }
    assert replacement.keys() == {"source", "replacement", "oxen", "entries_moved"}
    assert (replacement["source"], replacement["entries_moved"]) == ("team/proj/ds:v0", 2)
    assert document["skipped"] == [
        {"version": "team/proj/ds:v1", "reason": "nothing to move: below min_file_size"}
    ]
    assert world.told.announced == (2, 20)


def test_a_second_backfill_finds_nothing_to_do(world: World) -> None:
    """Run it again to resume."""
    chain(world.source)
    world.backfill()
    calls = dict(world.store.calls)
    document = world.backfill().document()

    assert document["versions"] == {"discovered": 4, "replaced": 0, "skipped": 4, "failed": 0}
    assert all(item["reason"].startswith("replaced by ") for item in document["skipped"])
    assert world.store.calls["put"] == calls["put"]


def test_what_has_nothing_to_move_is_looked_into_once(world: World) -> None:
    """Its files never change; the answer says the same each time."""
    world.source.log("ds", {"tiny": b"1"})
    first = world.backfill()
    read = world.source.calls["manifest"]
    second = world.backfill()
    planned = [found for _, found in preview(world.runtime, Scope(targets=[PROJECT]))]

    assert first.skipped == second.skipped != []
    assert world.source.calls["manifest"] == read
    assert planned == [None]


def test_what_has_nothing_to_move_is_looked_into_again_under_another_configuration(
    world: World,
) -> None:
    """Smaller files may move now."""
    world.source.log("ds", {"tiny": b"1"})
    world.backfill()
    select = world.runtime.config.select.model_copy(update={"min_file_size": 1})
    config = world.runtime.config.model_copy(update={"select": select})
    world.runtime = replace(world.runtime, config=config)

    assert len(world.backfill().replaced) == 1


def test_a_poll_moves_what_is_new_and_is_silent_about_the_rest(world: World) -> None:
    """It reads the collections with news, and one other in turn."""
    for name in ("a", "b", "c"):
        world.source.log(name, {"big": b"payload of " + name.encode()})
    polls = [world.backfill(changed=True) for _ in range(3)]
    read = world.source.calls["versions"]
    world.source.log("b", {"big": b"something new"})
    news = world.backfill(changed=True)

    assert [len(report.replaced) for report in polls] == [3, 0, 0]
    assert [report.discovered for report in polls] == [3, 3, 1]
    assert [item["version"] for item in news.replaced] == ["team/proj/b:v2"]
    assert world.source.calls["versions"] <= read + 3


def test_a_version_that_failed_is_tried_anew_by_the_next_backfill(tmp_path: Path) -> None:
    """What made it fail may have been mended."""
    damage = Damage(path="d", change=lambda data: data[:-1], times=6)
    world = World(tmp_path, MemoryArtifactSource(damages=[damage]))
    version = world.source.log("ds", {"d": b"payload"})
    first = world.backfill()
    record = world.catalog.get(version.id)
    second = world.backfill()
    world.catalog.close()

    assert [failure["stage"] for failure in first.failures] == ["transfer"]
    assert record is not None
    assert (record.state, record.failed_stage) == (State.QUARANTINED, "transfer")
    assert len(second.replaced) == 1


def test_a_limit_is_kept_and_said(world: World) -> None:
    """The rest waits for the next time."""
    for number in range(3):
        world.source.log("ds", {"a": b"data %d" % number})
    report = world.backfill(limit=1)

    assert world.told.ends == ["ds:v0"]
    assert {item["reason"] for item in report.skipped} == {"beyond --limit 1"}


def test_a_limit_gets_on_though_the_first_versions_have_nothing_to_move(world: World) -> None:
    """What was looked at and left alone must not use up the limit for ever."""
    for number in range(2):
        world.source.log("ds", {"tiny": b"%d" % number})
    world.source.log("ds", {"big": b"payload"})
    moved = [len(world.backfill(limit=1).replaced) for _ in range(3)]

    assert sum(moved) == 1


def test_a_run_that_still_runs_gets_its_keys_with_a_later_backfill(world: World) -> None:
    """When it has ended, though there is nothing left to move."""
    run = world.source.add_run("train", state="running")
    world.source.record_use(run, world.source.log("ds", {"d": b"data"}))
    world.backfill()
    assert world.source.run(run).config == {}
    assert world.catalog.runs_due() == [run]

    world.source.add_run("train", state="finished")
    world.backfill()
    assert world.source.run(run).config["dataset_repo"] == "oxen://team/proj-ds"
    assert world.catalog.runs_due() == []


def test_an_alias_that_has_moved_in_wandb_moves_in_oxen(world: World) -> None:
    """Between replacements, where no new commit is made."""
    version = world.source.log("ds", {"d": b"first"}, aliases=["best"])
    world.source.log("ds", {"d": b"second"})
    report = world.backfill()
    replacement = next(
        item["replacement"] for item in report.replaced if item["version"].endswith("ds:v1")
    )
    [newer] = world.source.versions(Target.parse(replacement))
    world.source.move_aliases(newer, ["best"])
    world.backfill()
    repo = plan(version, world.source.manifest(version), world.runtime.config).repo
    branches = world.store.branches(repo)

    assert branches["best"] == branches["wandb/v1"]


# --- looking first


def test_a_preview_changes_nothing_and_counts_what_would_move(world: World) -> None:
    """`plan` and `--dry-run`."""
    world.source.log("ds", {"a": b"payload", "b": b"payload", "small": b"abc"})
    world.source.log("ds", {"small": b"abc"})
    world.source.log("ds", {"c": b"more data"})
    plans = [planned for _, planned in preview(world.runtime, Scope(targets=[PROJECT]))]
    limited = [planned for _, planned in preview(world.runtime, Scope(targets=[PROJECT], limit=1))]

    assert [bool(planned and not planned.skip) for planned in plans] == [True, False, True]
    assert [planned is None for planned in limited] == [False, True, True]  # beyond the limit
    assert plans[0] is not None
    assert (plans[0].moved_bytes, new_bytes(world.runtime, plans[0])) == (14, 10)
    assert world.store.calls["put"] == world.store.calls["commit"] == 0
    assert not set(world.source.calls) & {"log_replacement", "move_aliases", "read"}


def test_bytes_that_oxen_holds_are_not_counted_as_new(world: World) -> None:
    """As far as the catalog knows."""
    world.source.log("ds", {"a": b"payload"})
    world.backfill()
    world.source.log("ds", {"a": b"payload", "b": b"new data"})
    planned = [found for _, found in preview(world.runtime, Scope(targets=[PROJECT])) if found]

    assert [new_bytes(world.runtime, item) for item in planned] == [8]


def test_a_repository_that_is_gone_stops_nobody_else(world: World) -> None:
    """What its aliases' branches cannot follow is told as a failure; the rest is moved."""
    world.source.log("ds", {"a": b"payload"})
    world.backfill()
    world.store._repositories.clear()
    world.source.log("other", {"b": b"payload"})
    report = world.backfill()

    assert [outcome["version"] for outcome in report.replaced] == ["team/proj/other:v0"]
    assert [(item["version"], item["stage"]) for item in report.failures] == [
        ("team/proj/ds:v0", "replace")
    ]
    assert "does not exist" in report.failures[0]["error"]
