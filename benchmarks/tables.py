"""Figures as Markdown, and their place in the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose first column holds names, and the others figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        magnitude = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2  # noqa: PLR2004
        return f"{value:,.{magnitude}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def publish(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Put the text between the markers of that name.

    Raises:
        ValueError: when the document has no such markers.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    whole = document.read_text(encoding="utf-8")
    before, found, rest = whole.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{document.name} has no place for {name}")
    document.write_text(f"{before}{begin}{text.rstrip()}\n{end}{after}", encoding="utf-8")
