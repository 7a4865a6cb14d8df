"""Figures as people read them: bytes, durations, times, counts."""

from __future__ import annotations

from datetime import UTC, datetime

from syncd.web.metrics import seconds

NONE = "\N{EN DASH}"  # where there is no figure
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))
_TWO = 2.0  # of a unit, from which on it is worth using


def size(count: float) -> str:
    """Bytes, with three digits that matter."""
    value, unit = float(count), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    if unit == 0:
        return f"{value:.0f} B"
    return f"{value:.0f} {_UNITS[unit]}" if value >= 100 else f"{value:.1f} {_UNITS[unit]}"  # noqa: PLR2004


def rate(bytes_a_second: float) -> str:
    """A speed."""
    return f"{size(bytes_a_second)}/s"


def count(number: float) -> str:
    """A whole number, its thousands set apart."""
    return f"{number:,.0f}"


def span(duration: float) -> str:
    """A duration in seconds, in the largest unit of which there are at least two."""
    for length, unit in _SPANS:
        if duration >= _TWO * length:
            return f"{duration // length:.0f} {unit}"
    return f"{max(0.0, duration) // 1:.0f} s"


def ago(text: str, now: float) -> str:
    """How long ago a time of the catalog was; a dash when there is none."""
    at = seconds(text)
    if at is None:
        return NONE
    return "just now" if now - at < _TWO else f"{span(now - at)} ago"


def moment(text: str) -> str:
    """A time of the catalog to the minute, in UTC; a dash when there is none."""
    at = seconds(text)
    return NONE if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def plural(number: float, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
