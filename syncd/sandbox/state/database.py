"""The SQLite file: one connection per thread, one writer at a time, committed before anything is answered.

`snapshot()` gives a query one consistent view without waiting for writers (WAL). `transaction()` takes the only
write lock; it nests, the outermost one commits. Work that must follow a commit, such as removing bytes nobody
refers to any more, is given to `after_commit` and runs while the lock is still held.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

Record = TypeVar("Record")
Value: TypeAlias = str | int | float | None
Parameters: TypeAlias = Sequence[Value] | Mapping[str, Value]

_SCHEMAS = [Path(__file__).with_name(name) for name in ("schema.sql", "automations.sql")]


def now() -> str:
    """The present second in UTC, as the server writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _matches(pattern: str, value: object) -> bool:
    return value is not None and re.search(pattern, str(value)) is not None


@dataclass(slots=True)
class Transaction:
    """A transaction on its way: whether it is to be undone, and what follows it otherwise."""

    undone: bool = False
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    def undo(self) -> None:
        """Let nothing of it remain."""
        self.undone = True


class Database:
    """The state of one data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._write_lock = threading.RLock()
        self._current = Transaction()
        # Set whenever something has been committed; who waits for it clears it.
        self.committed = threading.Event()
        for schema in _SCHEMAS:
            self._connection().executescript(schema.read_text(encoding="utf-8"))

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            connection.row_factory = sqlite3.Row
            connection.create_function("regexp", 2, _matches, deterministic=True)
            connection.create_function("author", 0, lambda: getattr(self._local, "author", ""))
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA busy_timeout=30000")
            self._local.connection = connection
            self._open.append(connection)
        return connection

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads inside see the state of one moment."""
        connection = self._connection()
        if connection.in_transaction:
            yield
            return
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")

    def act_for(self, author: str) -> None:
        """Say on whose behalf this thread writes from now on."""
        self._local.author = author

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Write all or nothing; the outermost block commits."""
        connection = self._connection()
        with self._write_lock:
            if connection.in_transaction:
                yield self._current
                return
            connection.execute("BEGIN IMMEDIATE")
            self._current = Transaction()
            try:
                yield self._current
                connection.execute("ROLLBACK" if self._current.undone else "COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            if not self._current.undone:
                for action in self._current.afterwards:
                    action()
                self.committed.set()

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` when the present transaction has been committed, under its lock."""
        self._current.afterwards.append(action)

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; the number of changed rows."""
        return self._connection().execute(sql, parameters).rowcount

    def insert(self, table: str, /, **columns: Value) -> int:
        """Add a row; its id."""
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        cursor = self._connection().execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608  names are ours
            list(columns.values()),
        )
        return int(cursor.lastrowid or 0)

    def update(self, table: str, row: int, /, **columns: Value) -> None:
        """Change some columns of one row."""
        if not columns:
            return
        sets = ", ".join(f"{name} = ?" for name in columns)
        self._connection().execute(
            f"UPDATE {table} SET {sets} WHERE id = ?",  # noqa: S608  names are ours
            [*columns.values(), row],
        )

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for many rows."""
        self._connection().executemany(sql, rows)

    def rows(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """All rows."""
        return self._connection().execute(sql, parameters).fetchall()

    def all(
        self, record: Callable[..., Record], sql: str, parameters: Parameters = ()
    ) -> list[Record]:
        """All rows as records."""
        return [record(*row) for row in self._connection().execute(sql, parameters)]

    def one(
        self, record: Callable[..., Record], sql: str, parameters: Parameters = ()
    ) -> Record | None:
        """The first row as a record."""
        row = self._connection().execute(sql, parameters).fetchone()
        return None if row is None else record(*row)

    def value(self, sql: str, parameters: Parameters = ()) -> Any:
        """The first cell of the first row."""
        row = self._connection().execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Close every thread's connection."""
        for connection in self._open:
            connection.close()
        self._open.clear()


def dumps(value: object) -> str:
    """JSON text as stored in a column."""
    return json.dumps(value, separators=(",", ":"))
