"""HTTP on one connection: an answer that does not reach its end is reset, so that every client notices.

uvicorn closes such a connection as it closes any other. A client that counts bytes sees then that
some are missing; with urllib3 before 2.0 the wandb client does not count, and keeps half a file as a
whole one. What is reset is an error for all of them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, send nothing more


class Http(H11Protocol):
    """uvicorn's, which breaks off what it cannot end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(cast("asyncio.Transport", _Transport(transport, self)))


class _Transport:
    """A transport that knows whether the answer on it has reached its end.

    Args:
        transport: asyncio's.
        connection: whose it is.
    """

    def __init__(self, transport: asyncio.Transport, connection: Http) -> None:
        self._transport, self._connection = transport, connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Close it after what was written; or at once, where not all was."""
        cycle: Any = self._connection.cycle  # None before the first request
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            reset(self._transport)
        else:
            self._transport.close()


def reset(transport: asyncio.Transport) -> None:
    """Break a connection off."""
    with suppress(OSError):  # the other side was faster
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    transport.abort()
