"""Lines: what waits for its inputs, and what others bring to its end meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit_world import World

from syncd.durable import lines as module
from syncd.durable.lines import Lines
from syncd.stages.discover import Discovered


def test_a_version_that_others_brought_to_its_end_does_not_block_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine goes on with what a killed process had queued, or another machine took it."""
    world = World(tmp_path)
    data = world.source.log("data", {"d": b"prepared data"})
    model = world.source.log("model", {"w": b"weights"}, kind="model")
    later = world.source.log("model", {"w": b"better weights"}, kind="model")
    queued: list[str] = []

    def enqueue(_runtime: Any, item: Discovered, _repo: Any) -> str:
        queued.append(item.version.id)
        return item.version.id

    monkeypatch.setattr(module, "_enqueue", enqueue)
    lines = Lines(world.runtime)
    items = [Discovered(version=version) for version in (data, model, later)]
    lines.add(items, {model.id: [data.id], later.id: [data.id]})
    lines.release()
    assert queued == [data.id]

    assert lines.ended(model.id)  # it ran all the same
    assert lines.ended(data.id)
    lines.release()

    assert queued == [data.id, later.id]
    world.catalog.close()


def test_a_long_line_is_handed_over_in_pieces_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand versions take an hour, in which others have ended and more has come."""
    world = World(tmp_path)
    long = [world.source.log("long", {"d": b"data %d" % number}) for number in range(5)]
    short = world.source.log("short", {"d": b"other data"})
    queued: list[str] = []

    def enqueue(_runtime: Any, item: Discovered, _repo: Any) -> str:
        queued.append(item.version.id)
        return item.version.id

    monkeypatch.setattr(module, "_enqueue", enqueue)
    lines = Lines(world.runtime)
    lines.add([Discovered(version=version) for version in (*long, short)], {})

    assert lines.release(2)
    assert queued == [long[0].id, short.id]
    assert lines.release(2)
    assert not lines.release(2)
    assert queued == [long[0].id, short.id, *(version.id for version in long[1:])]
    world.catalog.close()
