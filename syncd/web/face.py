"""The process that answers HTTP: started by `syncd run`, started again by it, ended with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence

from syncd import log
from syncd.catalog.catalog import opened
from syncd.config import Config
from syncd.errors import ConfigurationError
from syncd.operations.webhooks import RELOAD
from syncd.web.app import face_app, parts
from syncd.web.inbox import Inbox
from syncd.web.server import Server, listening

PATIENCE = 5  # seconds that downloads under way are given at the end


def serve(
    config: Config,
    environ: Mapping[str, str],
    ready: Callable[[str], None],
    load: Callable[[], Config],
) -> None:
    """Serve until SIGINT or SIGTERM; with `RELOAD`, hear of the projects that the configuration names now.

    Args:
        config: the configuration.
        environ: the environment variables.
        ready: called once with the base URL when requests are answered.
        load: reads the configuration again; raises `ConfigurationError`.

    Raises:
        ConfigurationError: when the address cannot be listened at, or a secret cannot be read.
    """
    host, port = config.web.address
    projects = Projects(config, load)
    signal.signal(RELOAD, projects.again)
    with opened(config) as catalog:
        inbox = Inbox(catalog)
        app = face_app(parts(config, environ, catalog, inbox, projects))
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


class Projects:
    """The projects that are moved; the daemon, which is told of a change, tells of it.

    Args:
        config: the configuration at the start.
        load: reads it again.
    """

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self._named: Sequence[object] = config.wandb.projects
        self._load = load

    def __call__(self) -> Sequence[object]:
        """Their names."""
        return self._named

    def again(self, *_signal: object) -> None:
        """Read them again; a configuration with a mistake changes nothing."""
        try:
            self._named = self._load().wandb.projects
        except ConfigurationError as error:
            log.get().error(log.Life.RELOAD_REFUSED, problems=error.problems, hint=error.hint)


def _started(url: str, ready: Callable[[str], None]) -> None:
    log.get().info(log.Life.FACE_STARTED, url=url)
    ready(url)
