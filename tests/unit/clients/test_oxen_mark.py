"""The mark of a folder of repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.clients.oxen_mark import Mark
from syncd.errors import ServiceUnavailableError


def test_threads_that_begin_to_use_a_new_folder_at_a_time_all_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them finds no mark, and another has made it before it goes on."""
    mark = Mark(tmp_path)
    read = Mark.read
    made: list[str] = []

    def meanwhile(self: Mark) -> str | None:
        found = read(self)
        if not made:
            made.append("")
            made.append(self.make())
        return found

    monkeypatch.setattr(Mark, "read", meanwhile)
    mark.marked()

    assert read(mark) == made[1]
    assert [path.name for path in mark.path.parent.iterdir()] == ["store"]


def test_a_mark_that_was_there_and_is_gone_is_missed(tmp_path: Path) -> None:
    """And not made anew: the disk went away."""
    mark = Mark(tmp_path)
    mark.marked()
    mark.path.unlink()
    with pytest.raises(ServiceUnavailableError, match="not the store that it was"):
        mark.marked()

    assert not mark.path.exists()
