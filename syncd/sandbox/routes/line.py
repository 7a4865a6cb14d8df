"""The line to W&B's storage: all downloads share so many bytes a second, when the settings say how many."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from syncd.sandbox.settings import Settings


class Line:
    """What downloads pass through; used by the event loop alone.

    Args:
        settings: `bandwidth` is looked at for each piece.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._free = 0.0  # when everything will have passed that was given to it so far

    async def carry(self, size: int) -> None:
        """Wait until so many bytes have passed."""
        rate = self._settings.bandwidth
        if rate is None:
            return
        now = time.monotonic()
        self._free = max(self._free, now) + size / rate
        await asyncio.sleep(self._free - now)


class Carried(Response):
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
