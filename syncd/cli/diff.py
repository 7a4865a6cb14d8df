"""`syncd diff`: what one version has against another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, changes
from syncd.cli.changes import Files
from syncd.cli.scope import counted

if TYPE_CHECKING:
    from rich.console import Console

Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="entity/project/collection:v3 (or :alias), or oxen://ns/repo@rev[/path].",
    ),
]


def diff(
    context: Context,
    before: Ref,
    after: Ref,
    *,
    files: Files = "",
    rows: Annotated[
        bool,
        typer.Option("--rows", help="Compare the rows of tabular files that changed, too."),
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="COLUMN",
            help="A column that tells rows apart; may be repeated. By default the first one in "
            "which no value occurs twice.",
        ),
    ] = None,
    rows_limit: Annotated[
        str, typer.Option("--rows-limit", help="Fetch at most so much to compare rows.")
    ] = "1GiB",
) -> None:
    """Show which files the second version has added, removed, changed and renamed against the first.

    The names may be of W&B and of Oxen, of one repository or of two. Ends with 0 whether or not
    anything differs.
    """
    from syncd.changes import sides, tables  # noqa: PLC0415
    from syncd.config.units import parse_size  # noqa: PLC0415
    from syncd.errors import NotFoundError, UsageError  # noqa: PLC0415

    limit = changes.limit_of(files, as_json=context.output.as_json)
    try:
        fetched = parse_size(rows_limit)
    except ValueError as error:
        raise UsageError(f"--rows-limit {rows_limit!r}: {error}") from error
    if key and not rows:
        raise UsageError("--key says how rows are compared", hint="Add --rows.")
    with changes.ends(context, before, after) as ends:
        found = sides.compared(ends, before, after)
        summary = found.difference.document()
        for side, other, when in (
            (found.before, found.after, "before"),
            (found.after, found.before, "after"),
        ):
            if side.below and side.below != other.below and not summary[when]["files"]:
                raise NotFoundError(f"{side.name}: nothing lies at {side.below!r}")
        document: dict[str, Any] = {
            "before": found.before.document(),
            "after": found.after.document(),
            **changes.document(found.difference, limit),
            "not_compared": list(found.left_out),
        }
        if rows:
            read = [partial(sides.read, ends, item) for item in (found.before, found.after)]
            compared = tables.tables(
                found.difference.changes(), read[0], read[1], key=key or (), limit=fetched
            )
            document["rows"] = [table.document() for table in compared]
    titles = (found.before.title, found.after.title)
    context.output.result(document, lambda console: _print(console, document, titles))


def _print(console: Console, document: dict[str, Any], titles: tuple[str, str]) -> None:
    console.print(f"{titles[0]} → {titles[1]}")
    if document["equal"]:
        console.print(f"the same {counted(document['summary']['after']['files'], 'file')}")
    else:
        changes.print_summary(console, document["summary"])
        changes.print_files(console, document)
    for path in document["not_compared"]:
        console.print(f"not compared: {changes.plain(path)} (Oxen does not hold it)")
    if "rows" in document:
        console.print("\nrows" if document["rows"] else "\nno table of both changed")
    for table in document.get("rows", ()):
        console.print(f"  {_table(table)}")


def _table(table: dict[str, Any]) -> str:
    path = changes.plain(table["path"])
    if "left_out" in table:
        return f"{path}: left out: {table['left_out']}"
    told = f"{table['added']:,} added, {table['removed']:,} removed, {table['modified']:,} modified"
    if table["columns"]:
        columns = (f"{changes.plain(name)} {count:,}" for name, count in table["columns"].items())
        told += f" ({', '.join(columns)})"
    before, after = table["rows"]
    key = ", ".join(map(changes.plain, table["key"]))
    lines = [f"{path}: {told}; {before:,} → {after:,} {f'by {key}' if key else 'as whole rows'}"]
    for sign, columns in (("+", table["new_columns"]), ("-", table["lost_columns"])):
        lines += [f"{sign} column {changes.plain(name)} {kind}" for name, kind in columns.items()]
    lines += [
        f"~ column {changes.plain(name)} {was} → {now}"
        for name, (was, now) in table["retyped"].items()
    ]
    return "\n    ".join(lines)
