"""Audit: every replacement is proved again, or its share of them, and one bad one stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any, cast

import pytest

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.clients.wandb import WandbSource
from syncd.config import Config
from syncd.errors import NotFoundError, UsageError
from syncd.manifest import Manifest
from syncd.operations.audit import Part, replacements, verify_all
from syncd.refs import CommitRef, Target
from syncd.replacements import replacement_of
from syncd.runtime import Runtime
from syncd.stages.commit import commit
from syncd.stages.plan import plan
from syncd.stages.replace import complete, conclude, replace
from syncd.stages.transfer import transfer
from syncd.stages.verify import verify
from syncd.testing import MemoryArtifactSource, MemoryVersionStore

PROJECT = [Target.parse("team/proj")]
EVERYTHING = Part()


class Moved:
    """Versions that were moved, on the doubles."""

    def __init__(self, catalog: Catalog) -> None:
        self.source, self.store = MemoryArtifactSource(), MemoryVersionStore()
        self.runtime = Runtime(
            config=Config.model_validate({"select": {"min_file_size": 1}}),
            source=cast("WandbSource", self.source),
            store=self.store,
            catalog=catalog,
            etagged=lambda _url: True,
        )

    def move(self, name: str, data: bytes, *, aliases: tuple[str, ...] = ("latest",)) -> Version:
        """Log a version and replace it."""
        old = self.source.log(name, {"a": data}, aliases=aliases)
        planned = plan(old, self.source.manifest(old), self.runtime.config)
        catalog = self.runtime.catalog
        assert transfer(self.source, self.store, catalog, planned, concurrency=1).failed == ()
        made = commit(self.store, planned, catalog.known, run=None)
        new = replace(
            self.source,
            planned,
            made,
            verify(self.store, catalog, made).receipt,
            contents=catalog.known,
            base_url=self.runtime.config.references.base_url,
            etagged=self.runtime.etagged,
            now=self.source.now,
        )
        conclude(self.source, planned, new.id)
        complete(self.source, new.id)
        return self.source.version(new.id)

    def answer(self) -> dict[str, Any]:
        """What an audit of the project says of its only replacement."""
        [found] = verify_all(self.runtime, PROJECT, EVERYTHING)
        return found

    def problems(self, part: Part = EVERYTHING) -> dict[str, list[str]]:
        """What an audit of the project finds, by version."""
        return {
            item["version"]: item["problems"] for item in verify_all(self.runtime, PROJECT, part)
        }

    def commit_of(self, version: Version) -> CommitRef:
        """Where a replacement's files are."""
        link = replacement_of(version.metadata, version.digest)
        assert link is not None
        return link.commit


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Moved]:
    """Nothing moved yet."""
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    yield Moved(catalog)
    catalog.close()


# --- parts


@pytest.mark.parametrize(
    ("sample", "subset", "first", "end"),
    [
        ("", "", 0, 1000),  # everything
        ("5%", "", 0, 50),
        ("0.1%", "", 0, 1),
        ("100%", "", 0, 1000),
        ("", "1/1", 0, 1000),
        ("", "1/4", 0, 250),
        ("", "4/4", 750, 1000),
    ],
)
def test_a_share_is_read_as_it_is_written(
    sample: str, subset: str, first: float, end: float
) -> None:
    """In thousandths."""
    part = Part.parse(sample=sample, subset=subset)

    assert part.first == pytest.approx(first)
    assert part.end == pytest.approx(end)


@pytest.mark.parametrize(
    ("sample", "subset"),
    [
        ("5", ""),
        ("0%", ""),  # nothing would pass for a proof
        ("101%", ""),
        ("-5%", ""),
        ("5%%", ""),
        ("", "0/7"),
        ("", "8/7"),
        ("", "1/0"),
        ("", "1"),
        ("", "a/b"),
        ("5%", "1/7"),
    ],
)
def test_what_is_no_share_is_refused(sample: str, subset: str) -> None:
    """Rather than verify less than was meant."""
    with pytest.raises(UsageError):
        Part.parse(sample=sample, subset=subset)


@pytest.mark.parametrize("parts", [1, 3, 7, 9])
def test_the_parts_together_are_everything_and_no_version_is_in_two(parts: int) -> None:
    """A week of nights covers all of it; each part is about as large."""
    some = MemoryArtifactSource().log("ds", {})
    versions = [changed(some, id=f"id {number}") for number in range(700)]
    pieces = [Part.parse(subset=f"{number + 1}/{parts}") for number in range(parts)]
    held = [[piece.holds(version) for piece in pieces] for version in versions]

    assert all(sum(row) == 1 for row in held)
    assert min(sum(column) for column in zip(*held, strict=True)) > 700 / parts / 2


def test_a_larger_sample_holds_the_smaller_one() -> None:
    """The same versions each time."""
    some = MemoryArtifactSource().log("ds", {})
    versions = [changed(some, id=f"id {number}") for number in range(500)]
    small, large = ({v.id for v in versions if Part.parse(sample=share).holds(v)}
                    for share in ("10%", "30%"))  # fmt: skip

    assert small < large
    assert 20 < len(small) < 90


# --- what there is to prove


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("team/proj", ["ds:v0", "ds:v2", "m:v0"]),
        ("team/*", ["ds:v0", "ds:v2", "m:v0"]),
        ("team/proj/ds", ["ds:v0", "ds:v2"]),
        ("team/proj/ds:v0", ["ds:v0"]),  # by the replaced version's number
        ("team/proj/ds:v3", ["ds:v2"]),  # by the replacement's own
        ("team/proj/ds:best", ["ds:v0"]),  # by an alias, which is on the replacement now
        ("team/proj/ds:v9", []),
    ],
)
def test_a_replacement_is_found_by_any_of_its_names(
    target: str, found: list[str], moved: Moved
) -> None:
    """And a version that was not replaced is none."""
    moved.move("ds", b"first", aliases=("best",))  # v0, replaced by v1
    moved.move("ds", b"second")  # v2, replaced by v3
    moved.move("m", b"model")
    moved.source.log("plain", {"a": b"not moved"})
    links = [link for _, link in replacements(moved.runtime, [Target.parse(target)])]
    sources = [link.source_version.rpartition("/")[2] for link in links]

    assert sources == found


def test_a_whole_project_is_proved_with_all_that_it_claims(moved: Moved) -> None:
    """Files and bytes, the lineage file included."""
    new = moved.move("ds", b"first")
    [answer] = verify_all(moved.runtime, PROJECT, EVERYTHING)

    assert answer["version"] == "team/proj/ds:v0"
    assert answer["replacement"] == str(new.ref)
    assert answer["oxen"] == str(moved.commit_of(new))
    assert (answer["files"], answer["problems"]) == (2, [])
    assert answer["bytes"] > len(b"first")


def test_rot_is_found_though_it_was_read_back_before(moved: Moved) -> None:
    """In one version; the others are proved all the same."""
    bad = moved.commit_of(moved.move("ds", b"first"))
    moved.move("ds", b"second")
    file = next(entry for entry in moved.store.tree(bad) if entry.path == "a")
    moved.store.corrupt(bad.repo, file.hash, b"f1rst")
    found = moved.problems()

    assert list(found) == ["team/proj/ds:v0", "team/proj/ds:v2"]
    assert found["team/proj/ds:v0"]
    assert found["team/proj/ds:v2"] == []


def test_a_repository_that_is_gone_is_found_and_the_audit_goes_on(moved: Moved) -> None:
    """As a problem of each of its versions."""
    lost = moved.commit_of(moved.move("ds", b"first")).repo
    moved.move("m", b"model")
    del moved.store._repositories[lost]
    found = moved.problems()

    assert found["team/proj/ds:v0"]
    assert found["team/proj/m:v0"] == []


def test_a_commit_other_than_the_receipt_names_is_found(moved: Moved) -> None:
    """Whole in itself, but not what was proved when the version was replaced."""
    first, second = moved.move("ds", b"first"), moved.move("ds", b"second")
    metadata = {**first.metadata["oxen"], "commit": moved.commit_of(second).commit}
    moved.source.update_metadata(first, {**first.metadata, "oxen": metadata})

    assert moved.problems()["team/proj/ds:v0"] == [
        "the commit's tree is not the one that the receipt in W&B names",
        "files: a had 6 bytes and has 5",
    ]


def test_only_the_named_part_is_read(moved: Moved) -> None:
    """The versions outside it cost nothing."""
    for number in range(8):
        moved.move("ds", b"data %d" % number)
    halves = [moved.problems(Part.parse(subset=f"{number}/2")) for number in (1, 2)]

    assert len(halves[0]) + len(halves[1]) == 8
    assert halves[0].keys().isdisjoint(halves[1])


# --- whether it looks as it should


@pytest.mark.parametrize("deleted", [False, True])
def test_a_replacement_that_looks_like_its_source_has_no_difference(
    deleted: bool, moved: Moved
) -> None:
    """Nor when the source is gone from W&B: the lineage file in Oxen says how it looked."""
    moved.move("ds", b"first", aliases=("latest", "best"))
    if deleted:
        del moved.source._logged[next(moved.source.versions(PROJECT[0])).id]
    answer = moved.answer()

    assert (answer["problems"], answer["edited"]) == ([], [])


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"type": "model"}, "type: 'dataset' became 'model'"),
        ({"history_step": 7}, "history_step: None became 7"),
    ],
)
def test_what_nobody_can_edit_and_differs_is_wrong(
    deleted: bool, change: dict[str, Any], problem: str, moved: Moved
) -> None:
    """With and without the source in W&B."""
    new = moved.move("ds", b"first")
    moved.source._logged[new.id].version = changed(new, **change)
    if deleted:
        del moved.source._logged[next(moved.source.versions(PROJECT[0])).id]

    assert moved.answer()["problems"] == [problem]


@pytest.mark.parametrize("deleted", [False, True])
def test_what_people_edit_afterwards_is_told_and_is_no_fault(deleted: bool, moved: Moved) -> None:
    """A score is written on the model that is in production, which is ours now."""
    new = moved.move("ds", b"first")
    old = next(moved.source.versions(PROJECT[0]))
    moved.source.update_metadata(new, {**new.metadata, "score": 1}, description="best", tags=["x"])
    if deleted:
        del moved.source._logged[old.id]
    else:
        moved.source.places.give(old.id, ("team", "proj", "ds"), ["rollback"])
    answer = moved.answer()

    assert answer["problems"] == []
    edits = ["description: '' became 'best'", "metadata: 'score' differs", "tags: 'x' is new"]
    aliases = [] if deleted else ["aliases: 'rollback' of team/proj/ds is missing"]
    assert answer["edited"] == edits + aliases


def test_what_an_interrupted_replacement_lacks_is_wrong(moved: Moved) -> None:
    """Nobody has edited what has not been finished."""
    new = moved.move("ds", b"first")
    link = replacement_of(new.metadata, new.digest)
    assert link is not None
    unfinished = changed(link, complete=False).into({"rows": 5})
    moved.source.update_metadata(new, unfinished)
    answer = moved.answer()

    assert answer["edited"] == []
    assert answer["problems"] == [
        "metadata: 'rows' differs",
        "the replacement is not complete; syncd backfill goes on with it",
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"size": 6}, "files: a had 5 bytes and has 6"),
        ({"path": "b"}, "files: a is missing"),
        ({"ref": "s3://bucket/a"}, "files: a refers to s3://bucket/a, not to "),
        ({"digest": "1" * 32}, "files: a names content " + "1" * 32),
    ],
)
def test_a_file_that_is_not_what_it_was_is_wrong(
    entry: dict[str, Any], problem: str, moved: Moved
) -> None:
    """The manifest that W&B gives out is read, and held against what Oxen has."""
    new = moved.move("ds", b"first")
    kept = moved.source._logged[new.id]
    wrong = changed(kept.manifest.entries["a"], **entry)
    kept.manifest = Manifest(entries={wrong.path: wrong})

    assert moved.answer()["problems"][0].startswith(problem)


def test_a_lineage_file_that_cannot_be_read_is_told_once(moved: Moved) -> None:
    """The proof says why; there is nothing to compare with."""
    new = moved.move("ds", b"first")
    commit = moved.commit_of(new)
    file = next(e for e in moved.store.tree(commit) if e.path.endswith("lineage.json"))
    moved.store.corrupt(commit.repo, file.hash, b"{}")
    problems = moved.answer()["problems"]

    assert any("lineage.json" in problem for problem in problems)
    assert not any("cannot be compared" in problem for problem in problems)


def test_a_target_that_is_gone_does_not_end_the_proof_of_the_others(moved: Moved) -> None:
    """The daemon would begin the same part again for ever."""
    moved.move("ds", b"payload")
    gone = Target.parse("team/gone")
    found = list(verify_all(moved.runtime, [gone, *PROJECT], EVERYTHING))
    assert [bool(item["problems"]) for item in found] == [True, False]
    assert found[0]["version"] == "team/gone"
    with pytest.raises(NotFoundError):
        list(verify_all(moved.runtime, [gone], EVERYTHING))
    with pytest.raises(NotFoundError, match="nothing of this name was moved"):
        list(verify_all(moved.runtime, [Target.parse("team/proj/ds:typo")], EVERYTHING))


def test_a_project_is_listed_once_for_all_there_is_to_prove(moved: Moved) -> None:
    """A listing of millions of versions takes tens of thousands of requests."""
    moved.move("ds", b"payload")
    before = moved.source.calls["versions"]
    assert moved.answer()["problems"] == []

    assert moved.source.calls["versions"] == before + 1
