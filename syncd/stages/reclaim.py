"""Reclaim: a replaced version leaves W&B, when everything says that nobody loses anything.

`plan` is pure: it asks each guard about what is known of each version, and every guard that is not
content gives a reason to stay. `remove` carries one removal out: what may have changed is read
again, the proof is made anew, the intention is written on the replacement, and only then the version
is deleted, or given the time to live after which W&B deletes it. What is written there counts the
removals of a day, and tells a killed process, or one without its state, what has been begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self, TypeVar

from syncd.clients.artifacts import Use, Version, utc
from syncd.clients.protocols import ArtifactSource
from syncd.config.model import Reclaim
from syncd.errors import NotFoundError, VerificationError
from syncd.replacements import Reclaimed, Replacement, replacement_of

Item_co = TypeVar("Item_co", covariant=True)
DAY = timedelta(days=1)
AHEAD = timedelta(minutes=15)  # more than two clocks that a sweep trusts are apart
MAX_SHOWN = 3  # of the same kind, in a reason
WAITS = frozenset({"limit", "turn"})  # names of the reasons that say nothing of the version itself
TTL, DELETE, NONE = "ttl", "delete", "none"


class Reason(str):
    """Why a version stays: a sentence.

    Args:
        guard: the name of what keeps it, see docs/reclaim.md.
        text: the sentence.
    """

    __slots__ = ("guard",)
    guard: str

    def __new__(cls, guard: str, text: str) -> Self:
        """Make one of both."""
        made = super().__new__(cls, text)
        made.guard = guard
        return made


_TURN = Reason(
    "turn",
    "waits for its turn to be looked at: this sweep left many others that it may not remove",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a replaced version.

    Args:
        source: the replaced version, as it is now.
        replacement: what replaces it, as it is now; None when that is gone.
        link: what the replacement said about itself when it was found.
        links: names of the portfolios that hold the source.
        pointers: names of the versions that point into it.
        uses: the runs that used it.
        followed: the runs that used the replacement.
        problems: what is wrong with the replacement or its commit.
    """

    source: Version
    replacement: Version | None
    link: Replacement
    links: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()
    followed: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()

    @property
    def replaced_at(self) -> datetime:
        """When the replacement was made, or took over again what had been restored."""
        made = utc((self.replacement or self.source).created_at)
        proved = str(self.link.receipt.get("verified_at") or "")
        try:
            return max(made, utc(proved))
        except ValueError:  # somebody wrote over it
            return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A version that leaves W&B."""

    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A version that stays, and why.

    Args:
        facts: the version.
        reasons: each a sentence.
        withdraw: whether its removal was begun, or W&B told when to do it; that holds no longer.
    """

    facts: Facts
    reasons: tuple[Reason, ...]
    withdraw: bool = False


class Several(Protocol[Item_co]):
    """So many of something, to be gone through many times; perhaps made anew each time."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __iter__(self) -> Iterator[Item_co]:
        """Each of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """The versions that stay; of those not looked at closely there may be millions.

    Args:
        looked_at: those that were.
        unseen: what is known of the others.
        judge: why one of these stays.
    """

    looked_at: tuple[Stay, ...]
    unseen: Several[Facts]
    judge: Callable[[Facts], Stay]

    def __len__(self) -> int:
        return len(self.looked_at) + len(self.unseen)

    def __iter__(self) -> Iterator[Stay]:
        yield from self.looked_at
        yield from map(self.judge, self.unseen)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReclaimPlan:
    """What leaves and what stays, in the order in which they were decided about."""

    removals: tuple[Removal, ...]
    stays: Several[Stay]


# --- guards: each gives a reason to stay, or nothing


def _policy(_facts: Facts, terms: Reclaim, _now: datetime) -> str:
    return "" if terms.policy != NONE else "[reclaim] policy is none"


def _restored(facts: Facts, _terms: Reclaim, _now: datetime) -> str:
    return "its files were restored from Oxen" if facts.link.restored else ""


def _replaced(facts: Facts, _terms: Reclaim, _now: datetime) -> str:
    made = facts.replacement
    if made is None:
        return "its replacement is gone from W&B"
    link = replacement_of(made.metadata, made.digest)
    if link is None or link.source_artifact_id != facts.source.id:
        return f"{made.ref} does not say any more that it replaces it"
    if link.commit != facts.link.commit:
        return f"{made.ref} names another commit than before"
    if link.source_digest != facts.source.digest:
        return f"{made.ref} replaces other content ({link.source_digest})"
    return "" if link.complete else f"{made.ref} is not complete; run `syncd backfill` again"


def _whole(facts: Facts, _terms: Reclaim, _now: datetime) -> str:
    return _some(facts.problems)


def _grace(facts: Facts, terms: Reclaim, now: datetime) -> str:
    # Under `ttl` W&B itself waits for the end of the grace period.
    end = facts.replaced_at + terms.grace
    return f"in its grace period until {_text(end)}" if terms.policy == DELETE and now < end else ""


def _aliases(facts: Facts, _terms: Reclaim, _now: datetime) -> str:
    held = sorted(facts.source.aliases)
    return f"has the {'alias' if len(held) == 1 else 'aliases'} {_listed(held)}" if held else ""


def _links(facts: Facts, _terms: Reclaim, _now: datetime) -> str:
    return f"linked in {_listed(facts.links)}" if facts.links else ""


def _pointers(facts: Facts, _terms: Reclaim, _now: datetime) -> str:
    held = facts.pointers
    return f"{_listed(held)} {'point' if len(held) > 1 else 'points'} into it" if held else ""


def _pinned(facts: Facts, terms: Reclaim, now: datetime) -> str:
    made = facts.replaced_at
    names = [
        str(use.run)
        for use in facts.uses
        # A run that began before used an alias, as far as anybody knows, and follows it. One that
        # has not come along used the version itself, while or after it was replaced. Whoever is
        # still at work may yet ask for a file.
        if (
            (utc(use.began_at) >= made or str(use.run) not in facts.followed)
            and utc(use.active_at) > now - terms.pinned
        )
        or utc(use.active_at) > now - DAY
    ]
    return f"pinned by {_listed(names)}: the version itself was used" if names else ""


def _own_end(facts: Facts, terms: Reclaim, now: datetime) -> str:
    seconds, note = facts.source.ttl_seconds, facts.link.reclaimed
    end = facts.source.expires_at
    if terms.policy != TTL or end is None:
        return ""
    if note and is_ahead(note, now):
        return ""  # it was reckoned by a clock that was wrong; it is reckoned again
    if note and note.how == TTL and seconds == ttl_seconds(facts, terms, utc(note.at)):
        return f"W&B removes it on {_text(end)}"
    sooner = end <= facts.replaced_at + terms.grace
    return f"its own time to live ends on {_text(end)}" if sooner else ""


Guard = Callable[[Facts, Reclaim, datetime], str]
GUARDS: Mapping[str, Guard] = {
    "policy": _policy,
    "restored": _restored,
    "replaced": _replaced,
    "whole": _whole,
    "grace": _grace,
    "alias": _aliases,
    "link": _links,
    "pointer": _pointers,
    "pinned": _pinned,
}


def reasons(facts: Facts, terms: Reclaim, now: datetime) -> tuple[Reason, ...]:
    """Why a version stays; nothing when it may go."""
    return tuple(
        Reason(name, text) for name, guard in GUARDS.items() if (text := guard(facts, terms, now))
    )


def refusals(facts: Facts, terms: Reclaim, now: datetime) -> tuple[Reason, ...]:
    """Why a version stays, or why nothing need be done for it to go; nothing when it may be removed."""
    if found := reasons(facts, terms, now):
        return found
    end = _own_end(facts, terms, now)
    return (Reason("end", end),) if end else ()


def must_be_watched(note: Reclaimed | None, terms: Reclaim, now: datetime) -> bool:
    """Whether a removal was begun that each sweep has to look at, whatever it may still remove.

    W&B deletes what has a time to live without asking again, and what was begun today is in the count.
    """
    return note is not None and (note.how == TTL or is_counted(note, terms, now))


def turn(facts: Facts, terms: Reclaim, refused: str | None) -> datetime:
    """Since when a version has waited to be looked at: its grace ended, or it was refused.

    Args:
        facts: the version, as it was listed.
        terms: the configuration.
        refused: when a sweep last looked at it and left it, ISO 8601; None when none did.
    """
    over = facts.replaced_at + terms.grace
    return max(over, utc(refused)) if refused else over


def plan(
    facts: Iterable[Facts],
    terms: Reclaim,
    now: datetime,
    *,
    lately: int,
    unseen: Several[Facts] = (),
) -> ReclaimPlan:
    """Decide about replaced versions that are still in W&B.

    Args:
        facts: what is known of each, in the order in which they may go.
        terms: the configuration.
        now: the time, UTC.
        lately: how many versions were removed in the last 24 hours.
        unseen: versions that were listed and not looked at closely; all of them stay.
    """
    removals: list[Removal] = []
    stays: list[Stay] = []
    left = terms.max_per_day - lately
    for item in facts:
        note = item.link.reclaimed
        if found := refusals(item, terms, now):
            stays.append(_stay(item, found, terms, now))
        elif is_counted(note, terms, now):
            removals.append(Removal(facts=item))  # begun before; it has its place in the count
        elif left > 0:
            left -= 1
            removals.append(Removal(facts=item))
        else:
            stays.append(Stay(facts=item, reasons=(_limit(terms),)))
    later = (_TURN if left > 0 else _limit(terms),)

    def judge(item: Facts) -> Stay:
        return _stay(item, refusals(item, terms, now) or later, terms, now)

    every = Stays(looked_at=tuple(stays), unseen=unseen, judge=judge)
    return ReclaimPlan(removals=tuple(removals), stays=every)


def _stay(facts: Facts, found: tuple[Reason, ...], terms: Reclaim, now: datetime) -> Stay:
    begun = facts.link.reclaimed is not None and bool(reasons(facts, terms, now))
    return Stay(facts=facts, reasons=found, withdraw=begun)


def _limit(terms: Reclaim) -> Reason:
    return Reason("limit", f"{terms.max_per_day} versions a day are removed, and that is reached")


def is_counted(note: Reclaimed | None, terms: Reclaim, now: datetime) -> bool:
    """Whether a removal was begun under the same policy in the last 24 hours."""
    return note is not None and note.how == terms.policy and utc(note.at) > now - DAY


def is_ahead(note: Reclaimed, now: datetime) -> bool:
    """Whether a removal was begun in times to come: the clock was wrong then, by more than is usual."""
    return utc(note.at) > now + AHEAD


# --- execution


def remove(
    source: ArtifactSource,
    removal: Removal,
    terms: Reclaim,
    now: datetime,
    *,
    expected: int,
    proof: Callable[[], Sequence[str]],
) -> tuple[Reason, ...]:
    """Take one version out of W&B, or say why it stays after all; twice is once.

    Args:
        source: W&B.
        removal: the version.
        terms: the configuration.
        now: the time, UTC.
        expected: bytes that W&B should free.
        proof: reads the commit back from Oxen and lists what is wrong with it.

    Raises:
        VerificationError: when anything is.
    """
    if problems := tuple(proof()):
        raise VerificationError(f"{removal.facts.link.commit}: {_some(problems)}")
    try:  # after the proof, which reads for hours
        facts = look_again(source, removal.facts)
    except NotFoundError:
        return ()  # somebody else removed it
    if found := reasons(facts, terms, now):
        return found
    made = facts.replacement
    link = replacement_of(made.metadata, made.digest) if made else None
    assert made is not None, "a guard looks at it"
    assert link is not None, "a guard looks at it"
    note = link.reclaimed
    if note is None or not is_counted(note, terms, now) or is_ahead(note, now):
        own = note.ttl_seconds if note and note.how == TTL else facts.source.ttl_seconds
        note = Reclaimed(at=_text(now), how=terms.policy, bytes=expected, ttl_seconds=own)
        source.update_metadata(made, changed(link, reclaimed=note).into(made.metadata))
    if terms.policy == TTL:
        source.set_ttl(facts.source, ttl_seconds(facts, terms, utc(note.at)))
    else:
        source.remove(facts.source)
    return ()


def withdraw(source: ArtifactSource, facts: Facts) -> None:
    """Take back what was begun to remove a version that stays; twice is once."""
    made = source.version(facts.replacement.id) if facts.replacement else None
    link = replacement_of(made.metadata, made.digest) if made else None
    note = facts.link.reclaimed
    assert note is not None, "there is something to take back"
    if note.how == TTL:
        source.set_ttl(facts.source, note.ttl_seconds)
    if made is not None and link is not None:
        source.update_metadata(made, changed(link, reclaimed=None).into(made.metadata))


def ttl_seconds(facts: Facts, terms: Reclaim, begun: datetime) -> int:
    """The time to live that ends with the grace period; W&B counts it from the version's creation.

    Args:
        facts: the version.
        terms: the configuration.
        begun: when the removal was begun: it does not end before.
    """
    end = max(facts.replaced_at + terms.grace, begun)
    return max(1, int((end - facts.source.created).total_seconds()))


def look_again(source: ArtifactSource, facts: Facts) -> Facts:
    """The facts as they are now, but for what takes long to find out.

    Raises:
        NotFoundError: when the source is gone.
    """
    now = source.version(facts.source.id)
    made = facts.replacement
    try:
        made = source.version(made.id) if made else None
    except NotFoundError:
        made = None
    says = replacement_of(made.metadata, made.digest) if made else None
    return changed(
        facts,
        source=now,
        link=changed(facts.link, restored=says.restored) if says else facts.link,
        replacement=made,
        links=tuple(place.name for place in source.memberships(now) if place.kind == "portfolio"),
        uses=tuple(source.uses(now)),
        followed=frozenset(str(run) for run in source.consumers(made)) if made else frozenset(),
    )


# --- words


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_SHOWN])
    return f"{shown} and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else shown


def _some(problems: Sequence[str]) -> str:
    return "; ".join(problems[:MAX_SHOWN])
