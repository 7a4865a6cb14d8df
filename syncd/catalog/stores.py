"""Which Oxen stores this installation has used, and a few repositories that should be in them."""

from __future__ import annotations

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database
from syncd.refs import RepoRef

ASKED = 20  # repositories; one that is there proves the store


class Stores:
    """The part of the catalog that knows where versions were moved to.

    Args:
        database: where its table is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def marks(self) -> dict[str, str]:
        """By the URL of each store, the id in its mark; empty for a server."""
        rows = self._database.rows(sa.select(schema.stores))
        return {row["url"]: row["mark"] for row in rows}

    def note(self, url: str, mark: str) -> None:
        """A store is in use."""
        self._database.upsert(schema.stores, [{"url": url, "mark": mark}], ("url",))

    def repositories(self) -> list[RepoRef]:
        """Some repositories that versions were committed to."""
        table = schema.versions
        query = (
            sa.select(table.c.namespace, table.c.repo)
            .where(table.c.commit_id != "")
            .distinct()
            .limit(ASKED)
        )
        rows = self._database.rows(query)
        return [RepoRef(namespace=row["namespace"], repo=row["repo"]) for row in rows]
