"""How far discovery came: what was decided for good, and which collections have nothing left to do.

Every row names the configuration it was decided under, as a fingerprint: under another one it says
nothing. Losing all of it costs one full look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database, batches, now, within
from syncd.refs import CollectionName, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A collection in which nothing was left to do.

    Args:
        seen: names what W&B told of it before it was looked at, and where its aliases were; see
            `versions.whereabouts`.
        looked_at: ISO 8601, UTC.
    """

    seen: str
    looked_at: str


class Looks:
    """The part of the catalog that belongs to discovery.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle(self, artifact_id: str, reason: str, fingerprint: str) -> None:
        """Remember that nothing of a version moves under this configuration, and why."""
        row = {"artifact_id": artifact_id, "fingerprint": fingerprint, "reason": reason}
        self._database.upsert(schema.settled, [row], ("artifact_id",))

    def settled(self, artifact_ids: Sequence[str], fingerprint: str) -> dict[str, str]:
        """Why nothing of some versions moves under this configuration, by id, as far as that is known."""
        table = schema.settled
        found: dict[str, str] = {}
        for batch in batches(artifact_ids):
            query = sa.select(table.c.artifact_id, table.c.reason).where(
                table.c.artifact_id.in_(batch), table.c.fingerprint == fingerprint
            )
            found |= dict(self._database.tuples(query))
        return found

    def cursors(self, target: Target, fingerprint: str) -> dict[CollectionName, Cursor]:
        """The collections of a target in which, under this configuration, nothing was left to do."""
        table = schema.cursors
        query = sa.select(table).where(table.c.fingerprint == fingerprint, *within(table, target))
        return {
            (row["entity"], row["project"], row["collection"]): Cursor(
                seen=row["seen"], looked_at=row["looked_at"]
            )
            for row in self._database.rows(query)
        }

    def rest(self, name: CollectionName, seen: str, fingerprint: str) -> None:
        """Remember that nothing is left to do in a collection that W&B told this of."""
        entity, project, collection = name
        row = {
            "entity": entity,
            "project": project,
            "collection": collection,
            "seen": seen,
            "fingerprint": fingerprint,
            "looked_at": now(),
        }
        self._database.upsert(schema.cursors, [row], ("entity", "project", "collection"))

    def wake(self, name: CollectionName) -> None:
        """Forget that nothing is left to do in a collection."""
        entity, project, collection = name
        table = schema.cursors
        self._database.change(
            sa.delete(table).where(
                table.c.entity == entity,
                table.c.project == project,
                table.c.collection == collection,
            )
        )
