"""What only registries can have done to them: another name, and an end."""

from __future__ import annotations

from http import HTTPStatus

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import projects
from syncd.sandbox.state.database import Database, now
from syncd.sandbox.state.records import Project


def rename(db: Database, found: Project, name: str) -> Project:
    """Give a project another name; a registry stays one."""
    if not name or projects.is_registry(found.name) != projects.is_registry(name):
        raise SandboxError(f"project {found.name!r} cannot be named {name!r}")
    sql = "SELECT 1 FROM projects WHERE entity_id = ? AND name = ? AND id <> ?"
    if db.value(sql, (found.entity_id, name, found.id)):
        raise SandboxError(f"project {name!r} already exists", status=HTTPStatus.CONFLICT)
    db.update("projects", found.id, name=name, updated_at=now())
    return projects.get(db, found.id)


def delete(db: Database, row: int) -> None:
    """Delete a registry with its collections; the versions linked there stay where they come from."""
    found = db.one(Project, "SELECT * FROM projects WHERE id = ?", (row,))
    if found is None:
        raise not_found("registry")
    if not projects.is_registry(found.name):
        raise SandboxError("only a registry can be deleted")
    of_project = "SELECT id FROM collections WHERE project_id = ?"
    for table in ("aliases", "memberships", "collection_tags"):
        db.execute(f"DELETE FROM {table} WHERE collection_id IN ({of_project})", (row,))  # noqa: S608  names are ours
    for table in ("collections", "artifact_types"):
        db.execute(f"DELETE FROM {table} WHERE project_id = ?", (row,))  # noqa: S608  names are ours
    db.execute("DELETE FROM projects WHERE id = ?", (row,))
