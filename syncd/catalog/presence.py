"""One connection to PostgreSQL that holds locks, which are gone at the moment it is.

A lock of PostgreSQL's session belongs to the connection: when the process is killed, its machine dies
or the network parts them, the server closes the connection and others get the lock. The holder has
to notice first. It asks the server every few seconds, and is woken at once when the server hangs up;
where nothing answers, this side gives up after `LOOK` and `ANSWER` seconds, 12, the server's after 30.
"""

from __future__ import annotations

import hashlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import LiteralString

import psycopg
import sqlalchemy as sa

from syncd.catalog.database import CONNECT_TIMEOUT, driver_url, unanswered

LOOK = 2.0  # seconds between two questions whether the connection is there
ANSWER = 10  # seconds that the server has for an answer
_OURS = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives": 1,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": ANSWER * 1000,
    "application_name": "syncd",
}
_THEIRS = (  # statements, because poolers refuse such settings when a connection begins
    "SET tcp_keepalives_idle = 15",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
)


class Presence:
    """Locks that live as long as this connection; safe from any thread.

    A lock taken twice over one connection is granted twice: who must not meet within a process keeps
    the process's own locks beside these.

    Args:
        url: `postgresql://...`.

    Raises:
        ServiceUnavailableError: when the server does not answer; likewise from every method.
    """

    def __init__(self, url: str) -> None:
        self._mutex = threading.Lock()
        self._url = driver_url(url)
        _, arguments = sa.create_engine(self._url).dialect.create_connect_args(self._url)
        with self._translated():
            # Not one of SQLAlchemy's: it would connect again behind our back, and hold nothing.
            self._connection = psycopg.connect(**{**arguments, **_OURS}, autocommit=True)
            for statement in _THEIRS:
                self._connection.execute(statement)
        self._bell, self._ring = socket.socketpair()

    def take(self, name: str, *, shared: bool = False) -> bool:
        """Take a lock that nobody else holds; False when somebody does. Never waits.

        Args:
            name: the lock.
            shared: whether others may hold it shared at a time.
        """
        how = "_shared" if shared else ""
        return self._ask(f"SELECT pg_try_advisory_lock{how}(%s)", _key(name))

    def drop(self, name: str, *, shared: bool = False) -> None:
        """Give a lock back that was taken the same way."""
        how = "_shared" if shared else ""
        if not self._ask(f"SELECT pg_advisory_unlock{how}(%s)", _key(name)):
            raise RuntimeError(f"the lock {name!r} was not held")

    def confirm(self) -> None:
        """Ask the server whether the connection, and so all that it holds, is there."""
        self._ask("SELECT %s = 0", 0)

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, when woken, or as soon as the server says anything by itself.

        Other threads' answers may end it early, too.
        """
        try:
            select.select([self._connection.fileno(), self._bell.fileno()], [], [], seconds)
        except (psycopg.OperationalError, ValueError) as error:  # closed meanwhile
            raise unanswered(self._url, error) from error

    def wake(self) -> None:
        """End `wait`, now and from now on."""
        self._ring.send(b"!")

    def close(self) -> None:
        """Give everything back; it is free when this returns, unless the connection is broken."""
        with self._mutex:
            with suppress(psycopg.Error):
                self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._connection.close()
            self._bell.close()
            self._ring.close()

    def _ask(self, question: LiteralString, number: int) -> bool:
        with self._mutex, self._translated():
            row = self._connection.execute(question, (number,)).fetchone()
        return bool(row and row[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise unanswered(self._url, error) from error


def _key(name: str) -> int:
    """The lock's number: PostgreSQL names them by 64 bits with a sign."""
    digest = hashlib.sha256(f"syncd {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
