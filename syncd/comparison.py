"""Comparison: whether a replacement still looks like what it replaced, by W&B and by Oxen.

The replaced version says itself how it looks as long as it is in W&B; when it has been deleted, the
lineage file in Oxen says how it looked. Its files are always taken from there: the file was proved
against W&B's digests, and names the hash that each reference must have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from syncd.appearance import (
    Appearance,
    Difference,
    appearance,
    differences,
    file_differences,
)
from syncd.blocks import Builder
from syncd.clients.protocols import TTL_INHERIT, ArtifactSource, Version, VersionStore, utc
from syncd.documents import Document
from syncd.entry import Entries, Entry, entry_row
from syncd.errors import NotFoundError
from syncd.plans import LINEAGE_PATH
from syncd.refs import CommitRef, RunRef
from syncd.replacements import CONTENT_KEY, KEY, Replacement


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """In what a replacement differs from what it replaced.

    Args:
        faults: what syncd has to answer for.
        edits: what people may have changed since the replacement was complete.
    """

    faults: tuple[Difference, ...]
    edits: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A version as the lineage file in its commit describes it.

    Args:
        appearance: how it looked when it was committed.
        entries: its files and references.
        omitted: paths that only W&B could hold.
    """

    appearance: Appearance
    entries: Entries
    omitted: frozenset[str]


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
        ValueError, KeyError, TypeError, AttributeError: when the lineage file is none.
    """
    was, after = recorded(store, link.commit, folder), appearance(source.standing(version.id))
    try:
        before = appearance(source.standing(link.source_artifact_id))
    except NotFoundError:  # deleted; so may its run be, which the file still names
        before = was.appearance if after.run else replace(was.appearance, run=None)
    found = differences(before, after)
    now = source.manifest(version).entries.values()
    kept = (entry for entry in now if entry.path not in was.omitted)
    found += file_differences(was.entries.values(), kept, link.commit, folder)
    edits = tuple(item for item in found if item.editable and link.complete)
    return Compared(faults=tuple(item for item in found if item not in edits), edits=edits)


def recorded(store: VersionStore, commit: CommitRef, folder: str) -> Recorded:
    """Read the lineage file of a commit; it raises as `compare` does."""
    path = f"{folder}/{LINEAGE_PATH}" if folder else LINEAGE_PATH
    document = Document(store.read(commit, path), {"files", "references"})
    rows = Builder()
    for name, members in document.pieces():
        for entry in _entries(name, members):
            rows.add(entry_row(entry))
    return Recorded(
        appearance=_looked(document.rest["artifact"], document.rest["run"]),
        entries=Entries(rows.build()),
        omitted=frozenset(document.rest["omitted"]),
    )


def _entries(name: str, members: dict[str, Any]) -> Iterator[Entry]:
    for path, item in members.items():
        if name == "references":
            yield Entry(path=path, digest=item["digest"], size=item["size"], ref=item["ref"])
            continue
        yield Entry(
            path=path,
            digest=item["digest"],
            size=item["size"],
            algorithm=item["algorithm"],
            extra={CONTENT_KEY: item["hash"]},
        )


def _looked(artifact: dict[str, Any], run: dict[str, Any] | None) -> Appearance:
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
