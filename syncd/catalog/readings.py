"""What was read of manifests, which never change: which versions each points to, and what it holds.

Losing all of it costs reading every manifest once again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database
from syncd.refs import CollectionName

AT_ONCE = 16 << 20  # bytes of contents that are fetched with one query
_KEY = ("entity", "project", "collection", "version_index")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is kept of a version's manifest.

    Args:
        artifact_id: the version's GraphQL id.
        index: its number in its collection.
        seen: names the version as it was listed when it was read, and the rules of the reading.
        pointers: GraphQL ids of the versions that it points to.
        size: bytes of what it holds, see `versions.holdings.contents`.
    """

    artifact_id: str
    index: int
    seen: str
    pointers: frozenset[str]
    size: int


class Readings:
    """The part of the catalog that belongs to sweeps.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def between(self, place: CollectionName, first: int, last: int) -> list[Reading]:
        """What is kept of the versions of a collection from one number to another, both included."""
        table = schema.readings
        query = sa.select(
            table.c.artifact_id,
            table.c.version_index,
            table.c.seen,
            table.c.pointers,
            sa.func.length(table.c.contents),
        ).where(*_at(place), table.c.version_index.between(first, last))
        return [
            Reading(
                artifact_id=artifact_id,
                index=index,
                seen=seen,
                pointers=frozenset(pointers.split()),
                size=size,
            )
            for artifact_id, index, seen, pointers, size in self._database.tuples(query)
        ]

    def contents(
        self, place: CollectionName, readings: Sequence[Reading]
    ) -> Iterator[tuple[str, bytes]]:
        """What some versions of a collection hold, by GraphQL id; those that hold nothing left out."""
        table = schema.readings
        pack: list[int] = []
        room = AT_ONCE
        waiting = [reading for reading in readings if reading.size]
        for number, reading in enumerate(waiting, start=1):
            pack.append(reading.index)
            room -= reading.size
            if room <= 0 or number == len(waiting):
                query = sa.select(table.c.artifact_id, table.c.contents).where(
                    *_at(place), table.c.version_index.in_(pack)
                )
                yield from self._database.tuples(query)
                pack, room = [], AT_ONCE

    def keep(self, place: CollectionName, reading: Reading, contents: bytes) -> None:
        """Keep what was read of a version of a collection, instead of what was kept before."""
        row = {
            **dict(zip(_KEY, place, strict=False)),
            "version_index": reading.index,
            "artifact_id": reading.artifact_id,
            "seen": reading.seen,
            "pointers": " ".join(sorted(reading.pointers)),
            "contents": contents,
        }
        self._database.upsert(schema.readings, [row], _KEY)

    def drop(self, place: CollectionName, indexes: Collection[int]) -> None:
        """Forget versions of a collection, by their numbers; a few hundred at a time."""
        table = schema.readings
        if indexes:
            self._database.change(
                sa.delete(table).where(*_at(place), table.c.version_index.in_(indexes))
            )

    def drop_after(self, place: CollectionName, last: int) -> None:
        """Forget the versions of a collection behind a number."""
        table = schema.readings
        self._database.change(sa.delete(table).where(*_at(place), table.c.version_index > last))

    def drop_others(self, entity: str, places: Collection[CollectionName]) -> None:
        """Forget the collections of an entity that are none of these."""
        table = schema.readings
        names = (table.c.entity, table.c.project, table.c.collection)
        query = sa.select(*names).where(table.c.entity == entity).distinct()
        for place in self._database.tuples(query):
            if place not in places:
                self.drop_after(place, -1)


def _at(place: CollectionName) -> list[sa.ColumnElement[bool]]:
    table = schema.readings
    return [table.c[name] == part for name, part in zip(_KEY, place, strict=False)]
