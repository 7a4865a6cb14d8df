"""What a rehearsal found out about one assumption."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What a rehearsal found out about an assumption."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNKNOWN = "could not tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An outcome, and what was seen."""

    outcome: Outcome
    seen: str


def holds(seen: str) -> Finding:
    """It is so."""
    return Finding(outcome=Outcome.HOLDS, seen=seen)


def fails(seen: str) -> Finding:
    """It is not so."""
    return Finding(outcome=Outcome.FAILS, seen=seen)


def unknown(why: str) -> Finding:
    """Nobody could tell."""
    return Finding(outcome=Outcome.UNKNOWN, seen=why)


def judge(truth: bool, seen: str) -> Finding:
    """It is so, or not."""
    return holds(seen) if truth else fails(seen)
