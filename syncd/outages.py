"""Outages: a server that does not answer is told of as one event, not once for each call that waits.

The retry layer asks `OUTAGES` before it tells of an attempt that failed because a server was away;
the HTTP layer says when the server answers again. An outage is told when it begins, at most once a
minute while it lasts, with how many attempts were not told, and when it ends. Who tells of an absence
himself, as the patience of `syncd run` does, takes the outage over. Errors that end a call are raised
as ever: nothing here is about them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from syncd import log


@dataclass(slots=True)
class _Outage:
    began: float
    told: bool = False  # that it began
    taken_over: bool = False


class Outages:
    """The servers that do not answer now, by name; safe from any thread."""

    def __init__(self) -> None:
        self._away: dict[str, _Outage] = {}
        self._seldom = log.Seldom()
        self._lock = threading.Lock()

    def failed(self, service: str) -> int | None:
        """A server did not answer.

        Args:
            service: its scheme, host and port.

        Returns:
            How many attempts were not told since the last one that was; None when this one is not to
            be told either.
        """
        with self._lock:
            outage = self._away.setdefault(service, _Outage(time.monotonic()))
            # Whoever took it over has told it.
            untold = self._seldom(service, hush=outage.taken_over)
            outage.told |= untold is not None
            return untold

    def answered(self, service: str) -> None:
        """A server answered; this is called for each answer."""
        if service not in self._away:
            return
        with self._lock:
            outage = self._away.get(service)
            if outage is None or outage.taken_over:
                return
            del self._away[service]
            untold = self._seldom.untold(service) if outage.told else 0
        if outage.told:
            seconds = round(time.monotonic() - outage.began, 1)
            log.get().warning(
                log.Life.SERVICE_ANSWERED, service=service, seconds=seconds, untold=untold
            )

    def take_over(self, service: str) -> None:
        """Somebody tells of this outage, and of its end, himself."""
        with self._lock:
            self._away.setdefault(service, _Outage(time.monotonic())).taken_over = True

    def over(self, service: str) -> int:
        """An outage that was taken over has ended; how many attempts were not told."""
        with self._lock:
            self._away.pop(service, None)
            return self._seldom.untold(service)


OUTAGES = Outages()
