"""`syncd face`: what answers HTTP, as a process of its own."""

from __future__ import annotations

from contextlib import suppress

from syncd.cli import Context


def face(context: Context) -> None:
    """Serve webhooks, dashboard, figures, health and moved files.

    `syncd run` starts it and starts it again; by hand it shows what is there while nothing moves.
    Prints one JSON line when ready: {"url"}. Ends on SIGINT or SIGTERM; SIGUSR1 reads `[wandb]
    projects` again.
    """
    from syncd import config  # noqa: PLC0415
    from syncd.web import face as server  # noqa: PLC0415

    with suppress(KeyboardInterrupt):  # a signal is how a server is meant to end
        server.serve(
            context.config,
            context.environ,
            ready=lambda url: context.output.line({"url": url}),
            load=lambda: config.load(context.config_file, context.environ),
        )
