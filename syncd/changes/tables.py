"""Tables: which rows differ in the tabular files that two sides both have.

Both files are fetched into a folder that vanishes again, as many as a limit of bytes allows; what is
left out is told with the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from syncd.changes.difference import Change, Kind
from syncd.clients.oxen_tables import SUFFIXES, TableDifference, compare_tables
from syncd.errors import PermanentError

LIMIT = 1 << 30  # bytes of all files that are fetched
Read = Callable[[str], Iterator[bytes]]  # a file's bytes, by its path in the comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A tabular file that changed.

    Args:
        path: where it is.
        difference: of its rows; None when they were not compared.
        reason: why they were not.
    """

    path: str
    difference: TableDifference | None = None
    reason: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        if self.difference is None:
            return {"path": self.path, "left_out": self.reason}
        return {"path": self.path, **asdict(self.difference)}


def tables(
    changes: Iterable[Change],
    before: Read,
    after: Read,
    *,
    key: Sequence[str] = (),
    limit: int = LIMIT,
) -> Iterator[Table]:
    """Compare the rows of each tabular file that changed, in the order of their paths.

    Args:
        changes: of a difference.
        before: reads the one side's files.
        after: reads the other side's.
        key: columns that tell rows apart; see `compare_tables`.
        limit: bytes that are fetched at most.
    """
    left = limit
    for change in changes:
        if change.kind is not Kind.CHANGED or not change.path.lower().endswith(SUFFIXES):
            continue
        size = (change.before or 0) + (change.after or 0)
        if change.before is None or change.after is None or size > left:
            reason = f"{size:,} bytes, and {left:,} of {limit:,} are left to fetch"
            yield Table(path=change.path, reason=reason)
            continue
        left -= size
        try:
            yield Table(path=change.path, difference=_compared(change.path, before, after, key))
        except PermanentError as error:
            yield Table(path=change.path, reason=str(error))


def _compared(path: str, before: Read, after: Read, key: Sequence[str]) -> TableDifference:
    suffix = PurePosixPath(path).suffix.lower()
    with tempfile.TemporaryDirectory(prefix="syncd-rows-") as folder:
        left, right = Path(folder) / f"before{suffix}", Path(folder) / f"after{suffix}"
        for file, read in ((left, before), (right, after)):
            with file.open("wb") as opened:
                opened.writelines(read(path))
        return compare_tables(left, right, key)
