"""A scan: a manifest is read once, and what it needs is known ever after; in doubt it is read again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from moved_project import NOW, PROJECT, MovedProject

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.errors import ServiceUnavailableError
from syncd.manifest import Entry, Manifest
from syncd.operations import scan, sweep
from syncd.refs import Target

LATER = NOW + timedelta(days=2)


def pointer(version: Version) -> str:
    """How the SDK refers to a file of a version."""
    return f"wandb-artifact://{base64.b64decode(version.id).hex()}/a.png"


def point(moved: MovedProject, version: Version, how: str, name: str = "joined") -> Version:
    """Log a version that points into another one."""
    if how == "reference":
        entry = Entry(path="theirs", digest="d", ref=pointer(version))
        return moved.source.log(name, {}, references=[entry])
    table = json.dumps({"data": [[pointer(version)]]}).encode()
    return moved.source.log(name, {"t.table.json": table})


@contextmanager
def manifests(moved: MovedProject, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the versions whose manifests are read meanwhile."""
    read: list[str] = []
    ask = moved.source.manifest

    def manifest(version: Version) -> Manifest:
        read.append(str(version.ref))
        return ask(version)

    with monkeypatch.context() as patched:
        patched.setattr(moved.source, "manifest", manifest)
        yield read


def known(moved: MovedProject) -> list[tuple[str, int]]:
    """Of which versions something is kept: collection and number."""
    database = moved.catalog._database
    names = sa.text("collection, version_index FROM syncd_readings ORDER BY 1, 2")
    return [(name, index) for name, index in database.tuples(sa.select(names))]


def test_a_sweep_reads_only_manifests_that_none_has_read(
    moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those of the version that goes and of its replacement, which are compared."""
    moved.terms["max_per_day"] = 1
    for number in range(3):
        moved.log_and_move("ds", {"big": f"payload {number}".encode()})
    for number in range(5):
        moved.source.log("other", {"big": f"another {number}".encode()}, project="elsewhere")
    with manifests(moved, monkeypatch) as first:
        assert len(moved.reclaim()["removals"]) == 1
    assert {f"team/elsewhere/other:v{number}" for number in range(5)} < set(first)

    moved.source.log("other", {"big": b"one more"}, project="elsewhere")
    with manifests(moved, monkeypatch) as second:
        assert len(moved.reclaim(now=LATER)["removals"]) == 1
    assert set(second) == {"team/elsewhere/other:v5", "team/proj/ds:v2", "team/proj/ds:v3"}


@pytest.mark.parametrize("how", ["reference", "table"])
def test_what_points_into_a_version_is_known_before_it_may_go(
    how: str, moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest was read when another version's turn was, and is not read again."""
    moved.log_and_move("first", {"big": b"payload"})
    old, _ = moved.log_and_move("ds", {"big": b"another"})
    point(moved, old, how)
    assert len(moved.reclaim(Target.parse("team/proj/first"))["removals"]) == 1

    with manifests(moved, monkeypatch) as read:
        assert moved.stays(now=LATER) == {"team/proj/ds:v0": ["team/proj/joined:v0 points into it"]}
    assert set(read) == {"team/proj/ds:v0", "team/proj/ds:v1"}


@pytest.mark.parametrize("method", ["manifest", "read"])
def test_what_could_not_be_read_is_not_taken_for_pointing_to_nothing(
    method: str, moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That sweep ends; the next one reads it, though all before it are known."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    joined = point(moved, old, "table")
    ask = getattr(moved.source, method)

    def fails(version: Version, *rest: object) -> object:
        if version.id == joined.id:
            raise ServiceUnavailableError("gone")
        return ask(version, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(moved.source, method, fails)
        with pytest.raises(ServiceUnavailableError):
            moved.reclaim()
    assert known(moved) == [("ds", 0), ("ds", 1)]
    assert moved.stays() == {"team/proj/ds:v0": ["team/proj/joined:v0 points into it"]}


def test_a_version_that_was_pending_is_read_when_it_is_committed(
    moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B does not list it before, and what is not listed is not known."""
    moved.log_and_move("first", {"big": b"payload"})
    old, _ = moved.log_and_move("ds", {"big": b"another"})
    before = moved.source.log("joined", {"big": b"nothing of theirs"})
    pending = point(moved, old, "reference")
    after = moved.source.log("joined", {"big": b"nor here"})
    listed = moved.source.versions

    with monkeypatch.context() as patched:
        patched.setattr(
            moved.source, "versions", lambda t: (v for v in listed(t) if v.id != pending.id)
        )
        moved.reclaim(Target.parse("team/proj/first"))
    assert [index for name, index in known(moved) if name == "joined"] == [
        before.index,
        after.index,
    ]
    assert moved.stays(now=LATER) == {"team/proj/ds:v0": ["team/proj/joined:v1 points into it"]}


@pytest.mark.parametrize("loss", ["rebuilt", "of an earlier release"])
def test_a_lost_catalog_costs_reading_all_once_more(
    loss: str, moved: MovedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what points into a version is found again."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    point(moved, old, "reference")
    moved.stays()
    if loss == "rebuilt":
        moved.catalog.clear(PROJECT)
    else:
        moved.catalog._database.change(sa.text("DROP TABLE syncd_readings"))
        moved.catalog.close()
        moved.catalog = Catalog(f"sqlite:///{tmp_path}/moved.db")
    assert known(moved) == []

    with manifests(moved, monkeypatch) as read:
        moved.stays(now=LATER)
    assert {"team/proj/ds:v0", "team/proj/ds:v1", "team/proj/joined:v0"} == set(read)
    assert known(moved) == [("ds", 0), ("ds", 1), ("joined", 0)]


def test_what_is_other_than_when_it_was_read_is_read_again(
    moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id, its digest, its time, or the rules by which this release reads."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    joined = point(moved, old, "reference")
    moved.stays()
    database = moved.catalog._database
    database.change(sa.text("UPDATE syncd_readings SET pointers = ''"))

    others = [
        replace(joined, id="another"),
        replace(joined, digest="00"),
        replace(joined, created_at="2020-01-01"),
        replace(joined, size=1),
    ]
    assert scan.seen(joined) not in {scan.seen(other) for other in others}
    assert scan.seen(replace(joined, aliases=("golden",), description="new")) == scan.seen(joined)
    monkeypatch.setattr(scan, "RULES", scan.RULES + 1)
    assert moved.stays(now=LATER) == {"team/proj/ds:v0": ["team/proj/joined:v0 points into it"]}


def test_a_manifest_that_its_digest_does_not_prove_is_read_each_time(moved: MovedProject) -> None:
    """W&B merged it from parts, say; nobody knows whether it is all there is."""
    moved.log_and_move("first", {"big": b"payload"})
    old, _ = moved.log_and_move("ds", {"big": b"another"})
    joined = moved.source.log("joined", {"big": b"nothing"})
    moved.source._logged[joined.id].manifest = Manifest(entries={})
    moved.reclaim(Target.parse("team/proj/first"))
    assert ("joined", 0) not in known(moved)

    entry = Entry(path="theirs", digest="d", ref=pointer(old))
    moved.source._logged[joined.id].manifest = Manifest(entries={"theirs": entry})
    assert moved.stays(now=LATER) == {"team/proj/ds:v0": ["team/proj/joined:v0 points into it"]}


def test_what_is_gone_from_wandb_is_forgotten(moved: MovedProject) -> None:
    """Versions that were removed, at the beginning, within and at the end; and whole collections."""
    moved.terms["max_per_day"] = 1
    for number in range(3):
        moved.log_and_move("ds", {"big": f"payload {number}".encode()}, aliases=[])
    many = [moved.source.log("many", {"a": f"{n}".encode()}, aliases=[]) for n in range(6)]
    alone = moved.source.log("alone", {"a": b"alone"}, aliases=[])
    moved.source.log("old", {"a": b"renamed"}, aliases=[])
    moved.reclaim()
    assert len(known(moved)) == 6 + 6 + 1 + 1

    for version in (many[0], many[3], many[5], alone):
        moved.source.remove(version)
    moved.source.rename("old", "new")
    moved.reclaim(now=LATER)
    assert [item for item in known(moved) if item[0] != "ds"] == [
        ("many", 1),
        ("many", 2),
        ("many", 4),
        ("new", 0),
    ]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_what_is_known_of_a_version_tells_what_is_freed_to_the_byte(
    batch: int, moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that a version holds which nobody reads any more is not freed."""
    monkeypatch.setattr(scan, "BATCH", batch)
    moved.log_and_move("first", {"big": b"payload"})
    moved.log_and_move("ds", {"own": b"payload 1", "shared": b"in both of them"})
    for number in range(3):
        moved.source.log("kept", {"shared": b"in both of them", "n": f"{number}".encode()})
    moved.source.log("kept", {}, references=[Entry(path="r", digest="etag", ref="s3://b/k")])
    moved.reclaim(Target.parse("team/proj/first"))

    with manifests(moved, monkeypatch) as read:
        planned = sweep.plan(moved.runtime, [PROJECT], LATER)
    assert set(read) == {"team/proj/ds:v0", "team/proj/ds:v1"}
    assert planned.expected.total() == 9


def test_a_sweep_that_was_interrupted_goes_on_where_it_was(
    moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each manifest that was read is kept at once: the first sweep may take days."""
    moved.log_and_move("ds", {"big": b"payload"})
    last = [moved.source.log("other", {"a": f"{n}".encode()}) for n in range(4)][-1]
    ask = moved.source.manifest

    def manifest(version: Version) -> Manifest:
        if version.id == last.id:
            raise ServiceUnavailableError("gone")
        return ask(version)

    with monkeypatch.context() as patched:
        patched.setattr(moved.source, "manifest", manifest)
        with pytest.raises(ServiceUnavailableError):
            moved.reclaim()
    with manifests(moved, monkeypatch) as read:
        moved.reclaim()
    assert [name for name in read if "other" in name] == ["team/proj/other:v3"]
