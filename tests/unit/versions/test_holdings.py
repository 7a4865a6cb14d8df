"""Holdings: what is freed with each version, each content counted once."""

from __future__ import annotations

import pytest

from syncd.blocks import Builder
from syncd.manifest import Entry, Manifest
from syncd.versions import holdings as module
from syncd.versions.holdings import Holdings, contents


def manifest(*contents: int) -> Manifest:
    """A version with these contents, each of as many bytes as its number."""
    entries = (Entry(path=f"{number}", digest=f"d{number:03}", size=number) for number in contents)
    return Manifest(entries={entry.path: entry for entry in entries})


def test_what_stays_after_all_frees_nothing_that_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that stayed is taken in at once: there may be millions of contents, and they are sorted anew."""
    held = Holdings()
    versions = [manifest(1, number) for number in range(2, 12)]
    for number, item in enumerate(versions):
        held.goes(number, item)
    held.stays(contents(manifest(5)))
    freed = held.done()
    assert freed.by_version().total() == sum(range(1, 12)) - 5

    made = 0

    def counted() -> Builder:
        nonlocal made
        made += 1
        return Builder()

    monkeypatch.setattr(module, "Builder", counted)
    assert freed.without([]).by_version() == freed.by_version()
    left = freed.without(versions[:6]).by_version()

    assert left.total() == sum(range(8, 12))
    assert made <= 3
