"""Restore: what comes back is the version that was moved, at whatever call it was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace as changed
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moved_project import NOW, PROJECT, MovedProject

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.config.model import Select
from syncd.errors import (
    IntegrityError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    VerificationError,
)
from syncd.manifest import Entry, Manifest
from syncd.operations.audit import Part, verify_all
from syncd.operations.restoration import restore_commit
from syncd.refs import OxenURL, RunRef, Target
from syncd.replacements import KEY, Restored, replacement_of
from syncd.stages.discover import discover
from syncd.stages.restore import read
from syncd.testing import Fault, MemoryArtifactSource
from syncd.testing.faults import Calls
from syncd.versions.originals import original
from syncd.versions.plans import LINEAGE_PATH

KILL = ServiceUnavailableError("killed here")
WHOLE = Target.parse("team/proj/ds")
LATER = NOW + timedelta(days=1)
CHANGES = ("update_metadata", "upload", "move_aliases", "link", "unlink", "record_use")
FILES = {"big": b"payload", "d/also big": b"other!", "small": b"abc", "empty": b""}


def logged(moved: MovedProject, **fields: Any) -> Version:
    """A version with all that can be about one, moved."""
    maker, user = moved.source.add_run("maker"), moved.source.add_run("user")
    version = moved.source.log(
        "ds",
        FILES,
        run=maker,
        aliases=["latest", "best"],
        tags=["gold"],
        description="What it is",
        metadata={"rows": 5},
        references=[Entry(path="link", digest="etag", ref="s3://b/k", size=3)],
        **fields,
    )
    moved.source.record_use(user, version)
    made = moved.move(version)
    moved.source.link_to(made, "team/shelf/best", ["prod"])
    return version


def restored_of(moved: MovedProject, document: dict[str, Any]) -> Version:
    """The one version that was restored."""
    [item] = document["restored"]
    found = {str(version.ref): version for version in moved.source.versions(PROJECT)}
    return found[item["restored"]]


def names(moved: MovedProject, *, target: Target = WHOLE) -> list[tuple[str, str]]:
    """What discovery says of each version that is no replacement."""
    found = discover(moved.source, [target], Select())
    return [(item.version.ref.alias, item.skip) for item in found]


# --- what comes back


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
def test_a_version_comes_back_as_it_was(moved: MovedProject, algorithm: Any) -> None:
    """Digest, files, type, run, aliases, links, tags, description, metadata, consumers."""
    old = logged(moved, algorithm=algorithm)
    before = moved.source.manifest(old)
    moved.reclaim()
    assert not moved.there(old)
    new = restored_of(moved, moved.restore())

    assert new.digest == old.digest
    for field in ("type", "run", "description", "tags", "metadata", "ttl_seconds", "history_step"):
        assert getattr(new, field) == getattr(old, field), field
    assert set(new.aliases) == {"latest", "best"}
    assert moved.files(new) == FILES
    after = moved.source.manifest(new)
    assert after.storage_policy_config == before.storage_policy_config
    for path, entry in before.entries.items():
        assert changed(after.entries[path], birth_artifact_id=None) == changed(
            entry, birth_artifact_id=None
        )
    user = RunRef(entity="team", project="proj", run_id="user")
    assert moved.source.consumers(new) == [user]
    assert new in moved.source.run(RunRef(entity="team", project="proj", run_id="maker")).outputs
    [place] = [p for p in moved.source.memberships(new) if p.kind == "portfolio"]
    assert (place.name, set(place.aliases)) == ("team/shelf/best", {"prod", "latest"})


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("place", ["config", "metadata"])
def test_numbers_that_json_has_not_go_all_the_way_and_back(
    moved: MovedProject, place: str, value: float
) -> None:
    """`max_grad_norm = inf` is no reason to leave a version where it is."""
    given = {"metadata": {"low": 1.0}, "config": {"clip": 1.0}}
    given[place] = {"value": value}
    run = moved.source.add_run("train", config=given["config"], summary={})
    moved.log_and_move("ds", {"a.bin": b"0123456789"}, run=run, metadata=given["metadata"])
    moved.reclaim()
    back = restored_of(moved, moved.restore())
    assert repr(back.metadata.get("value")) == repr(value if place == "metadata" else None)


def test_a_version_that_wandb_merged_from_parts_comes_back(moved: MovedProject) -> None:
    """Its digest is not that of its entries; each of them is held against the lineage file."""
    old = moved.source.log("ds", FILES, references=[Entry(path="s3", digest="e", ref="s3://b/k")])
    held = moved.source._logged[old.id]
    held.version = old = changed(held.version, digest="ab" * 16)
    moved.move(old)
    moved.reclaim()
    new = restored_of(moved, moved.restore())

    assert new.digest == old.digest
    assert moved.files(new) == FILES
    assert moved.restore()["restored"] == []


def test_only_what_wandb_lacks_travels(moved: MovedProject) -> None:
    """The small files never left it, and a version that is still there needs nothing at all."""
    old = logged(moved)
    read = moved.store.calls["read"]
    assert restored_of(moved, moved.restore()).id == old.id
    assert moved.source.uploaded == 0
    assert moved.store.calls["read"] == read

    other = moved.source.log("other", {"big": b"payload", "more": b"more of it"})
    moved.move(other)
    moved.reclaim()
    moved.restore("team/proj/other")
    assert moved.source.uploaded == len(b"more of it")


def test_the_state_and_oxens_branches_are_not_needed(moved: MovedProject, tmp_path: Path) -> None:
    """W&B's metadata and the lineage file tell all."""
    old = logged(moved)
    moved.reclaim()
    moved.catalog.close()
    moved.catalog = Catalog(f"sqlite:///{tmp_path}/fresh.db")

    assert restored_of(moved, moved.restore()).digest == old.digest
    moved.catalog.close()


def test_each_alias_names_the_same_content_at_every_moment(tmp_path: Path) -> None:
    """`latest` above all."""
    held: list[dict[str, str]] = []

    def look(_method: str) -> None:
        found: dict[str, str] = {}
        for version in source.versions(WHOLE):
            rows = version.metadata.get("rows")
            found |= dict.fromkeys(version.aliases, str(rows))
        held.append(found)

    source = MemoryArtifactSource(watch=look)
    catalog = Catalog(f"sqlite:///{tmp_path}/moments.db")
    moved = MovedProject(catalog, source)
    for number in range(3):
        aliases = ["latest", f"n{number}"]
        moved.log_and_move(
            "ds", {"big": b"x" * (9 + number)}, aliases=aliases, metadata={"rows": number}
        )
    moved.reclaim()
    held.clear()
    moved.restore()

    expected = {"n0": "0", "n1": "1", "n2": "2", "latest": "2"}
    assert held
    assert all(moment == expected for moment in held)
    catalog.close()


def test_a_time_to_live_ends_when_the_replacements_would(moved: MovedProject) -> None:
    """W&B counts from the creation, which is a new one."""
    old = moved.source.log("ds", {"big": b"payload"}, ttl_seconds=90 * 86_400)
    made = moved.move(old)
    moved.reclaim()
    new = restored_of(moved, moved.restore())

    # The replacement was made on 2026-01-01 at 00:01, and it is 2026-03-02.
    assert made.ttl_seconds == 90 * 86_400
    assert new.ttl_seconds == 30 * 86_400 + 60


def test_a_time_to_live_that_reclaim_set_is_taken_back(moved: MovedProject) -> None:
    """Or W&B would remove what has just been restored."""
    moved.terms["policy"] = "ttl"
    old, made = moved.log_and_move("ds", {"big": b"payload"})
    moved.reclaim()
    assert moved.source.version(old.id).ttl_seconds > 0
    assert restored_of(moved, moved.restore()).id == old.id

    assert moved.source.version(old.id).ttl_seconds == -1
    assert moved.link(made).reclaimed is None


# --- what is refused


def test_damaged_bytes_are_not_put_into_wandb(moved: MovedProject) -> None:
    """The version fails alone, with the next step; it can be tried again."""
    old = logged(moved)
    other = moved.source.log("other", {"big": b"payload"})
    moved.move(other)
    commit = moved.link(next(v for v in moved.source.versions(WHOLE) if v.id != old.id)).commit
    moved.reclaim()
    [entry] = [e for e in moved.store.tree(commit) if e.path == "big"]
    moved.store.corrupt(commit.repo, entry.hash, b"Payload")
    document = moved.restore()

    assert [item["source"] for item in document["restored"]] == ["team/proj/other:v0"]
    [failure] = document["failures"]
    assert (failure["version"], "big" in failure["error"]) == ("team/proj/ds:v0", True)
    moved.store.corrupt(commit.repo, entry.hash, b"payload")
    assert restored_of(moved, moved.restore()).digest == old.digest


def test_the_last_bytes_come_only_when_all_are_right(moved: MovedProject) -> None:
    """Whoever passes them on as they come has no whole file of a damaged one."""
    old, made = moved.log_and_move("ds", {"big": b"payload"})
    commit = moved.link(made).commit
    entry = moved.source.manifest(old).entries["big"]
    held = original(moved.store, commit, LINEAGE_PATH)
    told: list[int] = []
    moved.store._chunk_size = 3
    assert b"".join(read(moved.store, held, entry, told.append)) == b"payload"
    assert sum(told) == 7
    [file] = [item for item in moved.store.tree(commit) if item.path == "big"]
    moved.store.corrupt(commit.repo, file.hash, b"payloaD")
    came: list[bytes] = []
    with pytest.raises(VerificationError, match="big: 7 bytes"):
        came.extend(read(moved.store, held, entry, lambda _bytes: None))

    assert b"".join(came) == b"payloa"


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: {**entries, "small": changed(entries["small"], digest="AAAA")},
        lambda entries: {k: v for k, v in entries.items() if k != "small"},
        lambda entries: {**entries, "link": changed(entries["link"], digest="another")},
    ],
    ids=["another content", "a file less", "another reference"],
)
@pytest.mark.parametrize("merged", [False, True], ids=["", "merged from parts"])
def test_what_is_not_all_there_is_not_put_together(
    change: Callable[[Mapping[str, Entry]], Mapping[str, Entry]],
    merged: bool,
    moved: MovedProject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """W&B's manifest of the replacement is not what was logged: no version is made of it."""
    reference = Entry(path="link", digest="etag", ref="s3://b/k", size=3)
    old = moved.source.log("ds", FILES, references=[reference])
    if merged:
        held = moved.source._logged[old.id]
        held.version = old = changed(held.version, digest="ab" * 16)
    made = moved.move(old)
    moved.reclaim()
    right = moved.source.manifest

    def garbled(version: Version) -> Manifest:
        found = right(version)
        return Manifest(entries=change(found.entries)) if version.id == made.id else found

    monkeypatch.setattr(moved.source, "manifest", garbled)
    [failure] = moved.restore()["failures"]

    assert "does not make team/proj/ds:v0 again" in failure["error"]
    assert moved.source.calls["upload"] == 0


def test_bytes_that_arrive_damaged_are_a_failure_of_that_version(moved: MovedProject) -> None:
    """All others come back."""
    moved.log_and_move("ds", {"big": b"payload"})
    moved.log_and_move("other", {"big": b"other payload"})
    moved.reclaim()
    garbled = IntegrityError("the answer was cut short")
    moved.store._call = Calls([Fault(method="read", error=garbled, at=2)])
    document = moved.restore()

    assert [item["error"] for item in document["failures"]] == [str(garbled)]
    assert len(document["restored"]) == 1


def test_a_registry_that_may_not_be_written_is_told_before_anything_changes(
    moved: MovedProject,
) -> None:
    """Never half done."""
    logged(moved)
    moved.source.places.read_only.add("team/shelf")
    [made] = [v for v in moved.source.versions(WHOLE) if KEY in v.metadata]
    [failure] = moved.restore()["failures"]

    assert "team/shelf/best" in failure["error"]
    assert moved.link(made).restored is None


def test_a_version_is_restored_by_its_old_name(moved: MovedProject) -> None:
    """Which is what people wrote down."""
    for number in range(2):
        moved.log_and_move("ds", {"big": b"payload %d" % number})
    moved.reclaim()
    document = moved.restore("team/proj/ds:v0")

    assert [item["source"] for item in document["restored"]] == ["team/proj/ds:v0"]


def test_older_versions_come_back_first(moved: MovedProject) -> None:
    """Also where the newer one was moved before: numbers tell what is newer."""
    first, second = (moved.source.log("ds", {"big": b"payload %d" % n}) for n in range(2))
    for version in (second, first):
        moved.move(version)
    moved.reclaim()
    document = moved.restore()

    assert [item["source"] for item in document["restored"]] == [str(first.ref), str(second.ref)]


def test_a_name_that_is_nothing_is_told(moved: MovedProject) -> None:
    """And an ordinary version is left alone."""
    moved.source.log("ds", {"big": b"payload"})

    with pytest.raises(NotFoundError):
        moved.restore("team/proj/ds:v7")
    assert moved.restore("team/proj/ds:v0")["skipped"] == [
        {"version": "team/proj/ds:v0", "reason": "W&B has its files"}
    ]


# --- again


def test_restoring_twice_is_once(moved: MovedProject) -> None:
    """Nothing is made, moved or uploaded."""
    logged(moved)
    moved.reclaim()
    moved.restore()
    before = dict(moved.source.calls)
    document = moved.restore(now=LATER + timedelta(days=9))

    assert (document["restored"], len(document["skipped"])) == ([], 1)
    assert all(moved.source.calls[method] == before.get(method, 0) for method in CHANGES)


def state(moved: MovedProject) -> list[Any]:
    """All that W&B shows, but for ids that an attempt may have used up."""
    return [
        [
            (
                changed(version, id="", created_at="", metadata=_timeless(version.metadata)),
                sorted(moved.files(version).items()),
                moved.source.consumers(version),
                [(p.name, sorted(p.aliases)) for p in moved.source.memberships(version)],
            )
            for version in moved.source.versions(PROJECT)
        ],
        moved.source.uploaded,
    ]


def _timeless(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Without the time of the proof."""
    link = metadata.get(KEY)
    return {**metadata, KEY: {**link, "receipt": {}}} if link else dict(metadata)


def faults() -> Iterator[Fault]:
    """One for each change that the stage makes, before and after its effect."""
    for method in CHANGES:
        for at in range(1, 4):
            yield Fault(method=method, error=KILL, at=at)
            yield Fault(method=method, error=KILL, at=at, late=True)


def test_killed_at_any_change_a_repeat_ends_in_the_same_state(tmp_path: Path) -> None:
    """One version, one mark, nothing uploaded twice; as if nothing had happened."""
    catalog = Catalog(f"sqlite:///{tmp_path}/calm.db")
    calm = MovedProject(catalog)
    logged(calm)
    calm.reclaim()
    calls = dict(calm.source.calls)
    calm.restore()
    expected = state(calm)
    catalog.close()
    tried = 0
    for number, fault in enumerate(faults()):
        first = calls.get(fault.method, 0)
        if first + fault.at > calm.source.calls[fault.method]:
            continue
        tried += 1
        catalog = Catalog(f"sqlite:///{tmp_path}/{number}.db")
        source = MemoryArtifactSource(faults=[changed(fault, at=first + fault.at)])
        moved = MovedProject(catalog, source)
        logged(moved)
        moved.reclaim()
        with pytest.raises(ServiceUnavailableError):
            moved.restore()
        assert all(skip for _, skip in names(moved)), f"{fault} leaves something to move"
        moved.restore()

        assert state(moved) == expected, fault
        catalog.close()
    assert tried >= 2 * len(CHANGES)


# --- what follows


def test_a_restored_version_is_moved_again_only_when_it_is_named(moved: MovedProject) -> None:
    """Not by the next run, nor is its replacement wrong for an audit, whatever became of Oxen."""
    logged(moved)
    moved.reclaim()
    new = restored_of(moved, moved.restore())
    made = next(v for v in moved.source.versions(WHOLE) if KEY in v.metadata)

    [(alias, skip)] = names(moved)
    assert (alias, "name it" in skip) == (new.ref.alias, True)
    named = Target.parse(str(new.ref))
    [item] = discover(moved.source, [named], Select())
    assert (item.skip, item.replacement and item.replacement.id) == ("", made.id)
    assert list(verify_all(moved.runtime, [PROJECT], Part())) == []


def test_moved_again_the_replacement_that_there_was_takes_its_place(moved: MovedProject) -> None:
    """It has the same digest; W&B makes no other one. All goes round as often as anybody likes."""
    new = old = logged(moved)
    for _ in range(2):
        moved.reclaim()
        new = restored_of(moved, moved.restore())
        again = moved.move(new)
        link = moved.link(again)

        assert (link.source_artifact_id, link.source_version) == (new.id, str(new.ref))
        assert (link.restored, link.reclaimed, link.complete) == (None, None, True)
        assert set(again.aliases) == {"latest", "best"}
        assert names(moved) == [(new.ref.alias, f"replaced by {again.ref}")]
    assert len(list(moved.source.versions(WHOLE))) == 2
    assert new.digest == old.digest


def test_what_was_written_on_a_restored_version_is_there_when_it_has_moved_again(
    moved: MovedProject,
) -> None:
    """Not what its replacement said before."""
    logged(moved)
    new = restored_of(moved, moved.restore())
    metadata = {**new.metadata, "rows": 7}
    moved.source.update_metadata(new, metadata, description="better", tags=["seen"])
    again = moved.move(new)

    assert (again.description, again.metadata["rows"], "seen" in again.tags) == ("better", 7, True)


def test_a_replacement_that_moves_again_is_complete_only_when_all_has_followed(
    moved: MovedProject,
) -> None:
    """Killed on the way, it is not taken for one that was finished long ago."""
    logged(moved)
    moved.reclaim()
    [made] = list(moved.source.versions(WHOLE))
    new = restored_of(moved, moved.restore())
    # The first call only asks for the rights.
    moved.source._call = Calls([Fault(method="move_aliases", error=KILL, at=2)])
    with pytest.raises(ServiceUnavailableError):
        moved.move(new)

    assert moved.link(made).source_artifact_id == new.id
    assert not moved.link(made).complete
    assert names(moved) == [(new.ref.alias, "")]


def test_the_mark_is_there_before_the_version(moved: MovedProject) -> None:
    """Somebody who looks in between must not take it for new."""
    logged(moved)
    moved.reclaim()
    [made] = list(moved.source.versions(WHOLE))
    moved.say(made, restored=Restored(at=LATER.isoformat()))
    assert moved.link(made).restored is not None
    new = restored_of(moved, moved.restore())
    mark = moved.link(made).restored

    assert mark == Restored(at=LATER.isoformat(), artifact_id=new.id, version=str(new.ref))


# --- from Oxen alone


def lost(moved: MovedProject, **fields: Any) -> tuple[Version, OxenURL]:
    """A version that W&B has lost with its replacement, and its commit."""
    run = moved.source.add_run("maker")
    old, made = moved.log_and_move(
        "ds",
        FILES,
        run=run,
        aliases=["latest", "best"],
        tags=["gold"],
        metadata={"rows": 5},
        **fields,
    )
    url = OxenURL.parse(str(moved.link(made).commit))
    moved.source.places.give(old.id, ("team", "proj", "ds"), [])
    for version in (old, made):
        moved.source._logged[version.id].removed = True
        moved.source.places.remove(version.id)
    return old, url


def test_what_wandb_has_lost_is_made_again_from_its_commit(moved: MovedProject) -> None:
    """The same digest, run, tags, metadata; and the aliases that nobody has taken since."""
    reference = Entry(path="link", digest="etag", ref="s3://b/k", size=3)
    old, url = lost(moved, references=[reference])
    newer = moved.source.log("ds", {"big": b"newer payload"})
    report = restore_commit(moved.runtime, url, lambda: LATER)
    [item] = report.restored
    new = next(v for v in moved.source.versions(WHOLE) if str(v.ref) == item["restored"])

    assert (new.digest, new.run, new.tags) == (old.digest, old.run, old.tags)
    assert {**new.metadata, KEY: None} == {"rows": 5, KEY: None}
    assert moved.files(new) == FILES
    assert (new.aliases, moved.source.version(newer.id).aliases) == (("best",), ("latest",))
    skips = dict(names(moved))
    assert skips[new.ref.alias].startswith("restored")
    again = restore_commit(moved.runtime, url, lambda: LATER)
    assert (again.restored, len(again.skipped)) == ([], 1)


@pytest.mark.parametrize(
    ("days", "left"),
    [(365, 365 * 86_400 - 60 * 86_400), (1, 86_400)],
    ids=["as before", "a day at the soonest"],
)
def test_what_is_made_again_from_its_commit_ends_when_it_would_have(
    days: int, left: int, moved: MovedProject
) -> None:
    """W&B counts from the creation, which is a new one; what came back does not vanish at once."""
    old, url = lost(moved, ttl_seconds=days * 86_400)
    assert old.created_at == "2026-01-01T00:00:00Z"
    restore_commit(moved.runtime, url, lambda: LATER)  # on 2026-03-02
    [new] = list(moved.source.versions(WHOLE))

    assert new.ttl_seconds == left


def test_a_draft_of_what_was_made_again_is_moved(moved: MovedProject) -> None:
    """Metadata is copied with drafts; the mark is not theirs."""
    _, url = lost(moved)
    restore_commit(moved.runtime, url, lambda: LATER)
    [new] = list(moved.source.versions(WHOLE))
    draft = moved.source.log("ds", {"more": b"another"}, draft_of=new)

    assert (draft.ref.alias, "") in names(moved)


def test_a_commit_restores_as_its_version_does(moved: MovedProject) -> None:
    """Where W&B still has the replacement."""
    old = logged(moved)
    [made] = [v for v in moved.source.versions(WHOLE) if KEY in v.metadata]
    moved.reclaim()
    url = OxenURL.parse(str(moved.link(made).commit))
    report = restore_commit(moved.runtime, url, lambda: LATER)

    [item] = report.restored
    assert item["replacement"] == str(made.ref)
    assert item["source"] == str(old.ref)
    assert moved.source.version(made.id).aliases == ()


def test_a_commit_restores_its_own_version_and_no_other(moved: MovedProject) -> None:
    """Of all that its collection has."""
    made = [moved.log_and_move("ds", {"big": b"payload %d" % n})[1] for n in range(3)]
    moved.reclaim()
    url = OxenURL.parse(str(moved.link(made[1]).commit))
    [item] = restore_commit(moved.runtime, url, lambda: LATER).restored

    assert item["source"] == "team/proj/ds:v2"
    [new] = [v for v in moved.source.versions(WHOLE) if KEY not in v.metadata]
    assert moved.files(new) == {"big": b"payload 1"}


def test_files_that_oxen_could_not_hold_are_named(moved: MovedProject) -> None:
    """They are lost with W&B's last version of them, and nothing is made without them."""
    old, made = moved.log_and_move("ds", {"big": b"payload", "a\\b": b"omitted"})
    url = OxenURL.parse(str(moved.link(made).commit))
    moved.source.places.give(made.id, ("team", "proj", "ds"), [])
    for version in (old, made):
        moved.source._logged[version.id].removed = True
    with pytest.raises(PermanentError, match=r"lacks 1 files of team/proj/ds:v0.*\(a\\b\)"):
        restore_commit(moved.runtime, url, lambda: LATER)

    assert moved.source.calls["upload"] == 0


def test_a_lineage_file_that_does_not_make_its_version_is_told(moved: MovedProject) -> None:
    """It was written over, or W&B put the version together from parts."""
    old = moved.source.log("ds", FILES)
    held = moved.source._logged[old.id]
    held.version = old = changed(held.version, digest="ab" * 16)
    made = moved.move(old)
    url = OxenURL.parse(str(moved.link(made).commit))
    for version in (old, made):
        moved.source._logged[version.id].removed = True
        moved.source.places.remove(version.id)
    with pytest.raises(PermanentError, match="does not make team/proj/ds:v0 again"):
        restore_commit(moved.runtime, url, lambda: LATER)

    assert moved.source.calls["upload"] == 0


def test_a_commit_that_is_none_is_told(moved: MovedProject) -> None:
    """As anything else that is not there."""
    with pytest.raises(NotFoundError):
        restore_commit(moved.runtime, OxenURL.parse("oxen://team/proj-ds@12ab"), lambda: NOW)


def edit(moved: MovedProject, version: Version) -> None:
    """Write on a replacement as a person does."""
    now = moved.source.version(version.id)
    metadata = {**now.metadata, "accuracy": 0.93}
    moved.source.update_metadata(now, metadata, description="reviewed by Ann", tags=["golden"])


def written(moved: MovedProject) -> tuple[Any, ...]:
    """What stands on the version that has `latest`."""
    latest = next(v for v in moved.source.versions(PROJECT) if "latest" in v.aliases)
    assert replacement_of(latest.metadata, latest.digest) is None
    return latest.description, latest.tags, latest.metadata.get("accuracy")


def test_what_was_written_on_the_replacement_comes_back_with_the_files(moved: MovedProject) -> None:
    """Also on a version that W&B still has: people write on what has the aliases."""
    _, new = moved.log_and_move("ds", {"big": b"payload"}, metadata={"label": 1})
    edit(moved, new)
    moved.restore()
    assert written(moved) == ("reviewed by Ann", ("golden",), 0.93)


def test_what_is_written_while_files_travel_is_not_lost(tmp_path: Path) -> None:
    """Which takes hours for a large version."""
    meanwhile: list[Callable[[], None]] = []

    def before(method: str, _at: int) -> None:
        if method == "upload" and meanwhile:
            meanwhile.pop()()

    catalog = Catalog(f"sqlite:///{tmp_path}/edited.db")
    moved = MovedProject(catalog, MemoryArtifactSource(before=before))
    _, new = moved.log_and_move("ds", {"big": b"payload"}, metadata={"label": 1})
    moved.reclaim()
    meanwhile.append(lambda: edit(moved, new))
    moved.restore()
    assert written(moved) == ("reviewed by Ann", ("golden",), 0.93)
    assert moved.source.version(new.id).metadata["accuracy"] == 0.93
    catalog.close()


def test_a_key_of_somebody_elses_that_had_to_make_room_comes_back(moved: MovedProject) -> None:
    """`oxen` is a word."""
    moved.log_and_move("ds", {"big": b"payload"}, metadata={KEY: "a breed of cattle", "n": 1})
    moved.reclaim()
    back = restored_of(moved, moved.restore())
    assert dict(back.metadata) == {KEY: "a breed of cattle", "n": 1}
