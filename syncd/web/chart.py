"""Savings over time as a picture: three cumulative lines, laid out here and drawn by a template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from syncd.catalog.panels import Day
from syncd.web import words

WIDTH, HEIGHT = 1040, 250
LEFT, RIGHT, TOP, BOTTOM = 72, 136, 12, 28  # room for the axes and the lines' names
LABEL_GAP = 17  # between two names at the lines' ends
_TICKS = 4
_STEP = 1024.0
_Scale = Callable[[float], float]
_ROUND = (1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 800)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line.

    Args:
        key: its name in the style sheet.
        text: its name for people.
        path: what SVG draws.
        area: the same, closed at the bottom.
        label_at: the height of its name.
        total: what it has come to, for people.
    """

    key: str
    text: str
    path: str
    area: str
    label_at: float
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The picture's parts, in the coordinates of WIDTH and HEIGHT."""

    series: Sequence[Series]
    rows: Sequence[Tick]
    columns: Sequence[Tick]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def savings(days: Sequence[Day]) -> Chart | None:
    """The picture; None when nothing has moved yet.

    Args:
        days: what each day added, the first first.
    """
    if not days:
        return None
    first = date.fromisoformat(days[0].day) - timedelta(days=1)  # every line begins at nothing
    offsets = [(date.fromisoformat(item.day) - first).days for item in days]
    totals = {
        "moved": ("moved", _sums([item.moved for item in days])),
        "stored": ("stored", _sums([item.stored for item in days])),
        "freed": ("freed", _sums([item.freed for item in days])),
    }
    top = _ceiling(max(sums[-1] for _, sums in totals.values()))
    length = offsets[-1]

    def x(offset: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * offset / length

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    shown = {key: item for key, item in totals.items() if key != "freed" or item[1][-1]}
    heights = _apart({key: y(sums[-1]) for key, (_, sums) in shown.items()})
    series = [
        Series(
            key=key,
            text=text,
            path=(path := _line([0, *offsets], [0, *sums], x, y)),
            area=f"{path} V{y(0):.1f} H{x(0):.1f} Z",
            label_at=heights[key],
            total=words.size(sums[-1]),
        )
        for key, (text, sums) in shown.items()
    ]
    return Chart(
        series=series,
        rows=[
            Tick(at=y(top * step / _TICKS), text=words.size(top * step / _TICKS))
            for step in range(_TICKS + 1)
        ],
        columns=_dates(first, length, x),
        summary="; ".join(f"{item.text} {item.total}" for item in series),
    )


def _sums(values: Sequence[int]) -> list[int]:
    total, found = 0, []
    for value in values:
        total += value
        found.append(total)
    return found


def _line(offsets: Sequence[int], values: Sequence[int], x: _Scale, y: _Scale) -> str:
    """Days without news are level, days with news rise within the day."""
    steps = [f"M{x(offsets[0]):.1f},{y(values[0]):.1f}"]
    before = offsets[0]
    for offset, value in zip(offsets[1:], values[1:], strict=True):
        if offset - before > 1:
            steps.append(f"H{x(offset - 1):.1f}")
        steps.append(f"L{x(offset):.1f},{y(value):.1f}")
        before = offset
    return " ".join(steps)


def _ceiling(value: float) -> float:
    """The next round number of bytes, in the unit it is told in."""
    unit = 1.0
    while value >= unit * _STEP:
        unit *= _STEP
    return next(step * unit for step in (*_ROUND, _STEP) if step * unit >= max(value, 1))


def _apart(heights: dict[str, float]) -> dict[str, float]:
    """The same heights, moved down where names would lie on each other."""
    placed: dict[str, float] = {}
    last = float("-inf")
    for key, height in sorted(heights.items(), key=lambda item: item[1]):
        last = placed[key] = max(height, last + LABEL_GAP)
    over = max(0.0, last - (HEIGHT - BOTTOM))
    return {key: height - over for key, height in placed.items()}


def _dates(first: date, length: int, x: _Scale) -> list[Tick]:
    steps = sorted({round(length * part / _TICKS) for part in range(_TICKS + 1)})
    return [Tick(at=x(step), text=f"{first + timedelta(days=step):%b %-d}") for step in steps]
