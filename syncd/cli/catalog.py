"""`syncd catalog rebuild`: the local state again, from W&B and Oxen."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from syncd.cli import Context, ExitCode
from syncd.cli.scope import Targets, counted, everything
from syncd.cli.scope import targets as read_targets

if TYPE_CHECKING:
    from rich.console import Console


def rebuild(context: Context, targets: Targets = None) -> ExitCode:
    """Make the local state again, from W&B and Oxen alone; without TARGET all that it knows.

    Nothing is changed in either. Ends with 3 when something of a version could not be read.
    """
    from syncd import runtime  # noqa: PLC0415
    from syncd.operations import rebuild as work  # noqa: PLC0415

    found = read_targets(targets, context.config) if targets else []
    with runtime.only_one(context.config), runtime.opened(context.config, context.environ) as parts:
        runtime.check_store(parts)
        found = found or everything(context.config, parts.catalog)
        rebuilt = work.rebuild(parts, found, everything=not targets)
    document = asdict(rebuilt)
    context.output.result(document, lambda console: _print(console, document))
    return ExitCode.PARTIAL if rebuilt.problems else ExitCode.DONE


def _print(console: Console, document: dict[str, Any]) -> None:
    for item in document["problems"]:
        console.print(f"not known again: {item['version']}: {item['problem']}")
    words = {"replaced": "moved"}
    states = sorted(document["versions"].items())
    counts = ", ".join(f"{count} {words.get(state, state)}" for state, count in states)
    console.print(
        f"The catalog was rebuilt: {counts or 'no versions'}; the contents of "
        f"{counted(document['contents'], 'file')}, {counted(document['runs_due'], 'run')} whose "
        "config is still due."
    )
