"""Tags: plain labels, on versions and on collections."""

from __future__ import annotations

import re
from collections.abc import Iterable

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state.database import Database
from syncd.sandbox.state.records import Artifact, Collection, Tag

_SHAPE = re.compile(r"[-\w]+( +[-\w]+)*")
MAX_TAGS = 20
MAX_LENGTH = 128


def put(db: Database, name: str) -> Tag:
    """The tag of that name."""
    if not _SHAPE.fullmatch(name) or len(name) > MAX_LENGTH:
        raise SandboxError(f"Invalid tag: {name!r}")
    db.execute("INSERT OR IGNORE INTO tags (name) VALUES (?)", (name,))
    found = db.one(Tag, "SELECT * FROM tags WHERE name = ?", (name,))
    assert found is not None
    return found


def _put_all(db: Database, link: str, owner: str, row: int, names: Iterable[str]) -> list[Tag]:
    added = [put(db, name) for name in names]
    sql = f"INSERT OR IGNORE INTO {link} ({owner}, tag_id) VALUES (?, ?)"  # noqa: S608  names are ours
    db.many(sql, [(row, tag.id) for tag in added])
    count = db.value(f"SELECT COUNT(*) FROM {link} WHERE {owner} = ?", (row,))  # noqa: S608  names are ours
    if count > MAX_TAGS:
        raise SandboxError(f"no more than {MAX_TAGS} tags")
    return added


def _drop_all(db: Database, link: str, owner: str, row: int, names: Iterable[str]) -> None:
    sql = f"DELETE FROM {link} WHERE {owner} = ? AND tag_id = (SELECT id FROM tags WHERE name = ?)"  # noqa: S608  names are ours
    db.many(sql, [(row, name) for name in names])


def add_to_artifact(db: Database, artifact: Artifact, names: Iterable[str]) -> None:
    """Label a version."""
    _put_all(db, "artifact_tags", "artifact_id", artifact.id, names)


def drop_from_artifact(db: Database, artifact: Artifact, names: Iterable[str]) -> None:
    """Take labels off a version."""
    _drop_all(db, "artifact_tags", "artifact_id", artifact.id, names)


def add_to_collection(db: Database, collection: Collection, names: Iterable[str]) -> list[Tag]:
    """Label a collection."""
    return _put_all(db, "collection_tags", "collection_id", collection.id, names)


def drop_from_collection(db: Database, collection: Collection, names: Iterable[str]) -> None:
    """Take labels off a collection."""
    _drop_all(db, "collection_tags", "collection_id", collection.id, names)


def of_artifact(db: Database, artifact: Artifact) -> list[Tag]:
    """A version's tags."""
    sql = """
        SELECT g.* FROM artifact_tags t JOIN tags g ON g.id = t.tag_id
        WHERE t.artifact_id = ? ORDER BY g.name
    """
    return db.all(Tag, sql, (artifact.id,))
