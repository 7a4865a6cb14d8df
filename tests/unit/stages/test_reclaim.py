"""Reclaim: every guard keeps a version, what goes was begun on paper first, and a repeat is harmless."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.clients.artifacts import Use, Version
from syncd.config.model import Reclaim
from syncd.errors import NotFoundError, PermanentError, ServiceUnavailableError, VerificationError
from syncd.manifest import Entry, Manifest, manifest_digest
from syncd.refs import CommitRef, RepoRef, RunRef, Target
from syncd.replacements import Reclaimed, Replacement, Restored, replacement_of
from syncd.stages.reclaim import Removal, plan, remove, withdraw
from syncd.testing import Fault, MemoryArtifactSource
from syncd.versions.guards import GUARDS, Facts, reasons, ttl_seconds

# In the double, versions are made a minute apart from 2026-01-01 on.
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DELETE = Reclaim(policy="delete", grace=timedelta(days=14), pinned=timedelta(days=30))
TTL = DELETE.model_copy(update={"policy": "ttl"})
NONE = DELETE.model_copy(update={"policy": "none"})
COMMIT = CommitRef(repo=RepoRef(namespace="team", repo="proj-ds"), commit="12ab")
OTHER = CommitRef(repo=COMMIT.repo, commit="34cd")
WHOLE = Target.parse("team/proj/ds")
KILL = ServiceUnavailableError("killed here")
Change = Callable[[Facts], Facts]


def replaced(
    source: MemoryArtifactSource, *, ttl_seconds: int = -1, note: Reclaimed | None = None
) -> Facts:
    """A version that was replaced long ago, and that nothing holds."""
    old = source.log("ds", {"a": b"payload"}, aliases=[], ttl_seconds=ttl_seconds)
    entries = {"a": Entry(path="a", digest=f"etag {old.id}", ref="http://x/a")}
    link = Replacement(
        commit=COMMIT,
        url="http://x",
        source_version=str(old.ref),
        source_artifact_id=old.id,
        source_digest=old.digest,
        source_created_at=old.created_at,
        moved_files=1,
        moved_bytes=7,
        digest=manifest_digest(entries.values()),
        complete=True,
        reclaimed=note,
    )
    made = source.log_replacement(old, Manifest(entries=entries), link.into(old.metadata))
    return Facts(source=old, replacement=made, link=link)


def link_of(version: Version) -> Replacement:
    """What a replacement says."""
    link = replacement_of(version.metadata, version.digest)
    assert link is not None
    return link


def saying(facts: Facts, **values: Any) -> Facts:
    """The same with a replacement that says something else now."""
    assert facts.replacement is not None
    metadata = changed(link_of(facts.replacement), **values).into(facts.replacement.metadata)
    return changed(facts, replacement=changed(facts.replacement, metadata=metadata))


def used(days_ago: float, *, began_days_ago: float | None = None) -> Use:
    """A run that was active so long ago."""
    began = days_ago if began_days_ago is None else began_days_ago
    return Use(
        run=RunRef(entity="team", project="proj", run_id="late"),
        began_at=(NOW - timedelta(days=began)).isoformat(),
        active_at=(NOW - timedelta(days=days_ago)).isoformat(),
    )


# --- guards

KEPT: dict[str, tuple[Change, str]] = {
    "restored": (
        lambda f: changed(f, link=changed(f.link, restored=Restored(at="2026-02-01T00:00:00Z"))),
        "restored from Oxen",
    ),
    "replacement gone": (lambda f: changed(f, replacement=None), "gone from W&B"),
    "replacement written over": (
        lambda f: changed(
            f, replacement=changed(f.replacement, metadata={}) if f.replacement else None
        ),
        "does not say any more",
    ),
    "replaces another": (lambda f: saying(f, source_artifact_id="x"), "does not say any more"),
    "names another commit": (lambda f: saying(f, commit=OTHER), "another commit"),
    "replaces other content": (lambda f: saying(f, source_digest="d" * 32), "other content"),
    "not complete": (lambda f: saying(f, complete=False), "not complete"),
    "not whole": (lambda f: changed(f, problems=("a: only in the replaced version",)), "a: only"),
    "alias": (
        lambda f: changed(f, source=changed(f.source, aliases=("latest", "best"))),
        "has the aliases best, latest",
    ),
    "link": (lambda f: changed(f, links=("team/proj/shelf",)), "linked in team/proj/shelf"),
    "pointer": (lambda f: changed(f, pointers=("team/proj/x:v0",)), "team/proj/x:v0 points into"),
    "pinned": (lambda f: changed(f, uses=(used(29),)), "pinned by team/proj/runs/late"),
    "pinned by a follower that began later": (
        lambda f: changed(f, uses=(used(29),), followed=frozenset({"team/proj/runs/late"})),
        "pinned by",
    ),
    "used by a run that is still at work": (
        lambda f: changed(
            f,
            uses=(used(0.5, began_days_ago=90),),
            followed=frozenset({"team/proj/runs/late"}),
        ),
        "pinned by",
    ),
    "pinned while it was replaced": (
        lambda f: changed(f, uses=(used(29, began_days_ago=90),)),
        "pinned by",
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_each_guard_keeps_a_version(name: str) -> None:
    """Alone, and with its reason."""
    change, words = KEPT[name]
    facts = replaced(MemoryArtifactSource())
    assert reasons(facts, DELETE, NOW) == ()

    [reason] = reasons(change(facts), DELETE, NOW)

    assert words in reason


def test_no_guard_is_without_a_test() -> None:
    """Policy and grace have theirs below."""
    facts = replaced(MemoryArtifactSource())
    silent = {
        name
        for name, guard in GUARDS.items()
        if not any(guard(change(facts), DELETE, NOW) for change, _ in KEPT.values())
    }

    assert silent == {"policy", "grace"}


def test_without_a_policy_everything_stays() -> None:
    """It is off until somebody says otherwise."""
    facts = replaced(MemoryArtifactSource())

    assert reasons(facts, NONE, NOW) == ("[reclaim] policy is none",)
    assert Reclaim().policy == "none"


@pytest.mark.parametrize(
    ("policy", "days", "stays"),
    [
        (DELETE, 13.99, True),
        (DELETE, 14.01, False),
        (TTL, 1, False),  # W&B itself waits
    ],
)
def test_grace_counts_from_the_replacement(policy: Reclaim, days: float, *, stays: bool) -> None:
    """Not from the version, which may be years old."""
    facts = replaced(MemoryArtifactSource())
    found = reasons(facts, policy, facts.replaced_at + timedelta(days=days))

    assert ["grace period" in reason for reason in found] == [True] * stays


@pytest.mark.parametrize(
    "use",
    [
        used(31),  # long ago
        used(29, began_days_ago=90),  # began before, and has followed to the replacement
    ],
)
def test_a_run_that_pins_nothing_protects_nothing(use: Use) -> None:
    """Every version that was ever used would stay for ever."""
    facts = changed(
        replaced(MemoryArtifactSource()), uses=(use,), followed=frozenset({str(use.run)})
    )

    assert reasons(facts, DELETE, NOW) == ()


# --- plan


def test_no_more_than_so_many_leave_in_a_day() -> None:
    """Those of the last 24 hours count, wherever they were removed from."""
    source = MemoryArtifactSource()
    facts = [replaced(source) for _ in range(4)]
    terms = DELETE.model_copy(update={"max_per_day": 5})
    decided = plan(facts, terms, NOW, lately=3)

    assert [item.facts.source.id for item in decided.removals] == [f.source.id for f in facts[:2]]
    assert [stay.reasons for stay in decided.stays] == [
        ("5 versions a day are removed, and that is reached",)
    ] * 2
    assert plan(facts, terms, NOW, lately=9).removals == ()


def test_what_was_begun_has_its_place_in_the_count() -> None:
    """A kill between the note and the deletion must not cost another one."""
    begun = Reclaimed(at=(NOW - timedelta(hours=2)).isoformat(), how="delete", bytes=7)
    old = changed(begun, at=(NOW - timedelta(hours=25)).isoformat())
    terms = DELETE.model_copy(update={"max_per_day": 1})
    source = MemoryArtifactSource()
    facts = [replaced(source, note=note) for note in (None, begun, old)]
    decided = plan(facts, terms, NOW, lately=1)

    assert [item.facts for item in decided.removals] == [facts[1]]


def test_what_wandb_removes_by_itself_is_left_to_it() -> None:
    """Under `ttl`, a shorter time to live of its own is not made longer."""
    facts = replaced(MemoryArtifactSource(), ttl_seconds=3600)
    [stay] = plan([facts], TTL, NOW, lately=0).stays

    assert "its own time to live ends on 2026-01-01T01:00:00+00:00" in stay.reasons[0]
    assert not stay.withdraw


# --- removal


def removal(source: MemoryArtifactSource, **more: Any) -> tuple[Facts, Removal]:
    """A planned removal."""
    facts = replaced(source, **more)
    return facts, Removal(facts=facts)


def run(
    source: MemoryArtifactSource,
    planned: Removal,
    terms: Reclaim = DELETE,
    proof: Sequence[str] = (),
) -> tuple[str, ...]:
    """Carry it out."""
    return remove(source, planned, terms, NOW, expected=7, proof=lambda: proof)


def gone(source: MemoryArtifactSource, version: Version) -> bool:
    """Whether W&B has it no more."""
    try:
        source.version(version.id)
    except NotFoundError:
        return True
    return False


def test_the_note_is_written_before_the_version_goes() -> None:
    """Whoever comes after a kill reads when, how, and what was expected."""
    events: list[str] = []
    source = MemoryArtifactSource(watch=events.append)
    facts, planned = removal(source)
    events.clear()
    assert run(source, planned) == ()

    assert events == ["update_metadata", "remove"]
    assert gone(source, facts.source)
    assert facts.replacement is not None
    made = source.version(facts.replacement.id)
    note = link_of(made).reclaimed
    assert note == Reclaimed(at="2026-03-01T00:00:00+00:00", how="delete", bytes=7)


def test_removing_twice_is_once() -> None:
    """The second time there is nothing left."""
    source = MemoryArtifactSource()
    _, planned = removal(source)
    run(source, planned)
    before = source.calls["update_metadata"]

    assert run(source, planned) == ()
    assert (source.calls["update_metadata"], source.calls["remove"]) == (before, 1)


def test_without_the_proof_nothing_changes() -> None:
    """The commit is read back right before, not some time ago."""
    source = MemoryArtifactSource()
    facts, planned = removal(source)

    with pytest.raises(VerificationError, match="a: damaged"):
        run(source, planned, proof=["a: damaged"])
    assert not gone(source, facts.source)
    assert source.calls["update_metadata"] == 0


def _alias(source: MemoryArtifactSource, facts: Facts) -> None:
    source.move_aliases(facts.source, ["late"])


def _link(source: MemoryArtifactSource, facts: Facts) -> None:
    source.link_to(facts.source, "team/proj/shelf", [])


def _use(source: MemoryArtifactSource, facts: Facts) -> None:
    began = (NOW - timedelta(days=1)).isoformat()
    source.record_use(source.add_run("late", began_at=began), facts.source)


def _replacement(source: MemoryArtifactSource, facts: Facts) -> None:
    assert facts.replacement is not None
    source.remove(facts.replacement)


def _restore(source: MemoryArtifactSource, facts: Facts) -> None:
    assert facts.replacement is not None
    mark = Restored(at="2026-02-28T00:00:00+00:00")
    link = changed(facts.link, restored=mark)
    source.update_metadata(facts.replacement, link.into(facts.replacement.metadata))


@pytest.mark.parametrize("event", [_alias, _link, _use, _replacement, _restore])
def test_what_happened_since_the_plan_keeps_it(
    event: Callable[[MemoryArtifactSource, Facts], None],
) -> None:
    """A plan may be an hour old when its last version comes."""
    source = MemoryArtifactSource()
    facts, planned = removal(source)
    event(source, facts)

    assert len(run(source, planned)) == 1
    assert not gone(source, facts.source)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("terms", "method"), [(DELETE, "update_metadata"), (DELETE, "remove"), (TTL, "set_ttl")]
)
def test_killed_at_any_change_a_repeat_ends_in_the_same_state(
    terms: Reclaim, method: str, *, late: bool
) -> None:
    """One note, one removal."""
    calm = MemoryArtifactSource()
    run(calm, removal(calm)[1], terms)
    source = MemoryArtifactSource(faults=[Fault(method=method, error=KILL, late=late)])
    _, planned = removal(source)
    with pytest.raises(ServiceUnavailableError):
        run(source, planned, terms)
    run(source, planned, terms)

    assert list(source.versions(WHOLE)) == list(calm.versions(WHOLE))


# --- time to live


def test_wandb_is_told_to_remove_it_when_the_grace_is_over() -> None:
    """It counts from the version's creation, and never frees at once what it was told late."""
    source = MemoryArtifactSource()
    facts, planned = removal(source)
    early = facts.replaced_at + timedelta(days=1)
    assert remove(source, planned, TTL, early, expected=7, proof=lambda: ()) == ()
    told = source.version(facts.source.id)

    assert told.ttl_seconds == 14 * 86_400 + 60  # a minute lies between the two
    assert ttl_seconds(facts, TTL, NOW) == int((NOW - told.created).total_seconds())
    assert not gone(source, facts.source)
    assert facts.replacement is not None
    made = source.version(facts.replacement.id)
    again = changed(facts, source=told, replacement=made, link=link_of(made))
    [stay] = plan([again], TTL, early, lately=1).stays
    assert stay.reasons == ("W&B removes it on 2026-01-15T00:01:00+00:00",)
    assert not stay.withdraw


@pytest.mark.parametrize("own", [-1, -2, 9_000_000])
def test_a_time_to_live_is_taken_back_when_a_guard_wakes_up(own: int) -> None:
    """Somebody gave it an alias meanwhile: the version's own time to live is there again."""
    source = MemoryArtifactSource()
    facts, planned = removal(source, ttl_seconds=own)
    run(source, planned, TTL)
    assert source.version(facts.source.id).ttl_seconds not in {own, -1}
    source.move_aliases(facts.source, ["late"])
    assert facts.replacement is not None
    made = source.version(facts.replacement.id)
    now = changed(
        facts, source=source.version(facts.source.id), replacement=made, link=link_of(made)
    )
    [stay] = plan([now], TTL, NOW, lately=1).stays
    assert stay.withdraw
    for _ in range(2):
        withdraw(source, stay.facts)

    assert source.version(facts.source.id).ttl_seconds == own
    assert link_of(source.version(made.id)).reclaimed is None


@pytest.mark.parametrize("terms", [TTL, DELETE], ids=["the same", "delete"])
def test_what_was_begun_long_ago_is_begun_anew_under_the_policy_of_now(terms: Reclaim) -> None:
    """The note says how it is removed, and keeps the time to live that was the version's own."""
    source = MemoryArtifactSource()
    facts, planned = removal(source, ttl_seconds=9_000_000)
    remove(source, planned, TTL, NOW - timedelta(days=2), expected=7, proof=lambda: ())
    assert run(source, planned, terms) == ()

    assert facts.replacement is not None
    note = link_of(source.version(facts.replacement.id)).reclaimed
    assert note is not None
    assert (note.at, note.how) == ("2026-03-01T00:00:00+00:00", terms.policy)
    assert note.ttl_seconds == 9_000_000
    assert gone(source, facts.source) == (terms is DELETE)


def test_a_policy_that_is_changed_on_the_same_day_is_what_the_note_says() -> None:
    """Who restores the version reads there whether its time to live is another than its own."""
    source = MemoryArtifactSource()
    facts, planned = removal(source)
    run(source, planned, TTL)
    run(source, planned, DELETE)

    assert facts.replacement is not None
    note = link_of(source.version(facts.replacement.id)).reclaimed
    assert note is not None
    assert note.how == "delete"


def test_what_people_write_meanwhile_stays_when_a_removal_is_taken_back() -> None:
    """The plan may be an hour old."""
    source = MemoryArtifactSource()
    facts, planned = removal(source)
    run(source, planned, TTL)
    assert facts.replacement is not None
    made = source.version(facts.replacement.id)
    now = changed(facts, replacement=made, link=link_of(made))
    source.update_metadata(made, {**made.metadata, "reviewed": True}, description="checked")
    withdraw(source, now)

    after = source.version(made.id)
    assert (after.metadata["reviewed"], after.description) == (True, "checked")
    assert link_of(after).reclaimed is None


def test_what_wandb_refuses_is_told() -> None:
    """An alias that came between the last look and the deletion."""

    class Refusing(MemoryArtifactSource):
        def remove(self, version: Version) -> None:
            raise PermanentError(f"delete {version.ref}: W&B refused")

    source = Refusing()
    facts, planned = removal(source)

    with pytest.raises(PermanentError, match="W&B refused"):
        run(source, planned)
    assert not gone(source, facts.source)


@pytest.mark.parametrize("off", [timedelta(days=-400), timedelta(days=400)])
def test_a_wrong_clock_never_lets_wandb_remove_it_before_its_grace_is_over(off: timedelta) -> None:
    """W&B counts from the creation, and both ends are of its own clock."""
    source = MemoryArtifactSource()
    facts, planned = removal(source)
    begun = facts.replaced_at + timedelta(hours=1)
    assert remove(source, planned, TTL, begun + off, expected=7, proof=lambda: ()) == ()

    end = source.version(facts.source.id).expires_at
    assert end is not None
    assert end >= facts.replaced_at + TTL.grace


@pytest.mark.parametrize("own", [-1, 9_000_000_000])
def test_a_time_to_live_that_a_clock_far_ahead_set_is_corrected(own: int) -> None:
    """Else it would stay for as long as the clock was ahead; its own one is still known."""
    source = MemoryArtifactSource()
    facts, planned = removal(source, ttl_seconds=own)
    begun = facts.replaced_at + timedelta(hours=1)
    remove(source, planned, TTL, begun + timedelta(days=400), expected=7, proof=lambda: ())
    assert facts.replacement is not None

    def known() -> Facts:
        made = source.version(facts.replacement.id) if facts.replacement else None
        assert made is not None
        now = source.version(facts.source.id)
        return changed(facts, source=now, replacement=made, link=link_of(made))

    # It has its place in the count, where that is reached, too.
    decided = plan([known()], TTL, begun, lately=TTL.max_per_day)
    assert not list(decided.stays)
    assert remove(source, decided.removals[0], TTL, begun, expected=7, proof=lambda: ()) == ()

    end = source.version(facts.source.id).expires_at
    assert end is not None
    assert abs(end - (facts.replaced_at + TTL.grace)) < timedelta(seconds=1)
    note = known().link.reclaimed
    assert note is not None
    assert (note.at, note.ttl_seconds) == (begun.isoformat(timespec="seconds"), own)
    [stay] = plan([known()], TTL, begun, lately=1).stays
    assert stay.reasons[0].startswith("W&B removes it on")
