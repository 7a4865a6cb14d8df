"""`syncd run`: the daemon."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from syncd.cli import Context, ExitCode
from syncd.cli.output import STANDARD_OUTPUT


def run(
    context: Context,
    *,
    face: Annotated[
        bool,
        typer.Option("--face/--no-face", help="Serve HTTP too: webhooks, dashboard, moved files."),
    ] = True,
) -> None:
    """Watch W&B, move what is new, and serve it; for years.

    SIGTERM or SIGINT drains, a second one stops at once; either way the next start goes on.
    SIGHUP reads the configuration again. See docs/daemon.md.
    """
    from syncd import config, log, runtime  # noqa: PLC0415
    from syncd.cli.main import program_version, report  # noqa: PLC0415
    from syncd.cli.scope import targets  # noqa: PLC0415
    from syncd.durable import fleet  # noqa: PLC0415
    from syncd.durable.deaths import witnessed  # noqa: PLC0415
    from syncd.service import daemon  # noqa: PLC0415
    from syncd.service.notify import Notifier  # noqa: PLC0415

    targets(None, context.config)  # a daemon without anything to watch is a mistake
    level, style = context.given_log_level, context.given_log_format

    def log_as(found: config.Config) -> None:
        log.configure(level or found.log.level, style or found.log.format)

    settings = daemon.Settings(
        face=[*_face(context)] if face else (),
        load=lambda: config.load(context.config_file, context.environ),
        log_as=log_as,
        version=program_version(),
    )
    # liboxen prints what it does; the log is for us.
    os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_OUTPUT)
    code = int(ExitCode.DONE)
    with (
        runtime.only_one(context.config),
        runtime.opened(context.config, context.environ) as parts,
        witnessed(context.config.engine.state_dir, parts.catalog),
        fleet.joined(context.config) as member,
    ):
        try:
            daemon.Daemon(parts, settings, member, Notifier(context.environ)).run()
        except Exception as error:  # noqa: BLE001 reported as any other command's, by the same function
            code = report(error, context)
        # The engine's threads may stand in the middle of a stage. Python would wait for them, and
        # they must not go on for a moment after the others have taken it over.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _face(context: Context) -> list[str]:
    """The words that start the process which serves HTTP, with the options this one was given."""
    options = {
        "--config": context.config_file,
        "--log-level": context.given_log_level,
        "--log-format": context.given_log_format,
    }
    given = [word for name, value in options.items() if value for word in (name, str(value))]
    return [sys.executable, "-m", "syncd", "face", *given]
