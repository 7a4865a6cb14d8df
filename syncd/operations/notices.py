"""Notices: the facts that cautions are made of, in as few requests as W&B allows.

One request tells of a hundred versions of a collection, one of a hundred automations of an entity;
both are asked for only where something would move.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from syncd.clients.artifacts import Automation, Version
from syncd.clients.protocols import ArtifactSource
from syncd.refs import Target
from syncd.versions.cautions import Caution, Facts, cautions


def notices(
    source: ArtifactSource, versions: Sequence[Version], now: datetime
) -> Iterator[Caution]:
    """What to know before these versions are replaced.

    Args:
        source: W&B; it is only read.
        versions: those that would be replaced.
        now: the present, with its time zone.
    """
    collections: dict[Target, list[Version]] = {}
    for version in versions:
        collections.setdefault(Target.of(version.ref), []).append(version)
    automations: dict[str, Sequence[Automation] | None] = {}
    for members in collections.values():
        around = {found.version_id: found for found in source.surroundings(members)}
        for version in members:
            if version.id not in around:
                continue  # deleted since it was listed
            places = around[version.id].memberships
            entities = sorted({version.ref.entity, *(place.entity for place in places)} - {""})
            for entity in entities:
                if entity not in automations:
                    automations[entity] = source.automations(entity)
            yield from cautions(
                Facts(
                    version=version,
                    around=around[version.id],
                    automations={entity: automations[entity] for entity in entities},
                    now=now,
                )
            )
