"""`syncd gateway` and `syncd sandbox serve`: servers in the foreground."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from syncd import errors
from syncd.cli import Context

Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.", min=0)]


def gateway(context: Context) -> None:
    """Serve moved files to training machines, and nothing else.

    Works while nothing else of syncd runs. Prints one JSON line when ready: {"url"}. Ends on SIGINT
    or SIGTERM.
    """
    from syncd import config  # noqa: PLC0415
    from syncd.web import gateway as server  # noqa: PLC0415

    root = context.config.oxen.directory
    if root is None:
        raise errors.UsageError(
            f"oxen.url is {context.config.oxen.url}, which serves its files itself",
            hint="The gateway serves a folder: set oxen.url to file:///folder.",
        )
    host, port = context.config.web.address
    tokens = {
        token.get_secret_value() for token in config.gateway_tokens(context.config, context.environ)
    }
    with suppress(KeyboardInterrupt):  # a signal is how a server is meant to end
        server.serve(
            root,
            host,
            port,
            tokens=frozenset(tokens) or None,  # without any, everyone may read
            ready=lambda url: context.output.line({"url": url}),
        )


def sandbox(
    context: Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = 0,
    data: Annotated[
        Path | None, typer.Option("--data", help="A folder that keeps its state.")
    ] = None,
) -> None:
    """Start a W&B-compatible server for trials.

    Prints one JSON line when ready: {"base_url", "api_key", "entity"}. Without --data everything
    is gone when it ends.
    """
    from syncd.sandbox import server  # noqa: PLC0415

    server.serve(host=host, port=port, data=data, ready=context.output.line)
