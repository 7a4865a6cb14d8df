"""`syncd compare`: a candidate beside what is in production, in one table."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, ExitCode
from syncd.cli.scope import size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STYLES = {"worse": "bold red", "better": "green"}


def compare(
    context: Context,
    before: Annotated[
        str,
        typer.Argument(metavar="REF", help="What is there, e.g. entity/project/model:production."),
    ],
    after: Annotated[str, typer.Argument(metavar="CANDIDATE", help="What may come in its place.")],
    *,
    higher: Annotated[
        list[str] | None,
        typer.Option("--higher", metavar="GLOB", help="Metrics that are better when higher."),
    ] = None,
    lower: Annotated[
        list[str] | None,
        typer.Option("--lower", metavar="GLOB", help="Metrics that are better when lower."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="End with 1 when a metric is worse.")
    ] = False,
) -> ExitCode:
    """Metrics of both runs, what differs in their config, in the data they took, and in the weights.

    W&B does not say whether more is better. Names with loss or error in them are better when lower,
    with accuracy, recall and the like when higher; of others only the difference is told.
    """
    from syncd import runtime  # noqa: PLC0415
    from syncd.promotion import candidate, located  # noqa: PLC0415

    directions = candidate.Directions(higher=tuple(higher or ()), lower=tuple(lower or ()))
    with runtime.opened(context.config, context.environ) as parts:
        sides = (
            located.from_ref(parts.source, parts.store, before),
            located.from_ref(parts.source, parts.store, after),
        )
        found = candidate.compare(parts.source, parts.store, parts.config, sides, directions)
    document = found.document()
    context.output.result(document, partial(_print, document=document))
    return ExitCode.FAILED if check and found.worse else ExitCode.DONE


def _print(console: Console, document: dict[str, Any]) -> None:
    from rich.table import Table  # noqa: PLC0415

    from syncd.cli.people import print_table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for name in ("", "production", "candidate", "difference", ""):
        table.add_column(name, overflow="fold")
    before, after = document["before"], document["after"]
    for key in ("version", "commit", "run"):
        table.add_row(key, str(before[key] or "none"), str(after[key] or "none"))
    weights = document["weights"]
    table.add_row("weights", _amount(weights["before"]), _amount(weights["after"]), _files(weights))
    for item in document["metrics"]:
        style = _STYLES.get(item["verdict"], "")
        delta = "" if item["delta"] is None else f"{item['delta']:+.4g}"
        row = [item["name"], _number(item["before"]), _number(item["after"]), delta]
        table.add_row(*row, item["verdict"], style=style)
    for item in document["config"]:
        table.add_row(f"config {item['key']}", _value(item["before"]), _value(item["after"]))
    for item in document["data"]:
        _data(table, item)
    print_table(console, table)
    if document["worse"]:
        console.print(f"The candidate is worse in {', '.join(document['worse'])}.")


def _data(table: Table, item: dict[str, Any]) -> None:
    names = [side["artifact"].rpartition(":")[2] if side else "none" for side in _sides(item)]
    commits = [(side or {}).get("commit") or "" for side in _sides(item)]
    what = "same" if item["same"] else ""
    if item["files"]:
        what = _files(item["files"])
    elif not item["same"] and all(_sides(item)):
        what = "not known: not both are in Oxen"
    shown = [f"{name}  {commit}".strip() for name, commit in zip(names, commits, strict=True)]
    table.add_row(f"data {item['collection']}", *shown, what)


def _sides(item: dict[str, Any]) -> list[dict[str, Any] | None]:
    return [item["before"], item["after"]]


def _files(found: dict[str, Any]) -> str:
    kinds = ("added", "removed", "changed", "renamed")
    words = [
        f"{found[kind]['files']} {kind} ({size(found[kind]['bytes'])})"
        for kind in kinds
        if found[kind]["files"]
    ]
    return ", ".join(words) or "the same files"


def _amount(tally: dict[str, int]) -> str:
    files = tally["files"]
    return f"{files} {'file' if files == 1 else 'files'}, {size(tally['bytes'])}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _value(value: object) -> str:
    return "none" if value is None else str(value)
