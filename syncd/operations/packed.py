"""What is known of very many versions, in little memory and in the order of their keys."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

from syncd.blocks import Blocks, Builder
from syncd.versions.guards import Facts


class Packed:
    """Facts in their order, made by `Packer`; they may be gone through many times."""

    def __init__(self, rows: Blocks) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Facts]:
        for _, packed in self._rows:
            yield pickle.loads(packed)  # noqa: S301 made by this process, which never let go of it


class Packer:
    """Takes facts in any order; of those with equal keys the last ones count."""

    def __init__(self) -> None:
        self._rows = Builder()

    def add(self, key: str, facts: Facts) -> None:
        """Take what is known of a version."""
        self._rows.add((key, pickle.dumps(facts, pickle.HIGHEST_PROTOCOL)))

    def done(self) -> Packed:
        """All of it; the packer is empty afterwards."""
        return Packed(self._rows.build())
