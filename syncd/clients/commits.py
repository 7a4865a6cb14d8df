"""What commits are made of, as both stores and all stages have it: files, contents, authors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import xxhash

from syncd.refs import CommitRef

SMALL = 1 << 20  # bytes; up to here a file is held in memory, and goes together with others


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One file of a commit's tree.

    Args:
        path: `/` between folders, safe by `refs.check_path`.
        hash: xxh3-128, lower-case hex without zero padding, as Oxen writes it.
        size: bytes.
    """

    path: str
    hash: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContent:
    """Bytes that a store holds: their xxh3-128 (Oxen's spelling) and their number."""

    hash: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> StoredContent:
        """What a store calls these bytes."""
        return cls(hash=f"{xxhash.xxh3_128_intdigest(data):x}", size=len(data))


class Content(Protocol):
    """The bytes of one file that W&B holds, as a store asks for them."""

    @property
    def path(self) -> str:
        """Where the next commit's tree will have it."""
        ...

    @property
    def key(self) -> str:
        """W&B's digest of it: names the same bytes in every process, and makes a file name."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes, where the manifest says."""
        ...

    @property
    def hash(self) -> str | None:
        """Its xxh3-128 (Oxen's spelling), where it is known before the bytes come."""
        ...

    def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
        """The bytes, held against W&B's digest at their end.

        Args:
            before: the first bytes, which arrived earlier: they are hashed, and not fetched again.

        Raises:
            IntegrityError: at the end, when they are not what the manifest promises.
        """
        ...

    def part(self, begin: int, size: int) -> Iterator[bytes]:
        """A range of the bytes, proved by nothing but their number."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who a commit says it is by."""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit as its repository describes it; the message includes the trailers."""

    ref: CommitRef
    message: str
    author: Author
    parents: tuple[str, ...]

    @property
    def trailers(self) -> dict[str, str]:
        """The git-style trailers of syncd's in the message."""
        pairs = (line.split(": ", 1) for line in self.message.splitlines()[1:] if ": " in line)
        return {key: value for key, value in pairs if key.startswith("Wandb-")}
