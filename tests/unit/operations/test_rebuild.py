"""Rebuild: W&B and Oxen alone give the catalog back, the same one to everybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit_world import PROJECT, World

from syncd.catalog import schema
from syncd.catalog.catalog import Catalog, State
from syncd.clients.artifacts import Collection
from syncd.errors import ServiceUnavailableError
from syncd.operations.rebuild import Rebuilt, rebuild
from syncd.refs import RepoRef, Target
from syncd.testing import Damage, Fault, MemoryArtifactSource
from syncd.versions.plans import LINEAGE_PATH

# Of a version what only the machine that moved it knows.
MACHINE = {"attempts", "workflow_id", "updated_at", "downloaded", "uploaded", "deduplicated"}
Dump = dict[str, list[dict[str, Any]]]


class Backwards(MemoryArtifactSource):
    """Tells of collections in the other order."""

    def collections(self, target: Target) -> Iterator[Collection]:
        """The last one first."""
        return reversed(list(super().collections(target)))


def dump(catalog: Catalog) -> Dump:
    """Everything a catalog holds that W&B and Oxen know, in an order of its own."""
    tables = (
        schema.versions,
        schema.contents,
        schema.runs_due,
        schema.settled,
        schema.relatives,
        schema.runs,
        schema.uses,
    )
    found: Dump = {}
    for table in tables:
        rows = catalog._database.rows(table.select())
        kept = [{key: row[key] for key in sorted(row.keys() - MACHINE)} for row in rows]
        found[table.name] = sorted(kept, key=str)
    return found


def project(source: MemoryArtifactSource) -> None:
    """Versions of each kind: moved, with kept files, with nothing to move, of a running run."""
    prepare, train = source.add_run("prepare"), source.add_run("train", state="running")
    old = source.log(
        "ds", {"big": b"payload", "small": b"abc", "v0/../x": b"unusable"}, run=prepare
    )
    source.log("ds", {"big": b"payload", "other": b"another"}, run=prepare, tags=["gold"])
    source.record_use(train, old)
    source.log("model", {"w": b"weights"}, kind="model", algorithm="XXH128", run=train)
    source.log("notes", {"tiny": b"no"})


def again(world: World, folder: Path, **changes: Any) -> tuple[Dump, Rebuilt]:
    """What a machine with an empty catalog makes of the world."""
    catalog = Catalog(f"sqlite:///{folder}")
    runtime = replace(world.runtime, catalog=catalog, **changes)
    done = rebuild(runtime, [PROJECT], everything=True)
    found = dump(catalog)
    catalog.close()
    return found, done


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A project that was moved."""
    made = World(tmp_path)
    project(made.source)
    assert made.backfill().failures == []
    yield made
    made.catalog.close()


def test_everything_that_the_two_sides_know_comes_back(world: World, tmp_path: Path) -> None:
    """As the machine that moved it all has it."""
    found, done = again(world, tmp_path / "new.db")

    assert found == dump(world.catalog)
    assert done.versions == {"replaced": 3, "skipped": 1}
    assert (done.runs_due, done.problems) == (1, [])


def test_nothing_is_moved_after_a_rebuild(world: World) -> None:
    """Nor is a version looked into again that has nothing to move."""
    rebuild(world.runtime, [PROJECT], everything=True)
    calls = dict(world.source.calls)
    report = world.backfill()

    assert (report.discovered, len(report.skipped)) == (4, 4)
    assert world.source.calls["manifest"] == calls["manifest"]


def test_machines_that_are_told_in_another_order_agree(tmp_path: Path) -> None:
    """Of collections; versions have one order."""
    world = World(tmp_path, Backwards())
    project(world.source)
    world.backfill()
    one, _ = again(world, tmp_path / "one.db")
    world.source.collections = super(Backwards, world.source).collections  # type: ignore[method-assign,misc]
    two, _ = again(world, tmp_path / "two.db")
    world.catalog.close()

    assert one == two


def test_a_rebuild_over_what_is_known_leaves_what_is_true(world: World) -> None:
    """Rows of versions that are gone do not survive it, and twice is once."""
    before = dump(world.catalog)
    stale = world.source.log("gone", {"a": b"payload"})
    world.catalog.fail(stale, stage="transfer", reason="once", hint="never mind")
    del world.source._logged[stale.id]
    for _ in range(2):
        rebuild(world.runtime, [PROJECT], everything=True)

    assert dump(world.catalog) == before


def test_a_rebuild_of_a_collection_leaves_the_others_alone(world: World) -> None:
    """It is cheaper, where one knows what is wrong."""
    before = dump(world.catalog)
    for record in world.catalog.records():
        world.catalog.forget(record.artifact_id)
    rebuild(world.runtime, [Target.parse("team/proj/ds")], everything=False)
    found = [str(record.ref) for record in world.catalog.records()]
    assert found == ["team/proj/ds:v0", "team/proj/ds:v1"]
    rebuild(world.runtime, [Target.parse("team/proj/model"), PROJECT], everything=False)

    assert dump(world.catalog) == before


def test_a_rebuild_that_was_cut_off_is_done_again(world: World) -> None:
    """From its beginning, with the same end, wherever it was cut off."""
    before = dump(world.catalog)
    failed = 0
    for method in ("collections", "versions", "consumers", "run", "manifest"):
        at = world.source.calls[method] + 1
        gone = ServiceUnavailableError("gone for a while")
        world.source._call._faults = (Fault(method=method, error=gone, at=at),)
        for _ in range(2):
            try:
                rebuild(world.runtime, [PROJECT], everything=True)
            except ServiceUnavailableError:
                failed += 1
        assert dump(world.catalog) == before, method

    assert failed == 5


def test_a_version_that_wandb_has_no_more_is_known_from_oxen(world: World, tmp_path: Path) -> None:
    """What replaced it says which it was, and the lineage file the rest."""
    [old] = world.source.versions(Target.parse("team/proj/ds:v0"))
    del world.source._logged[old.id]
    for run in world.source._runs.values():
        run.inputs = [item for item in run.inputs if item != old.id]
        run.outputs = [item for item in run.outputs if item != old.id]
    found, done = again(world, tmp_path / "new.db")
    was = dump(world.catalog)

    assert done.problems == []
    assert found == was


def test_a_version_that_was_cut_off_before_its_replacement_waits(
    world: World, tmp_path: Path
) -> None:
    """With the commit that it has already."""
    made = next(
        item for item in world.source.versions(PROJECT) if item.metadata and item.ref.index == 2
    )
    del world.source._logged[made.id]
    for run in world.source._runs.values():
        run.inputs = [item for item in run.inputs if item != made.id]
        run.outputs = [item for item in run.outputs if item != made.id]
    found, _ = again(world, tmp_path / "new.db")
    rows = {row["artifact_id"]: row for row in found["syncd_versions"]}
    waiting = [row for row in rows.values() if row["state"] == State.WAITING]

    head = world.store.resolve(RepoRef(namespace="team", repo="proj-ds"), "wandb/v0")
    assert head is not None
    assert [row["version_index"] for row in waiting] == [0]
    assert waiting[0]["commit_id"] == head.ref.commit
    assert waiting[0]["replacement"] == ""
    assert found["syncd_contents"] == dump(world.catalog)["syncd_contents"]


def test_a_lineage_file_that_cannot_be_read_costs_what_it_would_have_told(
    world: World, tmp_path: Path
) -> None:
    """The version is known all the same, and the answer says what is missing."""
    repo = RepoRef(namespace="team", repo="proj-model")
    head = world.store.resolve(repo, "wandb/v0")
    assert head is not None
    [entry] = [item for item in world.store.tree(head.ref) if item.path == "w"]
    world.store.falsify(head.ref, [replace(entry, path=LINEAGE_PATH), entry])
    found, done = again(world, tmp_path / "new.db")

    assert [item["version"] for item in done.problems] == ["team/proj/model:v0"]
    assert "lineage file" in done.problems[0]["problem"]
    rows = [row for row in found["syncd_versions"] if row["collection"] == "model"]
    assert [(row["state"], row["moved_bytes"]) for row in rows] == [("replaced", 7)]


def test_a_version_that_failed_is_tried_again_after_a_rebuild(tmp_path: Path) -> None:
    """Though the engine remembers attempts that the catalog does not."""
    damage = Damage(path="d", change=lambda data: data[:-1], times=6)
    world = World(tmp_path, MemoryArtifactSource(damages=[damage]))
    version = world.source.log("ds", {"d": b"payload"})
    first = world.backfill()
    rebuild(world.runtime, [PROJECT], everything=True)
    waiting = world.catalog.get(version.id)
    second = world.backfill()
    world.catalog.close()

    assert [failure["stage"] for failure in first.failures] == ["transfer"]
    assert waiting is not None
    assert (waiting.state, waiting.attempts, waiting.reason) == (State.WAITING, 0, "")
    assert len(second.replaced) == 1
