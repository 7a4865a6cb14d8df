"""Why versions stay, as far as the log has it: what nobody was told yet is told, and then no more.

Losing it costs a line of the log for each version that stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database, batches


class Told:
    """The part of the catalog that belongs to the log of sweeps.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def news(self, reasons: Mapping[str, str]) -> set[str]:
        """Of which versions nobody was told these reasons yet, or others since; by GraphQL id."""
        table = schema.told
        known: dict[str, str] = {}
        for batch in batches(list(reasons)):
            query = sa.select(table.c.artifact_id, table.c.reasons)
            known |= dict(self._database.tuples(query.where(table.c.artifact_id.in_(batch))))
        return {key for key, text in reasons.items() if known.get(key) != _short(text)}

    def keep(self, reasons: Mapping[str, str]) -> None:
        """Remember that somebody was told these reasons of each version."""
        rows = [{"artifact_id": key, "reasons": _short(text)} for key, text in reasons.items()]
        self._database.upsert(schema.told, rows, ("artifact_id",))


def _short(text: str) -> str:
    return blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()
