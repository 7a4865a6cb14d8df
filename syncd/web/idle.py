"""Clients that hold a connection and do nothing with it; they are given up after a while.

uvicorn bounds the time between two requests, and nothing else: who begins a request and sends no
more of it, or takes no more of what he asked for, would keep an open file of ours for ever, and of
those there are few.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from syncd import log
from syncd.web.wire import reset

ASK_WITHIN = (
    90.0  # seconds in which a request has to be there; longer than uvicorn waits between two
)
TAKE_WITHIN = 600.0  # seconds in which some bytes of an answer have to be taken
LOOK = 5.0  # seconds between two looks
_Doing = tuple[
    str, float, object, int
]  # what is waited for, how long at most, and what would change


class Idle:
    """Remembers what each connection waits for, and since when.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[Any, tuple[_Doing, float]] = {}

    def look(self, connections: Iterable[Any]) -> None:
        """Give up those that have waited for too long.

        Args:
            connections: uvicorn's, of HTTP.
        """
        now, before, self._waiting = self._clock(), self._waiting, {}
        dropped = Counter[str]()
        for connection in list(connections):
            doing = _doing(connection)
            if doing is None:
                continue
            known, since = before.get(connection, (None, now))
            if known != doing:
                since = now
            if now - since < doing[1]:
                self._waiting[connection] = (doing, since)
            else:
                reset(connection.transport)
                dropped[doing[0]] += 1
        for reason, count in dropped.items():
            log.get().info(log.Life.CLIENT_DROPPED, reason=reason, connections=count)


async def watch(connections: Iterable[Any]) -> None:
    """Look every few seconds, for as long as the server runs."""
    idle = Idle()
    while True:
        await asyncio.sleep(LOOK)
        idle.look(connections)


def _doing(connection: Any) -> _Doing | None:
    """What the client of a connection has to do next; None while it is our turn."""
    cycle, unsent = connection.cycle, connection.transport.get_write_buffer_size()
    if unsent:
        return "takes nothing of its answer", TAKE_WITHIN, cycle, unsent
    if cycle is None or cycle.response_complete:
        return "sends no request", ASK_WITHIN, cycle, 0
    return None
