"""Triggers that are to fire, that have fired, and that failed: once per trigger and version.

Unlike the rest of the catalog nobody else knows this; a rebuild keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database

DUE, DONE, FAILED = "due", "done", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A trigger and the version it is told of.

    Args:
        key: names both, the same whenever it is told.
        trigger: the trigger's name.
        version: the version's name, as it was logged.
        state: due, done or failed.
        attempts: failures so far.
        next_at: Unix seconds; when it is told next.
        error: why the last attempt failed; empty for none.
        hint: what to do about it.
        detail: what the trigger is told.
    """

    key: str
    trigger: str
    version: str
    state: str
    attempts: int
    next_at: float
    error: str
    hint: str
    detail: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "key": self.key,
            "trigger": self.trigger,
            "version": self.version,
            "state": self.state,
            "attempts": self.attempts,
            "error": self.error,
            "hint": self.hint,
        }


class Firings:
    """The part of the catalog that belongs to triggers.

    Args:
        database: where its table is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def enlist(self, key: str, trigger: str, version: str, detail: Mapping[str, Any]) -> None:
        """Let a trigger fire soon, unless it was ever to fire for this version."""
        row = {
            "key": key,
            "trigger": trigger,
            "version": version,
            "state": DUE,
            "attempts": 0,
            "next_at": 0.0,
            "error": "",
            "hint": "",
            "detail": json.dumps(detail),
        }
        names = tuple(row)
        self._database.upsert(schema.firings, [row], ("key",), once=names)

    def due(self, now: float) -> list[Firing]:
        """What is to be told now, the oldest first."""
        table = schema.firings
        return self._read(
            sa.select(table)
            .where(table.c.state == DUE, table.c.next_at <= now)
            .order_by(table.c.next_at, table.c.key)
        )

    def all(self, states: Iterable[str]) -> list[Firing]:
        """Those in some states, by key."""
        table = schema.firings
        wanted = table.c.state.in_(list(states))
        return self._read(sa.select(table).where(wanted).order_by(table.c.key))

    def claim(self, firing: Firing, *, until: float) -> bool:
        """Keep it from others until a time; whether nobody else has it."""
        table = schema.firings
        return self._database.changed(
            sa.update(table)
            .where(
                table.c.key == firing.key,
                table.c.state == DUE,
                table.c.next_at == firing.next_at,
            )
            .values(next_at=until)
        )

    def settle(
        self,
        key: str,
        state: str,
        *,
        attempts: int = 0,
        next_at: float = 0.0,
        error: str = "",
        hint: str = "",
    ) -> bool:
        """Write how an attempt went; whether there is such a firing."""
        table = schema.firings
        return self._database.changed(
            sa.update(table)
            .where(table.c.key == key)
            .values(state=state, attempts=attempts, next_at=next_at, error=error, hint=hint)
        )

    def _read(self, query: sa.Select[Any]) -> list[Firing]:
        rows = self._database.rows(query)
        return [Firing(**{**row, "detail": json.loads(row["detail"])}) for row in rows]
