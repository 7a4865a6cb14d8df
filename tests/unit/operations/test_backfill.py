"""Backfill: in which order versions move, that it always ends, and what it tells at the end.

The engine is the real one on a database of its own; both ends are doubles.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOSClient, EnqueueOptions
from sqlalchemy.exc import OperationalError
from unit_world import PROJECT, World

from syncd.catalog.catalog import Catalog, State
from syncd.catalog.database import room
from syncd.clients.artifacts import Run, Version
from syncd.durable import context, engine, fleet
from syncd.errors import NotFoundError, PermanentError, StateUnavailableError
from syncd.operations import backfill, sweep
from syncd.operations.backfill import Report, Scope, new_bytes, preview
from syncd.operations.restoration import restore_commit
from syncd.refs import CommitRef, OxenURL, Target
from syncd.replacements import replacement_of
from syncd.runtime import engine_database
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


# --- a database that is away or locked


def locked() -> OperationalError:
    """What comes of a lock that was waited for in vain."""
    cause = sqlite3.OperationalError("database is locked")
    cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("UPDATE", {}, cause)


def test_an_engine_whose_file_is_locked_ends_it_with_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a service that is away, no fault of ours."""

    def refused(_before: datetime) -> int:
        raise locked()

    world.source.log("ds", {"a": b"payload"})
    monkeypatch.setattr(engine, "forget_ended", refused)
    with pytest.raises(StateUnavailableError, match="the engine's database"):
        world.backfill()


def test_a_catalog_that_is_locked_in_the_middle_ends_it_with_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as a bug nor with a version set aside, and the next one goes on."""
    monkeypatch.setattr(backfill, "LOOK_AGAIN", 0.1)
    note, refused = Catalog.note, threading.Event()

    def once(self: Catalog, version: Version, state: State, **values: Any) -> None:
        if state is State.VERIFY and not refused.is_set():
            refused.set()
            with room("the catalog"):
                raise locked()
        note(self, version, state, **values)

    monkeypatch.setattr(Catalog, "note", once)
    world.source.log("ds", {"a": b"payload"})
    with pytest.raises(StateUnavailableError, match="locked"):
        world.backfill()
    assert list(world.catalog.quarantined()) == []
    assert len(world.backfill().replaced) == 1


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
    assert report.failures[0]["error"].startswith("d: 12 bytes came, W&B's manifest says 13")
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


# --- what people do meanwhile


def commit_of(world: World, version: Version) -> CommitRef:
    """Where a version was moved to."""
    record = world.catalog.get(version.id)
    assert record is not None
    assert record.commit is not None
    return record.commit


def test_a_run_that_was_deleted_ends_no_backfill(world: World) -> None:
    """Its config was still due; what it logged has long been moved."""
    run = world.source.add_run("r1", state="running")
    world.source.log("ds", {"a": b"payload"}, run=run)
    world.backfill()
    assert world.catalog.runs_due() == [run]
    world.source.forget_run(run)
    world.source.log("other", {"b": b"another payload"})

    assert world.backfill().document()["versions"]["replaced"] == 1
    assert world.catalog.runs_due() == []


def test_what_was_begun_is_completed_although_its_alias_has_moved_on(tmp_path: Path) -> None:
    """`[select.include] aliases` chose the version; cut off, the replacement has the alias already."""
    refused = Fault(method="update_config", error=PermanentError("not just now"), at=1)
    select = {"min_file_size": 4, "include": {"aliases": ["latest"]}}
    world = World(tmp_path, MemoryArtifactSource(faults=[refused]), select=select)
    run = world.source.add_run("r1")
    world.source.log("ds", {"a": b"payload"}, run=run)
    assert world.backfill().document()["versions"]["failed"] == 1

    assert world.backfill().document()["versions"]["replaced"] == 1
    assert "oxen" in world.source.run(run).config
    links = [replacement_of(v.metadata, v.digest) for v in world.source.versions(PROJECT)]
    assert [link.complete for link in links if link] == [True]
    world.catalog.close()


def test_the_same_content_logged_again_after_its_version_is_gone_moves(tmp_path: Path) -> None:
    """A nightly job logs what it always logs: for its references W&B has the old replacement."""
    world = World(
        tmp_path,
        wandb={"projects": [str(PROJECT)]},
        reclaim={"policy": "delete", "grace": "0d"},
    )
    first = world.source.log("ds", {"a": b"payload"})
    world.backfill()

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(days=400)

    sweep.execute(sweep.plan(world.runtime, [PROJECT], now()), world.runtime, now)
    with pytest.raises(NotFoundError):
        world.source.version(first.id)
    again = world.source.log("ds", {"a": b"payload"})

    assert world.backfill().document()["failures"] == []
    latest = next(v for v in world.source.versions(PROJECT) if "latest" in v.aliases)
    link = replacement_of(latest.metadata, latest.digest)
    assert link is not None
    assert (link.source_artifact_id, link.reclaimed, link.complete) == (again.id, None, True)
    world.catalog.close()


def test_an_alias_that_is_given_to_the_version_itself_is_followed(world: World) -> None:
    """A person rolls back on the page of what was moved, which W&B still shows."""
    first = world.source.log("ds", {"a": b"payload 1"}, aliases=["latest", "production"])
    world.source.log("ds", {"a": b"payload 2"})
    world.backfill()
    world.source.move_aliases(world.source.version(first.id), ["latest", "production"])
    world.backfill()

    branches = world.store.branches(commit_of(world, first).repo)
    assert branches["latest"] == branches["production"] == branches["wandb/v0"]


def test_an_alias_that_moves_while_bytes_travel_is_not_pointed_at_them(tmp_path: Path) -> None:
    """What the version was called when it was planned is old by then."""
    meanwhile: list[Callable[[], None]] = []

    def before(method: str, _at: int) -> None:
        if method == "read" and meanwhile:
            meanwhile.pop()()

    source = MemoryArtifactSource(before=before)
    world = World(tmp_path, source)
    first = source.log("ds", {"a": b"payload 0"})
    world.backfill()
    made = next(v for v in source.versions(PROJECT) if v.metadata)
    second = source.log("ds", {"a": b"payload 1"}, aliases=["latest", "production"])
    meanwhile.append(lambda: source.move_aliases(source.version(made.id), ["production"]))
    world.backfill()

    commits = commit_of(world, first), commit_of(world, second)
    assert world.store.branches(commits[0].repo).get("production") != commits[1].commit
    world.backfill()
    assert world.store.branches(commits[0].repo)["production"] == commits[0].commit
    world.catalog.close()


def test_a_version_that_is_deleted_while_it_waits_waits_no_more(tmp_path: Path) -> None:
    """Nobody will ever move it, so nothing says that it is waiting."""
    gone: list[Version] = []

    def before(method: str, _at: int) -> None:
        if method == "log_replacement" and gone:
            source.remove(gone.pop())

    source = MemoryArtifactSource(before=before)
    world = World(tmp_path, source)
    source.log("ds", {"a": b"payload 1"})
    gone.append(source.log("ds", {"a": b"payload 2"}, aliases=[]))
    world.backfill()

    assert [tally.waiting for tally in world.catalog.panels.projects()] == [0]
    world.catalog.close()


def test_a_name_that_is_used_again_is_told_with_what_to_do(world: World) -> None:
    """The repository of that name holds what the other collection held."""
    world.source.log("ds", {"a": b"payload 1"})
    world.backfill()
    world.source.rename("ds", "ds-2025")
    world.source.log("ds", {"a": b"payload 2"})

    (failure,) = world.backfill().document()["failures"]
    assert "another collection, which had this name before" in failure["error"]
    assert "Rename the newer collection" in failure["hint"]


def test_the_time_since_when_is_compared_as_a_time(world: World) -> None:
    """Two hours ahead of UTC it is still the year before."""
    version = world.source.log("ds", {"a": b"payload"})
    assert version.created_at == "2026-01-01T00:00:00Z"
    before = world.backfill(since="2026-01-01T03:00:00+02:00").document()["versions"]
    assert before["replaced"] == 0
    after = world.backfill(since="2026-01-01T01:00:00+02:00").document()["versions"]
    assert after["replaced"] == 1


def test_the_commit_of_a_renamed_collections_version_restores_into_it(tmp_path: Path) -> None:
    """And makes no second collection of the old name."""
    world = World(tmp_path, references={"base_url": "https://data.example"})
    version = world.source.log("ds", {"a": b"payload"})
    world.backfill()
    world.source.rename("ds", "renamed")
    url = OxenURL.parse(str(commit_of(world, version)))
    restore_commit(world.runtime, url, lambda: datetime.now(UTC))
    assert {v.ref.collection for v in world.source.versions(PROJECT)} == {"renamed"}
    world.catalog.close()


def test_a_version_that_comes_while_its_run_is_written_is_not_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due of a crowded run is not forgotten with what was written before it was."""
    monkeypatch.setattr(context, "CROWD", 2)
    run = world.source.add_run("evaluates-all")
    for number in range(4):
        world.source.record_use(run, world.source.log(f"ds-{number}", {"a": bytes([number] * 4)}))
    source, was_read, first = world.source, threading.Event(), threading.Lock()
    read, update, original = source.run, source.update_config, source.log_replacement

    def reading(*arguments: Any, **named: Any) -> Run:
        found = read(*arguments, **named)
        was_read.set()
        return found

    def replacing(*arguments: Any, **named: Any) -> Version:
        if not first.acquire(blocking=False):
            assert was_read.wait(30)
        return original(*arguments, **named)

    def late(*arguments: Any, **named: Any) -> None:
        while not all(record.state is State.REPLACED for record in world.catalog.records()):
            time.sleep(0.01)
        time.sleep(0.1)  # by now the others could say that it is due once more, were they let
        update(*arguments, **named)

    monkeypatch.setattr(source, "run", reading)
    monkeypatch.setattr(source, "log_replacement", replacing)
    monkeypatch.setattr(world.source, "update_config", late)
    world.backfill()

    assert len(world.source.run(run).config["oxen"]["inputs"]) == 4


@pytest.mark.parametrize("count", [4, 16])
def test_a_run_around_very_many_versions_is_not_read_for_each_of_them(
    count: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes as many requests as there are hundreds of them; its config is written for all at once."""
    monkeypatch.setattr(context, "CROWD", 2)
    run = world.source.add_run("evaluates-all")
    for number in range(count):
        world.source.record_use(run, world.source.log(f"ds-{number}", {"a": bytes([number] * 4)}))
    report = world.backfill()

    assert len(report.replaced) == count
    assert world.source.calls["run"] == 2
    config = world.source.run(run).config
    assert len(config["oxen"]["inputs"]) == count
    assert world.catalog.runs_due() == []


# --- what others left


def left_behind(world: World, version: Version, path: str = engine.PATH_VERSION) -> None:
    """Let a version wait in the queue, as a process of a path does that was interrupted."""
    database = engine_database(world.runtime.config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "PATH_VERSION", path)
        engine.start(
            database, concurrency=1, poll=engine.POLL, executor_id=fleet.LOCAL, traces=None
        )
        engine.stop(timeout=0)  # it has made its tables, and told that there is such a path
    client = DBOSClient(system_database_url=database)
    options: EnqueueOptions = {
        "workflow_name": "move_version",
        "queue_name": engine.QUEUE,
        "queue_partition_key": f"left by {path}",
        "workflow_id": engine.workflow_id(version.id, 1),
        "app_version": path,
        "priority": 1,
    }
    client.enqueue(options, version.id, "")
    client.destroy()


def test_what_an_earlier_call_left_is_no_failure_when_this_one_ends(tmp_path: Path) -> None:
    """The engine goes on with it beside, and is stopped in its midst."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(data: bytes) -> bytes:
        begun.set()
        assert go_on.wait(60)
        return data

    def quick(data: bytes) -> bytes:
        assert begun.wait(60)
        return data

    damages = [Damage(path="slow", change=slow), Damage(path="quick", change=quick)]
    world = World(tmp_path, MemoryArtifactSource(damages=damages))
    left = world.source.log("left", {"slow": b"payload"})
    world.source.log("asked", {"quick": b"another payload"})
    left_behind(world, left)

    report = world.backfill(targets=[Target.parse("team/proj/asked")])
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("dbos-executor"):
            thread.join(60)

    assert [outcome["version"] for outcome in report.replaced] == ["team/proj/asked:v0"]
    assert list(world.catalog.quarantined()) == []
    assert len(world.backfill().replaced) == 1
    world.catalog.close()


def test_work_of_a_path_that_nobody_speaks_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program was exchanged for one with other steps, where one machine works on a file."""
    monkeypatch.setattr(fleet, "RECOVER", 0.05)
    monkeypatch.setattr("syncd.operations.backfill.LOOK_AGAIN", 0.05)
    world = World(tmp_path)
    left_behind(world, world.source.log("ds", {"a": b"payload"}), path="syncd-path-0")
    reports: list[Report] = []
    moving = threading.Thread(target=lambda: reports.append(world.backfill()), daemon=True)
    moving.start()
    moving.join(60)

    assert [len(report.replaced) for report in reports] == [1]
    world.catalog.close()


def test_workflows_that_ended_long_ago_are_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is a nightly backfill and no daemon, too."""
    monkeypatch.setattr(engine, "KEPT", timedelta())
    version = world.source.log("ds", {"a": b"payload"})
    world.backfill()
    world.source.log("ds", {"a": b"more payload"})
    world.backfill()

    names = engine_database(world.runtime.config).removeprefix("sqlite:///")
    with closing(sqlite3.connect(names)) as database:
        left = database.execute("SELECT workflow_uuid FROM workflow_status").fetchall()
    assert (f"{version.id}.1",) not in left


def test_all_that_ended_long_ago_is_forgotten_however_much_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration ends more workflows in an hour than one statement is to delete."""
    monkeypatch.setattr(engine, "FORGOTTEN_AT_ONCE", 2)
    for number in range(5):
        world.source.log("ds", {"a": bytes([number] * 4)})
    assert len(world.backfill().replaced) == 5
    database = engine_database(world.runtime.config)
    engine.start(database, concurrency=1, poll=1.0, executor_id="local", traces=None)
    try:
        forgotten = [engine.forget_ended(datetime.now(UTC) + timedelta(days=1)) for _ in range(2)]
    finally:
        engine.stop(timeout=0)

    assert forgotten == [5, 0]
