"""Who may move beside whom in a process: all at a time, or a suspect and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets versions move; safe from any thread. A turn is taken before any other lock."""

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._moving = 0
        self._asking = 0  # suspects that wait until nothing moves; nobody begins before them
        self._alone = False

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        """Move within the block; waits for the turn.

        Args:
            alone: whether nothing else may move meanwhile.
        """
        with self._state:
            if alone:
                self._asking += 1
                try:
                    self._state.wait_for(lambda: not self._moving)
                finally:
                    self._asking -= 1
                self._alone = True
            else:
                self._state.wait_for(lambda: not self._alone and not self._asking)
            self._moving += 1
        try:
            yield
        finally:
            with self._state:
                self._moving -= 1
                self._alone = False
                self._state.notify_all()
