"""`syncd reclaim`: moved versions leave W&B, and why others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, ExitCode
from syncd.cli.scope import Targets, counted, size
from syncd.cli.scope import targets as read_targets

if TYPE_CHECKING:
    from rich.console import Console


def reclaim(
    context: Context,
    targets: Targets = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> ExitCode:
    """Free the W&B storage of moved versions, under the configured policy and guards.

    Does nothing until [reclaim] policy says so. Each version is read back from Oxen before it is
    removed. Ends with 3 when some could not be removed although every guard was content.
    """
    from datetime import UTC, datetime  # noqa: PLC0415
    from functools import partial  # noqa: PLC0415

    from syncd import runtime  # noqa: PLC0415
    from syncd.operations import sweep  # noqa: PLC0415

    found = read_targets(targets, context.config)
    now = partial(datetime.now, UTC)
    with runtime.only_one(context.config), runtime.opened(context.config, context.environ) as parts:
        runtime.check_store(parts)
        planned = sweep.plan(parts, found, now(), everything=dry_run)
        report = sweep.describe(planned, parts) if dry_run else sweep.execute(planned, parts, now)
    document = report.document()
    context.output.result(document, lambda console: _print(console, document))
    return ExitCode.PARTIAL if report.failures else ExitCode.DONE


def _print(console: Console, document: dict[str, Any]) -> None:
    ahead, later = document["dry_run"], document["policy"] == "ttl"
    word = "would go" if ahead else ("goes when its time is over" if later else "removed")
    for item in document["removals"]:
        console.print(f"{word} {item['source']}  {size(item['bytes'])}  {item['oxen']}")
    for item in document["stays"]:
        console.print(f"stays {item['source']}: {'; '.join(item['reasons'])}")
    for item in document["failures"]:
        console.print(f"failed {item['version']}: {item['error']}")
        console.print(f"  next: {item['hint']}")
    sizes = document["bytes"]
    console.print(
        f"policy {document['policy']}: {counted(len(document['removals']), 'version')} {word}, "
        f"{len(document['stays'])} stay; {size(sizes['expected'])} expected, "
        f"{size(sizes['freed'])} freed{'. Nothing was changed.' if ahead else ''}"
    )
