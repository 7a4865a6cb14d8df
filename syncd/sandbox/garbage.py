"""Garbage collection: what has expired is deleted, then the bytes go that no manifest needs.

Deleting a version only marks it. Its bytes stay, and count as stored, until this runs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeAlias

from syncd.sandbox.commit import delete
from syncd.sandbox.context import Backend
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state import manifests, multipart, versions

Report: TypeAlias = dict[str, int]


def _moment(text: str | None) -> int:
    try:
        moment = datetime.now(UTC) if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise SandboxError(f"not a time: {text!r}", status=400) from error
    return int(moment.timestamp())


def collect(backend: Backend, now: str | None = None) -> Report:
    """Delete what has expired by `now`, free what nothing needs; how much of both."""
    db = backend.db
    with db.transaction():
        expired = versions.expired(db, _moment(now))
        for artifact in expired:
            delete(backend, artifact, with_aliases=True)
        manifests.forget_deleted(db)
        abandoned = multipart.forget_abandoned(db)
        needed = manifests.needed_blobs(db)
        unneeded = [path for path in backend.blobs.files() if path.name not in needed]
        freed = sum(path.stat().st_size for path in unneeded)
        unneeded += [path for row in abandoned for path in backend.blobs.parts(row)]

        def remove() -> None:
            for path in unneeded:
                path.unlink(missing_ok=True)

        db.after_commit(remove)
    return {"expired": len(expired), "freed_bytes": freed}
