"""Locks by name: among the threads of this process and, on PostgreSQL, among all of a fleet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from syncd.catalog.presence import Presence
from syncd.errors import ServiceUnavailableError

AGAIN = 0.2  # seconds between two looks whether another machine gave a lock back
LAST_MOMENTS = 5.0  # seconds in which a process that lost its locks is ended


class Locks:
    """Makes locks; the same name is the same lock.

    Args:
        presence: holds them among all that share a database; None on a machine that is alone.
    """

    def __init__(self, presence: Presence | None = None) -> None:
        self._presence = presence
        self._guard = threading.Lock()
        self._own: dict[str, threading.Lock] = {}
        self._busy = 0

    @property
    def busy(self) -> int:
        """How many contexts somebody of this process is in, or waits for."""
        return self._busy

    def alone(self, name: str) -> Alone:
        """A context in which nobody else is in the context of this name. Not to be nested in itself."""
        with self._guard:
            own = self._own.setdefault(name, threading.Lock())
        return Alone(name, own, self._presence, self._count)

    def _count(self, change: int) -> None:
        with self._guard:
            self._busy += change


class Alone:
    """A lock's context; it may be entered again after it was left.

    Args:
        name: the lock.
        own: keeps this process's other threads out.
        presence: keeps other processes out.
        count: told of one more who is in it or waits for it, and of one less.
    """

    def __init__(
        self,
        name: str,
        own: threading.Lock,
        presence: Presence | None,
        count: Callable[[int], None],
    ) -> None:
        self._name, self._own, self._presence, self._count = name, own, presence, count

    def __enter__(self) -> None:
        """Wait until nobody else is in it.

        Raises:
            ServiceUnavailableError: when the locks are lost, and this process has not been ended.
        """
        self._count(1)
        self._own.acquire()
        try:
            while not self._taken():
                time.sleep(AGAIN)
        except BaseException:
            self._own.release()
            self._count(-1)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the next one in."""
        try:
            if self._presence is not None:
                with _ending():
                    self._presence.drop(self._name)
        finally:
            self._own.release()
            self._count(-1)

    def _taken(self) -> bool:
        if self._presence is None:
            return True
        with _ending():
            return self._presence.take(self._name)


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
