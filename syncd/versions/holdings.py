"""Which bytes W&B would free: contents that only versions on their way out have in their manifests.

Contents are held by W&B once, whichever versions name them, and stay while one does: a file that was
born in a deleted version stays for the drafts that took it over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from syncd.blocks import Blocks, Builder
from syncd.manifest import Manifest

# Of a content's name. That one of ten million which may go shares its name with another content of a
# hundred million has a chance of 1 to 18,000; then a sum of bytes would be wrong, and nothing else.
KEY_BYTES = 8
_STAYS = -1
_MARKS = 1 << 24  # bytes; with ten million contents on their way out, one in fourteen bits is set


def contents(manifest: Manifest) -> bytes:
    """Short names of the contents that W&B holds for a version, each once."""
    return b"".join(
        {
            _name(algorithm, digest)
            for _, digest, _, ref, _, algorithm, _ in manifest.entries.rows
            if ref is None
        }
    )


class Holdings:
    """Gathers who holds what.

    All that may go is named before anything that stays: of rows with one key the last one counts, and
    of what stays only that is gathered which also may go.
    """

    def __init__(self) -> None:
        self._rows = Builder()
        self._marks = bytearray(_MARKS)  # a bit for the first few bits of each name that may go

    def goes(self, number: int, manifest: Manifest) -> None:
        """A version may be removed.

        Args:
            number: its place in the order of removal.
            manifest: its manifest.
        """
        for _, digest, size, ref, _, algorithm, _ in manifest.entries.rows:
            if ref is None:
                name = _name(algorithm, digest)
                place, bit = _mark(name)
                self._marks[place] |= bit
                self._rows.add((name.hex(), size or 0, number))

    def stays(self, held: bytes) -> None:
        """A version stays.

        Args:
            held: what it holds, see `contents`.
        """
        for name in _names(held):
            place, bit = _mark(name)
            if self._marks[place] & bit:
                self._rows.add((name.hex(), 0, _STAYS))

    def done(self) -> Freed:
        """What is freed with each version."""
        return Freed(self._rows.build())


class Freed:
    """Contents with the version whose removal frees them: the last one that holds them."""

    def __init__(self, rows: Blocks) -> None:
        self._rows = rows

    def by_version(self) -> Counter[int]:
        """Bytes that the removal of each version frees, in their order, equal contents once."""
        found: Counter[int] = Counter()
        for _, size, number in self._rows:
            if number != _STAYS:
                found[number] += size
        return found

    def without(self, kept: Iterable[Manifest]) -> Freed:
        """The same where some versions stayed after all; all contents are sorted anew, once."""
        builder = Builder()
        for manifest in kept:
            builder.extend((name.hex(), 0, _STAYS) for name in _names(contents(manifest)))
        if not len(stayed := builder.build()):
            return self
        builder = Builder()
        builder.extend(self._rows)
        builder.extend(stayed)
        return Freed(builder.build())


def _name(algorithm: str, digest: str) -> bytes:
    return blake2b(f"{algorithm}:{digest}".encode(), digest_size=KEY_BYTES).digest()


def _names(held: bytes) -> Iterator[bytes]:
    return (held[start : start + KEY_BYTES] for start in range(0, len(held), KEY_BYTES))


def _mark(name: bytes) -> tuple[int, int]:
    """The byte and the bit in it that stand for a name."""
    number = int.from_bytes(name[:4], "little")
    return (number >> 3) % _MARKS, 1 << (number & 7)
