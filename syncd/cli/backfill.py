"""`syncd backfill`: the one-off migration, with progress."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from syncd.cli import Context, ExitCode
from syncd.cli.output import console as stderr_console
from syncd.cli.scope import Targets, counted, size
from syncd.cli.scope import targets as read_targets

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.operations.backfill import Follower, Report
    from syncd.runtime import Runtime

Lost = Callable[[str], None]  # told the cause


def backfill(
    context: Context,
    targets: Targets = None,
    *,
    since: Annotated[str, typer.Option("--since", help="Only versions from this date on.")] = "",
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only this artifact type; may be repeated.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many versions.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> ExitCode:
    """Move what is there now; run it again to resume.

    Ends with 3 when some versions could not be moved: the others were, and W&B is untouched for
    those.
    """
    from syncd.operations import backfill as work  # noqa: PLC0415

    scope = work.Scope(
        targets=read_targets(targets, context.config),
        since=_date(since),
        types=frozenset(types or ()),
        limit=limit,
    )
    if dry_run:
        from syncd import runtime  # noqa: PLC0415
        from syncd.cli.plan import preview_document, print_preview  # noqa: PLC0415

        with runtime.opened(context.config, context.environ) as opened:
            plan = preview_document(opened, scope)
        context.output.result(plan, lambda console: print_preview(console, plan))
        return ExitCode.DONE
    report = moving(context, lambda opened, follower: work.backfill(opened, scope, follower))
    document = report.document()
    context.output.result(document, lambda console: print_report(console, document))
    return ExitCode.PARTIAL if report.failures else ExitCode.DONE


def moving(context: Context, work: Callable[[Runtime, Follower], Report]) -> Report:
    """Let versions move, with progress; an interruption ends the process at once.

    So does the loss of PostgreSQL: others may be at its versions from then on. It is told in one
    thread or the other, whichever meets it first.

    Args:
        context: what the shell hands over.
        work: moves them; the state directory is locked and all is open.
    """
    from syncd import errors, runtime  # noqa: PLC0415
    from syncd.catalog.database import POSTGRES_HINT  # noqa: PLC0415
    from syncd.durable.deaths import witnessed  # noqa: PLC0415

    telling = threading.Lock()

    def lost(cause: str) -> None:
        if telling.acquire(blocking=False):
            error = errors.StateUnavailableError(cause, hint=POSTGRES_HINT)
            _end_now(error, context)

    with runtime.only_one(context.config):
        try:
            with (
                runtime.opened(context.config, context.environ) as opened,
                witnessed(context.config.engine.state_dir, opened.catalog),
            ):
                _reach(opened)
                with _progress(context, lost) as follower:
                    done = work(opened, follower)
                context.leaves = bool(done.left)
                return done
        except (KeyboardInterrupt, errors.StateUnavailableError) as error:
            telling.acquire()  # for good: whoever has it ends the process
            # Threads of the engine would finish their version, or wait for ever.
            if threading.active_count() > 1:
                _end_now(error, context)
            raise


def _end_now(error: BaseException, context: Context) -> NoReturn:
    """Report, and end in the middle of whatever runs."""
    from syncd.cli.main import report  # noqa: PLC0415 the one place that reports

    code = report(error, context)
    sys.stderr.flush()
    os._exit(code)


def _reach(opened: Runtime) -> None:
    """See that Oxen is there, before every version finds out by itself that it is not.

    Raises:
        ServiceUnavailableError: when it is away.
        PermanentError: when [oxen] url is no Oxen server's.
    """
    from syncd import errors, runtime  # noqa: PLC0415

    url = opened.config.oxen.url
    try:
        runtime.probe_oxen(opened.store, opened.config)
    except errors.ServiceUnavailableError as error:
        raise errors.ServiceUnavailableError(
            f"Oxen is away: {error}",
            hint=f"Check [oxen] url ({url}); the same command then goes on where it stopped.",
        ) from error
    except errors.AuthenticationError:
        pass  # who may see this one repository is not who may see others
    runtime.check_store(opened)


def _date(text: str) -> str:
    """The date in the form W&B writes times, so that they compare as text.

    Raises:
        UsageError: when it is no date.
    """
    from datetime import datetime  # noqa: PLC0415

    from syncd.errors import UsageError  # noqa: PLC0415

    if not text:
        return ""
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"--since {text!r} is not a date", hint="Write 2026-11-24.") from error


def _progress(context: Context, lost: Lost) -> Any:
    """A follower that draws bars where a person looks on, and none elsewhere.

    Who looks at bars is told of what goes wrong, and of each stage of each version when asked for.
    """
    from contextlib import nullcontext  # noqa: PLC0415

    from syncd import log  # noqa: PLC0415
    from syncd.operations.backfill import Follower  # noqa: PLC0415

    if not stderr_console().is_terminal:

        class Plain(Follower):
            def lost(self, cause: str) -> None:
                lost(cause)

        return nullcontext(Plain())
    if context.given_log_level is None and "level" not in context.config.log.model_fields_set:
        log.configure("warning", context.config.log.format)
    return _Bars(lost)


class _Bars:
    """Two bars: versions done, and bytes transferred with rate and time left."""

    def __init__(self, lost: Lost) -> None:
        from rich import progress  # noqa: PLC0415

        self._lost = lost
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[shown]}", markup=False),
            progress.TimeRemainingColumn(),
            console=stderr_console(),
        )
        self._lock = threading.Lock()
        self._done = 0

    def __enter__(self) -> Follower:
        from syncd import log  # noqa: PLC0415
        from syncd.operations.backfill import Follower  # noqa: PLC0415

        bars, lock, outer = self._progress, self._lock, self
        versions = bars.add_task("versions", shown="looking", total=None)
        payload = bars.add_task("bytes", shown="", total=None)

        class Drawing(Follower):
            def found(self, count: int, total: int) -> None:
                bars.update(versions, total=count, shown=f"0 of {count}")
                bars.update(payload, total=total, shown=f"of {size(total)}")

            def working(self, _artifact_id: str, stage: log.Stage, done: int) -> None:
                if stage is log.Stage.TRANSFER:
                    with lock:
                        bars.advance(payload, done)
                        task = bars.tasks[1]
                        of = size(int(task.total or 0))
                        bars.update(payload, shown=f"{size(int(task.completed))} of {of}")

            def lost(self, cause: str) -> None:
                bars.stop()  # they hide the cursor
                outer._lost(cause)

            def ended(self, _outcome: dict[str, Any]) -> None:
                outer._done += 1
                total = bars.tasks[0].total
                bars.update(versions, advance=1, shown=f"{outer._done} of {total:.0f}")

        self._progress.start()
        return Drawing()

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()


def print_report(console: Console, document: dict[str, Any]) -> None:
    """Print the document of `Report.document` for people."""
    for item in document["replacements"]:
        console.print(f"moved {item['source']} -> {item['replacement']}  {item['oxen']}")
    for item in document["failures"]:
        console.print(f"failed {item['version']} ({item['stage']}): {item['error']}")
        console.print(f"  next: {item['hint']}")
    versions, sizes = document["versions"], document["bytes"]
    console.print(
        f"{counted(versions['replaced'], 'version')} moved, {versions['skipped']} skipped, "
        f"{versions['failed']} failed; {size(sizes['planned'])} are references now, "
        f"{size(sizes['downloaded'])} travelled, {size(sizes['deduplicated'])} were in Oxen already."
    )
    if versions["skipped"]:
        console.print("`syncd plan` says why versions are skipped.")
