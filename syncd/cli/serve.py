"""`syncd gateway` and `syncd sandbox serve`: servers in the foreground."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from syncd.cli import Context

Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.", min=0)]


def gateway(context: Context) -> None:
    """Serve moved files to training machines, and nothing else.

    Of a folder or of a server: a server's own token stays here, and clients show one of ours. Works
    while nothing else of syncd runs. Prints one JSON line when ready: {"url"}. Ends on SIGINT
    or SIGTERM.
    """
    from syncd.web import gateway as server  # noqa: PLC0415
    from syncd.web import origin  # noqa: PLC0415

    host, port = context.config.web.address
    with suppress(KeyboardInterrupt):  # a signal is how a server is meant to end
        server.serve(
            origin.configured(context.config, context.environ),
            host,
            port,
            tokens=origin.readers(context.config, context.environ),
            ready=lambda url: context.output.line({"url": url}),
            hosts=origin.hosts(context.config),
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
    from syncd import errors  # noqa: PLC0415
    from syncd.sandbox import server  # noqa: PLC0415

    try:
        server.serve(host=host, port=port, data=data, ready=context.output.line)
    except OSError as error:
        raise errors.UsageError(
            f"the sandbox cannot listen at {host}:{port}, or use {data or 'its folder'}: "
            f"{error.strerror or error}",
            hint="Name another --port (0 takes a free one), --host or --data.",
        ) from error
