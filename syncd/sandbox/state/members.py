"""Members of registries: users and teams, each in a role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state.database import Database
from syncd.sandbox.state.records import Entity, Project, User

USER = "User"
TEAM = "Entity"
ROLES = ("admin", "member", "viewer", "restricted_viewer")


@dataclass(frozen=True, slots=True)
class ProjectMember:
    """A user or a team in a registry."""

    who: User | Entity
    role: str


def put(db: Database, project: Project, kind: str, row: int, role: str) -> None:
    """Add a member, or change the role."""
    if role not in ROLES:
        raise SandboxError(f"unknown role {role!r}")
    sql = "INSERT OR REPLACE INTO project_members (project_id, kind, member_id, role) VALUES (?, ?, ?, ?)"
    db.execute(sql, (project.id, kind, row, role))


def add(db: Database, project: Project, kind: str, rows: Iterable[int]) -> None:
    """Add members; those that are in keep their role."""
    sql = "INSERT OR IGNORE INTO project_members (project_id, kind, member_id, role) VALUES (?, ?, ?, 'member')"
    db.many(sql, [(project.id, kind, row) for row in rows])


def drop(db: Database, project: Project, kind: str, rows: Iterable[int]) -> None:
    """Remove members; others are passed over."""
    sql = "DELETE FROM project_members WHERE project_id = ? AND kind = ? AND member_id = ?"
    db.many(sql, [(project.id, kind, row) for row in rows])


def users(db: Database, project: Project) -> list[ProjectMember]:
    """The users among the members."""
    sql = """
        SELECT m.role, u.* FROM project_members m JOIN users u ON u.id = m.member_id
        WHERE m.project_id = ? AND m.kind = 'User' ORDER BY u.id
    """
    return [ProjectMember(User(*row), role) for role, *row in db.rows(sql, (project.id,))]


def teams(db: Database, project: Project) -> list[ProjectMember]:
    """The teams among the members."""
    sql = """
        SELECT m.role, e.* FROM project_members m JOIN entities e ON e.id = m.member_id
        WHERE m.project_id = ? AND m.kind = 'Entity' ORDER BY e.id
    """
    return [ProjectMember(Entity(*row), role) for role, *row in db.rows(sql, (project.id,))]
