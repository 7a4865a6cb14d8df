"""Reclaim: a replaced version leaves W&B, when everything says that nobody loses anything.

`plan` is pure: it asks each guard (`guards`) about what is known of each version. `remove` carries one
removal out: what may have changed is read again, the proof is made anew, the intention is written on
the replacement, and only then the version is deleted, or given the time to live after which W&B
deletes it. What is written there counts the removals of a day, and tells a killed process, or one
without its state, what has been begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import datetime
from typing import Protocol, TypeVar

from syncd.clients.artifacts import utc
from syncd.clients.protocols import ArtifactSource
from syncd.config.model import Reclaim
from syncd.errors import NotFoundError, VerificationError
from syncd.replacements import Reclaimed, replacement_of
from syncd.versions.guards import (
    TTL,
    Facts,
    Reason,
    is_ahead,
    is_counted,
    reasons,
    refusals,
    some,
    text,
    ttl_seconds,
)

Item_co = TypeVar("Item_co", covariant=True)
WAITS = frozenset({"limit", "turn"})  # names of the reasons that say nothing of the version itself
_TURN = Reason(
    "turn",
    "waits for its turn to be looked at: this sweep left many others that it may not remove",
)


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
        raise VerificationError(f"{removal.facts.link.commit}: {some(problems)}")
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
        note = Reclaimed(at=text(now), how=terms.policy, bytes=expected, ttl_seconds=own)
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
