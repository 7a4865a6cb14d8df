"""Collections: sequences own their versions, portfolios link versions of others. A name is unique in a project."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import filters, projects
from syncd.sandbox.state.database import Database, now
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import Artifact, ArtifactType, Collection, Project, Tag

SEQUENCE = "SEQUENCE"
PORTFOLIO = "PORTFOLIO"
MAX_NAME = 128

_COLUMNS = filters.named(
    id="c.id",
    artifact_collection_id="c.id",
    name="c.name",
    description="c.description",
    created_at="c.created_at",
    createdAt="c.created_at",
    updated_at="c.updated_at",
    updatedAt="c.updated_at",
    type="(SELECT t.name FROM artifact_types t WHERE t.id = c.type_id)",
    tag=filters.Many(
        "EXISTS (SELECT 1 FROM collection_tags ct JOIN tags g ON g.id = ct.tag_id"
        " WHERE ct.collection_id = c.id AND {})",
        "g.name",
    ),
)


def get(db: Database, row: int) -> Collection:
    """The collection of a row id."""
    found = db.one(Collection, "SELECT * FROM collections WHERE id = ?", (row,))
    if found is None:
        raise not_found("artifact collection")
    return found


def living(db: Database, row: int, kind: str) -> Collection:
    """A collection of that kind that has not been deleted, or an error."""
    found = get(db, row)
    if found.state == "DELETED" or found.kind != kind:
        raise not_found(f"artifact {kind.lower()}")
    return found


def by_name(db: Database, project: Project, name: str) -> Collection | None:
    """A project's collection of that name."""
    sql = "SELECT * FROM collections WHERE project_id = ? AND name = ? AND state = 'READY'"
    return db.one(Collection, sql, (project.id, name))


def by_path(db: Database, owner: str, project: str, name: str) -> Collection:
    """The collection of a full path, or an error."""
    found = by_name(db, projects.require(db, owner, project), name)
    if found is None:
        raise not_found(f"artifact collection {owner}/{project}/{name}")
    return found


def _check_name(name: str) -> None:
    if not name or len(name) > MAX_NAME or set(name) & set("/:"):
        raise SandboxError(f"invalid artifact collection name: {name!r}")


def put(
    db: Database,
    project: Project,
    name: str,
    *,
    kind: str,
    type_name: str,
    algorithm: str | None = None,
) -> Collection:
    """The collection of that name, made if need be; another kind or type under the name is an error."""
    found = by_name(db, project, name)
    if found is None:
        _check_name(name)
        artifact_type = projects.put_type(db, project, type_name)
        time = now()
        row = db.insert(
            "collections",
            project_id=project.id,
            type_id=artifact_type.id,
            kind=kind,
            name=name,
            digest_algorithm=algorithm,
            created_at=time,
            updated_at=time,
        )
        return get(db, row)
    known = projects.artifact_type(db, found.type_id).name
    if known != type_name:
        raise SandboxError(f"artifact collection {name!r} already exists with type {known!r}")
    if found.kind != kind:
        raise SandboxError(f"artifact collection {name!r} is a {found.kind.lower()}")
    return found


def change(
    db: Database, found: Collection, name: str | None, description: str | None
) -> Collection:
    """Rename or describe; null leaves the old value."""
    if name is not None and name != found.name:
        _check_name(name)
        if by_name(db, projects.get(db, found.project_id), name) is not None:
            raise SandboxError(f"artifact collection {name!r} already exists", status=409)
        db.update("collections", found.id, name=name)
    if description is not None:
        db.update("collections", found.id, description=description)
    db.update("collections", found.id, updated_at=now())
    return get(db, found.id)


def move(db: Database, found: Collection, type_name: str) -> Collection:
    """Give a sequence and its versions another type."""
    target = projects.put_type(db, projects.get(db, found.project_id), type_name)
    db.update("collections", found.id, type_id=target.id, updated_at=now())
    return get(db, found.id)


def mark_deleted(db: Database, found: Collection) -> Collection:
    """Delete a collection softly; its memberships and aliases go."""
    db.execute("DELETE FROM aliases WHERE collection_id = ?", (found.id,))
    db.execute("DELETE FROM memberships WHERE collection_id = ?", (found.id,))
    db.update("collections", found.id, state="DELETED", updated_at=now())
    return get(db, found.id)


def listing(
    db: Database,
    where: Sequence[Clause],
    *,
    filter_text: str | None = None,
    order: str | None = None,
    window: Window,
) -> Connection[Collection]:
    """Collections that meet `where` (of collection `c`, project `p`), the newest first."""
    key, descending = filters.order(_COLUMNS, order)
    return page(
        db,
        Collection,
        columns="c.*",
        source="collections c JOIN projects p ON p.id = c.project_id",
        where=[Clause("c.state = 'READY'"), *where, *condition(filter_text)],
        row_id="c.id",
        key=key,
        descending=descending or key is None,
        window=window,
    )


def condition(filter_text: str | None) -> list[Clause]:
    """A filter on the collection `c` of a wider listing."""
    return filters.parse(_COLUMNS, filter_text)


def in_project(project: Project) -> Clause:
    """The condition that a collection is in a project."""
    return Clause("c.project_id = ?", (project.id,))


def of_type(artifact_type: ArtifactType) -> Clause:
    """The condition that a collection has a type."""
    return Clause("c.type_id = ?", (artifact_type.id,))


def latest(db: Database, sequence: Collection) -> Artifact | None:
    """The newest committed version of a sequence."""
    sql = """
        SELECT a.* FROM memberships m JOIN artifacts a ON a.id = m.artifact_id
        WHERE m.collection_id = ? ORDER BY m.version_index DESC LIMIT 1
    """
    return db.one(Artifact, sql, (sequence.id,))


def tags(db: Database, found: Collection) -> list[Tag]:
    """A collection's tags."""
    sql = """
        SELECT g.* FROM collection_tags ct JOIN tags g ON g.id = ct.tag_id
        WHERE ct.collection_id = ? ORDER BY g.name
    """
    return db.all(Tag, sql, (found.id,))
