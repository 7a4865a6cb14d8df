"""Guards of a reclaim sweep: each looks at what is known of a replaced version and gives a reason to stay.

A version goes when none does. They are pure: what may have changed is read again by whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from syncd.clients.artifacts import Use, Version, utc
from syncd.config.model import Reclaim
from syncd.replacements import Reclaimed, Replacement, replacement_of

DAY = timedelta(days=1)
AHEAD = timedelta(minutes=15)  # more than two clocks that a sweep trusts are apart
MAX_SHOWN = 3  # of the same kind, in a reason
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
    return some(facts.problems)


def _grace(facts: Facts, terms: Reclaim, now: datetime) -> str:
    # Under `ttl` W&B itself waits for the end of the grace period.
    end = facts.replaced_at + terms.grace
    return f"in its grace period until {text(end)}" if terms.policy == DELETE and now < end else ""


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
        return f"W&B removes it on {text(end)}"
    sooner = end <= facts.replaced_at + terms.grace
    return f"its own time to live ends on {text(end)}" if sooner else ""


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
        Reason(name, why) for name, guard in GUARDS.items() if (why := guard(facts, terms, now))
    )


def refusals(facts: Facts, terms: Reclaim, now: datetime) -> tuple[Reason, ...]:
    """Why a version stays, or why nothing need be done for it to go; nothing when it may be removed."""
    if found := reasons(facts, terms, now):
        return found
    end = _own_end(facts, terms, now)
    return (Reason("end", end),) if end else ()


def is_counted(note: Reclaimed | None, terms: Reclaim, now: datetime) -> bool:
    """Whether a removal was begun under the same policy in the last 24 hours."""
    return note is not None and note.how == terms.policy and utc(note.at) > now - DAY


def is_ahead(note: Reclaimed, now: datetime) -> bool:
    """Whether a removal was begun in times to come: the clock was wrong then, by more than is usual."""
    return utc(note.at) > now + AHEAD


def ttl_seconds(facts: Facts, terms: Reclaim, begun: datetime) -> int:
    """The time to live that ends with the grace period; W&B counts it from the version's creation.

    Args:
        facts: the version.
        terms: the configuration.
        begun: when the removal was begun: it does not end before.
    """
    end = max(facts.replaced_at + terms.grace, begun)
    return max(1, int((end - facts.source.created).total_seconds()))


def text(when: datetime) -> str:
    """A moment in words: ISO 8601, UTC, whole seconds."""
    return when.astimezone(UTC).isoformat(timespec="seconds")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_SHOWN])
    return f"{shown} and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else shown


def some(problems: Sequence[str]) -> str:
    """The first of some problems, as many as a person reads."""
    return "; ".join(problems[:MAX_SHOWN])
