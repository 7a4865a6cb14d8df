"""`syncd status`: where each collection stands, from the local state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncd.cli import Context
from syncd.cli.scope import Targets, counted, size
from syncd.cli.trigger import print_triggers

if TYPE_CHECKING:
    from rich.console import Console


def status(context: Context, targets: Targets = None) -> None:
    """Show what was seen, moved, and is waiting, per collection. W&B is not asked."""
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.catalog.firings import DUE, FAILED  # noqa: PLC0415
    from syncd.refs import Target  # noqa: PLC0415

    named = [Target.parse(text) for text in targets or ()]
    found: list[Target | None] = [*named] if named else [None]
    with opened(context.config) as catalog:
        records = [record for target in found for record in catalog.records(target)]
        due = [str(run) for run in catalog.runs_due()]
        firings = [item.document() for item in catalog.firings.all([DUE, FAILED])]
    collections: dict[str, dict[str, Any]] = {}
    quarantined: list[dict[str, Any]] = []
    names = ("seen", "moved", "waiting", "skipped", "quarantined")
    sizes = ("moved_bytes", "kept_bytes", "downloaded", "deduplicated")
    for record in records:
        name = f"{record.entity}/{record.project}/{record.collection}"
        row = collections.setdefault(name, {"collection": name, **dict.fromkeys(names + sizes, 0)})
        row["seen"] += 1
        kind = {"replaced": "moved", "skipped": "skipped", "quarantined": "quarantined"}.get(
            record.state.value, "waiting"
        )
        row[kind] += 1
        if kind == "moved":
            for key in sizes:
                row[key] += getattr(record, key)
        if kind == "quarantined":
            quarantined.append(
                {
                    "version": str(record.ref),
                    "stage": record.failed_stage,
                    "error": record.reason,
                    "hint": record.hint,
                    "attempts": record.attempts,
                }
            )
    document = {
        "collections": list(collections.values()),
        "quarantined": quarantined,
        "runs_waiting_for_their_end": due,
        "triggers": firings,
    }
    context.output.result(document, lambda console: _print(console, document))


def _print(console: Console, document: dict[str, Any]) -> None:
    from rich.table import Table  # noqa: PLC0415

    from syncd.cli.people import print_table  # noqa: PLC0415

    if not document["collections"]:
        console.print("Nothing has been looked at yet; `syncd plan` shows what there is.")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("collection", overflow="fold")
    for name in ("seen", "moved", "waiting", "skipped", "quarantined", "references", "travelled"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in document["collections"]:
        counts = [str(row[key]) for key in ("seen", "moved", "waiting", "skipped", "quarantined")]
        table.add_row(row["collection"], *counts, size(row["moved_bytes"]), size(row["downloaded"]))
    print_table(console, table)
    for item in document["quarantined"]:
        console.print(
            f"quarantined {item['version']} ({item['stage']}, {counted(item['attempts'], 'attempt')}): "
            f"{item['error']}"
        )
        console.print(f"  next: {item['hint']}")
    print_triggers(console, document["triggers"])
    for run in document["runs_waiting_for_their_end"]:
        console.print(f"{run} still runs; its config is written when it has ended")
