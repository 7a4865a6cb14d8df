"""The journal's mirror: events as Oxen keeps them, and what the commits in them are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database, within
from syncd.refs import CommitRef, Target
from syncd.versions.events import Event


class Mirror:
    """The part of the catalog that mirrors the journal.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, events: Iterable[Event]) -> None:
        """Write events in the order in which they stand in the journal, over what is known of them."""
        rows = []
        for number, event in enumerate(events):
            version = event.after.version.partition(":")[0].split("/")
            names = dict(zip(("entity", "project", "collection"), version, strict=True))
            rows.append(
                {
                    **names,
                    "event_id": event.id,
                    "at": event.at,
                    "number": number,
                    "subject": event.subject,
                    "detail": event.line,
                }
            )
        self._database.upsert(schema.events, rows, ("event_id",))

    def events(self) -> list[Event]:
        """All events, in order."""
        table = schema.events
        query = sa.select(table.c.detail).order_by(table.c.at, table.c.number)
        return [Event.read(row["detail"]) for row in self._database.rows(query)]

    def forget(self, target: Target) -> None:
        """Forget the events of a target's versions."""
        self._database.change(sa.delete(schema.events).where(*within(schema.events, target)))

    def keep_story(self, commit: CommitRef, story: Mapping[str, Any]) -> None:
        """Remember what a commit's lineage file says: values of JSON; it never changes."""
        row = {**_key(commit), "detail": json.dumps(story, sort_keys=True)}
        self._database.upsert(schema.stories, [row], ("namespace", "repo", "commit_id"))

    def story(self, commit: CommitRef) -> dict[str, Any] | None:
        """What `keep_story` was given; None when it was not."""
        table = schema.stories
        query = sa.select(table.c.detail).where(
            *(table.c[name] == value for name, value in _key(commit).items())
        )
        for row in self._database.rows(query):
            found: dict[str, Any] = json.loads(row["detail"])
            return found
        return None


def _key(commit: CommitRef) -> dict[str, str]:
    return {
        "namespace": commit.repo.namespace,
        "repo": commit.repo.repo,
        "commit_id": commit.commit,
    }
