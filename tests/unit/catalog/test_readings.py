"""Readings: what was read of manifests is found by collection and number, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncd.catalog import readings
from syncd.catalog.catalog import Catalog
from syncd.catalog.readings import Reading
from syncd.refs import Target

PLACE = ("team", "proj", "ds")
OTHER = ("team", "proj", "other")
THEIRS = ("them", "proj", "ds")


@pytest.fixture
def catalog(database: str) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(database)
    yield made
    made.close()


def kept(catalog: Catalog, place: tuple[str, str, str], index: int, held: bytes = b"") -> Reading:
    """Something that was read of a version."""
    reading = Reading(
        artifact_id=f"id of {'/'.join(place)}:v{index}",
        index=index,
        seen=f"seen {index}",
        pointers=frozenset({"one", "two"} if index % 2 else ()),
        size=len(held),
    )
    catalog.readings.keep(place, reading, held)
    return reading


def test_what_is_kept_is_found(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the versions that are asked for; what they hold in as many queries as there is room for."""
    monkeypatch.setattr(readings, "AT_ONCE", 5)
    made = [kept(catalog, PLACE, n, b"\0\xff" * (n % 4)) for n in range(8)]
    kept(catalog, OTHER, 3)
    found = sorted(catalog.readings.between(PLACE, 2, 6), key=lambda item: item.index)
    assert found == made[2:7]

    held = dict(catalog.readings.contents(PLACE, found))
    assert held == {item.artifact_id: b"\0\xff" * (item.index % 4) for item in found if item.size}

    again = kept(catalog, PLACE, 2, b"other")
    assert catalog.readings.between(PLACE, 2, 2) == [again]


def test_what_is_dropped_is_gone_and_nothing_else(catalog: Catalog) -> None:
    """By number, behind a number, by collection, and with what the catalog forgets of a target."""
    for place in (PLACE, OTHER, THEIRS):
        for number in range(6):
            kept(catalog, place, number)

    def left(place: tuple[str, str, str]) -> list[int]:
        return sorted(item.index for item in catalog.readings.between(place, 0, 9))

    catalog.readings.drop(PLACE, {1, 2})
    catalog.readings.drop(PLACE, set())
    catalog.readings.drop_after(PLACE, 4)
    assert (left(PLACE), left(OTHER)) == ([0, 3, 4], list(range(6)))
    catalog.readings.drop_others("team", {PLACE})
    assert (left(PLACE), left(OTHER), left(THEIRS)) == ([0, 3, 4], [], list(range(6)))
    catalog.clear(Target.parse("team/proj"))
    assert (left(PLACE), left(THEIRS)) == ([], list(range(6)))
    catalog.clear(None)
    assert left(THEIRS) == []
