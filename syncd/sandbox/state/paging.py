"""Pages of a listing, by key: a cursor is the sort key and id of the last row, so it survives other people's writes."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state.database import Database, Value

Node = TypeVar("Node")
Other = TypeVar("Other")

DEFAULT_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInfo:
    """Where a page ends, and whether another follows."""

    end_cursor: str | None = None
    has_next_page: bool = False
    has_previous_page: bool = False
    start_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Edge(Generic[Node]):
    """One row of a page."""

    node: Node
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Generic[Node]):
    """A page with its edges; the total is counted only when asked for."""

    edges: Sequence[Edge[Node]]
    page_info: PageInfo = field(default_factory=PageInfo)
    count: Callable[[], int]

    def total_count(self, _info: object) -> int:
        """How many rows there are on all pages."""
        return self.count()

    def map(self, change: Callable[[Node], Other]) -> Connection[Other]:
        """The same page of other values."""
        return Connection(
            edges=[Edge(change(edge.node), edge.cursor) for edge in self.edges],
            page_info=self.page_info,
            count=self.count,
        )


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition or expression with its parameters."""

    sql: str
    parameters: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a client asks of a listing."""

    first: int | None = None
    after: str | None = None


def whole(nodes: Sequence[Node]) -> Connection[Node]:
    """A connection that is its own only page."""
    edges = [Edge(node, str(number)) for number, node in enumerate(nodes)]
    return Connection(edges=edges, count=lambda: len(nodes))


def _encode(key: object, row: int) -> str:
    return base64.b64encode(json.dumps([key, row]).encode()).decode()


def _decode(cursor: str) -> tuple[Any, int]:
    try:
        key, row = json.loads(base64.b64decode(cursor, validate=True))
        return key, int(row)
    except (binascii.Error, ValueError, TypeError) as error:
        raise SandboxError(f"invalid cursor: {cursor!r}") from error


def page(
    db: Database,
    record: Callable[..., Node],
    *,
    columns: str,
    source: str,
    where: Sequence[Clause],
    row_id: str,
    key: Clause | None = None,
    descending: bool = False,
    window: Window,
) -> Connection[Node]:
    """One page of `columns` from `source`, ordered by `key` and then by `row_id`."""
    first = DEFAULT_PAGE if window.first is None else max(window.first, 0)
    condition = " AND ".join(f"({clause.sql})" for clause in where) or "1"
    given = [value for clause in where for value in clause.parameters]
    # A missing key sorts as the empty text, so that it has a place a cursor can name. Without any key the rows come
    # by id alone, bare, so that an index can lead straight to the page.
    sort = Clause(row_id) if key is None else Clause(f"COALESCE({key.sql}, '')", key.parameters)
    places = [Clause(row_id)] if key is None else [sort, Clause(row_id)]
    sql = f"SELECT {columns}, {sort.sql}, {row_id} FROM {source} WHERE {condition}"  # noqa: S608  built from our own names
    parameters = [*sort.parameters, *given]
    of_places = [value for place in places for value in place.parameters]
    if window.after:
        last = _decode(window.after)[-len(places) :]
        names, marks = ", ".join(place.sql for place in places), ", ".join("?" * len(places))
        sql += f" AND ({names}) {'<' if descending else '>'} ({marks})"
        parameters += [*of_places, *last]
    direction = "DESC" if descending else "ASC"
    sql += " ORDER BY " + ", ".join(f"{place.sql} {direction}" for place in places) + " LIMIT ?"
    parameters += [*of_places, first + 1]
    rows = db.rows(sql, parameters)
    edges = [Edge(record(*row[:-2]), _encode(row[-2], row[-1])) for row in map(tuple, rows[:first])]

    def count() -> int:
        return int(db.value(f"SELECT COUNT(*) FROM {source} WHERE {condition}", given))  # noqa: S608  built from our own names

    return Connection(
        edges=edges,
        page_info=PageInfo(
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
            has_next_page=len(rows) > first,
            has_previous_page=bool(window.after),
        ),
        count=count,
    )
