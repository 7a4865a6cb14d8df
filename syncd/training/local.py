"""Files of this disk as they go into a commit: hashed before, and held against the hash while they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import xxhash

from syncd.errors import IntegrityError, PermanentError
from syncd.versions.plans import Digest

CHUNK = 1 << 20  # bytes read at once
AT_ONCE = 4  # files


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file of this disk as it goes into a commit; it is a `Content` for stores.

    Args:
        path: where the version has it.
        source: where it lies.
        size: bytes.
        hash: its xxh3-128 in Oxen's spelling.
    """

    path: str
    source: str
    size: int
    hash: str

    @property
    def key(self) -> str:
        """See `Content.key`."""
        return f"xxh128-{self.hash}"

    @property
    def digest(self) -> Digest:
        """The content's identity as W&B writes it."""
        return "XXH128", self.hash.rjust(32, "0")

    def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
        """See `Content.chunks`."""
        hasher = xxhash.xxh3_128()
        size = 0
        for chunk in before:
            hasher.update(chunk)
            size += len(chunk)
        for chunk in self.part(size, self.size - size):
            hasher.update(chunk)
            size += len(chunk)
            yield chunk
        if (f"{hasher.intdigest():x}", size) != (self.hash, self.size):
            raise self._changed()

    def part(self, begin: int, size: int) -> Iterator[bytes]:
        """See `Content.part`."""
        with Path(self.source).open("rb") as file:
            file.seek(begin)
            while size and (data := file.read(min(CHUNK, size))):
                size -= len(data)
                yield data
        if size:
            raise self._changed()

    def _changed(self) -> IntegrityError:
        return IntegrityError(
            f"{self.source} changed while it was published",
            hint="Publish a checkpoint when it is written, and nobody writes to it any more.",
        )


def hashed(files: Mapping[str, Path]) -> tuple[LocalFile, ...]:
    """Files of this disk with their hashes, sorted by path.

    Args:
        files: where each lies, by the path that the version has it at.

    Raises:
        PermanentError: when one cannot be read.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hash") as pool:
        return tuple(pool.map(lambda item: _hashed(*item), sorted(files.items())))


def _hashed(path: str, source: Path) -> LocalFile:
    hasher = xxhash.xxh3_128()
    size = 0
    try:
        with source.open("rb") as file:
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise PermanentError(f"{source}: cannot be read: {error.strerror}") from error
    return LocalFile(
        path=path,
        source=str(source.absolute()),
        size=size,
        hash=f"{hasher.intdigest():x}",
    )
