"""A file that W&B holds as a store asks for it, and how many of them go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import xxhash

from syncd.clients.artifacts import Version
from syncd.clients.commits import SMALL
from syncd.clients.protocols import ArtifactSource
from syncd.errors import IntegrityError, SizeMismatchError, TransientError
from syncd.manifest import Entry, Hasher, md5

T = TypeVar("T")
GROUP_FILES = 256
GROUP_BYTES = 8 << 20
BUFFER = 4 << 20  # bytes of a large file that are in memory at a time: chunks on both sides
WORTH = 1 << 20  # bytes after which a connection that broke is taken up again at once


@dataclass(slots=True, kw_only=True)
class EntryContent:
    """The `Content` of an entry.

    Args:
        source: W&B.
        version: the version.
        entry: one of its entries that is no reference.
        path: where the commit's tree will have it.
        hash: its xxh3-128 in Oxen's spelling, where that is known.
        pace: told of bytes as they arrive; may wait.
        reached: how far into the file any attempt has come, in bytes.
    """

    source: ArtifactSource
    version: Version
    entry: Entry
    path: str
    hash: str | None = None
    pace: Callable[[int], None] = lambda _count: None
    reached: int = field(init=False, default=0)
    _fetched: bytes | None = field(init=False, default=None, repr=False)

    @property
    def digest(self) -> tuple[str, str]:
        """The content's identity as W&B knows it."""
        return self.entry.algorithm, self.entry.hex_digest

    @property
    def key(self) -> str:
        """See `Content.key`."""
        return f"{self.entry.algorithm.lower()}-{self.entry.hex_digest}"

    @property
    def size(self) -> int | None:
        """See `Content.size`."""
        return self.entry.size

    @property
    def is_small(self) -> bool:
        """Whether it may be held in memory."""
        return self.size is not None and self.size <= SMALL

    def fetch(self) -> None:
        """Read a small file into memory, from where `chunks` gives it.

        Raises:
            IntegrityError: when the bytes are not what the manifest promises.
            TransientError: when they did not come.
        """
        if self._fetched is None:
            self._fetched = b"".join(self._checked(()))

    def drop(self) -> None:
        """Give the memory back."""
        self._fetched = None

    def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
        """See `Content.chunks`."""
        if self._fetched is not None and not before:
            yield self._fetched
        else:
            yield from self._checked(before)

    def part(self, begin: int, size: int) -> Iterator[bytes]:
        """See `Content.part`."""
        yield from self._arriving(begin, begin + size)

    def _checked(self, before: Iterable[bytes]) -> Iterator[bytes]:
        """Pass bytes on; at their end, raise unless they are what the manifest promises."""
        entry = self.entry
        hasher: Hasher = md5() if entry.algorithm == "MD5" else xxhash.xxh3_128()
        size = 0
        for chunk in before:
            hasher.update(chunk)
            size += len(chunk)
        for chunk in self._rest(size):
            hasher.update(chunk)
            size += len(chunk)
            if entry.size is not None and size > entry.size:
                break  # however much more would come
            yield chunk
        if entry.size is not None and size != entry.size:
            if size > entry.size:
                raise SizeMismatchError.of(entry.path, entry.size, f"more ({size} so far)")
            if hasher.hexdigest() == entry.hex_digest:  # nothing was cut off
                raise SizeMismatchError.of(entry.path, entry.size, size)
            raise IntegrityError(
                f"{entry.path}: {size} bytes came, W&B's manifest says {entry.size}"
            )
        if hasher.hexdigest() != entry.hex_digest:
            raise IntegrityError(
                f"{entry.path}: the bytes have {entry.algorithm} {hasher.hexdigest()}, "
                f"the manifest says {entry.hex_digest}"
            )

    def _rest(self, begin: int) -> Iterator[bytes]:
        if not begin or self.size is None or begin < self.size:
            yield from self._arriving(begin, None)

    def _arriving(self, begin: int, end: int | None) -> Iterator[bytes]:
        """Bytes from W&B; a connection that breaks on the way is taken up again where it broke.

        Whoever is being sent them at the same time does not notice. One that brings next to
        nothing before it breaks is a failure, and so is one that is refused.
        """
        place = begin
        while True:
            since = place
            size = None if end is None else end - place
            try:
                for chunk in self.source.read(self.version, self.entry, begin=place, size=size):
                    self.pace(len(chunk))
                    place += len(chunk)
                    self.reached = max(self.reached, place)
                    yield chunk
            except SizeMismatchError:
                raise  # told before any byte, and the same wherever it is taken up again
            except (IntegrityError, TransientError) as error:
                if place - since >= WORTH:
                    continue
                if isinstance(error, IntegrityError):
                    raise _cut_short(error) from error
                raise
            return


def _cut_short(error: IntegrityError) -> TransientError:
    """Nothing is wrong with the bytes that arrived: they are kept, unlike those of another hash."""
    return TransientError(str(error), hint=error.hint)


def groups(items: Iterable[T], size_of: Callable[[T], int | None]) -> Iterator[list[T]]:
    """Files as they travel: small ones together, each large one, or of unknown size, alone."""
    group: list[T] = []
    total = 0
    for item in items:
        size = size_of(item)
        if size is None or size > SMALL:
            yield [item]
            continue
        if len(group) == GROUP_FILES or total + size > GROUP_BYTES:
            yield group
            group, total = [], 0
        group.append(item)
        total += size
    if group:
        yield group


def memory(group: Sequence[EntryContent]) -> int:
    """Bytes of memory that bringing a group takes."""
    return sum(
        (content.size or 0) if content.is_small else min(content.size or BUFFER, BUFFER)
        for content in group
    )
