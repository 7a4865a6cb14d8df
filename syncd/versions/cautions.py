"""Cautions: what somebody should know before a version is replaced. Pure; nothing is read or sent.

A replacement is a new version of the same collection, to which aliases move and which takes the old
one's place in portfolios and registries. So automations may fire, runs that name the old version by
number go on using it, a time to live may end soon, and a version that is held by a place which
cannot be written is not replaced at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from syncd.clients.artifacts import Automation, Membership, Surroundings, Version

SOON = timedelta(days=14)  # a time to live that ends within is worth a word
LATEST = "latest"
_TESTS: dict[str, Callable[[str, Any], bool]] = {
    "$eq": lambda value, wanted: value == wanted,
    "$ne": lambda value, wanted: value != wanted,
    "$in": lambda value, wanted: value in wanted,
    "$nin": lambda value, wanted: value not in wanted,
    "$regex": lambda value, wanted: re.search(wanted, value) is not None,
    "$contains": lambda value, wanted: wanted in value,
}


class Kind(StrEnum):
    """What a caution is about."""

    AUTOMATION = "automation"
    CONSUMERS = "consumers"
    LINK = "link"
    RIGHTS = "rights"
    TTL = "ttl"
    UNKNOWN = "unknown"  # W&B does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One thing to know about a version, or about a whole entity or project."""

    version: str
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What W&B tells of a version that is to be replaced.

    Args:
        version: the version.
        around: where it is, and who used it.
        automations: of each entity that holds it; None where this API key may not read them.
        now: the present, with its time zone.
    """

    version: Version
    around: Surroundings
    automations: Mapping[str, Sequence[Automation] | None]
    now: datetime


def cautions(facts: Facts) -> list[Caution]:
    """What to know before a version is replaced, in a fixed order."""
    parts = (
        (Kind.RIGHTS, _rights(facts)),
        (Kind.AUTOMATION, _automations(facts)),
        (Kind.UNKNOWN, _unknown(facts)),
        (Kind.LINK, _links(facts)),
        (Kind.TTL, _ttl(facts)),
        (Kind.CONSUMERS, _consumers(facts)),
    )
    name = str(facts.version.ref)
    return [Caution(version=name, kind=kind, text=text) for kind, texts in parts for text in texts]


def fires(automation: Automation, facts: Facts) -> bool:
    """Whether an automation may fire when the version is replaced.

    A condition that is not understood is taken for met.
    """
    if not automation.enabled:
        return False
    places = [place for place in facts.around.memberships if _watches(automation, place)]
    owned = [place for place in places if place.kind == "sequence"]
    links = [place for place in places if place.kind == "portfolio"]
    match automation.event:
        case "CREATE_ARTIFACT":
            return bool(owned)
        case "LINK_MODEL" | "UNLINK_ARTIFACT":  # it takes the old version's place
            return bool(links)
        case "ADD_ARTIFACT_TAG":
            return bool(places) and _any(automation, "tag", facts.version.tags)
        case "ADD_ARTIFACT_ALIAS":
            # A new link becomes `latest` for a moment, even where another version is given it back.
            given = {alias for place in places for alias in place.aliases}
            return _any(automation, "alias", given | ({LATEST} if links else set()))
        case _:
            return False  # of runs, of tags that go, of a collection's own tags


def _watches(automation: Automation, place: Membership) -> bool:
    if automation.scope == "collection":
        return automation.scope_id == place.collection_id
    if place.entity != automation.entity:
        return False
    return automation.scope == "entity" or automation.scope_name == place.project


def _any(automation: Automation, field: str, values: Sequence[str] | set[str]) -> bool:
    try:
        condition = json.loads(automation.condition or "{}")
    except ValueError:
        return bool(values)
    return any(_met(condition, field, value) for value in values)


def _met(condition: Any, field: str, value: str) -> bool:
    """Whether a value meets a condition such as `{"$or": [{"$and": [{"alias": {"$eq": "prod"}}]}]}`."""
    if not isinstance(condition, Mapping):
        return True
    for key, wanted in condition.items():
        if key in {"$and", "$or"} and isinstance(wanted, list):
            parts = [_met(part, field, value) for part in wanted]
            if not (all(parts) if key == "$and" else not parts or any(parts)):
                return False
        elif key == field and not _passes(wanted, value):
            return False
    return True


def _passes(wanted: Any, value: str) -> bool:
    tests = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
    for operator, operand in tests.items():
        try:
            if operator in _TESTS and not _TESTS[operator](value, operand):
                return False
        except (re.error, TypeError):
            continue  # no condition that is understood
    return True


def _automations(facts: Facts) -> Iterator[str]:
    for entity in sorted(facts.automations):
        for automation in facts.automations[entity] or ():
            if fires(automation, facts):
                yield (
                    f"the automation {automation.name!r} of {automation.place} would fire "
                    f"({automation.event})"
                )


def _unknown(facts: Facts) -> Iterator[str]:
    for entity, found in sorted(facts.automations.items()):
        if found is None:
            yield f"the automations of {entity} cannot be read with this API key: some may fire"


def _rights(facts: Facts) -> Iterator[str]:
    for place in facts.around.memberships:
        if place.read_only:
            what = "may not write to" if place.project else "may not see"
            yield f"this API key {what} {place.name}, which holds it: it cannot be replaced"


def _links(facts: Facts) -> Iterator[str]:
    for place in facts.around.links:
        if not place.read_only:
            word = "registry" if place.is_registry else "portfolio"
            named = f" as {', '.join(sorted(place.aliases))}" if place.aliases else ""
            yield f"it is linked to the {word} {place.name}{named}: its replacement takes its place"


def _ttl(facts: Facts) -> Iterator[str]:
    end = facts.version.expires_at
    if end is None:
        return
    if end <= facts.now + SOON:
        word = "ends" if end > facts.now else "ended"
        yield f"its time to live {word} on {end:%Y-%m-%d}: W&B deletes it, moved or not"
    registries = [place.name for place in facts.around.links if place.is_registry]
    if registries:
        yield (
            f"it is linked to {', '.join(registries)}: W&B takes the time to live off what a "
            "registry holds"
        )


def _consumers(facts: Facts) -> Iterator[str]:
    uses = sorted(facts.around.uses, key=lambda use: (use[1], str(use[0])))
    if uses:
        run, began = uses[-1]
        when = f", which began at {began}" if began else ""
        count = "1 run has" if len(uses) == 1 else f"{len(uses)} runs have"
        yield (
            f"{count} used it, the latest {run}{when}: whoever names it as "
            f"{facts.version.ref.alias} goes on using it, not its replacement"
        )
