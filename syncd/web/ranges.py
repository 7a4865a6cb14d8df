"""Conditional and range requests (RFC 9110, sections 13 and 14), as decisions over headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The bytes to send: `begin` up to but not including `end`; part of the file, or all of it."""

    begin: int
    end: int
    partial: bool


def unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether If-None-Match holds the tag; weak comparison, as 13.1.2 wants it."""
    header = headers.get("if-none-match")
    if header is None:
        return False
    given = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in given or etag in given


def span(headers: Mapping[str, str], etag: str, size: int) -> Span | None:
    """What a request asks of a file of `size` bytes; None when its range lies outside (416).

    Several ranges, other units, malformed ranges and an If-Range that does not hold the tag mean
    the whole file, as 14.2 allows.
    """
    whole = Span(begin=0, end=size, partial=False)
    match = _RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or headers.get("if-range", etag).strip() != etag:
        return whole
    first, last = (int(group) if group else None for group in match.groups())
    if first is None and last is None:
        return whole
    if first is None or last is None:
        begin, end = (size - min(last or 0, size), size) if first is None else (first, size)
    elif last < first:
        return whole
    else:
        begin, end = first, min(last + 1, size)
    return Span(begin=begin, end=end, partial=True) if begin < end else None
