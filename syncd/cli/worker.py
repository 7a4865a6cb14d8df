"""`syncd worker`: another process, or another machine, for the same work."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from syncd.cli import Context, ExitCode

DRAIN = 30  # seconds


def worker(
    context: Context,
    *,
    drain: Annotated[
        int,
        typer.Option("--drain", help="Seconds that stages have to end when it is stopped.", min=0),
    ] = DRAIN,
) -> ExitCode:
    """Move what others have queued on the same PostgreSQL.

    Needs an Oxen server; a folder of repositories has one owner. Prints one JSON line when ready:
    {"executor"}. SIGTERM or SIGINT drains, a second one stops at once; either way others go on with
    what is left. Ends with 5 when PostgreSQL is lost: start it again then.
    """
    from syncd import runtime  # noqa: PLC0415
    from syncd.cli.main import program_version  # noqa: PLC0415
    from syncd.durable import fleet  # noqa: PLC0415
    from syncd.durable.deaths import witnessed  # noqa: PLC0415
    from syncd.service.worker import Worker  # noqa: PLC0415

    config = context.config
    fleet.check_shared(config)
    with (
        runtime.only_one(config),
        runtime.opened(config, context.environ) as opened,
        witnessed(config.engine.state_dir, opened.catalog),
        fleet.joined(config) as member,
    ):
        work = Worker(opened, member, program_version())
        code = ExitCode.DONE
        try:
            work.start()
            context.output.line({"executor": member.executor_id})
            while True:
                work.tick()
        except KeyboardInterrupt:
            try:
                work.drain(drain)
            except KeyboardInterrupt:
                code = ExitCode.INTERRUPTED
        # What still runs must not go on for a moment after the others have taken it over.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
