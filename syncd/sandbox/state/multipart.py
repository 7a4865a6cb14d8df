"""Uploads in parts: which parts are expected, each with the MD5 of its bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state.database import Database, dumps
from syncd.sandbox.state.records import Artifact

MAX_PARTS = 10_000
_HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Multipart:
    """One file on its way in parts; `parts` is a JSON list of hex MD5s, part 1 first."""

    id: int
    artifact_id: int
    blob: str
    parts: str

    def md5s(self) -> list[str]:
        """The hex MD5 of each part, part 1 first."""
        found: list[str] = json.loads(self.parts)
        return found


def begin(db: Database, artifact: Artifact, blob: str, parts: Mapping[int, str]) -> Multipart:
    """Expect a file in parts numbered from 1."""
    if sorted(parts) != list(range(1, len(parts) + 1)) or len(parts) > MAX_PARTS:
        raise SandboxError(f"parts are numbered from 1 to at most {MAX_PARTS}")
    md5s = [parts[number].lower() for number in sorted(parts)]
    if not all(_HEX.fullmatch(md5) for md5 in md5s):
        raise SandboxError("the MD5 of a part is not in hex")
    row = db.insert("multipart_uploads", artifact_id=artifact.id, blob=blob, parts=dumps(md5s))
    return get(db, row)


def get(db: Database, row: int) -> Multipart:
    """The upload of a row id, or an error."""
    found = db.one(Multipart, "SELECT * FROM multipart_uploads WHERE id = ?", (row,))
    if found is None:
        raise not_found("multipart upload")
    return found


def end(db: Database, upload: Multipart) -> None:
    """Forget a completed upload."""
    db.execute("DELETE FROM multipart_uploads WHERE id = ?", (upload.id,))


def forget_abandoned(db: Database) -> list[int]:
    """Forget uploads whose version is no longer being written; their row ids."""
    of_pending = "SELECT id FROM artifacts WHERE state = 'PENDING'"
    condition = f"artifact_id NOT IN ({of_pending})"
    rows = db.rows(f"SELECT id FROM multipart_uploads WHERE {condition}")  # noqa: S608  built from our own names
    db.execute(f"DELETE FROM multipart_uploads WHERE {condition}")  # noqa: S608  built from our own names
    return [int(row[0]) for row in rows]
