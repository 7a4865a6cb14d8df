"""What all versions need, before any of them goes: which they point into, and what they hold.

All versions of all entities that the targets or the configuration name are looked at. A listing that
fails, or that has far less than the catalog knows of, ends the sweep before anything is removed.

A manifest is read once, because that of a committed version never changes, nor do the objects in it;
what was read is kept in the catalog. It is read again where anything about the version is other than
when it was read, where this release reads otherwise than the one that did, and each time where W&B's
digest of the version does not prove the manifest. A version that is not committed yet is not listed:
it is read when it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import groupby

from syncd.blocks import batches
from syncd.catalog.readings import Reading
from syncd.clients.artifacts import Version
from syncd.operations.listings import believe_catalog
from syncd.operations.replaced import went_lately
from syncd.refs import CollectionName, Target
from syncd.replacements import version_digest
from syncd.runtime import Runtime
from syncd.versions.guards import Facts
from syncd.versions.holdings import Holdings, contents
from syncd.versions.pointers import Pointers

RULES = 1  # raise it when `Pointers` finds more than before, or `contents` names it otherwise
BATCH = 100  # versions, as many as W&B lists in one request


def scan(
    runtime: Runtime,
    targets: Sequence[Target],
    hopeful: Sequence[Facts],
    holdings: Holdings,
    now: datetime,
) -> tuple[dict[str, list[str]], int]:
    """Go through all versions that could need another one.

    Args:
        runtime: open clients.
        targets: whose versions may go.
        hopeful: the versions that may go, unless another one needs them.
        holdings: is told what those hold that stay.
        now: the time, UTC.

    Returns:
        Names of the versions that point into each, by its id; and how many versions were removed
        in the last 24 hours.
    """
    reader = _Reader(runtime)
    going = {item.source.id for item in hopeful}
    pointed: dict[str, list[str]] = {}
    lately = 0
    configured = [Target.parse(str(text)) for text in runtime.config.wandb.projects]
    for entity in sorted({target.entity for target in (*targets, *configured)}):
        whole = Target(entity=entity)
        counted: Counter[CollectionName] = Counter()
        for place, group in groupby(
            runtime.source.versions(whole), key=lambda item: item.ref.place
        ):
            for versions, readings in reader.read(place, group, holdings, going):
                counted[place] += len(versions)
                for version in versions:
                    lately += went_lately(version, now)
                    for target in readings[version.id] & going - {version.id}:
                        pointed.setdefault(target, []).append(str(version.ref))
        believe_catalog(runtime, whole, counted)
        runtime.catalog.readings.drop_others(entity, counted.keys())
    return pointed, lately


class _Reader:
    """Reads the manifests that nobody has read yet, and keeps what it found."""

    def __init__(self, runtime: Runtime) -> None:
        self._source, self._kept = runtime.source, runtime.catalog.readings
        self._pointers = Pointers(runtime.source, runtime.store)

    def read(
        self, place: CollectionName, listed: Iterator[Version], holdings: Holdings, going: set[str]
    ) -> Iterator[tuple[list[Version], Mapping[str, frozenset[str]]]]:
        """The versions of a collection, some at a time, with the ids that each points to by its own.

        Args:
            place: the collection.
            listed: its versions, in their order.
            holdings: is told what those hold that stay.
            going: ids of the others.

        Raises:
            SyncdError: when a manifest or an object in it cannot be read.
        """
        last = -1
        for versions in batches(listed, BATCH):
            before, last = last, versions[-1].index
            kept = {item.index: item for item in self._kept.between(place, before + 1, last)}
            self._kept.drop(place, kept.keys() - {version.index for version in versions})
            known = {
                item.artifact_id: item
                for version in versions
                if (item := kept.get(version.index)) and item.seen == seen(version)
            }
            stay = [item for key, item in known.items() if key not in going]
            for _, held in self._kept.contents(place, stay):
                holdings.stays(held)
            found = {key: item.pointers for key, item in known.items()}
            for version in versions:
                if version.id not in found:
                    found[version.id], held = self._new(place, version)
                    if version.id not in going:
                        holdings.stays(held)
            yield versions, found
        self._kept.drop_after(place, last)

    def _new(self, place: CollectionName, version: Version) -> tuple[frozenset[str], bytes]:
        manifest = self._source.manifest(version)
        pointers = frozenset(self._pointers.of(version, manifest))
        held = contents(manifest)
        if version_digest(manifest, version.digest_algorithm) == version.digest:
            reading = Reading(
                artifact_id=version.id,
                index=version.index,
                seen=seen(version),
                pointers=pointers,
                size=len(held),
            )
            self._kept.keep(place, reading, held)
        return pointers, held


def seen(version: Version) -> str:
    """Names a version and the rules by which it is read; another name has to be read again."""
    parts = (
        RULES,
        version.id,
        version.digest_algorithm,
        version.digest,
        version.created_at,
        version.size,
        version.file_count,
    )
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()
