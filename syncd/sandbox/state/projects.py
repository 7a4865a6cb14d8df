"""Projects, registries and artifact types."""

from __future__ import annotations

from collections.abc import Iterable

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import entities, filters
from syncd.sandbox.state.database import Database, now
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import ArtifactType, Entity, Project, User

DEFAULT_PROJECT = "uncategorized"

_COLUMNS = filters.named(
    id="p.id",
    name="p.name",
    entity_id="p.entity_id",
    description="p.description",
    created_at="p.created_at",
    createdAt="p.created_at",
    updated_at="p.updated_at",
)


def get(db: Database, row: int) -> Project:
    """The project of a row id."""
    found = db.one(Project, "SELECT * FROM projects WHERE id = ?", (row,))
    assert found is not None
    return found


def by_name(db: Database, owner: str, name: str) -> Project | None:
    """The project of an entity's name and its own."""
    sql = """
        SELECT p.* FROM projects p JOIN entities e ON e.id = p.entity_id
        WHERE e.name = ? AND p.name = ?
    """
    return db.one(Project, sql, (owner, name))


def require(db: Database, owner: str, name: str) -> Project:
    """The project of an entity's name and its own, or an error."""
    found = by_name(db, owner, name)
    if found is None:
        raise not_found(f"project {owner}/{name}")
    return found


def is_registry(project_name: str) -> bool:
    """Whether a project's name makes it a registry."""
    return project_name.startswith(entities.REGISTRY_PREFIX)


def put(db: Database, who: User, owner: Entity, name: str) -> Project:
    """The project of that name, made if need be. Registries are never made by the way."""
    found = db.one(
        Project, "SELECT * FROM projects WHERE entity_id = ? AND name = ?", (owner.id, name)
    )
    if found is not None:
        return found
    if owner.kind == "organization":
        raise not_found(f"registry {name!r} of {owner.name!r}")
    return create(db, who, owner, name)


def create(
    db: Database,
    who: User,
    owner: Entity,
    name: str,
    *,
    description: str | None = None,
    access: str | None = None,
    any_type: bool = True,
) -> Project:
    """Add a project."""
    if not name:
        raise SandboxError("a project needs a name")
    time = now()
    row = db.insert(
        "projects",
        entity_id=owner.id,
        user_id=who.id,
        name=name,
        description=description,
        access=access,
        any_type=int(any_type),
        created_at=time,
        updated_at=time,
    )
    return get(db, row)


def change(
    db: Database,
    project: Project,
    *,
    description: str | None,
    access: str | None,
    any_type: bool | None,
) -> Project:
    """Change what is given; null leaves the old value."""
    db.update(
        "projects",
        project.id,
        description=project.description if description is None else description,
        access=project.access if access is None else access,
        any_type=project.any_type if any_type is None else int(any_type),
        updated_at=now(),
    )
    return get(db, project.id)


def listing(
    db: Database,
    owner: Entity,
    *,
    registries: bool = False,
    filter_text: str | None = None,
    order: str | None = None,
    window: Window,
) -> Connection[Project]:
    """Projects of an entity, the newest first."""
    where = [Clause("p.entity_id = ?", (owner.id,))]
    if registries:
        where.append(Clause("p.name LIKE ?", (entities.REGISTRY_PREFIX + "%",)))
    key, descending = filters.order(_COLUMNS, order)
    return page(
        db,
        Project,
        columns="p.*",
        source="projects p",
        where=[*where, *filters.parse(_COLUMNS, filter_text)],
        row_id="p.id",
        key=key,
        descending=descending or key is None,
        window=window,
    )


def of_user(db: Database, who: User, window: Window) -> Connection[Project]:
    """Projects of all entities a user works in, the newest first."""
    sql = """
        p.entity_id IN (SELECT e.id FROM entities e WHERE e.user_id = ?)
        OR p.entity_id IN (SELECT m.entity_id FROM members m WHERE m.user_id = ?)
    """
    return page(
        db,
        Project,
        columns="p.*",
        source="projects p",
        where=[Clause(sql, (who.id, who.id))],
        row_id="p.id",
        descending=True,
        window=window,
    )


def condition(filter_text: str | None) -> list[Clause]:
    """A filter on the project `p` of a wider listing."""
    return filters.parse(_COLUMNS, filter_text)


def artifact_type(db: Database, row: int) -> ArtifactType:
    """The type of a row id."""
    found = db.one(ArtifactType, "SELECT * FROM artifact_types WHERE id = ?", (row,))
    assert found is not None
    return found


def type_by_name(db: Database, project: Project, name: str) -> ArtifactType | None:
    """A project's type of that name."""
    sql = "SELECT * FROM artifact_types WHERE project_id = ? AND name = ?"
    return db.one(ArtifactType, sql, (project.id, name))


def put_type(db: Database, project: Project, name: str) -> ArtifactType:
    """A project's type of that name, made if the project allows it."""
    found = type_by_name(db, project, name)
    if found is not None:
        return found
    if not project.any_type:
        raise SandboxError(f"artifact type {name!r} is not accepted by {project.name!r}")
    return add_type(db, project, name)


def add_type(db: Database, project: Project, name: str) -> ArtifactType:
    """Add a type whatever the project allows."""
    row = db.insert("artifact_types", project_id=project.id, name=name, created_at=now())
    return artifact_type(db, row)


def add_types(db: Database, project: Project, names: Iterable[str]) -> None:
    """Add those types a project does not have yet."""
    for name in names:
        if type_by_name(db, project, name) is None:
            add_type(db, project, name)


def types(db: Database, project: Project, window: Window) -> Connection[ArtifactType]:
    """A project's types, the oldest first."""
    return page(
        db,
        ArtifactType,
        columns="t.*",
        source="artifact_types t",
        where=[Clause("t.project_id = ?", (project.id,))],
        row_id="t.id",
        window=window,
    )
