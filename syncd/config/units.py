"""Amounts in the configuration: sizes, durations, and limits that may change with the hour.

Each type parses text such as "1MiB" or "14d", refuses mistakes with a sentence that shows the right
spelling, and knows how to write itself back into TOML.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
_SIZES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB,
}  # fmt: skip
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_MINUTES = 24 * 60
_STEP = re.compile(r"(?:([A-Za-z]+)-)?(\d{1,2}):(\d{2}),(.*)")


def parse_size(value: object) -> int:
    """Bytes, from `"1MiB"`, `"500 kB"` or a whole number of bytes.

    Raises:
        ValueError: when the value is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(value).strip())
    if isinstance(value, bool) or match is None or match[2].lower() not in _SIZES:
        raise ValueError('a size is written like "1MiB", "500kB" or a whole number of bytes')
    return int(Decimal(match[1]) * _SIZES[match[2].lower()])


def format_size(size: int) -> str:
    """The size in the largest binary unit that writes it exactly, e.g. `1MiB`."""
    for name, unit in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size}B"


def parse_duration(value: object) -> timedelta:
    """A time span, from `"14d"`, `"5m"`, `"1h30m"`.

    Raises:
        ValueError: when the value is none, or has no unit.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if not isinstance(value, str) or not re.fullmatch(r"(\d+[wdhms])+", text):
        raise ValueError('a duration is written like "14d", "5m", "30s" or "1h30m"')
    parts = re.findall(r"(\d+)([wdhms])", text)
    try:
        return timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError as error:
        raise ValueError("this duration is longer than any calendar") from error


def format_duration(duration: timedelta) -> str:
    """The time span in its largest exact unit, e.g. `14d`, `90m`."""
    seconds = int(duration.total_seconds())
    for name, unit in _SECONDS.items():
        if name != "w" and seconds and seconds % unit == 0:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A limit that may depend on the time of the week.

    Args:
        steps: from which minute of the week (Monday 00:00 is 0) which limit holds, in order, in
            bytes a second, None for none; before the first the last one holds.
        text: as it is written.
    """

    steps: tuple[tuple[int, int | None], ...]
    text: str

    def at(self, minute: int) -> int | None:
        """The limit at a minute of the week, bytes a second; None for none."""
        # At -1 the week before has not ended yet.
        return self.steps[bisect_right([begin for begin, _ in self.steps], minute) - 1][1]

    def now(self) -> int | None:
        """The limit at this moment of local time."""
        here = time.localtime()
        return self.at(here.tm_wday * _DAY_MINUTES + here.tm_hour * 60 + here.tm_min)

    def __str__(self) -> str:
        return self.text


def parse_bandwidth(value: object) -> Bandwidth:
    """Bytes a second: a size, `"off"`, or a timetable in local time as rclone's `--bwlimit` has it.

    A step of a timetable is `"08:00,10MiB"`, of a single day `"Mon-08:00,10MiB"`. Where several
    name the same minute the last one counts.

    Raises:
        ValueError: when it is none of these; it names every mistaken step.
    """
    if isinstance(value, Bandwidth):
        return value
    words = str(value).split()
    if not re.search(r"[:,]", str(value)):
        limit = _limit(value)
        return Bandwidth(((0, limit),), _limit_text(limit))
    table: dict[int, int | None] = {}
    texts: list[str] = []
    mistakes: list[str] = []
    for word in words:
        try:
            begins, limit, text = _step(word)
        except ValueError as error:
            mistakes.append(f"{word!r}: {error}")
        else:
            table.update(dict.fromkeys(begins, limit))
            texts.append(text)
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return Bandwidth(tuple(sorted(table.items())), " ".join(texts))


def _step(word: str) -> tuple[list[int], int | None, str]:
    """A step's minutes of the week, its limit, and how it is written."""
    match = _STEP.fullmatch(word)
    if match is None:
        raise ValueError('a step is written like "08:00,10MiB", "18:00,off" or "Mon-08:00,10MiB"')
    day, hours, minutes = (match[1] or "").capitalize(), int(match[2]), int(match[3])
    if day and day not in _DAYS:
        raise ValueError(f"{match[1]!r} is no day: the days are {', '.join(_DAYS)}")
    if hours >= 24 or minutes >= 60:  # noqa: PLR2004 hours and minutes
        raise ValueError("a day goes from 00:00 to 23:59")
    limit = _limit(match[4])
    days = [_DAYS.index(day)] if day else range(len(_DAYS))
    text = f"{day}{'-' if day else ''}{hours:02}:{minutes:02},{_limit_text(limit)}"
    return [number * _DAY_MINUTES + hours * 60 + minutes for number in days], limit, text


def _limit(value: object) -> int | None:
    if str(value).strip().lower() == "off":
        return None
    limit = parse_size(value)
    if not limit:
        raise ValueError('nothing would ever move at 0: no limit is written "off"')
    return limit


def _limit_text(limit: int | None) -> str:
    return "off" if limit is None else format_size(limit)


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta(0):
        raise ValueError("must be longer than zero")
    return duration


Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size, when_used="json")]
BandwidthLimit = Annotated[
    Bandwidth,
    BeforeValidator(parse_bandwidth),
    PlainSerializer(str, when_used="json"),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
