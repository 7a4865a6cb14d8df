"""Projects of a thousand collections, made in a second: written straight into the server's tables.

The versions can be listed and nothing else: they have no manifest.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from acceptance_world import PROJECT, World

_MADE = "2026-01-01T00:00:00Z"
_UPSERT = "mutation Make($input: UpsertModelInput!) { upsertModel(input: $input) { inserted } }"


class Bulk:
    """The tables of a world's server.

    Args:
        world: its project is made.
        data: the server's data directory.
    """

    def __init__(self, world: World, data: Path) -> None:
        self._entity = world.entity
        self._path = data / "sandbox.sqlite3"
        world.gql(_UPSERT, input={"name": PROJECT, "entityName": world.entity})
        with closing(self._open()) as db:
            self._project = self._one(db, "SELECT id FROM projects WHERE name = ?", PROJECT)
            self._user = self._one(db, "SELECT user_id FROM projects WHERE name = ?", PROJECT)
            self._type = self._insert(
                db,
                "artifact_types",
                {"project_id": self._project, "name": "dataset", "created_at": _MADE},
            )
            db.commit()

    def collections(self, names: Sequence[str], *, moved: int = 1) -> None:
        """Collections of so many versions, each of them replaced."""
        with closing(self._open()) as db:
            for name in names:
                row = {"project_id": self._project, "type_id": self._type, "kind": "SEQUENCE"}
                times = {"created_at": _MADE, "updated_at": _MADE}
                collection = self._insert(db, "collections", {**row, "name": name, **times})
                sources = [self._version(db, collection, n, {}) for n in range(moved)]
                for n, source in enumerate(sources):
                    link = self._link(name, n, source, f"{name} replaced {n}")
                    self._version(db, collection, moved + n, link)
            db.commit()

    def version(self, name: str) -> None:
        """One more version of a collection."""
        with closing(self._open()) as db:
            collection = self._one(db, "SELECT id FROM collections WHERE name = ?", name)
            index = self._one(db, "SELECT next_index FROM collections WHERE id = ?", collection)
            self._version(db, collection, index, {})
            db.commit()

    def alias(self, name: str, alias: str, index: int) -> None:
        """Give an alias of a collection to a version, away from any other."""
        with closing(self._open()) as db:
            collection = self._one(db, "SELECT id FROM collections WHERE name = ?", name)
            found = "SELECT id FROM memberships WHERE collection_id = ? AND version_index = ?"
            [member] = db.execute(found, (collection, index)).fetchone()
            db.execute(
                "DELETE FROM aliases WHERE collection_id = ? AND alias = ?", (collection, alias)
            )
            row = {"collection_id": collection, "membership_id": member, "alias": alias}
            self._insert(db, "aliases", row)
            db.commit()

    def _version(
        self, db: sqlite3.Connection, collection: int, index: int, metadata: Mapping[str, object]
    ) -> int:
        link = metadata.get("oxen")
        digest = link["digest"] if isinstance(link, dict) else f"{collection} logged {index}"
        artifact = self._insert(
            db,
            "artifacts",
            {
                "sequence_id": collection,
                "user_id": self._user,
                "state": "COMMITTED",
                "version_index": index,
                "digest": digest,
                "metadata": json.dumps(metadata),
                "created_at": _MADE,
                "updated_at": _MADE,
            },
        )
        member = {"collection_id": collection, "artifact_id": artifact, "version_index": index}
        self._insert(db, "memberships", {**member, "created_at": _MADE})
        db.execute("UPDATE collections SET next_index = ? WHERE id = ?", (index + 1, collection))
        return artifact

    def _link(self, name: str, index: int, source: int, digest: str) -> dict[str, object]:
        """The metadata of a complete replacement, as syncd writes it."""
        return {
            "oxen": {
                "repo": f"oxen://{self._entity}/{PROJECT}-{name}",
                "commit": "12ab",
                "url": "http://gateway.invalid",
                "source_version": f"{self._entity}/{PROJECT}/{name}:v{index}",
                "source_artifact_id": _id(source),
                "source_digest": f"{name} logged {index}",
                "source_created_at": _MADE,
                "moved_files": 1,
                "moved_bytes": 1,
                "digest": digest,
                "receipt": {},
                "complete": True,
            }
        }

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30)
        db.create_function("author", 0, lambda: "")
        return db

    @staticmethod
    def _one(db: sqlite3.Connection, sql: str, value: object) -> int:
        return int(db.execute(sql, (value,)).fetchone()[0])

    @staticmethod
    def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, object]) -> int:
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"
        return int(db.execute(sql, list(row.values())).lastrowid or 0)


def _id(row: int) -> str:
    return base64.b64encode(f"Artifact:{row}".encode()).decode()
