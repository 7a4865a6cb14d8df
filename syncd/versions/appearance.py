"""Appearance: what W&B shows of a version, and in what two of them differ.

A version and its replacement look the same but for their numbers, the dates of their making, and where
the bytes of moved files lie. `docs/replacement.md` tells users what stays and how.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Any

from syncd.blocks import paired
from syncd.clients.artifacts import TTL_INHERIT, Standing, Version
from syncd.entry import Entry
from syncd.refs import CommitRef, RunRef, parse_reference_url
from syncd.replacements import CONTENT_KEY, KEY, linked_content

TTL_TOLERANCE = 60.0  # seconds between the ends of two times to live that count as one
SHOWN = 5  # differing files that are named
# What people change in W&B at any time. A difference in the others is always a fault.
EDITABLE = frozenset({"description", "metadata", "tags", "ttl", "aliases", "links", "consumers"})

_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which a replacement differs from what it replaces.

    Args:
        field: what differs.
        text: in what way, for people.
    """

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"

    @property
    def editable(self) -> bool:
        """Whether a person may have made it on purpose."""
        return self.field in EDITABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """What W&B shows of a version, without its files.

    Args:
        type: the artifact type.
        description: empty for none.
        metadata: without syncd's own key.
        tags: of the version.
        ttl: when it expires; None for never; `TTL_INHERIT` when its team decides.
        history_step: the run's step it was logged at.
        run: the run that logged it.
        consumers: the runs that used it; None where that is not known.
        places: aliases by collection (`entity/project/collection`); None where they are not known.
    """

    type: str
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    ttl: datetime | int | None = None
    history_step: int | None = None
    run: RunRef | None = None
    consumers: frozenset[RunRef] | None = None
    places: Mapping[str, frozenset[str]] | None = None


def appearance(standing: Standing) -> Appearance:
    """How a version looks."""
    version = standing.version
    return Appearance(
        type=version.type,
        description=version.description or "",
        metadata={key: value for key, value in version.metadata.items() if key != KEY},
        tags=frozenset(version.tags),
        ttl=TTL_INHERIT if version.ttl_seconds == TTL_INHERIT else version.expires_at,
        history_step=version.history_step,
        run=version.run,
        consumers=frozenset(standing.consumers),
        places={place.name: frozenset(place.aliases) for place in standing.memberships},
    )


def expected(planned: Version, old: Standing, new: Standing) -> Appearance:
    """How a replacement is to look: as the version does now, where nobody has written on the former.

    Args:
        planned: the version when it was planned, which the replacement was made to look like.
        old: the version now.
        new: the replacement now.
    """
    theirs, ours = appearance(old), appearance(new)
    keys = [*theirs.metadata, *(key for key in ours.metadata if key not in theirs.metadata)]
    metadata = {
        key: _newest(*(side.get(key, _ABSENT) for side in sides))
        for sides in [(planned.metadata, theirs.metadata, ours.metadata)]
        for key in keys
    }
    registered = any(place.is_registry for place in new.links)
    return replace(
        theirs,
        description=_newest(
            planned.description or "", theirs.description, ours.description or _ABSENT
        ),
        metadata={key: value for key, value in metadata.items() if value is not _ABSENT},
        tags=theirs.tags | ours.tags,
        ttl=None if registered else theirs.ttl,  # what a registry links does not expire
    )


def _newest(base: object, theirs: object, ours: object) -> Any:
    """What was written last: ours, unless it is what both began with, or nothing."""
    return theirs if ours is _ABSENT or ours == base else ours


def differences(before: Appearance, after: Appearance) -> list[Difference]:
    """In what a replacement differs from what it replaces; it may have more consumers and aliases."""
    found = [
        Difference(field=name, text=f"{old!r} became {new!r}")
        for name in ("type", "history_step", "description")
        if (old := getattr(before, name)) != (new := getattr(after, name))
    ]
    if before.run != after.run:
        found.append(Difference(field="run", text=f"{before.run} became {after.run}"))
    found += [
        Difference(field="metadata", text=f"{key!r} differs")
        for key in sorted(before.metadata.keys() | after.metadata.keys())
        if not _same(before.metadata, after.metadata, key)
    ]
    found += [
        Difference(field="tags", text=f"{tag!r} {'is missing' if tag in before.tags else 'is new'}")
        for tag in sorted(before.tags ^ after.tags)
    ]
    if not _same_end(before.ttl, after.ttl):
        found.append(Difference(field="ttl", text=f"{_end(before.ttl)} became {_end(after.ttl)}"))
    if before.consumers is not None and after.consumers is not None:
        missing = sorted(map(str, before.consumers - after.consumers))
        found += [Difference(field="consumers", text=f"{run} is missing") for run in missing]
    return found + list(_places(before.places or {}, after.places or {}))


def file_differences(
    before: Iterable[Entry], after: Iterable[Entry], commit: CommitRef, folder: str
) -> list[Difference]:
    """In what a replacement's files differ from those of the version it replaces.

    Args:
        before: the version's entries, sorted by path; one may name Oxen's hash of its content as a
            reference entry of ours does.
        after: the replacement's entries, sorted by path.
        commit: what moved files refer to.
        folder: of the commit's tree, that the version lies in; empty for the root.

    Returns:
        The first few.
    """
    pairs = paired(before, after, attrgetter("path"), attrgetter("path"))
    texts = (text for old, new in pairs if (text := _file(old, new, commit, folder)))
    return [Difference(field="files", text=text) for text in islice(texts, SHOWN)]


def _file(old: Entry | None, new: Entry | None, commit: CommitRef, folder: str) -> str:
    """In what one file differs; empty when in nothing that shows."""
    if old is None or new is None:
        return f"{new.path} is new" if new else f"{old.path if old else ''} is missing"
    if old.size is not None and old.size != new.size:
        return f"{old.path} had {old.size} bytes and has {new.size}"
    if old.ref is not None or new.ref is None:
        same = (old.digest, old.algorithm, old.ref) == (new.digest, new.algorithm, new.ref)
        return "" if same else f"{old.path} has another content"
    path = f"{folder}/{old.path}" if folder else old.path
    if parse_reference_url(new.ref) != (commit, path):
        return f"{old.path} refers to {new.ref}, not to {commit}"
    content = _oxen_hash(old)
    if content and linked_content(new) != content:
        return f"{old.path} names content {linked_content(new)}, not {content}"
    return ""


def _oxen_hash(entry: Entry) -> str:
    """Oxen's hash of an entry's content, where it is known; empty where not."""
    if entry.algorithm == "XXH128":
        return f"{int(entry.hex_digest, 16):x}"
    return str(entry.extra.get(CONTENT_KEY, ""))


def _places(
    before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]
) -> Iterator[Difference]:
    for name, aliases in sorted(before.items()):
        if name not in after:
            yield Difference(field="links", text=f"{name} is missing")
        for alias in sorted(aliases - after.get(name, frozenset())):
            yield Difference(field="aliases", text=f"{alias!r} of {name} is missing")


def _same(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> bool:
    """Whether both have the key with the same JSON."""
    sides = (
        [json.dumps(side[key], sort_keys=True)] if key in side else [] for side in (before, after)
    )
    return next(sides) == next(sides)


def _same_end(before: datetime | int | None, after: datetime | int | None) -> bool:
    if isinstance(before, datetime) and isinstance(after, datetime):
        return abs((before - after).total_seconds()) <= TTL_TOLERANCE
    return before == after


def _end(ttl: datetime | int | None) -> str:
    if isinstance(ttl, datetime):
        return f"expires at {ttl.isoformat(timespec='seconds')}"
    return "never expires" if ttl is None else "expires as its team decides"
