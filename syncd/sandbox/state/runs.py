"""Runs: the upsert with its merge rule, listings, deletion.

A null value leaves the stored one. Neither an upsert nor an artifact logged by somebody else touches the state or
the heartbeat of a run that exists; those belong to its file stream (`history.py`) and to an explicit state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import filters
from syncd.sandbox.state.database import Database, Value, dumps, now
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import Project, Run, User

_TERMINAL = {"finished", "failed", "crashed", "killed"}
_REQUEUE = {
    "pending": {"running", "failed", "crashed", "preempted"},
    "failed": {"pending", "running"},
}

_NAMED = filters.named(
    id="r.id",
    name="r.name",
    state="r.state",
    display_name="r.display_name",
    displayName="r.display_name",
    description="r.description",
    group="r.group_name",
    job_type="r.job_type",
    jobType="r.job_type",
    sweep="r.sweep_name",
    username="(SELECT u.name FROM users u WHERE u.id = r.user_id)",
    created_at="r.created_at",
    createdAt="r.created_at",
    heartbeat_at="r.heartbeat_at",
    heartbeatAt="r.heartbeat_at",
    tags=filters.Many("EXISTS (SELECT 1 FROM json_each(r.tags) tag WHERE {})", "tag.value"),
)


def _columns(name: str) -> filters.Column | None:
    for prefix, column in (("config.", "r.config"), ("summary_metrics.", "r.summary_metrics")):
        if name.startswith(prefix):
            keys = name.removeprefix(prefix).split(".")
            path = "$" + "".join("." + json.dumps(key) for key in keys)
            return Clause(
                f"CASE WHEN json_valid({column}) THEN json_extract({column}, ?) END", (path,)
            )
    return _NAMED(name)


def get(db: Database, row: int) -> Run:
    """The run of a row id, or an error."""
    found = find(db, row)
    if found is None:
        raise not_found("run")
    return found


def find(db: Database, row: int) -> Run | None:
    """The run of a row id."""
    return db.one(Run, "SELECT * FROM runs WHERE id = ?", (row,))


def by_name(db: Database, project: Project, name: str) -> Run | None:
    """A project's run of that name (the id in its URL)."""
    return db.one(Run, "SELECT * FROM runs WHERE project_id = ? AND name = ?", (project.id, name))


def require(db: Database, project: Project, name: str) -> Run:
    """A project's run of that name, or an error."""
    found = by_name(db, project, name)
    if found is None:
        raise not_found(f"run {name!r}")
    return found


def _json_object(name: str, text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SandboxError(f"{name} is not JSON") from error
    if not isinstance(value, dict):
        raise SandboxError(f"{name} is not a JSON object")
    return text


def create(db: Database, project: Project, who: User, name: str, state: str) -> Run:
    """Add a run."""
    time = now()
    row = db.insert(
        "runs",
        project_id=project.id,
        user_id=who.id,
        name=name,
        display_name=name,
        state=state,
        created_at=time,
        updated_at=time,
        heartbeat_at=time,
    )
    return get(db, row)


def change(db: Database, run: Run, given: Mapping[str, Value], *, tags: list[str] | None) -> Run:
    """Merge the given columns into a run; null leaves the old value."""
    columns = {name: value for name, value in given.items() if value is not None}
    for name in ("config", "summary_metrics"):
        if name in columns:
            _json_object(name, str(columns[name]))
    if tags is not None:
        columns["tags"] = dumps(tags)
    if columns:
        db.update("runs", run.id, **columns, updated_at=now())
    return get(db, run.id)


def set_state(db: Database, run: Run, state: str) -> None:
    """Requeue or fail a run, where that is allowed."""
    if run.state not in _REQUEUE.get(state, set()):
        raise SandboxError(f"a {run.state} run cannot become {state}")
    db.update("runs", run.id, state=state, updated_at=now())


def stop(db: Database, run: Run) -> None:
    """Ask a live run to stop; its file stream is told."""
    if run.state not in _TERMINAL:
        db.update("runs", run.id, stopped=1)


def delete(db: Database, run: Run) -> None:
    """Remove a run, its history and its edges; versions it logged lose their creator."""
    db.execute("UPDATE artifacts SET run_id = NULL WHERE run_id = ?", (run.id,))
    for table in ("run_lines", "run_files", "inputs", "outputs"):
        db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run.id,))  # noqa: S608  names are ours
    db.execute("DELETE FROM runs WHERE id = ?", (run.id,))


def _where(project: Project, filter_text: str | None) -> list[Clause]:
    return [Clause("r.project_id = ?", (project.id,)), *filters.parse(_columns, filter_text)]


def listing(
    db: Database,
    project: Project,
    *,
    filter_text: str | None = None,
    order: str | None = None,
    window: Window,
) -> Connection[Run]:
    """Runs of a project, the oldest first unless ordered otherwise."""
    key, descending = filters.order(_columns, order)
    return page(
        db,
        Run,
        columns="r.*",
        source="runs r",
        where=_where(project, filter_text),
        row_id="r.id",
        key=key,
        descending=descending,
        window=window,
    )


def count(db: Database, project: Project, filter_text: str | None) -> int:
    """How many runs of a project a filter leaves."""
    return listing(db, project, filter_text=filter_text, window=Window(first=0)).count()
