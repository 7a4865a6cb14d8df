"""Versions counted: how states are grouped as people name them, in SQL and as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema

ENDED = ("replaced", "skipped", "quarantined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Versions of a project or of a collection, counted; sizes in bytes.

    Args:
        collection: empty when all of the project is meant.
        type: of the collection's artifacts; empty when all of the project is meant.
        size: of all its versions, as W&B has them.
        moved_bytes: of moved versions, now references.
        kept_bytes: of moved versions, still in W&B.
        deduplicated: of moved versions, in Oxen before.
        waiting_since: when the oldest waiting version was logged, ISO 8601 in UTC; empty for none.
        updated_at: when something last changed, likewise.
    """

    entity: str
    project: str
    collection: str
    type: str
    seen: int
    moved: int
    waiting: int
    skipped: int
    quarantined: int
    size: int
    moved_bytes: int
    kept_bytes: int
    downloaded: int
    uploaded: int
    deduplicated: int
    waiting_since: str
    updated_at: str

    @property
    def name(self) -> str:
        """`entity/project`, and the collection if there is one."""
        return "/".join(part for part in (self.entity, self.project, self.collection) if part)


def total(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The sum of a column, 0 where there are no rows."""
    return sa.func.coalesce(sa.func.sum(value), 0)


def sums(*, of_moved: bool = False) -> list[sa.ColumnElement[Any]]:
    """What a tally is made of, beside the columns that are grouped by.

    Args:
        of_moved: whether bytes that travelled count for moved versions alone.
    """
    table = schema.versions
    state = table.c.state
    waits = state.not_in(ENDED)

    def count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
        return sa.func.sum(sa.case((condition, 1), else_=0))

    def moved(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.func.sum(sa.case((state == "replaced", column), else_=0))

    travelled = moved if of_moved else total
    return [
        sa.func.count().label("seen"),
        count(state == "replaced").label("moved"),
        count(waits).label("waiting"),
        count(state == "skipped").label("skipped"),
        count(state == "quarantined").label("quarantined"),
        total(table.c.size).label("size"),
        moved(table.c.moved_bytes).label("moved_bytes"),
        moved(table.c.kept_bytes).label("kept_bytes"),
        travelled(table.c.downloaded).label("downloaded"),
        travelled(table.c.uploaded).label("uploaded"),
        moved(table.c.deduplicated).label("deduplicated"),
        sa.func.min(sa.case((waits, table.c.created_at))).label("waiting_since"),
        sa.func.max(table.c.updated_at).label("updated_at"),
    ]


def tally_of(row: Mapping[str, Any]) -> Tally:
    """A tally of a row of sums."""
    texts = {"collection": "", "type": ""}
    counted = {
        name: int(value)
        for name, value in row.items()
        if name not in {"entity", "project", "collection", "type", "waiting_since", "updated_at"}
    }
    times = {name: row[name] or "" for name in ("waiting_since", "updated_at")}
    return Tally(**{**texts, **row, **counted, **times})
