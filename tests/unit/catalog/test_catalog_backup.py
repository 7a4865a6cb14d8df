"""Copies of the catalog: whole though it is in use, and only the last few."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

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
