"""Artifact versions from draft to deletion: PENDING, COMMITTED, DELETED."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import collections, memberships, projects
from syncd.sandbox.state.database import Database, dumps, now
from syncd.sandbox.state.records import Artifact, Collection, Run, User

PENDING = "PENDING"
COMMITTED = "COMMITTED"
DELETED = "DELETED"

TTL_INHERIT = -1
TTL_DISABLED = -2
# What the client itself makes by the way does not expire.
_LASTING_TYPES = {"code", "job", "run_table"}
_LASTING_PREFIX = "wandb-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a client says of a version before its content is there."""

    digest: str
    digest_algorithm: str | None
    aliases: Sequence[str]
    description: str | None
    metadata: str | None
    ttl_seconds: int | None
    history_step: int | None
    distributed_id: str | None


def get(db: Database, row: int) -> Artifact:
    """The version of a row id, or an error."""
    found = db.one(Artifact, "SELECT * FROM artifacts WHERE id = ?", (row,))
    if found is None:
        raise not_found("artifact")
    return found


def living(db: Database, row: int) -> Artifact:
    """A version that has not been deleted, or an error."""
    found = get(db, row)
    if found.state == DELETED:
        raise not_found("artifact")
    return found


def _check_metadata(text: str | None) -> None:
    if text is not None:
        try:
            json.loads(text)
        except ValueError as error:
            raise SandboxError("metadata is not JSON") from error


def same_content(db: Database, sequence: Collection, digest: str) -> Artifact | None:
    """The newest committed version of a sequence with this digest."""
    sql = """
        SELECT * FROM artifacts WHERE sequence_id = ? AND digest = ? AND state = 'COMMITTED'
        ORDER BY version_index DESC LIMIT 1
    """
    return db.one(Artifact, sql, (sequence.id, digest))


def shared_draft(db: Database, sequence: Collection, distributed_id: str | None) -> Artifact | None:
    """The pending version that other processes with this id already write to."""
    sql = """
        SELECT * FROM artifacts
        WHERE sequence_id = ? AND distributed_id = ? AND state = 'PENDING' ORDER BY id DESC LIMIT 1
    """
    return db.one(Artifact, sql, (sequence.id, distributed_id)) if distributed_id else None


def create(
    db: Database, sequence: Collection, who: User, run: Run | None, draft: Draft
) -> Artifact:
    """Add a pending version."""
    _check_metadata(draft.metadata)
    for alias in draft.aliases:
        memberships.check_alias(alias)
    time = now()
    row = db.insert(
        "artifacts",
        sequence_id=sequence.id,
        user_id=who.id,
        run_id=run.id if run else None,
        digest=draft.digest,
        digest_algorithm=draft.digest_algorithm,
        description=draft.description,
        metadata=draft.metadata,
        ttl_seconds=draft.ttl_seconds,
        history_step=draft.history_step,
        distributed_id=draft.distributed_id,
        wanted_aliases=dumps(list(draft.aliases)),
        created_at=time,
        updated_at=time,
    )
    return get(db, row)


def commit(db: Database, artifact: Artifact, *, size: int, file_count: int) -> Artifact:
    """Make a pending version the next of its sequence and give it the aliases it was created with."""
    membership = memberships.add(db, collections.get(db, artifact.sequence_id), artifact)
    secret = f"commit {artifact.id} {artifact.digest}".encode()
    db.update(
        "artifacts",
        artifact.id,
        state=COMMITTED,
        version_index=membership.version_index,
        size=size,
        file_count=file_count,
        commit_hash=hashlib.sha256(secret).hexdigest()[:20],
        updated_at=now(),
    )
    memberships.give(db, membership, json.loads(artifact.wanted_aliases))
    return get(db, artifact.id)


def change(
    db: Database,
    artifact: Artifact,
    *,
    description: str | None,
    metadata: str | None,
    ttl_seconds: int | None,
) -> Artifact:
    """Edit a version; null leaves the old value."""
    _check_metadata(metadata)
    given = {"description": description, "metadata": metadata, "ttl_seconds": ttl_seconds}
    columns = {name: value for name, value in given.items() if value is not None}
    db.update("artifacts", artifact.id, **columns, updated_at=now())
    return get(db, artifact.id)


def delete(db: Database, artifact: Artifact, *, with_aliases: bool) -> None:
    """Delete a version softly; aliases must be given up explicitly."""
    if not with_aliases and memberships.aliases_everywhere(db, artifact):
        raise SandboxError("cannot delete an artifact version that has aliases")
    for membership in memberships.of_artifact(db, artifact):
        memberships.remove(db, membership)
    db.update("artifacts", artifact.id, state=DELETED, updated_at=now())


def expired(db: Database, moment: int) -> list[Artifact]:
    """Versions whose time to live has run out by a moment (seconds since 1970)."""
    sql = """
        SELECT * FROM artifacts WHERE state = 'COMMITTED' AND ttl_seconds > 0
        AND CAST(strftime('%s', created_at) AS INTEGER) + ttl_seconds <= ?
    """
    return [found for found in db.all(Artifact, sql, (moment,)) if not _lasts(db, found)]


def _lasts(db: Database, artifact: Artifact) -> bool:
    """Whether a version never expires: for its type, or because a registry refers to it."""
    sequence = collections.get(db, artifact.sequence_id)
    kind = projects.artifact_type(db, sequence.type_id).name
    return kind in _LASTING_TYPES or kind.startswith(_LASTING_PREFIX) or _registered(db, artifact)


def _registered(db: Database, artifact: Artifact) -> bool:
    sql = """
        SELECT p.name FROM memberships m JOIN collections c ON c.id = m.collection_id
        JOIN projects p ON p.id = c.project_id WHERE m.artifact_id = ? AND c.kind = 'PORTFOLIO'
    """
    return any(projects.is_registry(row[0]) for row in db.rows(sql, (artifact.id,)))


def ttl(db: Database, artifact: Artifact) -> tuple[int, bool]:
    """The seconds to live as told to clients, and whether they are inherited (no default: never)."""
    if artifact.ttl_seconds is not None and _lasts(db, artifact):
        return TTL_DISABLED, False
    if artifact.ttl_seconds is None or artifact.ttl_seconds == TTL_INHERIT:
        return TTL_DISABLED, True
    return artifact.ttl_seconds, False


def remember_client(db: Database, client_id: str, artifact: Artifact) -> None:
    """Let a client's own id of a version lead to it."""
    sql = "INSERT OR REPLACE INTO client_ids (client_id, artifact_id) VALUES (?, ?)"
    db.execute(sql, (client_id, artifact.id))


def remember_sequence(db: Database, client_id: str, sequence: Collection) -> None:
    """Let a client's own id of a sequence lead to it."""
    sql = "INSERT OR REPLACE INTO client_ids (client_id, collection_id) VALUES (?, ?)"
    db.execute(sql, (client_id, sequence.id))


def client_target(db: Database, client_id: str) -> tuple[str, int] | None:
    """What a client's own id leads to: ("Artifact" or "ArtifactCollection", row)."""
    sql = "SELECT artifact_id, collection_id FROM client_ids WHERE client_id = ?"
    for artifact_id, collection_id in db.rows(sql, (client_id,)):
        if artifact_id is not None:
            return "Artifact", int(artifact_id)
        return "ArtifactCollection", int(collection_id)
    return None
