"""Locks by name: among the threads of this process and, on PostgreSQL, among all of a fleet."""

from __future__ import annotations

import threading
from types import TracebackType

from syncd.catalog.presence import Presence

AGAIN = 0.2  # seconds between two looks whether another machine gave a lock back


class Locks:
    """Makes locks; the same name is the same lock.

    Args:
        presence: holds them among all that share a database; None on a machine that is alone.
    """

    def __init__(self, presence: Presence | None = None) -> None:
        self._presence = presence
        self._guard = threading.Lock()
        self._own: dict[str, threading.Lock] = {}

    def alone(self, name: str) -> Alone:
        """A context in which nobody else is in the context of this name. Not to be nested in itself."""
        with self._guard:
            own = self._own.setdefault(name, threading.Lock())
        return Alone(name, own, self._presence)


class Alone:
    """A lock's context; it may be entered again after it was left.

    Args:
        name: the lock.
        own: keeps this process's other threads out.
        presence: keeps other processes out.
    """

    def __init__(self, name: str, own: threading.Lock, presence: Presence | None) -> None:
        self._name, self._own, self._presence = name, own, presence

    def __enter__(self) -> None:
        """Wait until nobody else is in it."""
        self._own.acquire()
        try:
            while self._presence is not None and not self._presence.take(self._name):
                threading.Event().wait(AGAIN)
        except BaseException:
            self._own.release()
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
                self._presence.drop(self._name)
        finally:
            self._own.release()
