"""A content as a store asks for it, over bytes in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import xxhash

from syncd.clients.commits import StoredContent
from syncd.errors import IntegrityError, TransientError

CHUNK = 1 << 18


@dataclass(slots=True, kw_only=True)
class Bytes:
    """A content in memory that counts the bytes it was asked for.

    Args:
        data: what W&B promises.
        path: where the tree will have it.
        hash: what the store is told before.
        cut: so many bytes in all arrive before the connection breaks.
        arriving: what comes in the place of `data`.
        watch: told before each chunk at which byte it begins.
    """

    data: bytes
    path: str = "a"
    hash: str | None = None
    cut: int | None = None
    arriving: bytes | None = None
    watch: Callable[[int], None] = lambda _begin: None
    asked: int = 0
    begins: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        """As W&B's digest: of what is promised."""
        return f"md5-{xxhash.xxh3_128_hexdigest(self.data)}"

    @property
    def size(self) -> int | None:
        """Of what is promised."""
        return len(self.data)

    def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
        """See `Content.chunks`."""
        had = b"".join(before)
        come = bytearray(had)
        for chunk in self._coming(len(had), None):
            come += chunk
            yield chunk
        if come != self.data:
            raise IntegrityError(f"{self.path}: other bytes arrived")

    def part(self, begin: int, size: int) -> Iterator[bytes]:
        """See `Content.part`."""
        yield from self._coming(begin, size)

    def _coming(self, begin: int, size: int | None) -> Iterator[bytes]:
        self.begins.append(begin)
        data = self.data if self.arriving is None else self.arriving
        end = len(data) if size is None else begin + size
        for start in range(begin, end, CHUNK):
            self.watch(start)
            if self.cut is not None and start >= self.cut:
                raise TransientError(f"{self.path}: cut off")
            chunk = data[start : min(start + CHUNK, end)]
            self.asked += len(chunk)
            yield chunk


def named(data: bytes) -> StoredContent:
    """What a store calls bytes."""
    return StoredContent(hash=f"{xxhash.xxh3_128_intdigest(data):x}", size=len(data))


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes without a pattern."""
    return random.Random(seed).randbytes(size)
