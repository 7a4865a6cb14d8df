"""Which versions are in which collections, under which index and aliases.

An alias belongs to one version of a collection at a time; giving it to another moves it. An index is never reused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import filters
from syncd.sandbox.state.database import Database, now
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import Alias, Artifact, Collection, Membership, Project

LATEST = "latest"
MAX_ALIAS = 128
_VERSION = re.compile(r"v(0|[1-9][0-9]*)")

_SOURCE = """memberships m JOIN artifacts a ON a.id = m.artifact_id
    JOIN collections c ON c.id = m.collection_id JOIN projects p ON p.id = c.project_id"""

_NAMED = filters.named(
    id="a.id",
    state="a.state",
    digest="a.digest",
    description="a.description",
    size="a.size",
    version="m.version_index",
    version_index="m.version_index",
    versionIndex="m.version_index",
    created_at="a.created_at",
    createdAt="a.created_at",
    updated_at="a.updated_at",
    updatedAt="a.updated_at",
    alias=filters.Many(
        "EXISTS (SELECT 1 FROM aliases l WHERE l.membership_id = m.id AND {})", "l.alias"
    ),
    tag=filters.Many(
        "EXISTS (SELECT 1 FROM artifact_tags at JOIN tags g ON g.id = at.tag_id"
        " WHERE at.artifact_id = a.id AND {})",
        "g.name",
    ),
)


def _columns(name: str) -> filters.Column | None:
    if name.startswith("metadata."):
        path = "$" + "".join(f'."{key}"' for key in name.split(".")[1:])
        return Clause(
            "CASE WHEN json_valid(a.metadata) THEN json_extract(a.metadata, ?) END", (path,)
        )
    return _NAMED(name)


def get(db: Database, row: int) -> Membership:
    """The membership of a row id."""
    found = db.one(Membership, "SELECT * FROM memberships WHERE id = ?", (row,))
    assert found is not None
    return found


def of(db: Database, collection: Collection, artifact: Artifact) -> Membership | None:
    """A version's membership in a collection."""
    sql = "SELECT * FROM memberships WHERE collection_id = ? AND artifact_id = ?"
    return db.one(Membership, sql, (collection.id, artifact.id))


def add(db: Database, collection: Collection, artifact: Artifact) -> Membership:
    """Put a version into a collection under the next index."""
    sql = "UPDATE collections SET next_index = next_index + 1, updated_at = ? WHERE id = ?"
    db.execute(sql, (now(), collection.id))
    index = db.value("SELECT next_index - 1 FROM collections WHERE id = ?", (collection.id,))
    row = db.insert(
        "memberships",
        collection_id=collection.id,
        artifact_id=artifact.id,
        version_index=index,
        created_at=now(),
    )
    return get(db, row)


def reuse_numbers(db: Database, collection: Collection) -> None:
    """Let the next version have the lowest number above those there are."""
    sql = """
        UPDATE collections SET next_index = (
            SELECT COALESCE(MAX(version_index) + 1, 0) FROM memberships WHERE collection_id = collections.id)
        WHERE id = ?
    """
    db.execute(sql, (collection.id,))


def newest(db: Database, collection: Collection) -> Membership | None:
    """The membership with the highest number."""
    sql = "SELECT * FROM memberships WHERE collection_id = ? ORDER BY version_index DESC LIMIT 1"
    return db.one(Membership, sql, (collection.id,))


def remove(db: Database, membership: Membership) -> None:
    """Take a version out of a collection, with its aliases there."""
    db.execute("DELETE FROM memberships WHERE id = ?", (membership.id,))


def find(db: Database, collection: Collection, version: str) -> Membership | None:
    """The membership an alias or a version such as v3 points at."""
    if match := _VERSION.fullmatch(version):
        sql = "SELECT * FROM memberships WHERE collection_id = ? AND version_index = ?"
        return db.one(Membership, sql, (collection.id, int(match[1])))
    sql = """
        SELECT m.* FROM aliases l JOIN memberships m ON m.id = l.membership_id
        WHERE l.collection_id = ? AND l.alias = ?
    """
    return db.one(Membership, sql, (collection.id, version))


def find_by_name(db: Database, project: Project, name: str) -> Membership | None:
    """The membership of `collection:version` in a project; a bare name means the latest."""
    collection_name, _, version = name.partition(":")
    sql = "SELECT * FROM collections WHERE project_id = ? AND name = ? AND state = 'READY'"
    collection = db.one(Collection, sql, (project.id, collection_name))
    return None if collection is None else find(db, collection, version or LATEST)


def of_artifact(db: Database, artifact: Artifact) -> list[Membership]:
    """All memberships of a version, its own sequence first."""
    sql = """
        SELECT * FROM memberships WHERE artifact_id = ? ORDER BY collection_id <> ?, id
    """
    return db.all(Membership, sql, (artifact.id, artifact.sequence_id))


def _where(
    where: Sequence[Clause], filter_text: str | None, order: str | None
) -> tuple[list[Clause], Clause | None, bool]:
    key, descending = filters.order(_columns, order)
    return [*where, *filters.parse(_columns, filter_text)], key, descending


def listing(
    db: Database,
    where: Sequence[Clause],
    *,
    filter_text: str | None = None,
    order: str | None = None,
    window: Window,
) -> Connection[Membership]:
    """Memberships that meet `where` (of membership `m`, version `a`, collection `c`, project `p`), newest first."""
    conditions, key, descending = _where(where, filter_text, order)
    return page(
        db,
        Membership,
        columns="m.*",
        source=_SOURCE,
        where=conditions,
        row_id="m.id",
        key=key,
        descending=descending or key is None,
        window=window,
    )


def versions(
    db: Database,
    collection: Collection,
    *,
    filter_text: str | None = None,
    order: str | None = None,
    newest_first: bool = True,
    window: Window,
) -> Connection[Artifact]:
    """Versions in a collection, by number unless ordered otherwise."""
    of_collection = Clause("m.collection_id = ?", (collection.id,))
    conditions, key, descending = _where([of_collection], filter_text, order)
    return page(
        db,
        Artifact,
        columns="a.*",
        source=_SOURCE,
        where=conditions,
        row_id="m.version_index",
        key=key,
        descending=descending or (key is None and newest_first),
        window=window,
    )


def aliases(db: Database, membership: Membership) -> list[Alias]:
    """Aliases of a version in one collection."""
    return db.all(
        Alias, "SELECT * FROM aliases WHERE membership_id = ? ORDER BY id", (membership.id,)
    )


def aliases_everywhere(db: Database, artifact: Artifact) -> list[Alias]:
    """Aliases of a version in all its collections."""
    sql = """
        SELECT l.* FROM memberships m JOIN aliases l ON l.membership_id = m.id
        WHERE m.artifact_id = ? ORDER BY l.id
    """
    return db.all(Alias, sql, (artifact.id,))


def aliases_in(db: Database, collection: Collection, window: Window) -> Connection[Alias]:
    """All aliases of a collection."""
    return page(
        db,
        Alias,
        columns="l.*",
        source="aliases l",
        where=[Clause("l.collection_id = ?", (collection.id,))],
        row_id="l.id",
        window=window,
    )


def check_alias(alias: str) -> str:
    """Refuse what cannot be an alias."""
    if not alias or len(alias) > MAX_ALIAS or set(alias) & set("/:"):
        raise SandboxError(f"invalid alias: {alias!r}")
    return alias


def give(db: Database, membership: Membership, names: Iterable[str]) -> None:
    """Point aliases of a collection at this version, away from any other."""
    sql = """
        INSERT INTO aliases (collection_id, membership_id, alias) VALUES (?, ?, ?)
        ON CONFLICT (collection_id, alias) DO UPDATE SET membership_id = excluded.membership_id
    """
    for name in names:
        # A version number is no alias: it always resolves by index.
        if not _VERSION.fullmatch(check_alias(name)):
            db.execute(sql, (membership.collection_id, membership.id, name))


def take(db: Database, membership: Membership, names: Iterable[str]) -> None:
    """Remove aliases from this version; aliases that are elsewhere stay there."""
    sql = "DELETE FROM aliases WHERE membership_id = ? AND alias = ?"
    db.many(sql, [(membership.id, name) for name in names])


def require(db: Database, collection: Collection, artifact: Artifact) -> Membership:
    """A version's membership in a collection, or an error."""
    found = of(db, collection, artifact)
    if found is None:
        raise not_found(f"the artifact version in {collection.name!r}")
    return found
