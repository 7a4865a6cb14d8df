"""Copies of the catalog, made while it is in use (SQLite's online backup).

PostgreSQL has its own tools, and whoever runs it has them in place.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

PREFIX, SUFFIX = "syncd-", ".db"


def backup(url: str, folder: Path, *, keep: int) -> Path | None:
    """Copy the catalog into a folder, and remove older copies.

    Args:
        url: the catalog's SQLAlchemy URL.
        folder: made when it is missing.
        keep: copies to keep, this one included.

    Returns:
        The copy; None when the catalog is not in a file.

    Raises:
        OSError: when the disk refuses.
        sqlite3.Error: when the catalog cannot be read.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}{SUFFIX}"
    partial = folder / f".{made.name}.partial"
    for left in folder.glob(".*.partial"):
        left.unlink()  # of a process that was killed
    try:
        with (
            closing(sqlite3.connect(f"file:{parsed.database}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(partial)) as target,
        ):
            # In one piece, which holds up no writer (WAL). In several, SQLite begins anew whenever
            # somebody has written in between: while syncd works, a large one would never end.
            source.backup(target)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(made)
    except BaseException:
        partial.unlink(missing_ok=True)  # on a full disk above all
        raise
    copies = sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))
    for old in copies[: max(0, len(copies) - keep)]:
        old.unlink()
    return made
