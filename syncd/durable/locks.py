"""Locks by name: among the threads of this process and, on PostgreSQL, among all of a fleet."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from syncd.catalog.presence import Presence
from syncd.errors import ServiceUnavailableError
from syncd.refs import RunRef

AGAIN = 0.2  # seconds between two looks whether another machine gave a lock back
LAST_MOMENTS = 5.0  # seconds in which a process that lost its locks is ended


def run_lock(run: RunRef) -> str:
    """The name of the lock under which a run's config is read and written, and noted as due."""
    return f"run {run}"


class Locks:
    """Makes locks; the same name is the same lock.

    Args:
        presence: holds them among all that share a database; None on a machine that is alone.
    """

    def __init__(self, presence: Presence | None = None) -> None:
        self._presence = presence
        self._guard = threading.Lock()
        self._own: dict[str, threading.Lock] = {}  # of this process's threads
        self._users: Counter[str] = Counter()

    @property
    def busy(self) -> int:
        """How many threads of this process are in a context, or wait for one."""
        return self._users.total()

    def alone(self, name: str) -> Alone:
        """A context in which nobody else is in the context of this name. Not to be nested in itself."""
        return Alone(self, name)

    def enter(self, name: str) -> None:
        """Wait until nobody else is in the context of a name.

        Raises:
            ServiceUnavailableError: when the locks are lost, and this process has not been ended.
        """
        with self._guard:
            own = self._own.setdefault(name, threading.Lock())
            self._users[name] += 1
        own.acquire()
        try:
            while not self._taken(name):
                time.sleep(AGAIN)
        except BaseException:
            self._let_go(name)
            raise

    def leave(self, name: str) -> None:
        """Let the next one in."""
        try:
            if self._presence is not None:
                with _ending():
                    self._presence.drop(name)
        finally:
            self._let_go(name)

    def _taken(self, name: str) -> bool:
        if self._presence is None:
            return True
        with _ending():
            return self._presence.take(name)

    def _let_go(self, name: str) -> None:
        with self._guard:
            self._own[name].release()
            self._users[name] -= 1
            if not self._users[name]:  # names come and go for years
                del self._users[name], self._own[name]


class Alone:
    """A lock's context; it may be entered again after it was left.

    Args:
        locks: make it.
        name: the lock.
    """

    def __init__(self, locks: Locks, name: str) -> None:
        self._locks, self._name = locks, name

    def __enter__(self) -> None:
        """See `Locks.enter`."""
        self._locks.enter(self._name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See `Locks.leave`."""
        self._locks.leave(self._name)


@contextmanager
def _ending() -> Iterator[None]:
    """Hold a thread that finds the locks lost: its failure would be told of a version, and is none.

    Whoever watches the connection ends the process meanwhile.
    """
    try:
        yield
    except ServiceUnavailableError:
        time.sleep(LAST_MOMENTS)
        raise
