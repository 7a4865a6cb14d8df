"""Discover: what is to be moved, and why the rest is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncd.clients.artifacts import Version
from syncd.config.model import Select
from syncd.errors import NotFoundError
from syncd.manifest import Entry, Manifest, manifest_digest
from syncd.refs import CommitRef, RepoRef, Target
from syncd.replacements import Replacement
from syncd.stages.discover import Discovered, discover
from syncd.testing import MemoryArtifactSource

PROJECT = [Target.parse("team/proj")]
COMMIT = CommitRef(repo=RepoRef(namespace="team", repo="proj-ds"), commit="12ab")


def replace(source: MemoryArtifactSource, version: Version, *, complete: bool = True) -> Version:
    """Log a replacement of a version, as the stage does."""
    entries = {"a": Entry(path="a", digest=f"etag {version.index}", ref="http://x/a")}
    link = Replacement(
        commit=COMMIT,
        url="http://x",
        source_version=str(version.ref),
        source_artifact_id=version.id,
        source_digest=version.digest,
        source_created_at=version.created_at,
        moved_files=1,
        moved_bytes=1,
        digest=manifest_digest(entries.values()),
        complete=complete,
    )
    return source.log_replacement(version, Manifest(entries=entries), link.into(version.metadata))


def found(
    source: MemoryArtifactSource,
    *,
    targets: list[Target] | None = None,
    select: dict[str, Any] | None = None,
    since: str = "",
    types: frozenset[str] = frozenset(),
) -> list[Discovered]:
    """What discovery yields."""
    chosen = Select.model_validate(select or {})
    return list(discover(source, targets or PROJECT, chosen, since=since, types=types))


def names(items: list[Discovered]) -> list[str]:
    """`collection:vN` of what is to be moved."""
    return [f"{i.version.ref.collection}:{i.version.ref.alias}" for i in items if not i.skip]


def test_versions_come_in_order_within_their_collection() -> None:
    """However they were logged."""
    source = MemoryArtifactSource()
    for name in ("ds", "model", "ds", "model", "ds"):
        source.log(name, {"a": name.encode()})

    assert names(found(source)) == ["ds:v0", "ds:v1", "ds:v2", "model:v0", "model:v1"]


def test_a_replaced_version_is_left_alone_and_its_replacement_is_no_source() -> None:
    """Nothing is moved twice, and nothing of ours triggers us."""
    source = MemoryArtifactSource()
    old, other = source.log("ds", {"a": b"1"}), source.log("ds", {"a": b"2"})
    new = replace(source, old)

    first, second = found(source)

    assert (first.version.id, first.skip) == (old.id, "replaced by team/proj/ds:v2")
    assert first.replacement is not None
    assert first.replacement.id == new.id
    assert (second.version.id, second.skip, second.replacement) == (other.id, "", None)


def test_a_replacement_that_was_cut_off_is_finished() -> None:
    """The version is still to be worked on, and says which replacement it has."""
    source = MemoryArtifactSource()
    new = replace(source, source.log("ds", {"a": b"1"}), complete=False)

    [item] = found(source)

    assert item.skip == ""
    assert item.replacement is not None
    assert item.replacement.id == new.id


def test_a_draft_of_a_replacement_is_a_source() -> None:
    """It has the metadata of a replacement, and new files."""
    source = MemoryArtifactSource()
    new = replace(source, source.log("ds", {"a": b"1"}))
    source.log("ds", {"b": b"2"}, draft_of=new)

    assert names(found(source)) == ["ds:v2"]


@pytest.mark.parametrize(
    ("target", "moved"),
    [
        ("team/*", ["ds:v0", "ds:v1", "model:v0", "ds:v0"]),  # all projects
        ("team/proj", ["ds:v0", "ds:v1", "model:v0"]),
        ("team/proj/ds", ["ds:v0", "ds:v1"]),
        ("team/proj/ds:v0", ["ds:v0"]),
        ("team/proj/ds:v1", ["ds:v1"]),
        ("team/proj/ds:latest", ["ds:v1"]),
        ("team/proj/ds:best", ["ds:v0"]),
    ],
)
def test_a_target_is_what_is_looked_at(target: str, moved: list[str]) -> None:
    """A project, a collection, or one version by number or alias."""
    source = MemoryArtifactSource()
    source.log("ds", {"a": b"1"}, aliases=["best"])
    source.log("ds", {"a": b"2"})
    source.log("model", {"a": b"3"})
    source.log("ds", {"a": b"4"}, project="other")

    assert names(found(source, targets=[Target.parse(target)])) == moved


@pytest.mark.parametrize("alias", ["v9", "typo"])
def test_a_version_that_is_not_there_is_told(alias: str) -> None:
    """A typing error must not look like success."""
    source = MemoryArtifactSource()
    source.log("ds", {"a": b"1"})
    with pytest.raises(NotFoundError, match=f"ds:{alias}: there is no such version"):
        found(source, targets=[Target.parse(f"team/proj/ds:{alias}")])


@pytest.mark.parametrize("alias", ["v0", "best"])
@pytest.mark.parametrize("complete", [True, False])
def test_a_single_version_that_was_replaced_is_found_by_the_same_name(
    alias: str, complete: bool
) -> None:
    """Its aliases are on the replacement now; a repeated command must not look elsewhere."""
    source = MemoryArtifactSource()
    old = source.log("ds", {"a": b"1"}, aliases=["best"])
    source.move_aliases(replace(source, old, complete=complete), ["best"])

    [item] = found(source, targets=[Target.parse(f"team/proj/ds:{alias}")])

    assert item.version.id == old.id
    assert item.skip == ("replaced by team/proj/ds:v1" if complete else "")


def test_targets_that_overlap_yield_a_version_once() -> None:
    """Otherwise it would be moved twice."""
    source = MemoryArtifactSource()
    source.log("ds", {"a": b"1"})
    source.log("model", {"a": b"2"})
    targets = [Target.parse(text) for text in ("team/proj/ds:v0", "team/proj", "team/*")]

    assert names(found(source, targets=targets)) == ["ds:v0", "model:v0"]


def test_a_target_that_does_not_exist_is_an_error() -> None:
    """A spelling mistake must not look like nothing to do."""
    source = MemoryArtifactSource()
    source.log("ds", {"a": b"1"})

    with pytest.raises(NotFoundError):
        found(source, targets=[Target.parse("team/proj/dss")])


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ({}, ""),
        ({"include": {"types": ["dataset"]}}, ""),
        ({"include": {"types": ["data*", "model"]}}, ""),
        ({"include": {"types": ["model"]}}, "no type of it is included"),
        ({"exclude": {"types": ["dat?set"]}}, "type dataset is excluded by dat?set"),
        ({"include": {"collections": ["train-*"]}}, "no collection of it is included"),
        ({"exclude": {"collections": ["DS"]}}, ""),  # names differ by case
        ({"exclude": {"collections": ["d*"]}}, "collection ds is excluded by d*"),
        ({"include": {"aliases": ["best", "prod"]}}, ""),
        ({"include": {"aliases": ["prod"]}}, "no alias of it is included"),
        ({"exclude": {"aliases": ["lat*"]}}, "alias latest is excluded by lat*"),
        ({"include": {"tags": ["gold"]}}, ""),
        ({"include": {"tags": ["silver"]}}, "no tag of it is included"),
        ({"exclude": {"tags": ["g*"]}}, "tag gold is excluded by g*"),
        # Excluded wins, and every list that is not empty counts.
        ({"include": {"tags": ["gold"]}, "exclude": {"tags": ["gold"]}}, "tag gold is excluded"),
        ({"include": {"tags": ["gold"], "aliases": ["x"]}}, "no alias of it is included"),
    ],
    ids=str,
)
def test_the_configuration_selects(select: dict[str, Any], reason: str) -> None:
    """By type, collection, alias and tag, with the pattern that decided."""
    source = MemoryArtifactSource()
    source.log("ds", {"a": b"1"}, aliases=["latest", "best"], tags=["gold"])

    [item] = found(source, select=select)

    assert item.skip.startswith(reason)
    assert bool(item.skip) == bool(reason)


@pytest.mark.parametrize("kind", ["wandb-history", "run_table", "job", "code"])
def test_what_wandb_makes_for_itself_stays(kind: str) -> None:
    """By default; its pages read it."""
    source = MemoryArtifactSource()
    source.log("ds", {"a": b"1"}, kind=kind)

    [item] = found(source)

    assert item.skip.startswith(f"type {kind} is excluded by ")


@pytest.mark.parametrize(
    ("since", "moved"),
    [
        ("", ["ds:v0", "ds:v1"]),
        ("2026-01-01", ["ds:v0", "ds:v1"]),
        ("2026-01-01T00:01:00Z", ["ds:v1"]),  # that moment itself is in
        ("2026-01-02", []),
    ],
)
def test_older_versions_are_left_alone(since: str, moved: list[str]) -> None:
    """By the time they were logged at, a day or a moment."""
    source = MemoryArtifactSource()
    source.log("ds", {"a": b"1"})
    source.log("ds", {"a": b"2"})
    items = found(source, since=since)

    assert names(items) == moved
    assert {item.skip for item in items if item.skip} <= {f"older than {since}"}


def test_only_the_types_asked_for_are_moved() -> None:
    """The others say why not."""
    source = MemoryArtifactSource()
    source.log("ds", {"a": b"1"})
    source.log("m", {"a": b"2"}, kind="model")
    items = found(source, types=frozenset({"model"}))

    assert names(items) == ["m:v0"]
    assert items[0].skip == "type dataset was not asked for"


def test_looking_changes_nothing_and_asks_little() -> None:
    """One listing for a project of any size."""
    source = MemoryArtifactSource()
    for number in range(20):
        source.log(f"ds{number % 3}", {"a": bytes([number])})
    found(source)

    assert source.calls == {"versions": 1}


def test_what_was_begun_before_it_expired_is_completed() -> None:
    """Its aliases may have moved already, and its replacement does not expire with it."""
    source = MemoryArtifactSource()
    begin = source.now
    old = source.log("ds", {"a": b"1"}, ttl_seconds=3600)
    replace(source, old, complete=False)
    [item] = discover(source, PROJECT, Select(), clock=lambda: begin + timedelta(days=1))

    assert (item.version.id, item.skip) == (old.id, "")


def test_a_version_that_has_expired_is_left_alone() -> None:
    """W&B deletes it; a replacement would bring it back to life."""
    source = MemoryArtifactSource()
    begin = source.now
    for seconds in (3600, 7200, -1, -2):
        source.log("ds", {"a": b"%d" % seconds}, ttl_seconds=seconds)
    later = begin + timedelta(seconds=3600)
    items = list(discover(source, PROJECT, Select(), clock=lambda: later))

    assert names(items) == ["ds:v1", "ds:v2", "ds:v3"]
    assert items[0].skip == "expired at 2026-01-01T01:00:00+00:00, W&B deletes it"
    before = list(discover(source, PROJECT, Select(), clock=lambda: later - timedelta(seconds=1)))
    assert len(names(before)) == 4
