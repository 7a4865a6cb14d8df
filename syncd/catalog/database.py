"""The database under the catalog: connections, and the two statements all its tables share.

SQLite for one machine, PostgreSQL for many; what differs between them stands here and in
`presence`. A transaction that a deadlock or a broken connection ended is done again: all of them
are short, and doing one twice is doing it once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from syncd import retry
from syncd.catalog import schema
from syncd.errors import DiskFullError, StateUnavailableError
from syncd.refs import Target

Result = TypeVar("Result")
BUSY_TIMEOUT = 30.0  # seconds a writer waits for SQLite's lock
CONNECT_TIMEOUT = 10  # seconds for PostgreSQL to answer
CONNECTIONS = 10  # of one process to PostgreSQL, the engine's and the presence's apart
SCHEMA_LOCK = (
    0x73796E6364  # PostgreSQL's advisory lock that one process at a time makes tables under
)
PATIENCE = retry.Policy(attempts=5, first_wait=0.1, longest_wait=2.0, total=30.0)
# A value that a table refuses is none of these: that is its version's own.
DATABASE_ERRORS = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)
POSTGRES_HINT = (
    "Look whether PostgreSQL runs and lets this machine in, then run again: what was begun goes on."
)
BATCH = 500  # values in one IN list; SQLite takes 32,766 variables, PostgreSQL more


class Database:
    """Connections to the catalog's tables, which are made when they are missing.

    Args:
        url: an SQLAlchemy URL, `sqlite:///...` or `postgresql://...`.

    Raises:
        ServiceUnavailableError: when the server does not answer; likewise from every method.
        DiskFullError: when there is no room for SQLite's file; likewise from every method.
    """

    def __init__(self, url: str) -> None:
        parsed = driver_url(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        if self._sqlite:
            self._engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT})
            sa.event.listen(self._engine, "connect", _use_wal)
        else:
            self._engine = sa.create_engine(
                parsed,
                connect_args={"connect_timeout": CONNECT_TIMEOUT},
                pool_size=CONNECTIONS,
                max_overflow=0,
                pool_pre_ping=True,
            )
        self._insert = sqlite.insert if self._sqlite else postgresql.insert
        self._repeated(self._make_tables)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """All rows of a query."""

        def read() -> list[dict[str, Any]]:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]

        return self._repeated(read)

    def tuples(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        """All rows of a query, which are cheaper so where there are very many."""

        def read() -> list[tuple[Any, ...]]:
            with self._engine.connect() as connection:
                return list(map(tuple, connection.execute(query)))

        return self._repeated(read)

    def change(self, *statements: sa.Executable) -> None:
        """Do all of these or none."""

        def write() -> None:
            with self._engine.begin() as connection:
                for statement in statements:
                    connection.execute(statement)

        self._repeated(write)

    def changed(self, statement: sa.Update) -> bool:
        """Do it; whether there was a row to change."""

        def write() -> bool:
            with self._engine.begin() as connection:
                return bool(connection.execute(statement).rowcount)

        return self._repeated(write)

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
        # In one order, whoever writes: two that lock the same rows in turn would wait for each other.
        ordered = sorted(rows, key=lambda row: tuple(str(row[name]) for name in key))
        values = [{name: _storable(value) for name, value in row.items()} for row in ordered]

        def write() -> None:
            with self._engine.begin() as connection:
                connection.execute(upsert, values)

        self._repeated(write)

    def _make_tables(self) -> None:
        """Make the missing tables and indexes; of processes that start at a time, one after the other."""
        with self._engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))
            schema.metadata.create_all(connection)
            for table in schema.metadata.tables.values():
                # `create_all` passes over those of tables that are there.
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
            connection.commit()

    def _repeated(self, work: Callable[[], Result]) -> Result:
        """Do a transaction, on PostgreSQL again when it was given up."""

        def once() -> Result:
            with answering("the catalog", self._engine.url):
                return work()

        if self._sqlite:  # it has waited for its lock
            return once()
        return retry.call(once, what="use the catalog's database", policy=PATIENCE)


@contextmanager
def answering(what: str, url: sa.URL) -> Iterator[None]:
    """Tell of a database that is away, full or locked as such, where an exception may end a command.

    Args:
        what: what it holds, e.g. `the catalog`.
        url: where it is.

    Raises:
        DiskFullError: when there is no room.
        StateUnavailableError: when PostgreSQL does not answer, or others have SQLite's file locked.
    """
    try:
        with room(what):
            yield
    except DATABASE_ERRORS as error:
        if url.get_backend_name() == "sqlite":
            raise
        # Not from SQLAlchemy's own, which adds the statement with its values to the same words.
        raise unanswered(url, error.orig) from error.orig


@contextmanager
def room(what: str) -> Iterator[None]:
    """Tell of a full disk, and of SQLite's file that others have locked, as such.

    Args:
        what: what is written to, e.g. `the catalog`.

    Raises:
        DiskFullError: when there is no room.
        StateUnavailableError: when the lock was waited for in vain.
    """
    try:
        yield
    except sa.exc.OperationalError as error:
        if no_room(error):
            raise DiskFullError(f"cannot write to {what}: the disk is full") from error
        if _locked(error):
            raise StateUnavailableError(
                f"cannot write to {what}: another program has its file locked for more than "
                f"{BUSY_TIMEOUT:.0f} s",
                hint="Nothing is lost. Let the other program end, a backup or a viewer of databases say, "
                "then run again; `fuser` tells who has the file of [engine] database open.",
            ) from error
        raise


def _locked(error: sa.exc.DBAPIError) -> bool:
    """Whether another connection's transaction was waited for in vain: SQLITE_BUSY, SQLITE_LOCKED."""
    code = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def no_room(error: Exception) -> bool:
    """Whether SQLite found no room for its file, or PostgreSQL none for its tables."""
    if not isinstance(error, sa.exc.OperationalError):
        return False
    # SQLITE_FULL, and PostgreSQL's disk_full
    return "disk is full" in str(error.orig) or getattr(error.orig, "sqlstate", "") == "53100"


def of_database(error: Exception) -> bool:
    """Whether it is the state of a database, the catalog's or the engine's, and no statement's fault."""
    return isinstance(error, (*DATABASE_ERRORS, StateUnavailableError))


def driver_url(text: str) -> sa.URL:
    """The URL as SQLAlchemy takes it: PostgreSQL is spoken to through psycopg."""
    parsed = sa.make_url(text)
    if parsed.get_backend_name() in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def unanswered(url: sa.URL, cause: BaseException | None) -> StateUnavailableError:
    """What to raise when PostgreSQL does not answer, or gave a transaction up for another's sake."""
    # As it is written in the configuration, without the driver.
    shown = url.set(drivername="postgresql").render_as_string(hide_password=True)
    return StateUnavailableError(
        f"the database {shown} does not answer: {' '.join(str(cause).split())}",
        hint=POSTGRES_HINT,
    )


def _storable(value: object) -> object:
    """The value without what PostgreSQL refuses in text; names and messages may hold anything."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def within(table: sa.Table, target: Target) -> list[sa.ColumnElement[bool]]:
    """The conditions that a row with entity, project and collection belongs to a target."""
    parts = {
        "entity": target.entity,
        "project": target.project,
        "collection": target.collection if "collection" in table.c else None,
    }
    return [table.c[name] == part for name, part in parts.items() if part]


def batches(items: Sequence[Result]) -> Iterator[Sequence[Result]]:
    """The items in lists that one IN takes."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _use_wal(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
