"""The mover: when a version that failed is tried again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from unit_world import World

from syncd.catalog.catalog import State
from syncd.durable.lines import Lines
from syncd.service.mover import due
from syncd.service.vitals import age
from syncd.stages.discover import Discovered

HOUR = 3600


@pytest.mark.parametrize(
    ("attempts", "hours"),
    [
        (0, 1),  # of a catalog that was rebuilt
        (1, 1),
        (2, 2),
        (5, 16),
        (6, 24),
        (1000, 24),
    ],
)
def test_each_failure_doubles_the_time_up_to_a_day(
    tmp_path: Path, attempts: int, hours: int
) -> None:
    """Counted from the last one."""
    world = World(tmp_path)
    version = world.source.log("ds", {"a": b"payload"})
    world.catalog.note(version, State.QUARANTINED, attempts=attempts)
    found = world.catalog.get(version.id)
    world.catalog.close()
    assert found is not None
    record = replace(found, updated_at="1970-01-01T00:00:00+00:00")

    assert age(record.updated_at, hours * HOUR - 1) == hours * HOUR - 1
    assert not due(record, hours * HOUR - 1)
    assert due(record, hours * HOUR)


def test_what_is_on_its_way_is_not_added_twice(tmp_path: Path) -> None:
    """And what has ended may come again."""
    world = World(tmp_path)
    lines = Lines(world.runtime)
    item = Discovered(version=world.source.log("ds", {"a": b"payload"}))
    lines.add([item], {})
    lines.add([item, item], {})
    assert [len(line) for line in lines._lines.values()] == [1]

    assert lines.ended(item.version.id)
    assert not lines.ended(item.version.id)
    world.catalog.close()
