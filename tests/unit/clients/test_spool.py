"""The spool: within its budget, one user at a file, and nothing of strangers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd.clients.spool import KEPT, Spool
from syncd.errors import PermanentError

KEY = "md5-00ff"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """One with room for ten bytes."""
    return Spool(tmp_path / "spool", limit=10)


def test_a_file_that_does_not_fit_beside_the_others_goes_another_way(spool: Spool) -> None:
    """What is closed gives its room back, and what could not be opened never had any."""
    first = spool.partial("a", 6)
    assert first is not None
    assert spool.partial("b", 5) is None
    first.close()
    for _ in range(3):
        taken = spool.partial("b", 10)
        assert taken is not None
        assert spool.partial("b", 0) is None  # somebody is at it
        taken.close()


def test_a_folder_that_cannot_be_used_costs_no_room(tmp_path: Path, spool: Spool) -> None:
    """The next one to ask has all of it."""
    (tmp_path / "spool" / "partial" / KEY).mkdir(parents=True)
    for _ in range(3):
        with pytest.raises(PermanentError, match="cannot use the spool"):
            spool.partial(KEY, 10)

    taken = spool.partial("another", 10)
    assert taken is not None
    taken.close()


def test_more_than_the_whole_content_is_not_gone_on_with(tmp_path: Path, spool: Spool) -> None:
    """It is of another one, and its room is free again."""
    folder = tmp_path / "spool" / "partial"
    folder.mkdir(parents=True)
    (folder / KEY).write_bytes(b"0123456")

    assert spool.partial(KEY, 6) is None
    partial = spool.partial(KEY, 10)
    assert partial is not None
    with closing(partial):
        assert partial.size == 7
        assert b"".join(partial.read(2, 3)) == b"234"


def test_what_is_moved_is_whole_under_its_new_name(tmp_path: Path, spool: Spool) -> None:
    """At that moment, not when the file is closed."""
    partial = spool.partial(KEY, 10)
    assert partial is not None
    with closing(partial):
        partial.append(b"0123456789")
        partial.move(tmp_path / "target")

        assert (tmp_path / "target").read_bytes() == b"0123456789"


def test_other_users_of_the_machine_cannot_look_into_it(tmp_path: Path, spool: Spool) -> None:
    """What lies there is what W&B guards."""
    partial = spool.partial(KEY, 10)
    assert partial is not None
    partial.close()

    assert (tmp_path / "spool" / "partial").stat().st_mode & 0o077 == 0


def test_what_nobody_asked_for_in_days_is_deleted(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though another process does the same at the same time."""
    folder = tmp_path / "spool" / "partial"
    folder.mkdir(parents=True)
    for name, age in (("old", KEPT + 60), ("young", KEPT - 60)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    listed = Path.iterdir

    def with_one_that_goes(path: Path) -> Iterator[Path]:
        yield path / "gone"
        yield from listed(path)

    monkeypatch.setattr(Path, "iterdir", with_one_that_goes)
    spool.tidy()

    assert [path.name for path in listed(folder)] == ["young"]
