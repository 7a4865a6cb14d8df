"""`syncd status`: where each collection stands, from the local state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from syncd.cli import Context
from syncd.cli.scope import Targets, counted, size
from syncd.cli.trigger import print_triggers

if TYPE_CHECKING:
    from rich.console import Console

COUNTS = ("seen", "moved", "waiting", "skipped", "quarantined")
FIGURES = (*COUNTS, "moved_bytes", "kept_bytes", "downloaded", "deduplicated")


def status(context: Context, targets: Targets = None) -> None:
    """Show what was seen, moved, and is waiting, per collection. W&B is not asked."""
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.catalog.firings import DUE, FAILED  # noqa: PLC0415
    from syncd.clients.artifacts import age  # noqa: PLC0415
    from syncd.refs import Target  # noqa: PLC0415

    named = [Target.parse(text) for text in targets or ()]
    found: list[Target | None] = [*named] if named else [None]
    with opened(context.config) as catalog:
        # By name: targets may overlap. The database counts, for there may be millions of versions.
        panels = catalog.panels
        tallies = {item.name: item for place in found for item in panels.standings(place)}
        freed = {name: size for place in found for name, size in panels.freed_in(place).items()}
        failed = {
            item.record.artifact_id: item.record
            for place in found
            for item in catalog.quarantined(place)
        }
        due = [str(run) for run in catalog.runs_due()]
        firings = [item.document() for item in catalog.firings.all([DUE, FAILED])]
    now = time.time()
    document = {
        "collections": [
            {
                "collection": name,
                **{key: getattr(tally, key) for key in FIGURES},
                "freed_bytes": freed.get(name, 0),
                "lag_seconds": int(age(tally.waiting_since, now)) if tally.waiting_since else 0,
            }
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
    from datetime import timedelta  # noqa: PLC0415

    from rich.table import Table  # noqa: PLC0415

    from syncd.cli.people import print_table  # noqa: PLC0415

    if not document["collections"]:
        console.print("Nothing has been looked at yet; `syncd plan` shows what there is.")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("collection", overflow="fold")
    sizes = {"references": "moved_bytes", "travelled": "downloaded", "saved": "deduplicated"}
    sizes["freed"] = "freed_bytes"
    for name in (*COUNTS, "lag", *sizes):
        table.add_column(name, justify="right", no_wrap=True)
    for row in document["collections"]:
        counts = [f"{row[key]:,}" for key in COUNTS]
        lag = str(timedelta(seconds=row["lag_seconds"])) if row["waiting"] else "-"
        table.add_row(row["collection"], *counts, lag, *(size(row[key]) for key in sizes.values()))
    print_table(console, table)
    for item in document["quarantined"]:
        console.print(
            f"quarantined {item['version']} ({item['stage']}, "
            f"{counted(item['attempts'], 'attempt')}): {item['error']}"
        )
        console.print(f"  next: {item['hint']}")
    print_triggers(console, document["triggers"])
    for run in document["runs_waiting_for_their_end"]:
        console.print(f"{run} still runs; its config is written when it has ended")
