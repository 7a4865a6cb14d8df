"""All that answers HTTP beside the mover: gateway, webhooks, health, figures, pages.

It shares nothing with the mover but the catalog's database and the stored bytes, so that it answers
while the mover is busy, and imports neither liboxen nor the engine, so that it starts at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from syncd.catalog.catalog import Catalog
from syncd.clients.origins import Origin
from syncd.config import Config, operator_tokens, webhook_secret
from syncd.refs import Target
from syncd.web import origin as origins
from syncd.web.answers import RefusedError, reason
from syncd.web.dashboard import Dashboard
from syncd.web.door import Door
from syncd.web.gateway import gateway_routes
from syncd.web.health import health_routes
from syncd.web.inbox import Inbox
from syncd.web.metrics import metrics_text
from syncd.web.pages import Pages
from syncd.web.stories import Stories
from syncd.web.webhook import webhook_routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the application is made of.

    Args:
        config: the configuration.
        catalog: what the processes share.
        origin: where moved files lie.
        inbox: takes what webhooks say.
        tokens: who may read; None when nobody is named.
        operators: those of them who may change something; empty for all.
        secret: what W&B signs webhooks with; None when there is none.
        clock: Unix seconds.
    """

    config: Config
    catalog: Catalog
    origin: Origin
    inbox: Inbox
    tokens: frozenset[str] | None
    secret: bytes | None
    operators: frozenset[str] = frozenset()
    clock: Callable[[], float] = time.time


def parts(config: Config, environ: Mapping[str, str], catalog: Catalog, inbox: Inbox) -> Parts:
    """The parts that a configuration names.

    Raises:
        ConfigurationError: when the server's URL, a token or the secret cannot be used.
    """
    secret = webhook_secret(config, environ)
    return Parts(
        config=config,
        catalog=catalog,
        origin=origins.configured(config, environ),
        inbox=inbox,
        tokens=origins.readers(config, environ),
        operators=frozenset(t.get_secret_value() for t in operator_tokens(config, environ)),
        secret=secret.get_secret_value().encode() if secret else None,
    )


def targets_of(config: Config) -> tuple[Target, ...]:
    """The projects that are moved."""
    return tuple(Target.parse(str(text)) for text in config.wandb.projects)


def face_app(made: Parts, targets: Callable[[], tuple[Target, ...]] | None = None) -> Starlette:
    """The application.

    Args:
        made: its parts.
        targets: the projects that are moved by now; by default those of the configuration.
    """
    config = made.config
    host, _ = config.web.address
    door = Door(made.tokens, host, config.web.public_url, operators=made.operators)
    pages = Pages(made.catalog, config, Stories(made.origin, config))
    dashboard = Dashboard(pages, made.catalog, door, made.clock)

    def metrics(request: Request) -> Response:
        try:
            door.enter(request.headers)
        except RefusedError as refused:
            return reason(refused)
        accept = request.headers.get("accept", "")
        body, content_type = metrics_text(made.catalog, made.inbox, accept, made.clock)
        headers = {"content-type": content_type, "cache-control": "no-store"}
        return Response(body, headers=headers)

    def unknown(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        refused = RefusedError(status, "there is no such page", "The first page is at /.")
        if config.web.dashboard and "text/html" in request.headers.get("accept", ""):
            return dashboard.refusal(request, refused)
        return reason(refused)

    routes: list[BaseRoute] = [
        *gateway_routes(made.origin, tokens=made.tokens),
        *webhook_routes(
            made.inbox, targets or (lambda: targets_of(config)), made.secret, made.clock
        ),
        *health_routes(made.catalog, made.inbox, made.clock),
        Route("/metrics", metrics),
        *(dashboard.routes() if config.web.dashboard else ()),
    ]
    app = Starlette(routes=routes, exception_handlers={404: unknown, 405: unknown})
    app.router.redirect_slashes = False
    return app
