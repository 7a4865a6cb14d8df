"""Millions of rows in little memory: sorted by their first column, in compressed blocks.

Rows of a manifest have much in common with their neighbours (folders, URL prefixes, ids), so a
block of them shrinks to little more than its digests. Rows come back one block at a time.
"""

from __future__ import annotations

import heapq
import marshal
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

BLOCK = 512  # rows
SORTED_AT_ONCE = 32_768  # rows that may wait, unpacked, to be sorted
MOST_RUNS = 64  # sorted runs that are kept apart
LEVEL = 1  # of zlib; more costs much time and saves little
Row = tuple[Any, ...]  # the key, a text; then what marshal can write: texts, numbers, JSON
T = TypeVar("T")
L = TypeVar("L")
R = TypeVar("R")

_key = itemgetter(0)


class Blocks:
    """Rows sorted by key, each key once; made by `Builder`. Safe to read from any thread.

    Args:
        packed: the blocks, compressed.
        firsts: the first key of each block.
        ends: the number of rows up to the end of each block.
    """

    def __init__(self, packed: list[bytes], firsts: list[str], ends: list[int]) -> None:
        self._packed = packed
        self._firsts = firsts
        self._ends = ends
        self._last: tuple[int, list[Row]] = (-1, [])

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Row]:
        for number in range(len(self._packed)):
            yield from _unpacked(self._packed[number])

    def blocks(self) -> Iterator[tuple[int, list[Row]]]:
        """Each block's rows, and the index of the first one of them."""
        for number in range(len(self._packed)):
            yield self._start(number), _unpacked(self._packed[number])

    def chosen(self, wanted: bytes, codes: bytes | bytearray) -> Iterator[tuple[int, Row]]:
        """The rows, with their index, whose byte in `codes` is one of `wanted`.

        Blocks without any are not unpacked.
        """
        table = bytes(code in wanted for code in range(256))
        for number in range(len(self._packed)):
            start = self._start(number)
            marks = codes[start : self._ends[number]].translate(table)
            if any(marks):
                rows = _unpacked(self._packed[number])
                for offset, row in enumerate(rows):
                    if marks[offset]:
                        yield start + offset, row

    def find(self, key: str) -> Row | None:
        """The row with this key, or None."""
        number = bisect_right(self._firsts, key) - 1
        if number < 0:
            return None
        rows = self._block(number)
        place = bisect_left(rows, key, key=_key)
        return rows[place] if place < len(rows) and rows[place][0] == key else None

    def at(self, index: int) -> Row:
        """The row at an index from 0.

        Raises:
            IndexError: when there is none.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        return self._block(number)[index - self._start(number)]

    def _start(self, number: int) -> int:
        return self._ends[number - 1] if number else 0

    def _block(self, number: int) -> list[Row]:
        held, rows = self._last
        if held != number:
            rows = _unpacked(self._packed[number])
            self._last = (number, rows)
        return rows


class Builder:
    """Takes rows in any order; of rows with the same key the last one counts.

    Rows that come sorted are packed as they come. Others are packed in sorted runs, which are
    merged in the end.
    """

    def __init__(self) -> None:
        self._waiting: list[Row] = []
        self._runs: list[_Run] = []

    def add(self, row: Row) -> None:
        """Take one row."""
        self._waiting.append(row)
        if len(self._waiting) >= SORTED_AT_ONCE:
            self._settle(whole=False)

    def extend(self, rows: Iterable[Row]) -> None:
        """Take many rows."""
        for row in rows:
            self.add(row)

    def build(self) -> Blocks:
        """The rows; the builder is empty afterwards."""
        self._settle(whole=True)
        self._merge()
        run = self._runs.pop()
        return Blocks(run.packed, run.firsts, run.ends)

    def _merge(self) -> None:
        """Make one run of all."""
        runs, self._runs = self._runs, []
        if len(runs) != 1:
            merged = _Run()
            # Equal keys come out in the order of their runs.
            for batch in batches(_latest(heapq.merge(*map(_drained, runs), key=_key)), BLOCK):
                merged.append(batch)
            runs = [merged]
        self._runs = runs

    def _settle(self, *, whole: bool) -> None:
        """Pack what waits: all of it, or as many full blocks as there are."""
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        rows.sort(key=_key)
        rows = list(_latest(rows))
        if not self._runs or rows[0][0] <= self._runs[-1].last:
            if len(self._runs) >= MOST_RUNS:
                self._merge()  # which drops what has come again since
            self._runs.append(_Run())
        run = self._runs[-1]
        end = len(rows) if whole else max(len(rows) // BLOCK * BLOCK, 1)
        for start in range(0, end, BLOCK):
            run.append(rows[start : min(start + BLOCK, end)])
        self._waiting = rows[end:]


class Marks:
    """Which 64-bit numbers were given; 8 bytes each.

    Args:
        numbers: in any order; one that comes twice counts once.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        waiting = [array("Q") for _ in range(256)]  # sorted one after the other, in little memory
        for number in numbers:
            waiting[number >> 56].append(number)
        self._sorted = [array("Q", sorted(set(part))) for part in waiting]

    def __len__(self) -> int:
        return sum(map(len, self._sorted))

    def __contains__(self, number: int) -> bool:
        part = self._sorted[number >> 56]
        place = bisect_left(part, number)
        return place < len(part) and part[place] == number


class _Run:
    """Packed blocks in ascending order."""

    def __init__(self) -> None:
        self.packed: list[bytes] = []
        self.firsts: list[str] = []
        self.ends: list[int] = []
        self.last = ""

    def append(self, rows: list[Row]) -> None:
        self.packed.append(zlib.compress(marshal.dumps(rows, 2), LEVEL))
        self.firsts.append(rows[0][0])
        self.ends.append((self.ends[-1] if self.ends else 0) + len(rows))
        self.last = rows[-1][0]


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most so many."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def paired(
    left: Iterable[L],
    right: Iterable[R],
    left_key: Callable[[L], str],
    right_key: Callable[[R], str],
) -> Iterator[tuple[L | None, R | None]]:
    """Two sequences sorted by their keys, side by side; None where one has nothing under a key."""
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and left_key(one) < right_key(other)):
            yield one, None
            one = next(lefts, None)
        elif one is None or right_key(other) < left_key(one):
            yield None, other
            other = next(rights, None)
        else:
            yield one, other
            one, other = next(lefts, None), next(rights, None)


def _drained(run: _Run) -> Iterator[Row]:
    """A run's rows; each block is given up as it is read."""
    run.packed.reverse()
    while run.packed:
        yield from _unpacked(run.packed.pop())


def _latest(rows: Iterable[Row]) -> Iterator[Row]:
    """Sorted rows, of those with the same key the last."""
    held: Row | None = None
    for row in rows:
        if held is not None and held[0] != row[0]:
            yield held
        held = row
    if held is not None:
        yield held


def _unpacked(packed: bytes) -> list[Row]:
    rows: list[Row] = marshal.loads(zlib.decompress(packed))  # noqa: S302 written by this process
    return rows
