"""The database under the catalog: connections, and the two statements all its tables share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from syncd.catalog import schema
from syncd.errors import DiskFullError
from syncd.refs import Target

BUSY_TIMEOUT = 30.0  # seconds a writer waits for SQLite's lock
BATCH = 500  # values in one IN list; SQLite takes 32,766 variables, PostgreSQL more


class Database:
    """Connections to the catalog's tables, which are made when they are missing.

    Args:
        url: an SQLAlchemy URL, `sqlite:///...` or `postgresql://...`.
    """

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        is_sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = sa.create_engine(
            parsed, connect_args={"timeout": BUSY_TIMEOUT} if is_sqlite else {}
        )
        self._insert = sqlite.insert if is_sqlite else postgresql.insert
        if is_sqlite:
            sa.event.listen(self._engine, "connect", _use_wal)
        schema.metadata.create_all(self._engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """All rows of a query."""
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def change(self, *statements: sa.Executable) -> None:
        """Do all of these or none."""
        with self._writing() as connection:
            for statement in statements:
                connection.execute(statement)

    def changed(self, statement: sa.Update) -> bool:
        """Do it; whether there was a row to change."""
        with self._writing() as connection:
            return bool(connection.execute(statement).rowcount)

    def upsert(
        self,
        table: sa.Table,
        rows: Sequence[Mapping[str, Any]],
        key: tuple[str, ...],
        *,
        once: tuple[str, ...] = (),
    ) -> None:
        """Insert rows, or change those that are there by their key; columns not named stay.

        Args:
            table: where.
            rows: all with the same columns.
            key: the columns that name a row.
            once: columns that keep the value they were inserted with.
        """
        if not rows:
            return
        statement = self._insert(table)
        changed = {
            name: statement.excluded[name]
            for name in rows[0]
            if name not in key and name not in once
        }
        if changed:
            upsert = statement.on_conflict_do_update(index_elements=key, set_=changed)
        else:
            upsert = statement.on_conflict_do_nothing(index_elements=key)
        with self._writing() as connection:
            connection.execute(upsert, list(rows))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction.

        Raises:
            DiskFullError: when there is no room for it.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            if "disk is full" in str(error.orig):  # SQLITE_FULL
                raise DiskFullError("cannot write to the catalog: the disk is full") from error
            raise


def within(table: sa.Table, target: Target) -> list[sa.ColumnElement[bool]]:
    """The conditions that a row with entity, project and collection belongs to a target."""
    parts = {
        "entity": target.entity,
        "project": target.project,
        "collection": target.collection if "collection" in table.c else None,
    }
    return [table.c[name] == part for name, part in parts.items() if part]


def batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """The items in lists that one IN takes."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _use_wal(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
