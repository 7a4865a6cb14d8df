"""Which runs logged and used which versions. Edges are idempotent and outlive links."""

from __future__ import annotations

from syncd.sandbox.state.database import Database
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import Artifact, Run


def add_input(db: Database, run: Run, artifact: Artifact, used_as: str | None) -> None:
    """A run uses a version."""
    sql = "INSERT OR IGNORE INTO inputs (run_id, artifact_id, used_as) VALUES (?, ?, ?)"
    db.execute(sql, (run.id, artifact.id, used_as))


def add_output(db: Database, run: Run, artifact: Artifact) -> None:
    """A run logs a version."""
    sql = "INSERT OR IGNORE INTO outputs (run_id, artifact_id) VALUES (?, ?)"
    db.execute(sql, (run.id, artifact.id))


def _of_run(db: Database, table: str, run: Run, window: Window) -> Connection[Artifact]:
    return page(
        db,
        Artifact,
        columns="a.*",
        source=f"{table} x JOIN artifacts a ON a.id = x.artifact_id",
        where=[Clause("x.run_id = ?", (run.id,)), Clause("a.state = 'COMMITTED'")],
        row_id="x.id",
        window=window,
    )


def inputs(db: Database, run: Run, window: Window) -> Connection[Artifact]:
    """Versions a run used, in the order of use."""
    return _of_run(db, "inputs", run, window)


def outputs(db: Database, run: Run, window: Window) -> Connection[Artifact]:
    """Versions a run logged, in the order of logging."""
    return _of_run(db, "outputs", run, window)


def users(db: Database, artifact: Artifact) -> list[Run]:
    """Runs that used a version, itself or through a link."""
    sql = """
        SELECT r.* FROM inputs x JOIN runs r ON r.id = x.run_id WHERE x.artifact_id = ? ORDER BY x.id
    """
    return db.all(Run, sql, (artifact.id,))
