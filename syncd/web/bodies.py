"""The body of a request: so many bytes at most, and within a time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from syncd.web.answers import RefusedError

READ_TIMEOUT = 10.0  # seconds in which a body has to be there


async def whole(request: Request, most: int, hint: str) -> bytes:
    """All of a body.

    Args:
        request: whose body it is.
        most: bytes.
        hint: what to do where there are more.

    Raises:
        RefusedError: when it is too large, too slow, or ends early.
    """
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            return await _read(request, most, hint)
    except TimeoutError as error:
        raise RefusedError(408, "the body did not arrive in time", "Send it at once.") from error
    except ClientDisconnect as error:
        raise RefusedError(400, "the body ended early", "Send all of it.") from error


async def _read(request: Request, most: int, hint: str) -> bytes:
    too_large = RefusedError(413, f"the body has more than {most} bytes", hint)
    told = request.headers.get("content-length", "0")
    if not told.isdecimal() or int(told) > most:
        raise too_large
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > most:
            raise too_large
    return bytes(found)
