"""Trees of commits in little memory: packed rows that may be gone through again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from syncd.blocks import Blocks
from syncd.clients.commits import TreeEntry


class PackedTree(Sequence[TreeEntry]):
    """A tree sorted by path, packed: an entry is made each time one is asked for.

    Args:
        rows: of path, hash, bytes.
    """

    def __init__(self, rows: Blocks) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[TreeEntry]:
        return (TreeEntry(path=path, hash=hash_, size=size) for path, hash_, size in self.rows)

    @overload
    def __getitem__(self, index: int) -> TreeEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TreeEntry]: ...
    def __getitem__(self, index: int | slice) -> TreeEntry | Sequence[TreeEntry]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        path, hash_, size = self.rows.at(index + len(self) if index < 0 else index)
        return TreeEntry(path=path, hash=hash_, size=size)
