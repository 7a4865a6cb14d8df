"""What the processes of an installation tell each other: hints that something is new, signs of life.

The mover and its face share nothing but the catalog's database. The face writes a hint where W&B
called; the mover looks, takes it, and polls that project at once. Each process leaves a beat every
few seconds, which replaces its last one; whoever shows the state reads them. Losing all of it costs
one poll interval.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database

ENGINE = "engine:"  # what the names of those that move begin with
GONE = 86_400.0  # seconds after which nobody misses a process any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """W&B has said that something is new.

    Args:
        id: names the row.
        project: `entity/project`.
        collection: the collection's name, None when all of the project is meant.
        at: when it was last said, Unix seconds.
    """

    id: int
    project: str
    collection: str | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The last sign of life of a process.

    Args:
        name: the process, for example `engine:local` or `face`.
        at: when, Unix seconds.
        detail: what it told of itself, values of JSON.
    """

    name: str
    at: float
    detail: Mapping[str, Any]


class Pulse:
    """The part of the catalog in which processes talk; safe from any thread and process.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def hint(self, project: str, collection: str | None, *, at: float) -> None:
        """Say that something is new; one row waits at most for a project and collection.

        Args:
            project: `entity/project`.
            collection: the collection's name, None when all of the project is meant.
            at: now, Unix seconds.
        """
        row = {"project": project, "collection": collection or "", "at": at}
        self._database.upsert(schema.hints, [row], ("project", "collection"))

    def hints(self) -> list[Hint]:
        """What waits, the oldest first."""
        table = schema.hints
        return [
            Hint(
                id=row["id"],
                project=row["project"],
                collection=row["collection"] or None,
                at=row["at"],
            )
            for row in self._database.rows(sa.select(table).order_by(table.c.at, table.c.id))
        ]

    def taken(self, hints: Sequence[Hint]) -> None:
        """Remove hints that were acted on; one that was said again since they were read stays."""
        table = schema.hints
        if hints:
            self._database.change(
                *(
                    sa.delete(table).where(table.c.id == hint.id, table.c.at == hint.at)
                    for hint in hints
                )
            )

    def beat(self, name: str, detail: Mapping[str, Any], *, at: float) -> None:
        """Leave a sign of life in the place of the last one.

        Args:
            name: the process.
            detail: what it tells of itself, values of JSON.
            at: now, Unix seconds.
        """
        row = {"name": name, "at": at, "detail": json.dumps(detail, allow_nan=False)}
        self._database.upsert(schema.beats, [row], ("name",))

    def forget(self, prefix: str, *, before: float) -> None:
        """Forget processes that nobody has heard of since.

        Args:
            prefix: of their names.
            before: Unix seconds.
        """
        table = schema.beats
        old = sa.delete(table).where(
            table.c.name.startswith(prefix, autoescape=True), table.c.at < before
        )
        self._database.change(old)

    def beats(self) -> list[Beat]:
        """The last sign of life of every process, by name."""
        table = schema.beats
        return [
            Beat(name=row["name"], at=row["at"], detail=json.loads(row["detail"]))
            for row in self._database.rows(sa.select(table).order_by(table.c.name))
        ]
