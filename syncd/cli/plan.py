"""`syncd plan`: what would move, what stays and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from syncd.cli import Context
from syncd.cli.scope import Targets, counted, size
from syncd.cli.scope import targets as read_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from syncd.clients.artifacts import Version
    from syncd.operations.backfill import Scope
    from syncd.runtime import Runtime

SHOWN = 20  # files of a version that stay; there may be millions


def plan(context: Context, targets: Targets = None) -> None:
    """Show what would move, what stays and why. Changes nothing."""
    from syncd import runtime  # noqa: PLC0415
    from syncd.operations.backfill import Scope  # noqa: PLC0415

    scope = Scope(targets=read_targets(targets, context.config))
    with runtime.opened(context.config, context.environ) as opened:
        document = preview_document(opened, scope)
    context.output.result(document, lambda console: print_preview(console, document))


def preview_document(opened: Runtime, scope: Scope) -> dict[str, Any]:
    """The plan of a scope as JSON, all sizes in bytes."""
    from syncd.blocks import Builder  # noqa: PLC0415
    from syncd.operations import backfill  # noqa: PLC0415
    from syncd.operations.notices import notices  # noqa: PLC0415
    from syncd.versions.plans import Decision  # noqa: PLC0415

    versions: list[dict[str, Any]] = []
    moving: list[Version] = []
    skipped: list[dict[str, str]] = []
    totals = dict.fromkeys(("moved", "kept", "new"), 0)
    saved = Builder()
    for item, planned in backfill.preview(opened, scope):
        if planned is None or planned.skip:
            reason = item.skip or (planned.skip if planned else "beyond the limit")
            skipped.append({"version": str(item.version.ref), "reason": reason})
            continue
        for entry in planned.of(Decision.MOVE):  # W&B keeps equal files of a collection once
            key = "\0".join((item.version.ref.collection, *entry.digest))
            saved.add((key, entry.entry.size or 0))
        moving.append(replace(item.version, metadata={}, description=None))  # all are in memory
        fresh = backfill.new_bytes(opened, planned)
        totals["moved"] += planned.moved_bytes
        totals["kept"] += planned.kept_bytes
        totals["new"] += fresh
        versions.append(
            {
                "version": str(item.version.ref),
                "repo": str(planned.repo),
                "entries": {decision.value: len(planned.of(decision)) for decision in Decision},
                "bytes": {
                    "moved": planned.moved_bytes,
                    "kept": planned.kept_bytes,
                    "new": fresh,
                },
                "stays": [
                    {"path": entry.entry.path, "reason": entry.reason}
                    for entry in planned.of(Decision.OMIT)
                ],
            }
        )
    totals["saving"] = sum(size for _, size in saved.build())
    warnings = [
        {"version": item.version, "kind": item.kind.value, "text": item.text}
        for item in notices(opened.source, moving, datetime.now(UTC))
    ]
    return {"versions": versions, "skipped": skipped, "bytes": totals, "warnings": warnings}


def print_preview(console: Console, document: dict[str, Any]) -> None:
    """Print the document of `preview_document` for people."""
    _print_versions(console, document["versions"])
    for item in document["skipped"]:
        console.print(f"skipped {item['version']}: {item['reason']}")
    alike: dict[tuple[str, str], list[str]] = {}
    for item in document["warnings"]:
        alike.setdefault((item["kind"], item["text"]), []).append(item["version"])
    for (kind, text), names in alike.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        console.print(f"warning ({kind}): {names[0]}{more}: {text}")
    totals = document["bytes"]
    console.print(
        f"{counted(len(document['versions']), 'version')} would move: {size(totals['moved'])} become "
        f"references, {size(totals['kept'])} stay, at most {size(totals['new'])} travel; "
        f"{size(totals['saving'])} can be freed in W&B. Nothing was changed."
    )


def _print_versions(console: Console, versions: Sequence[dict[str, Any]]) -> None:
    """Those that would move, and their files that would stay."""
    from rich.table import Table  # noqa: PLC0415

    from syncd.cli.people import print_table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for name in ("version", "goes to"):
        table.add_column(name, overflow="fold")
    for name in ("files", "moves", "stays", "not yet in Oxen"):
        table.add_column(name, justify="right")
    for item in versions:
        table.add_row(
            item["version"],
            item["repo"],
            str(item["entries"]["move"]),
            size(item["bytes"]["moved"]),
            size(item["bytes"]["kept"]),
            size(item["bytes"]["new"]),
        )
    if versions:
        print_table(console, table, heads=2)
    for item in versions:
        stays = item["stays"]
        for entry in stays[:SHOWN]:
            console.print(f"stays in W&B: {item['version']} {entry['path']!r}: {entry['reason']}")
        if len(stays) > SHOWN:
            more = f"{len(stays) - SHOWN:,} more files; --json names all"
            console.print(f"stays in W&B: {item['version']} and {more}")
