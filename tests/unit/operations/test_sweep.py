"""A sweep: whatever could need a version keeps it, and what W&B frees is told to the byte."""

from __future__ import annotations

import base64
import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moved_project import NOW, PROJECT, MovedProject

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.errors import ClockError, ServiceUnavailableError, SuspiciousListingError
from syncd.manifest import Entry
from syncd.operations import replaced, sweep
from syncd.refs import Target
from syncd.replacements import Reclaimed
from syncd.testing import Fault, MemoryArtifactSource
from syncd.versions.guards import Facts
from syncd.versions.plans import LINEAGE_PATH


def pointer(version: Version, path: str = "x.table.json") -> str:
    """How the SDK refers to a file of a version."""
    return f"wandb-artifact://{base64.b64decode(version.id).hex()}/{path}"


# --- what goes


def test_a_version_goes_and_its_replacement_stays(moved: MovedProject) -> None:
    """With the note of it, and with files that the other versions share."""
    old, new = moved.log_and_move("ds", {"big": b"payload", "small": b"abc"})
    document = moved.reclaim()

    assert [item["source"] for item in document["removals"]] == ["team/proj/ds:v0"]
    assert document["bytes"] == {"expected": 7, "freed": 7}  # the small file is in both
    assert not moved.there(old)
    assert moved.files(new) == {"small": b"abc"}
    note = moved.link(new).reclaimed
    assert note is not None
    assert (note.how, note.bytes) == ("delete", 7)


def test_a_dry_run_changes_nothing(moved: MovedProject) -> None:
    """And says the same."""
    old, new = moved.log_and_move("ds", {"big": b"payload"})
    before = moved.source.version(new.id)
    planned = sweep.plan(moved.runtime, [PROJECT], NOW)
    document = sweep.describe(planned, moved.runtime).document()

    assert moved.there(old)
    assert moved.source.version(new.id) == before
    assert document["dry_run"]
    done = moved.reclaim()
    assert (document["removals"], document["bytes"]["expected"]) == (done["removals"], 7)


def test_a_sweep_again_finds_nothing(moved: MovedProject) -> None:
    """Removing twice is once."""
    moved.log_and_move("ds", {"big": b"payload"})
    moved.reclaim()
    document = moved.reclaim()

    assert document["removals"] == document["stays"] == []
    assert moved.source.calls["remove"] == 1


def test_a_named_version_goes_alone(moved: MovedProject) -> None:
    """Under its own or its replacement's name."""
    first, _ = moved.log_and_move("ds", {"big": b"payload 1"})
    second, other = moved.log_and_move("ds", {"big": b"payload 2"})
    moved.reclaim(Target.parse("team/proj/ds:v0"))
    assert (moved.there(first), moved.there(second)) == (False, True)
    moved.reclaim(Target.parse(str(other.ref)))
    assert not moved.there(second)


# --- what stays: each of these alone


def test_off_by_default(moved: MovedProject) -> None:
    """Nothing is looked at, nothing goes."""
    moved.log_and_move("ds", {"big": b"payload"})
    moved.terms = {}

    assert moved.stays() == {"team/proj/ds:v0": ["[reclaim] policy is none"]}
    assert moved.source.calls["uses"] == 0


def test_damage_in_oxen_keeps_it(moved: MovedProject) -> None:
    """Also damage that came after the commit was proved; it is a failure, with its next step."""
    old, new = moved.log_and_move("ds", {"big": b"payload"})
    [entry] = [e for e in moved.store.tree(moved.link(new).commit) if e.path == "big"]
    moved.store.corrupt(moved.link(new).commit.repo, entry.hash, b"Payload")
    document = moved.reclaim()

    assert moved.there(old)
    assert document["removals"] == []
    [failure] = document["failures"]
    assert "big" in failure["error"]
    assert document["bytes"] == {"expected": 7, "freed": 0}


def test_a_commit_that_is_another_keeps_it(moved: MovedProject) -> None:
    """What the replacement's references name has to hold this very version."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    _, other = moved.log_and_move("other", {"big": b"another"})
    new = next(v for v in moved.source.versions(Target.of(old.ref)) if v.id != old.id)
    moved.say(new, commit=moved.link(other).commit, url=moved.link(other).url)

    document = moved.reclaim(Target.of(old.ref))

    assert document["removals"] == []
    assert "holds another version" in document["stays"][0]["reasons"][0]


def test_a_lineage_file_that_is_gone_keeps_it(moved: MovedProject) -> None:
    """Nobody could say any more what the version held."""
    old, new = moved.log_and_move("ds", {"big": b"payload"})
    commit = moved.link(new).commit
    tree = list(moved.store.tree(commit))
    moved.store.falsify(commit, [entry for entry in tree if entry.path == "big"])

    [reason] = moved.stays()["team/proj/ds:v0"]
    assert "lineage.json" in reason
    assert moved.there(old)


def test_a_tree_that_is_not_the_one_of_the_receipt_keeps_it(moved: MovedProject) -> None:
    """The receipt in W&B was written when the version was proved."""
    old, new = moved.log_and_move("ds", {"big": b"payload"})
    receipt = moved.link(new).receipt
    moved.say(new, receipt={**receipt, "tree": "00" * 32})
    document = moved.reclaim()

    assert moved.there(old)
    assert document["removals"] == []
    assert "not the one that the receipt in W&B names" in document["failures"][0]["error"]


def test_a_replacement_that_lacks_a_file_keeps_it(moved: MovedProject) -> None:
    """Whatever it says of itself."""
    old, new = moved.log_and_move("ds", {"big": b"payload", "more": b"another"})
    entries = moved.source.manifest(new).entries
    moved.source._logged[new.id].manifest = type(moved.source.manifest(new))(
        entries={"big": entries["big"]}
    )

    assert moved.stays() == {"team/proj/ds:v0": ["more: only in the replaced version"]}
    assert moved.there(old)


@pytest.mark.parametrize(
    ("path", "change", "reason"),
    [
        ("small", {"digest": "XUFAKrxLKna5cZ2REBfFkg=="}, "small: not the same"),
        ("small", {"algorithm": "XXH128", "extra": {"alg": "XXH128"}}, "small: not the same"),
        ("link", {"ref": "s3://b/another"}, "link: not the same"),
        (
            "big",
            {"ref": "https://data.example/api/repos/team/proj-ds/file/12ab/big"},
            "big: the replacement's reference does not name",
        ),
        ("big", {"digest": "12ab"}, "big: the replacement's reference names another content"),
    ],
)
def test_a_replacement_whose_file_is_another_keeps_it(
    path: str, change: dict[str, Any], reason: str, moved: MovedProject
) -> None:
    """Who follows it would get other bytes, and nobody has those of the version then."""
    reference = Entry(path="link", digest="etag", ref="s3://b/k", size=3)
    old, new = moved.log_and_move(
        "ds", {"big": b"payload", "small": b"abc"}, references=[reference]
    )
    manifest = moved.source.manifest(new)
    entries = {**manifest.entries, path: replace(manifest.entries[path], **change)}
    moved.source._logged[new.id].manifest = type(manifest)(entries=entries)

    [told] = moved.stays()["team/proj/ds:v0"]
    assert told.startswith(reason)
    assert moved.there(old)


@pytest.mark.parametrize("part", ["digest", "algorithm"])
def test_a_lineage_file_that_names_another_content_keeps_it(part: str, moved: MovedProject) -> None:
    """With it nobody could put the version together again."""
    _, new = moved.log_and_move("ds", {"big": b"payload"})
    commit = moved.link(new).commit
    document = json.loads(b"".join(moved.store.read(commit, LINEAGE_PATH)))
    document["files"]["big"][part] = "another"
    text = json.dumps(document).encode()
    stored = moved.store.put(commit.repo, [text])
    tree = [
        replace(entry, hash=stored.hash, size=stored.size) if entry.path == LINEAGE_PATH else entry
        for entry in moved.store.tree(commit)
    ]
    moved.store.falsify(commit, tree)

    assert moved.stays() == {
        "team/proj/ds:v0": ["big: the commit's lineage file names another content"]
    }


def test_a_link_whose_url_is_another_commits_keeps_it(moved: MovedProject) -> None:
    """What it says of itself contradicts itself."""
    _, new = moved.log_and_move("ds", {"big": b"payload"})
    _, other = moved.log_and_move("other", {"big": b"another"})
    moved.say(new, url=moved.link(other).url)

    document = moved.reclaim(Target.parse("team/proj/ds"))
    assert document["removals"] == []
    assert "is no lineage file of" in document["stays"][0]["reasons"][0]


def test_a_replacement_that_is_not_complete_keeps_it(moved: MovedProject) -> None:
    """Somebody may still have to follow."""
    _, new = moved.log_and_move("ds", {"big": b"payload"})
    moved.say(new, complete=False)

    assert "not complete" in moved.stays()["team/proj/ds:v0"][0]


def test_the_grace_period_keeps_it(moved: MovedProject) -> None:
    """It counts from the replacement."""
    _, new = moved.log_and_move("ds", {"big": b"payload"})
    early = new.created + timedelta(days=13)

    assert "grace period" in moved.stays(now=early)["team/proj/ds:v0"][0]


def test_what_moved_again_has_its_grace_again(moved: MovedProject) -> None:
    """Its replacement may be years old."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    moved.restore()
    moved.move(old, at=NOW.isoformat())

    assert "grace period until 2026-03-15" in moved.stays()["team/proj/ds:v0"][0]
    assert len(moved.reclaim(now=NOW + timedelta(days=15))["removals"]) == 1


def test_an_alias_keeps_it(moved: MovedProject) -> None:
    """Somebody gave it one after it was replaced."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    moved.source.move_aliases(old, ["golden"])

    assert moved.stays() == {"team/proj/ds:v0": ["has the alias golden"]}


def test_a_link_keeps_it(moved: MovedProject) -> None:
    """In a portfolio or a registry."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    moved.source.link_to(old, "team/shelf/best", [])

    assert moved.stays() == {"team/proj/ds:v0": ["linked in team/shelf/best"]}


def test_a_reference_of_another_version_keeps_it(moved: MovedProject) -> None:
    """In any project of the entity."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    reference = Entry(path="theirs", digest="d", ref=pointer(old))
    moved.source.log("joined", {}, references=[reference], project="elsewhere")

    assert moved.stays() == {"team/proj/ds:v0": ["team/elsewhere/joined:v0 points into it"]}


def test_a_reference_from_another_entity_that_is_moved_too_keeps_it(
    moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the configuration names is looked at, whatever is reclaimed."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    reference = Entry(path="theirs", digest="d", ref=pointer(old))
    joined = moved.source.log("joined", {}, references=[reference])
    listed = moved.source.versions

    def versions(target: Target) -> Iterator[Version]:
        if target.entity == "them":
            yield replace(joined, ref=replace(joined.ref, entity="them"))
            return
        yield from (version for version in listed(target) if version.id != joined.id)

    monkeypatch.setattr(moved.source, "versions", versions)
    config = moved.runtime.config
    wandb = config.wandb.model_copy(update={"projects": ("team/proj", "them/*")})
    runtime = replace(moved.runtime, config=config.model_copy(update={"wandb": wandb}))
    planned = sweep.plan(runtime, [PROJECT], NOW).plan

    assert [stay.reasons for stay in planned.stays] == [("them/proj/joined:v0 points into it",)]
    assert planned.removals == ()


@pytest.mark.parametrize("move", [False, True])
def test_a_table_that_points_into_it_keeps_it(moved: MovedProject, *, move: bool) -> None:
    """Wherever the table lies: in W&B, or moved to Oxen itself."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    table = json.dumps({"data": [["x" * 5000, pointer(old, "a.png")]]}).encode()
    view = moved.source.log("view", {"t.table.json": table, "big": b"payload 2"})
    if move:
        made = moved.move(view)
        moved.source.move_aliases(made, ["latest"])
        moved.source.remove(moved.source.version(view.id))
    reasons = moved.stays()

    assert reasons["team/proj/ds:v0"][0].endswith("into it")


def test_a_version_may_point_into_itself(moved: MovedProject) -> None:
    """That needs nobody else."""
    source = moved.source
    own = base64.b64encode(b"Artifact:1").decode()
    reference = Entry(
        path="own", digest="d", ref=f"wandb-artifact://{base64.b64decode(own).hex()}/big"
    )
    old = source.log("ds", {"big": b"payload"}, references=[reference])
    assert old.id == own
    moved.move(old)

    # Its replacement does point into it, and stays.
    assert moved.stays() == {"team/proj/ds:v0": ["team/proj/ds:v1 points into it"]}


def test_a_run_that_used_the_version_itself_keeps_it(moved: MovedProject) -> None:
    """By `:v0`, after everybody else went on to the replacement; for so many days."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    began = (NOW - timedelta(days=20)).isoformat()
    moved.source.record_use(moved.source.add_run("late", began_at=began), old)

    assert "pinned by team/proj/runs/late" in moved.stays()["team/proj/ds:v0"][0]
    moved.terms["pinned"] = "10d"
    assert len(moved.reclaim()["removals"]) == 1


def test_a_run_of_before_that_did_not_follow_keeps_it(moved: MovedProject) -> None:
    """It asked for the version itself while that was replaced, and may ask again."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    run = moved.source.add_run(
        "early", began_at="2025-12-31T00:00:00Z", active_at=(NOW - timedelta(days=2)).isoformat()
    )
    moved.source._runs[run].inputs.append(old.id)  # after all others were taken along

    assert "pinned by team/proj/runs/early" in moved.stays()["team/proj/ds:v0"][0]


def test_a_run_of_before_that_followed_keeps_nothing(moved: MovedProject) -> None:
    """It uses the replacement now."""
    lately = (NOW - timedelta(days=2)).isoformat()
    old = moved.source.log("ds", {"big": b"payload"})
    moved.source.record_use(moved.source.add_run("trained", active_at=lately), old)
    moved.move(old)

    assert len(moved.reclaim()["removals"]) == 1


def test_a_restored_version_is_not_taken_away_again(moved: MovedProject) -> None:
    """Whoever wanted it back wants to keep it."""
    moved.log_and_move("ds", {"big": b"payload"}, aliases=[])
    moved.restore()

    assert moved.stays() == {"team/proj/ds:v0": ["its files were restored from Oxen"]}


def test_a_day_has_its_limit_without_any_local_state(moved: MovedProject, tmp_path: Path) -> None:
    """The notes in W&B are counted, in all projects; a day later it goes on."""
    moved.terms["max_per_day"] = 2
    for number in range(5):
        moved.log_and_move("ds", {"big": f"payload {number}".encode()}, aliases=[])
    assert len(moved.reclaim()["removals"]) == 2
    moved.catalog.close()
    moved.catalog = Catalog(f"sqlite:///{tmp_path}/fresh.db")
    document = moved.reclaim(Target.parse("team/proj/ds"), now=NOW + timedelta(hours=23))
    assert (document["removals"], len(document["stays"])) == ([], 3)
    assert len(moved.reclaim(now=NOW + timedelta(hours=25))["removals"]) == 2
    moved.catalog.close()


# --- whose clock


@pytest.mark.parametrize("ahead", [timedelta(days=-30), timedelta(minutes=-6), timedelta(hours=1)])
def test_a_clock_that_is_not_wandbs_lets_nothing_go(moved: MovedProject, ahead: timedelta) -> None:
    """Nobody knows whether the grace is over: both times are told, and nothing is changed."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    moved.source.ahead = ahead
    before = moved.source.calls["update_metadata"]
    told = (datetime.now(UTC) + ahead).isoformat(timespec="minutes")[:15]

    with pytest.raises(ClockError, match=rf"clock says .*W&B says {told}") as caught:
        moved.reclaim()
    assert "Set this machine's clock" in caught.value.hint
    assert moved.there(old)
    assert (moved.source.calls["remove"], moved.source.calls["update_metadata"]) == (0, before)


def test_a_wandb_that_does_not_say_the_time_lets_nothing_go(moved: MovedProject) -> None:
    """A wrong clock could not be told from a right one."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    moved.source.ahead = None

    with pytest.raises(ClockError, match="does not say what time it is"):
        moved.reclaim()
    assert moved.there(old)


def test_a_clock_that_is_set_meanwhile_ends_the_removals(moved: MovedProject) -> None:
    """A sweep takes hours; what is left stays."""
    for number in range(2):
        moved.log_and_move("ds", {"big": f"payload {number}".encode()}, aliases=[])

    def jump() -> None:
        moved.source.ahead = timedelta(days=-400)

    with pytest.raises(ClockError):
        swept(moved, jump)
    assert moved.source.calls["remove"] == 1


def test_seconds_and_slow_answers_are_no_other_clock(moved: MovedProject) -> None:
    """W&B tells whole seconds."""
    moved.log_and_move("ds", {"big": b"payload"})
    moved.source.ahead = timedelta(minutes=-4)

    assert len(moved.reclaim()["removals"]) == 1


@pytest.mark.parametrize("ahead", [timedelta(days=-400), timedelta(days=400), None])
def test_a_wrong_clock_keeps_no_time_to_live_that_a_guard_wants_back(
    moved: MovedProject, ahead: timedelta | None
) -> None:
    """W&B deletes it without asking again; all else waits for the right time, and a dry run for all."""
    moved.terms["policy"] = "ttl"
    calm, _ = moved.log_and_move("ds", {"big": b"payload 1"}, aliases=[])
    old, new = moved.log_and_move("ds", {"big": b"payload 2"})
    moved.reclaim()
    given = moved.source.version(calm.id).ttl_seconds
    other, _ = moved.log_and_move("ds", {"big": b"payload 3"}, aliases=[])
    moved.source.move_aliases(moved.source.version(old.id), ["golden"])
    moved.source.ahead = ahead
    with pytest.raises(ClockError):
        sweep.describe(sweep.plan(moved.runtime, [PROJECT], NOW, everything=True), moved.runtime)
    assert moved.source.version(old.id).ttl_seconds > 0

    with pytest.raises(ClockError):
        moved.reclaim()
    assert moved.source.version(old.id).ttl_seconds == -1
    assert moved.link(new).reclaimed is None
    assert moved.source.version(calm.id).ttl_seconds == given > 0
    assert moved.source.version(other.id).ttl_seconds == -1
    with pytest.raises(ClockError):
        moved.reclaim()


def test_whether_a_run_pins_it_is_asked_by_wandbs_clock_where_this_one_is_wrong(
    moved: MovedProject,
) -> None:
    """A clock a year ahead would find that nobody has used it for a year."""
    moved.terms["policy"] = "ttl"
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    moved.reclaim()
    now = datetime.now(UTC)
    began, active = ((now - timedelta(days=days)).isoformat() for days in (401, 400))
    run = moved.source.add_run("late", began_at=began, active_at=active)
    moved.source.record_use(run, moved.source.version(old.id))
    moved.source.ahead = timedelta(days=-400)

    with pytest.raises(ClockError):
        moved.reclaim(now=now)
    assert moved.source.version(old.id).ttl_seconds == -1


# --- what a sweep costs


def looks(moved: MovedProject, *, now: datetime = NOW) -> tuple[int, list[str]]:
    """How many versions a sweep's plan looks at closely, and the names of those that go then."""
    before = moved.source.calls["memberships"]
    planned = sweep.plan(moved.runtime, [PROJECT], now)
    seen = moved.source.calls["memberships"] - before
    report = sweep.execute(planned, moved.runtime, lambda: now)
    return seen, [item["source"] for item in report.document()["removals"]]


def test_a_sweep_looks_closely_at_no_more_than_may_go(moved: MovedProject) -> None:
    """However many were ever replaced: those first whose grace ended first."""
    moved.terms["max_per_day"] = 2
    for number in range(12):
        old = moved.source.log("ds", {"big": f"payload {number}".encode()}, aliases=[])
        moved.move(old, at=(NOW - timedelta(days=30 + number)).isoformat())

    assert looks(moved) == (2, ["team/proj/ds:v22", "team/proj/ds:v20"])
    assert looks(moved) == (0, [])  # the day's limit is reached
    seen, gone = looks(moved, now=NOW + timedelta(hours=25))
    assert (seen, gone) == (2, ["team/proj/ds:v18", "team/proj/ds:v16"])


def test_what_waits_takes_little_memory(moved: MovedProject) -> None:
    """There may be millions: what is known of those not looked at closely is packed, and told all the same."""
    moved.terms["max_per_day"] = 1
    for number in range(12):
        moved.log_and_move("ds", {"big": f"payload {number}".encode()}, aliases=[])
    gc.collect()
    before = facts_alive()
    planned = sweep.plan(moved.runtime, [PROJECT], NOW)
    gc.collect()
    assert facts_alive() - before <= 2  # the one that goes

    report = sweep.execute(planned, moved.runtime, lambda: NOW)
    gc.collect()
    assert facts_alive() - before <= 2
    assert report.stay == 11
    for _ in range(2):
        told = [item["source"] for item in report.document()["stays"]]
        assert told == [f"team/proj/ds:v{number}" for number in range(2, 24, 2)]


def facts_alive() -> int:
    """How many versions' facts are held by anybody."""
    return sum(type(item) is Facts for item in gc.get_objects())


def test_a_dry_run_tells_all_of_each_version(moved: MovedProject) -> None:
    """It looks at every one, and names every reason."""
    moved.terms["max_per_day"] = 1
    pairs = [moved.log_and_move("ds", {"big": f"payload {n}".encode()}) for n in range(4)]
    moved.source.move_aliases(pairs[3][0], ["golden"])
    moved.source.link_to(pairs[3][0], "team/shelf/best", [])
    planned = sweep.plan(moved.runtime, [PROJECT], NOW, everything=True)
    document = sweep.describe(planned, moved.runtime).document()

    told = {item["source"]: item["reasons"] for item in document["stays"]}
    limit = ["1 versions a day are removed, and that is reached"]
    assert told == {
        "team/proj/ds:v2": limit,
        "team/proj/ds:v4": limit,
        "team/proj/ds:v6": ["has the alias golden", "linked in team/shelf/best"],
    }


def test_those_that_may_not_go_keep_nobody_behind_them(
    moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep gives up on some of them and goes on behind these the next time; then it is their turn again."""
    monkeypatch.setattr(replaced, "MOST_REFUSED", 2)
    pairs = [moved.log_and_move("ds", {"big": f"payload {n}".encode()}) for n in range(6)]
    for old, _ in pairs[:5]:
        moved.source.link_to(old, "team/shelf/best", [])

    times = [NOW + timedelta(hours=number) for number in range(4)]
    assert looks(moved, now=times[0]) == (2, [])
    waits = moved.stays(now=times[1])["team/proj/ds:v10"]
    assert waits[0].startswith("waits for its turn")
    assert looks(moved, now=times[2]) == (3, ["team/proj/ds:v10"])
    for place in moved.source.memberships(pairs[0][0]):
        if place.kind == "portfolio":
            moved.source.unlink(pairs[0][0], place)
    gone = [name for at in times for name in looks(moved, now=at + timedelta(days=1))[1]]
    assert gone == ["team/proj/ds:v0"]


def test_a_removal_in_vain_waits_for_its_next_turn(moved: MovedProject) -> None:
    """Where one a day goes, a damaged commit does not keep all others."""
    moved.terms["max_per_day"] = 1
    _, new = moved.log_and_move("ds", {"big": b"payload"})
    moved.log_and_move("ds", {"big": b"another"})
    [entry] = [e for e in moved.store.tree(moved.link(new).commit) if e.path == "big"]
    moved.store.corrupt(moved.link(new).commit.repo, entry.hash, b"Payload")

    assert len(moved.reclaim()["failures"]) == 1
    assert [item["source"] for item in moved.reclaim()["removals"]] == ["team/proj/ds:v2"]


# --- listings


class Forgetful(MemoryArtifactSource):
    """A W&B that at times does not list all it has."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[str] = set()

    def versions(self, target: Target) -> Iterator[Version]:
        """See `ArtifactSource.versions`."""
        for version in super().versions(target):
            if version.ref.collection not in self.hidden and str(version.ref) not in self.hidden:
                yield version


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[MovedProject]:
    """A project whose listings a test can cut down."""
    catalog = Catalog(f"sqlite:///{tmp_path}/forgetful.db")
    made = MovedProject(catalog, Forgetful())
    for number in range(4):
        made.log_and_move("ds", {"big": f"payload {number}".encode()}, aliases=[])
    made.log_and_move("other", {"big": b"another"}, aliases=[])
    yield made
    made.catalog.close()


def hide(project: MovedProject, *names: str) -> None:
    """Leave collections or versions out of what is listed."""
    assert isinstance(project.source, Forgetful)
    project.source.hidden = set(names)


def test_a_collection_that_is_suddenly_empty_ends_the_sweep(forgetful: MovedProject) -> None:
    """Something is wrong, and what points to what cannot be known."""
    hide(forgetful, "other")

    with pytest.raises(SuspiciousListingError, match="lists 0 versions of team/proj/other"):
        forgetful.reclaim(Target.parse("team/proj/ds"))
    assert forgetful.source.calls["remove"] == 0


def test_oxen_says_it_when_the_state_is_lost_too(forgetful: MovedProject, tmp_path: Path) -> None:
    """A branch for each version that was moved; far fewer are listed."""
    forgetful.catalog.close()
    forgetful.catalog = Catalog(f"sqlite:///{tmp_path}/fresh.db")
    hide(forgetful, *(f"team/proj/ds:v{number}" for number in (2, 3, 5, 6, 7)))

    report = forgetful.reclaim()
    assert [item["source"] for item in report["removals"]] == ["team/proj/other:v0"]
    assert "which has branches of 4" in report["stays"][0]["reasons"][0]


def whole(project: MovedProject) -> None:
    """Log, move and reclaim a version."""
    project.log_and_move("ds", {"big": b"payload"}, aliases=[])
    project.reclaim()


@pytest.mark.parametrize("method", ["versions", "manifest", "memberships", "uses", "consumers"])
def test_what_cannot_be_read_ends_the_sweep(tmp_path: Path, method: str) -> None:
    """Nobody knows what is needed then."""
    catalog = Catalog(f"sqlite:///{tmp_path}/failing.db")
    calm = MovedProject(catalog)
    calm.log_and_move("ds", {"big": b"payload"}, aliases=[])
    sweep.plan(calm.runtime, [PROJECT], NOW)
    error = ServiceUnavailableError("gone")
    for at in range(1, calm.source.calls[method] + 1):
        catalog.close()
        catalog = Catalog(f"sqlite:///{tmp_path}/{method}-{at}.db")
        fault = Fault(method=method, error=error, at=at)
        made = MovedProject(catalog, MemoryArtifactSource(faults=[fault]))
        with pytest.raises(ServiceUnavailableError):
            whole(made)
        assert made.source.calls["remove"] == 0
    catalog.close()


# --- bytes


def freed(document: dict[str, Any]) -> dict[str, int]:
    """Bytes by the version's number."""
    return {item["source"].rpartition(":")[2]: item["bytes"] for item in document["removals"]}


def test_a_file_is_counted_with_the_last_version_that_holds_it(moved: MovedProject) -> None:
    """And not at all where one stays that needs it, whatever it was born in."""
    for number in range(3):
        files = {"own": f"payload {number}".encode(), "shared": b"in all three", "kept": b"drafted"}
        moved.log_and_move("ds", files, aliases=[])
    draft = moved.source.log(
        "ds", {"new": b"more"}, draft_of=moved.source.version(first(moved)), aliases=[]
    )
    moved.source.move_aliases(draft, ["latest"])
    kept = {"own", "shared", "kept", "new"}
    assert set(moved.source.manifest(draft).entries) == kept
    document = moved.reclaim()

    # The draft holds what the first version has: nothing of that is freed.
    assert freed(document) == {"v0": 0, "v2": len("payload 1"), "v4": len("payload 2")}
    assert document["bytes"] == {"expected": 18, "freed": 18}
    assert moved.files(draft)["shared"] == b"in all three"


def test_what_a_version_holds_that_has_to_wait_is_not_counted(moved: MovedProject) -> None:
    """Its turn comes tomorrow; what it shares stays until then."""
    moved.terms["max_per_day"] = 1
    for number in range(2):
        files = {"own": f"payload {number}".encode(), "shared": b"in both of them"}
        moved.log_and_move("ds", files, aliases=[])

    document = moved.reclaim()
    assert freed(document) == {"v0": 9}
    assert document["bytes"] == {"expected": 9, "freed": 9}


def first(moved: MovedProject) -> str:
    """The id of the first version."""
    return next(moved.source.versions(PROJECT)).id


def test_what_stays_after_all_is_not_counted_as_freed(moved: MovedProject) -> None:
    """Nor what it shares with those that went."""
    commits = []
    for number in range(2):
        files = {"own": f"payload {number}".encode(), "shared": b"in both of them"}
        commits.append(moved.link(moved.log_and_move("ds", files, aliases=[])[1]).commit)
    [entry] = [e for e in moved.store.tree(commits[1]) if e.path == "own"]
    moved.store.corrupt(commits[1].repo, entry.hash, b"damaged 1")
    document = moved.reclaim()

    assert document["bytes"] == {"expected": 9 + 9 + 15, "freed": 9}
    assert len(document["failures"]) == 1


def test_a_time_to_live_frees_nothing_yet(moved: MovedProject) -> None:
    """W&B does it when the grace is over; the next sweep says when, and takes it back if need be."""
    moved.terms["policy"] = "ttl"
    old, new = moved.log_and_move("ds", {"big": b"payload"})
    document = moved.reclaim()

    assert document["bytes"] == {"expected": 7, "freed": 0}
    assert moved.source.version(old.id).ttl_seconds > 0
    assert "W&B removes it on" in moved.stays()["team/proj/ds:v0"][0]
    moved.terms["policy"] = "none"
    assert moved.stays() == {"team/proj/ds:v0": ["[reclaim] policy is none"]}
    assert moved.source.version(old.id).ttl_seconds == -1
    assert moved.link(new).reclaimed is None


def test_a_note_without_its_deletion_is_finished(moved: MovedProject) -> None:
    """A kill came between, and the state is lost: W&B tells the story."""
    old, new = moved.log_and_move("ds", {"big": b"payload"})
    note = Reclaimed(at=(NOW - timedelta(hours=1)).isoformat(), how="delete", bytes=7)
    moved.say(new, reclaimed=note)
    moved.terms["max_per_day"] = 1
    document = moved.reclaim()

    assert len(document["removals"]) == 1
    assert not moved.there(old)
    assert moved.link(new).reclaimed == note


# --- what happens while a commit is read back, which takes hours for a large version


def swept(moved: MovedProject, meanwhile: Callable[[], object]) -> dict[str, Any]:
    """A sweep during whose proof something happens."""
    waiting = [meanwhile]

    def progress(_bytes: int) -> None:
        if waiting:
            waiting.pop()()

    planned = sweep.plan(moved.runtime, [PROJECT], NOW)
    return sweep.execute(planned, moved.runtime, lambda: NOW, progress).document()


def test_what_is_written_meanwhile_is_not_written_over(moved: MovedProject) -> None:
    """The note of the removal is added to what stands there then."""
    old, new = moved.log_and_move("ds", {"big": b"payload"}, metadata={"label": "before"})

    def edit() -> None:
        now = moved.source.version(new.id)
        moved.source.update_metadata(now, {**now.metadata, "label": "after", "reviewed": True})

    swept(moved, edit)
    assert not moved.there(old)
    after = moved.source.version(new.id).metadata
    assert (after["label"], after["reviewed"]) == ("after", True)


def test_a_link_that_is_given_meanwhile_keeps_it(moved: MovedProject) -> None:
    """Each guard looks right before the removal."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    report = swept(
        moved, lambda: moved.source.link_to(moved.source.version(old.id), "team/proj/portfolio")
    )
    assert moved.there(old)
    assert "linked in" in report["stays"][0]["reasons"][0]


def test_a_run_that_begins_to_use_it_meanwhile_keeps_it(moved: MovedProject) -> None:
    """It may ask for a file at any moment."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})

    def use() -> None:
        run = moved.source.add_run(
            "r9", state="running", began_at="2026-02-28T23:59:00Z", active_at="2026-03-01T00:00:00Z"
        )
        moved.source.record_use(run, moved.source.version(old.id))

    report = swept(moved, use)
    assert moved.there(old)
    assert "pinned by team/proj/runs/r9" in report["stays"][0]["reasons"][0]


# --- what is gone for a reason


def test_versions_that_expired_stop_the_sweep_of_their_collection_alone(
    moved: MovedProject,
) -> None:
    """W&B says of each by its id that it is gone; Oxen's branches do not go away by themselves."""
    pairs = [moved.log_and_move("ds", {"big": f"payload {n}".encode()}) for n in range(5)]
    other, _ = moved.log_and_move("other", {"big": b"something else"})
    for both in pairs[:3]:
        for version in both:
            moved.source.expire(version)

    report = moved.reclaim()
    assert [item["source"] for item in report["removals"]] == [str(other.ref)]
    (reason,) = {reason for item in report["stays"] for reason in item["reasons"]}
    assert "which has branches of 5" in reason
    assert "delete their branches" in reason


def test_a_renamed_collection_is_the_one_that_it_was(moved: MovedProject) -> None:
    """The catalog knows its versions by their old name, W&B by their ids."""
    moved.log_and_move("ds", {"big": b"payload"})
    moved.reclaim(Target.parse("team/proj/ds"))
    other, _ = moved.log_and_move("other", {"big": b"something else"})
    moved.source.rename("ds", "renamed")

    report = moved.reclaim()
    assert [item["source"] for item in report["removals"]] == [str(other.ref)]
