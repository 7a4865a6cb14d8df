"""Copies of the catalog: whole though it is in use, and only the last few."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from syncd.catalog.backup import backup
from syncd.catalog.catalog import Catalog
from syncd.refs import RunRef


def run(number: int) -> RunRef:
    """Something to be found again."""
    return RunRef(entity="team", project="proj", run_id=f"r{number}")


def test_a_copy_holds_what_the_catalog_held(tmp_path: Path) -> None:
    """Though it is open, and has not been written back from its journal."""
    url = f"sqlite:///{tmp_path}/syncd.db"
    with closing(Catalog(url)) as catalog:
        catalog.add_run_due(run(1))
        made = backup(url, tmp_path / "backups", keep=3)
        catalog.add_run_due(run(2))
    assert made is not None

    with closing(Catalog(f"sqlite:///{made}")) as copy:
        assert copy.runs_due() == [run(1)]


def test_a_copy_ends_while_others_write_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they do while versions move: SQLite begins anew when it finds that they have."""
    path = tmp_path / "syncd.db"
    url = f"sqlite:///{path}"
    Catalog(url).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE filler AS SELECT randomblob(20000000) AS bytes")
    steps: list[int] = []

    def write(_status: int, left: int, _all: int) -> None:
        steps.append(left)
        assert len(steps) < 100, f"it does not end: {steps}"
        other.execute("INSERT INTO syncd_runs_due VALUES ('team', 'proj', ?)", [f"r{len(steps)}"])

    class Watched(sqlite3.Connection):
        """Somebody writes after each step of a copy."""

        def backup(self, target: sqlite3.Connection, **how: Any) -> None:
            """Copy."""
            super().backup(target, progress=write, **how)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Watched))
    made = backup(url, tmp_path / "backups", keep=1)
    other.close()

    assert made is not None
    with closing(sqlite3.connect(made)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_could_not_be_copied_whole_takes_no_room(tmp_path: Path) -> None:
    """The disk was full, say."""
    path = tmp_path / "syncd.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.Error):
        backup(f"sqlite:///{path}", tmp_path / "b", keep=1)

    assert list((tmp_path / "b").iterdir()) == []


def test_the_last_few_copies_are_kept(tmp_path: Path) -> None:
    """What a killed process left in part is removed, what is not ours stays."""
    url, folder = f"sqlite:///{tmp_path}/syncd.db", tmp_path / "backups"
    folder.mkdir()
    for name in ("notes.txt", ".syncd-1.db.partial"):
        (folder / name).touch()
    Catalog(url).close()
    made = [backup(url, folder, keep=2) for _ in range(4)]

    assert sorted(folder.iterdir()) == sorted([folder / "notes.txt", *filter(None, made[2:])])


@pytest.mark.parametrize("url", ["postgresql://syncd@db/syncd", "sqlite://"])
def test_what_is_in_no_file_is_left_to_others(url: str, tmp_path: Path) -> None:
    """PostgreSQL has its own tools."""
    assert backup(url, tmp_path / "backups", keep=2) is None


def test_a_large_catalog_is_copied_though_it_is_written_to_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While versions move something is written many times a second, and a copy begun anew never ends."""
    url = f"sqlite:///{tmp_path}/syncd.db"
    parts = 0
    with closing(Catalog(url)) as catalog:
        for number in range(100):
            catalog.looks.settle(str(number), "why " * 25_000, "f")

        def written(*_progress: int) -> None:
            nonlocal parts
            parts += 1
            assert parts < 20, "it begins anew again and again"
            catalog.add_run_due(run(parts))

        class Watched(sqlite3.Connection):
            """Tells of each part of a copy."""

            def backup(self, *arguments: Any, **options: Any) -> None:
                """See `sqlite3.Connection.backup`."""
                super().backup(*arguments, **options, progress=written)

        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Watched))
        made = backup(url, tmp_path / "backups", keep=1)
        monkeypatch.undo()
    assert made is not None
    assert parts

    with closing(Catalog(f"sqlite:///{made}")) as copy:
        assert len(copy.looks.settled([str(number) for number in range(100)], "f")) == 100
