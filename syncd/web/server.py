"""One listening socket, and uvicorn on it, for whatever application."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from syncd.errors import ConfigurationError, PermanentError
from syncd.web.idle import watch
from syncd.web.wire import Http, reset

BACKLOG = 512  # connections that may wait to be taken
# Another program listens there, the network is not up yet, or names cannot be asked for: that may pass
# by itself, and whoever starts us again shall not take it for a mistake in the configuration.
LATER = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, socket.EAI_AGAIN})
LATER_HINT = (
    "Look what else listens there and whether this machine has the address, or name another."
)
KEEP_ALIVE = (
    75  # seconds between two requests; longer than a proxy keeps its end, which is 60 mostly
)


@contextmanager
def listening(host: str, port: int, what: str) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket and its base URL, for the block.

    Args:
        host: the address to listen at.
        port: the port; 0 takes a free one.
        what: who listens, for errors.

    Raises:
        ConfigurationError: when the address cannot be listened at.
        PermanentError: when it cannot now, and might later.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay off for named ones only.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            problem = f"{what} {host}:{port}: {error.strerror}"
            if error.errno in LATER:
                raise PermanentError(problem, hint=LATER_HINT) from error
            raise ConfigurationError([problem]) from error
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        yield listener, f"http://{shown}:{listener.getsockname()[1]}"


def settings(app: ASGIApp, **more: Any) -> uvicorn.Config:
    """How an application is served.

    Args:
        app: the application.
        more: further settings of uvicorn's.
    """
    # h11, unlike httptools, bounds the head of a request. Of WebSockets we have none, and a library
    # that happens to be there shall not answer for us.
    return uvicorn.Config(
        app,
        http=Http,
        ws="none",
        access_log=False,
        log_config=None,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE,
        **more,
    )


def open_many() -> None:
    """Let this process open as many files as it may; each client takes two."""
    few, many = resource.getrlimit(resource.RLIMIT_NOFILE)
    if few < many:
        with suppress(OSError, ValueError):  # where it is not ours to change, or has no bound
            resource.setrlimit(resource.RLIMIT_NOFILE, (many, many))


class Server(uvicorn.Server):
    """A server of one application.

    Args:
        app: the application.
        ready: called once when requests are answered.
        patience: seconds that requests under way are given at the end; None gives them all they need.
    """

    def __init__(
        self, app: ASGIApp, ready: Callable[[], None], *, patience: int | None = None
    ) -> None:
        super().__init__(settings(app, server_header=False, timeout_graceful_shutdown=patience))
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        open_many()
        await super().startup(sockets)
        if self.started:
            self._watch = asyncio.create_task(watch(self.server_state.connections))
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; what clients have not taken by then is no whole answer."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            reset(connection.transport)
