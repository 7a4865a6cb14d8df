"""Processes that died while they moved a version: how often, and what is known of the cause.

A row is there while a version moves. What finds one of another process knows that this one died, or
let go of the version, which it says by an empty name. Losing all of it costs the count.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database

NONE: dict[str, Any] = {"times": 0, "times_alone": 0, "times_explained": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """What is known of the processes that died while they moved one version.

    Args:
        artifact_id: the version.
        life: the process that moves it; empty when none does.
        alone: whether that process moves nothing else beside it.
        machine: names the start of the kernel under that process; empty when unknown.
        oom_kills: processes that this kernel had killed for want of memory when the move began.
        crashed: whether that process left word of a fatal signal.
        stage: where the version stood when processes died.
        times: deaths without any progress between them.
        times_alone: of these, while nothing else was moving.
        times_explained: of those, with a cause that is known: memory, or a fatal signal.
        suspect: whether it is to move alone.
    """

    artifact_id: str
    life: str = ""
    alone: bool = False
    machine: str = ""
    oom_kills: int = 0
    crashed: bool = False
    stage: str = ""
    times: int = 0
    times_alone: int = 0
    times_explained: int = 0
    suspect: bool = False


class DeathTable:
    """The part of the catalog that remembers them.

    Args:
        database: where its table is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, artifact_id: str) -> Deaths | None:
        """What is known of a version, or None."""
        table = schema.deaths
        rows = self._database.rows(sa.select(table).where(table.c.artifact_id == artifact_id))
        return next((Deaths(**row) for row in rows), None)

    def put(self, known: Deaths) -> None:
        """Write what is known of a version, in place of what was."""
        self._database.upsert(schema.deaths, [asdict(known)], ("artifact_id",))

    def forget(self, artifact_id: str) -> None:
        """Forget a version: it is not moving any more."""
        table = schema.deaths
        self._database.change(sa.delete(table).where(table.c.artifact_id == artifact_id))

    def forgive(self, artifact_id: str) -> None:
        """Count a version's deaths from none again; a suspect it stays, and moves alone."""
        self._update(schema.deaths.c.artifact_id == artifact_id, **NONE)

    def let_go(self, life: str) -> None:
        """A process ends on purpose: none of what it moves counts as its death."""
        self._update(schema.deaths.c.life == life, life="", crashed=False)

    def crashed(self, life: str) -> None:
        """A process was ended by a fatal signal."""
        self._update(schema.deaths.c.life == life, crashed=True)

    def _update(self, which: sa.ColumnElement[bool], **values: Any) -> None:
        self._database.change(sa.update(schema.deaths).where(which).values(**values))
