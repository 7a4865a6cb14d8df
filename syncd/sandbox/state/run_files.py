"""Files saved with runs."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.sandbox.state.database import Database, now
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import Run, RunFile


def put(db: Database, run_id: int, name: str, *, size: int, md5: str) -> None:
    """Note that a file of a run has arrived; a second upload replaces the first."""
    sql = """
        INSERT INTO run_files (run_id, name, size, md5, updated_at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (run_id, name) DO UPDATE
        SET size = excluded.size, md5 = excluded.md5, updated_at = excluded.updated_at
    """
    with db.transaction():
        if db.value("SELECT 1 FROM runs WHERE id = ?", (run_id,)):
            db.execute(sql, (run_id, name, size, md5, now()))


def by_name(db: Database, run_id: int, name: str) -> RunFile | None:
    """A run's file of that name."""
    return db.one(RunFile, "SELECT * FROM run_files WHERE run_id = ? AND name = ?", (run_id, name))


def get(db: Database, row: int) -> RunFile | None:
    """The file of a row id."""
    return db.one(RunFile, "SELECT * FROM run_files WHERE id = ?", (row,))


def delete(db: Database, file: RunFile) -> None:
    """Forget a file."""
    db.execute("DELETE FROM run_files WHERE id = ?", (file.id,))


def count(db: Database, run: Run) -> int:
    """How many files a run has."""
    return int(db.value("SELECT COUNT(*) FROM run_files WHERE run_id = ?", (run.id,)))


def listing(
    db: Database,
    run: Run,
    *,
    names: Sequence[str] = (),
    pattern: str | None = None,
    window: Window,
) -> Connection[RunFile]:
    """Files of a run by name; `pattern` is a LIKE pattern."""
    where = [Clause("f.run_id = ?", (run.id,))]
    if names:
        where.append(Clause(f"f.name IN ({', '.join('?' * len(names))})", tuple(names)))
    if pattern:
        where.append(Clause("f.name LIKE ?", (pattern,)))
    return page(
        db,
        RunFile,
        columns="f.*",
        source="run_files f",
        where=where,
        row_id="f.id",
        key=Clause("f.name"),
        window=window,
    )
