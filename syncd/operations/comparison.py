"""Comparison: whether a replacement still looks like what it replaced, by W&B and by Oxen.

The replaced version says itself how it looks as long as it is in W&B; when it has been deleted, the
lineage file in Oxen says how it looked. Its files are always taken from there: the file was proved
against W&B's digests, and names the hash that each reference must have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import merge
from operator import attrgetter

from syncd.clients.artifacts import TTL_INHERIT, Standing, Version, utc
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.entry import Entry
from syncd.errors import NotFoundError, PermanentError
from syncd.refs import RunRef
from syncd.replacements import CONTENT_KEY, KEY, Replacement
from syncd.versions.appearance import (
    Appearance,
    Difference,
    appearance,
    differences,
    file_differences,
)
from syncd.versions.lineages import MALFORMED
from syncd.versions.originals import Original, file_entry, original
from syncd.versions.plans import lineage_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """In what a replacement differs from what it replaced.

    Args:
        faults: what syncd has to answer for.
        edits: what people may have changed since the replacement was complete.
    """

    faults: tuple[Difference, ...]
    edits: tuple[Difference, ...]


def compare(
    source: ArtifactSource, store: VersionStore, version: Version, link: Replacement, folder: str
) -> Compared:
    """Hold a replacement against what it replaced.

    Args:
        source: W&B.
        store: Oxen.
        version: the replacement.
        link: what it says about itself.
        folder: of the commit's tree, that the version lies in; empty for the root.

    Raises:
        PermanentError: when the lineage file or W&B cannot be read.
    """
    held = original(store, link.commit, lineage_in(folder))
    after = appearance(source.standing(version.id))
    try:
        before = _before(source.standing(link.source_artifact_id), link)
    except NotFoundError:  # deleted; so may its run be, which the file still names
        was = _recorded(held)
        before = was if after.run else replace(was, run=None)
    found = differences(before, after)
    now, omitted = source.manifest(version).entries.values(), frozenset(held.omitted)
    kept = (entry for entry in now if entry.path not in omitted)
    found += file_differences(_entries(held), kept, link.commit, folder)
    edits = tuple(item for item in found if item.editable and link.complete)
    return Compared(faults=tuple(item for item in found if item not in edits), edits=edits)


def _before(standing: Standing, link: Replacement) -> Appearance:
    """How a replaced version looks, but for the end that reclaiming set it."""
    note = link.reclaimed
    if note is not None and note.how == "ttl":
        version = replace(standing.version, ttl_seconds=note.ttl_seconds)
        standing = replace(standing, version=version)
    return appearance(standing)


def _entries(held: Original) -> Iterator[Entry]:
    """The version's files, each with Oxen's hash, and its references, sorted by path."""
    files = (replace(file_entry(row), extra={CONTENT_KEY: row[3]}) for row in held.files)
    references = (
        Entry(path=path, digest=digest, ref=url, size=size)
        for path, digest, url, size in held.references
    )
    return merge(files, references, key=attrgetter("path"))


def _recorded(held: Original) -> Appearance:
    """How a version looked when it was committed."""
    artifact, run = held.artifact, held.run
    try:
        ttl: datetime | int | None = None
        if artifact["ttl_seconds"] == TTL_INHERIT:
            ttl = TTL_INHERIT
        elif artifact["ttl_seconds"] > 0:
            ttl = utc(artifact["created_at"]) + timedelta(seconds=artifact["ttl_seconds"])
        return Appearance(
            type=artifact["type"],
            description=artifact["description"] or "",
            metadata={key: value for key, value in artifact["metadata"].items() if key != KEY},
            tags=frozenset(artifact["tags"]),
            ttl=ttl,
            history_step=artifact["history_step"],
            run=RunRef.parse(run["ref"]) if run else None,
        )
    except MALFORMED as error:
        raise PermanentError(
            f"the lineage file of {held.commit} does not tell how the version looked ({error!r})"
        ) from error
