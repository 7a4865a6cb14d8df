"""`syncd status`: where each collection stands, from the local state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncd.cli import Context
from syncd.cli.scope import Targets, size
from syncd.cli.trigger import print_triggers

if TYPE_CHECKING:
    from rich.console import Console

COUNTS = ("seen", "moved", "waiting", "skipped", "quarantined")
FIGURES = (*COUNTS, "moved_bytes", "kept_bytes", "downloaded", "deduplicated")


def status(context: Context, targets: Targets = None) -> None:
    """Show what was seen, moved, and is waiting, per collection. W&B is not asked."""
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.catalog.firings import DUE, FAILED  # noqa: PLC0415
    from syncd.refs import Target  # noqa: PLC0415

    named = [Target.parse(text) for text in targets or ()]
    found: list[Target | None] = [*named] if named else [None]
    with opened(context.config) as catalog:
        # By name: targets may overlap. The database counts, for there may be millions of versions.
        tallies = {item.name: item for place in found for item in catalog.panels.standings(place)}
        failed = {
            item.record.artifact_id: item.record
            for place in found
            for item in catalog.quarantined(place)
        }
        due = [str(run) for run in catalog.runs_due()]
        firings = [item.document() for item in catalog.firings.all([DUE, FAILED])]
    document = {
        "collections": [
            {"collection": name, **{key: getattr(tally, key) for key in FIGURES}}
            for name, tally in tallies.items()
        ],
        "quarantined": [
            {
                "version": str(record.ref),
                "stage": record.failed_stage,
                "error": record.reason,
                "hint": record.hint,
                "attempts": record.attempts,
            }
            for record in failed.values()
        ],
        "runs_waiting_for_their_end": due,
        "triggers": firings,
    }
    context.output.result(document, lambda console: _print(console, document))


def _print(console: Console, document: dict[str, Any]) -> None:
    from rich.table import Table  # noqa: PLC0415

    if not document["collections"]:
        console.print("Nothing has been looked at yet; `syncd plan` shows what there is.")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("collection", overflow="fold", min_width=24)
    for name in (*COUNTS, "references", "travelled"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in document["collections"]:
        counts = [str(row[key]) for key in COUNTS]
        table.add_row(row["collection"], *counts, size(row["moved_bytes"]), size(row["downloaded"]))
    console.print(table)
    for item in document["quarantined"]:
        console.print(
            f"quarantined {item['version']} ({item['stage']}, {item['attempts']} attempts): "
            f"{item['error']}"
        )
        console.print(f"  next: {item['hint']}")
    print_triggers(console, document["triggers"])
    for run in document["runs_waiting_for_their_end"]:
        console.print(f"{run} still runs; its config is written when it has ended")
