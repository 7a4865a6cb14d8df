"""What the pages for a browser ask beyond what the API does: listings over everything, and lineage by pages."""

from __future__ import annotations

from syncd.sandbox.state.database import Database
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import Artifact, Project, Run


def all_projects(db: Database, window: Window) -> Connection[Project]:
    """Everybody's projects, the newest first."""
    return page(
        db,
        Project,
        columns="p.*",
        source="projects p",
        where=[],
        row_id="p.id",
        descending=True,
        window=window,
    )


def _runs(db: Database, where: Clause, window: Window) -> Connection[Run]:
    return page(
        db, Run, columns="r.*", source="runs r", where=[where], row_id="r.id", window=window
    )


def loggers(db: Database, artifact: Artifact, window: Window) -> Connection[Run]:
    """Runs that logged a version, the one that created it among them."""
    sql = "r.id IN (SELECT x.run_id FROM outputs x WHERE x.artifact_id = ? UNION SELECT ?)"
    return _runs(db, Clause(sql, (artifact.id, artifact.run_id)), window)


def users(db: Database, artifact: Artifact, window: Window) -> Connection[Run]:
    """Runs that used a version, itself or through a link."""
    sql = "r.id IN (SELECT x.run_id FROM inputs x WHERE x.artifact_id = ?)"
    return _runs(db, Clause(sql, (artifact.id,)), window)


def references(db: Database, artifact: Artifact) -> int:
    """How many entries of a version refer to bytes kept elsewhere."""
    sql = "SELECT COUNT(*) FROM entries WHERE artifact_id = ? AND ref IS NOT NULL"
    return int(db.value(sql, (artifact.id,)))
