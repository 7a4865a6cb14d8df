"""Which bytes W&B would free: contents that only versions on their way out have in their manifests.

Contents are held by W&B once, whichever versions name them, and stay while one does: a file that was
born in a deleted version stays for the drafts that took it over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from syncd.blocks import Blocks, Builder
from syncd.manifest import Manifest

_STAYS = -1


class Holdings:
    """Gathers who holds what.

    All that may go is named before anything that stays: of rows with one key the last one counts.
    """

    def __init__(self) -> None:
        self._rows = Builder()

    def goes(self, number: int, manifest: Manifest) -> None:
        """A version may be removed.

        Args:
            number: its place in the order of removal.
            manifest: its manifest.
        """
        self._add(number, manifest)

    def stays(self, manifest: Manifest) -> None:
        """A version stays."""
        self._add(_STAYS, manifest)

    def done(self) -> Freed:
        """What is freed with each version."""
        return Freed(self._rows.build())

    def _add(self, number: int, manifest: Manifest) -> None:
        for _, digest, size, ref, _, algorithm, _ in manifest.entries.rows:
            if ref is None:
                self._rows.add((f"{algorithm}:{digest}", size or 0, number))


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
            for _, digest, size, ref, _, algorithm, _ in manifest.entries.rows:
                if ref is None:
                    builder.add((f"{algorithm}:{digest}", size or 0, _STAYS))
        if not len(stayed := builder.build()):
            return self
        builder = Builder()
        builder.extend(self._rows)
        builder.extend(stayed)
        return Freed(builder.build())
