"""The process that answers HTTP: started by `syncd run`, started again by it, ended with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from syncd import log
from syncd.catalog.catalog import opened
from syncd.config import Config
from syncd.errors import ConfigurationError
from syncd.operations.webhooks import RELOAD
from syncd.refs import Target
from syncd.web.app import face_app, parts, targets_of
from syncd.web.inbox import Inbox
from syncd.web.server import Server, listening

PATIENCE = 5  # seconds that downloads under way are given at the end


class Watched:
    """The projects of which webhooks are heard, as the configuration names them by now.

    Args:
        config: the configuration.
        load: reads it again; raises `ConfigurationError`.
    """

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self._targets, self._load = targets_of(config), load

    def __call__(self) -> tuple[Target, ...]:
        """The projects."""
        return self._targets

    def reload(self) -> None:
        """Read the configuration again; one with a mistake is told of by the daemon, and changes nothing."""
        try:
            self._targets = targets_of(self._load())
        except ConfigurationError:
            return


def serve(
    config: Config,
    environ: Mapping[str, str],
    ready: Callable[[str], None],
    load: Callable[[], Config],
) -> None:
    """Serve until SIGINT or SIGTERM; `RELOAD` reads again which projects are moved.

    Args:
        config: the configuration.
        environ: the environment variables.
        ready: called once with the base URL when requests are answered.
        load: reads the configuration again.

    Raises:
        ConfigurationError: when the address cannot be listened at, or a secret cannot be read.
    """
    host, port = config.web.address
    watched = Watched(config, load)
    with opened(config) as catalog, _reloaded(watched):
        inbox = Inbox(catalog)
        app = face_app(parts(config, environ, catalog, inbox), watched)
        with listening(host, port, "web.bind") as (listener, url):
            server = Server(app, lambda: _started(url, ready), patience=PATIENCE)
            writer = threading.Thread(target=inbox.run, name="inbox", daemon=True)
            writer.start()
            try:
                server.run(sockets=[listener])
            finally:
                inbox.end()
                writer.join()
                log.get().info(log.Life.FACE_STOPPED)


@contextmanager
def _reloaded(watched: Watched) -> Iterator[None]:
    def hear(_number: int, _frame: FrameType | None) -> None:
        watched.reload()

    before = signal.signal(RELOAD, hear)
    try:
        yield
    finally:
        signal.signal(RELOAD, before)


def _started(url: str, ready: Callable[[str], None]) -> None:
    log.get().info(log.Life.FACE_STARTED, url=url)
    ready(url)
