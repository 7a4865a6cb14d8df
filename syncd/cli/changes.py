"""What differs, as the commands that compare print it: a summary, then files by folder, largest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.scope import size
from syncd.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.changes.difference import Change, Difference
    from syncd.changes.sides import Ends
    from syncd.cli import Context

SHOWN = 20  # files, where nobody says how many
EVERY = "all"
SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": ">"}
Files = Annotated[
    str,
    typer.Option(
        "--files",
        metavar="N",
        help=f"How many files to tell of, the largest first; or {EVERY}. By default {SHOWN}, and "
        "with --json all.",
        show_default=False,
    ),
]


@contextmanager
def ends(context: Context, *refs: str) -> Iterator[Ends]:
    """What the names are looked up in; W&B is not asked where all of them are Oxen's."""
    from syncd import runtime  # noqa: PLC0415
    from syncd.changes.sides import Ends  # noqa: PLC0415

    if all(ref.startswith("oxen://") for ref in refs):
        yield Ends(store=runtime.build_store(context.config, context.environ))
        return
    with runtime.opened(context.config, context.environ) as parts:
        yield Ends(store=parts.store, source=parts.source, find=parts.source.find)


def limit_of(files: str, *, as_json: bool) -> int | None:
    """How many files are told of; None for all.

    Raises:
        UsageError: when that is no number.
    """
    if files == EVERY or (not files and as_json):
        return None
    if files and not files.isdecimal():
        raise UsageError(f"--files {files!r} is no number", hint=f"Write a number, or {EVERY}.")
    return int(files) if files else SHOWN


def document(difference: Difference, limit: int | None) -> dict[str, Any]:
    """The summary and the files as JSON; `files_left_out` says how many are not told of."""
    shown = _shown(difference, limit)
    return {
        "equal": difference.equal,
        "summary": difference.document(),
        "files": [
            {
                "change": str(item.kind),
                "path": item.path,
                "was": item.was or None,
                "bytes_before": item.before,
                "bytes_after": item.after,
            }
            for item in shown
        ],
        "files_left_out": len(difference.rows) - len(shown),
    }


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """One line: how many files, and how much."""
    parts = []
    for kind in SIGNS:
        tally = summary[kind]
        if tally["files"]:
            weight = size(tally["bytes"])
            if kind == "changed":
                weight = f"{size(tally['bytes_before'])} → {weight}"
            parts.append(f"{tally['files']:,} {kind} ({weight})")
    parts.append(f"{summary['unchanged']['files']:,} unchanged")
    before, after = summary["before"], summary["after"]
    said = f"{', '.join(parts)}; in all {size(before['bytes'])} → {size(after['bytes'])}"
    console.print(said)


def print_files(console: Console, difference: dict[str, Any]) -> None:
    """The files of a `document`, by folder; the folder with the largest ones first."""
    folders: dict[str, list[dict[str, Any]]] = {}
    for item in difference["files"]:
        folder, slash, _ = item["path"].rpartition("/")
        folders.setdefault(f"{folder}{slash}", []).append(item)
    for folder, items in sorted(folders.items(), key=lambda pair: -sum(map(_weight, pair[1]))):
        console.print(f"\n{plain(folder) or './'}")
        for item in sorted(items, key=_weight, reverse=True):
            console.print(f"  {_line(item)}")
    if difference["files_left_out"]:
        console.print(f"\n… and {difference['files_left_out']:,} more (--files {EVERY})")


def plain(text: str) -> str:
    """A path as a terminal may see it: what would not print is escaped."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _shown(difference: Difference, limit: int | None) -> Sequence[Change]:
    if limit is None:
        return list(difference.changes())
    return heapq.nlargest(limit, difference.changes(), key=attrgetter("bytes"))


def _weight(item: dict[str, Any]) -> int:
    return (item["bytes_after"] if item["change"] != "removed" else item["bytes_before"]) or 0


def _line(item: dict[str, Any]) -> str:
    name = plain(item["path"].rpartition("/")[2])
    before, after = (
        "?" if count is None else size(count)
        for count in (item["bytes_before"], item["bytes_after"])
    )
    weight = {
        "added": after,
        "removed": before,
        "changed": f"{before} → {after}",
        "renamed": f"{after}, was {plain(item['was'] or '')}",
    }[item["change"]]
    return f"{SIGNS[item['change']]} {name}  {weight}"
