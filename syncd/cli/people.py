"""The console for people: names and texts of strangers are shown as they are, and do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from syncd.log import visible

if TYPE_CHECKING:
    from rich.table import Table

WIDEST = 10_000  # columns, of which no terminal has more


class People(Console):
    """A console to which `[/path]` is text, and to which an escape sequence is one, too.

    What W&B calls a version, what a config holds, what an endpoint said: all of it is printed. Only a
    `rich.text.Text` that a command makes itself has styles.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """See `rich.console.Console.render_str`, through which all text goes that is a str."""
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})


def print_table(console: Console, table: Table, *, heads: int = 1) -> None:
    """Print a table; where the terminal is too narrow for it, its rows one below the other.

    Args:
        console: where to.
        table: its cells are str.
        heads: how many of its first columns name a row.
    """
    wide = console.options.update_width(WIDEST)
    if console.measure(table, options=wide).maximum <= console.width:
        console.print(table)
        return
    names = [str(column.header) for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    for row, cells in zip(table.rows, rows, strict=True):
        named = list(zip(names, map(str, cells), strict=True))
        console.print("  ".join(text for _, text in named[:heads] if text), style=row.style)
        rest = ", ".join(f"{name} {text}".strip() for name, text in named[heads:] if text)
        console.print(f"  {rest}", style=row.style)
