"""The line to W&B's storage: all downloads share so many bytes a second, when the settings say how many."""

from __future__ import annotations

import asyncio
import math
import time

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from syncd.sandbox.settings import Settings


class Line:
    """What downloads pass through; used by the event loop alone.

    Args:
        settings: `bandwidth` is looked at when a download begins, and for each piece.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._free = 0.0  # when everything will have passed that was given to it so far

    def over(self, response: Response) -> Response:
        """A response as it comes over the line; itself where that has no limit."""
        return response if self._settings.bandwidth is None else _Carried(response, self)

    async def carry(self, size: int) -> None:
        """Wait until so many bytes have passed."""
        rate = self._settings.bandwidth or math.inf
        now = time.monotonic()
        self._free = max(self._free, now) + size / rate
        await asyncio.sleep(self._free - now)


class _Carried(Response):
    """A response whose body passes through a line."""

    def __init__(self, inner: Response, line: Line) -> None:
        super().__init__()
        self._inner, self._line = inner, line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the inner response, each piece when it has passed."""

        async def passing(message: Message) -> None:
            await self._line.carry(len(message.get("body", b"")))
            await send(message)

        await self._inner(scope, receive, passing)
