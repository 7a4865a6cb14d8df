"""Manifests announced, files announced for upload, and the entries of committed versions.

Bytes are kept by MD5. An entry's own digest may be another hash, so the way from an entry to its bytes is kept per
entry (`entries.blob`) and comes from what was announced for upload, by this version or by the one of its birth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncd.sandbox.errors import not_found
from syncd.sandbox.state.database import Database, dumps
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import Artifact, Entry, Manifest, Membership


@dataclass(frozen=True, slots=True)
class Upload:
    """A file announced for upload: its path, its digest in the manifest, the MD5 of its bytes (both base64)."""

    name: str
    digest: str
    md5: str


def get(db: Database, row: int) -> Manifest:
    """The manifest of a row id, or an error."""
    found = db.one(Manifest, "SELECT * FROM manifests WHERE id = ?", (row,))
    if found is None:
        raise not_found("artifact manifest")
    return found


def put(
    db: Database, artifact: Artifact, name: str, kind: str, *, digest: str, base: Artifact | None
) -> Manifest:
    """Announce a manifest, or its digest once it is known. A patch never replaces another one."""
    sql = """
        INSERT INTO manifests (artifact_id, base_artifact_id, name, type, digest) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (artifact_id, name, type) WHERE type <> 'PATCH' DO UPDATE
        SET digest = excluded.digest, base_artifact_id = excluded.base_artifact_id
    """
    db.execute(sql, (artifact.id, base.id if base else None, name, kind, digest))
    row = db.value(
        "SELECT MAX(id) FROM manifests WHERE artifact_id = ? AND name = ? AND type = ?",
        (artifact.id, name, kind),
    )
    return get(db, row)


def change(
    db: Database, manifest: Manifest, *, digest: str | None, base: Artifact | None
) -> Manifest:
    """Say the digest or the base of an announced manifest."""
    if digest is not None:
        db.update("manifests", manifest.id, digest=digest)
    if base is not None:
        db.update("manifests", manifest.id, base_artifact_id=base.id)
    return get(db, manifest.id)


def of_artifact(db: Database, artifact: Artifact) -> list[Manifest]:
    """All manifests announced for a version, in order."""
    return db.all(
        Manifest, "SELECT * FROM manifests WHERE artifact_id = ? ORDER BY id", (artifact.id,)
    )


def announce(
    db: Database, artifact: Artifact, uploads: Iterable[Upload], blobs: Sequence[str]
) -> None:
    """Note which files will be uploaded, and under which blob each will be."""
    sql = """
        INSERT INTO uploads (artifact_id, name, digest, md5) VALUES (?, ?, ?, ?)
        ON CONFLICT (artifact_id, name) DO UPDATE SET digest = excluded.digest, md5 = excluded.md5
    """
    db.many(
        sql,
        [(artifact.id, u.name, u.digest, blob) for u, blob in zip(uploads, blobs, strict=True)],
    )


def announced(db: Database, artifact_id: int) -> dict[str, str]:
    """Blobs by manifest digest, as announced for one version."""
    sql = "SELECT digest, md5 FROM uploads WHERE artifact_id = ?"
    return {row["digest"]: row["md5"] for row in db.rows(sql, (artifact_id,))}


def store(db: Database, entries: Iterable[Entry]) -> None:
    """Keep the entries of a version."""
    sql = """
        INSERT INTO entries (artifact_id, position, path, digest, blob, size, ref)
        VALUES (?, ?, ?, ?, ?, ?, ?)
    """
    db.many(
        sql,
        ((e.artifact_id, e.position, e.path, e.digest, e.blob, e.size, e.ref) for e in entries),
    )


def entry(db: Database, artifact_id: int, position: int) -> Entry | None:
    """One entry of a version."""
    sql = "SELECT * FROM entries WHERE artifact_id = ? AND position = ?"
    return db.one(Entry, sql, (artifact_id, position))


def entries_named(db: Database, artifact: Artifact, names: Iterable[str]) -> list[Entry]:
    """The entries of some paths, as far as there are such."""
    sql = "SELECT * FROM entries WHERE artifact_id = ? AND path = ?"
    found = (db.one(Entry, sql, (artifact.id, name)) for name in names)
    return [entry for entry in found if entry is not None]


def entries(
    db: Database, membership: Membership, names: Sequence[str], window: Window
) -> Connection[Entry]:
    """Entries of a version in manifest order; only the named ones if any are named."""
    where = [Clause("e.artifact_id = ?", (membership.artifact_id,))]
    source = "entries e"
    if names:
        # Left to itself SQLite would walk a whole manifest in order for the sake of a few names.
        source = "entries e INDEXED BY entries_by_path"
        where.append(Clause("e.path IN (SELECT value FROM json_each(?))", (dumps(list(names)),)))
    return page(
        db,
        Entry,
        columns="e.*",
        source=source,
        where=where,
        row_id="e.position",
        window=window,
    )


def blob_of(db: Database, digest: str, where: Sequence[Clause]) -> str | None:
    """The blob of an entry with this digest in a version that meets `where` (of version `a`)."""
    condition = " AND ".join(f"({clause.sql})" for clause in where)
    sql = f"""
        SELECT e.blob FROM entries e JOIN artifacts a ON a.id = e.artifact_id
        JOIN collections c ON c.id = a.sequence_id JOIN projects p ON p.id = c.project_id
        WHERE e.digest = ? AND e.blob IS NOT NULL AND a.state = 'COMMITTED' AND {condition} LIMIT 1
    """  # noqa: S608  built from our own names
    blob: str | None = db.value(
        sql, [digest, *(value for clause in where for value in clause.parameters)]
    )
    return blob


def forget_deleted(db: Database) -> None:
    """Drop the entries of deleted versions, so that nothing counts as needed by them."""
    of_deleted = "SELECT id FROM artifacts WHERE state = 'DELETED'"
    db.execute(f"DELETE FROM entries WHERE artifact_id IN ({of_deleted})")  # noqa: S608  built from our own names


def needed_blobs(db: Database) -> set[str]:
    """Blobs that entries refer to, or that a pending version waits for or counts on."""
    sql = """
        SELECT blob FROM entries WHERE blob IS NOT NULL
        UNION SELECT u.md5 FROM uploads u JOIN artifacts a ON a.id = u.artifact_id
        WHERE a.state = 'PENDING'
    """
    return {row[0] for row in db.rows(sql)}


def stored_bytes(db: Database) -> int:
    """Bytes of all blobs that entries refer to, each counted once; a deleted version's until they are collected."""
    sql = """
        SELECT COALESCE(SUM(size), 0) FROM (
            SELECT MAX(size) AS size FROM entries WHERE blob IS NOT NULL GROUP BY blob)
    """
    return int(db.value(sql))
