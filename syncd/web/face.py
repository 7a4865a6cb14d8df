"""The process that answers HTTP: started by `syncd run`, started again by it, ended with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from syncd import log
from syncd.catalog.catalog import opened
from syncd.config import Config
from syncd.web.app import face_app, parts
from syncd.web.inbox import Inbox
from syncd.web.server import Server, listening

PATIENCE = 5  # seconds that downloads under way are given at the end


def serve(config: Config, environ: Mapping[str, str], ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        config: the configuration.
        environ: the environment variables.
        ready: called once with the base URL when requests are answered.

    Raises:
        ConfigurationError: when the address cannot be listened at, or a secret cannot be read.
    """
    host, port = config.web.address
    with opened(config) as catalog:
        inbox = Inbox(catalog)
        app = face_app(parts(config, environ, catalog, inbox))
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


def _started(url: str, ready: Callable[[str], None]) -> None:
    log.get().info(log.Life.FACE_STARTED, url=url)
    ready(url)
