"""What pages and figures ask of the catalog: sums by the database, lists a page at a time.

No query here reads more rows into this process than a person looks at. States are grouped as
people name them: moved, waiting (whatever stage it is in), skipped, quarantined.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database, batches, within
from syncd.catalog.kept import Kept
from syncd.catalog.tally import Tally, sums, tally_of, total
from syncd.refs import Target

PAGE = 50  # rows a page
_ESCAPE = "\\"
_COLLECTION = tuple(schema.versions.c[name] for name in ("entity", "project", "collection"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What one day added; sizes in bytes.

    Args:
        day: ISO 8601 date, UTC.
        moved: bytes that became references.
        stored: of these, bytes that Oxen had to store.
        freed: bytes taken out of W&B.
    """

    day: str
    moved: int
    stored: int
    freed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A version in a list.

    Args:
        artifact_id: GraphQL id.
        since: when it failed for good the first time; empty when it did not. ISO 8601 in UTC.
    """

    artifact_id: str
    entity: str
    project: str
    collection: str
    version_index: int
    type: str
    state: str
    attempts: int
    created_at: str
    updated_at: str
    size: int
    moved_bytes: int
    kept_bytes: int
    deduplicated: int
    commit_id: str
    replacement: str
    failed_stage: str
    reason: str
    hint: str
    since: str

    @property
    def name(self) -> str:
        """`entity/project/collection:vN`."""
        return f"{self.entity}/{self.project}/{self.collection}:v{self.version_index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """Contents that were read back from Oxen: how many were right and wrong, and when the last was.

    Args:
        last_at: ISO 8601, UTC; empty when none was.
    """

    good: int
    bad: int
    last_at: str


class Panels:
    """The part of the catalog that is looked at.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept = Kept()

    # --- sums, of which those over everything are kept for a while where they take long

    def projects(self) -> list[Tally]:
        """All projects, by name."""
        return self._kept.get("projects", self._projects)

    def _projects(self) -> list[Tally]:
        table = schema.versions
        named = (table.c.entity, table.c.project)
        query = sa.select(*named, *sums()).group_by(*named).order_by(*named)
        return [tally_of(row) for row in self._database.rows(query)]

    def collections(self, entity: str, project: str, *, page: int = 0) -> list[Tally]:
        """The collections of a project, by name; one more than a page when there are more.

        Args:
            entity: the entity.
            project: the project.
            page: which, from 0.
        """
        table = schema.versions
        query = (
            sa.select(*_COLLECTION, sa.func.max(table.c.type).label("type"), *sums())
            .where(table.c.entity == entity, table.c.project == project)
            .group_by(*_COLLECTION)
            .order_by(table.c.collection)
            .limit(PAGE + 1)
            .offset(page * PAGE)
        )
        return [tally_of(row) for row in self._database.rows(query)]

    def standings(self, target: Target | None) -> list[Tally]:
        """All collections of a target (all when None), by name; what travelled is of moved versions."""
        table = schema.versions
        query = (
            sa.select(*_COLLECTION, *sums(of_moved=True))
            .group_by(*_COLLECTION)
            .order_by(*_COLLECTION)
        )
        if target is not None:
            query = query.where(*within(table, target))
        return [tally_of(row) for row in self._database.rows(query)]

    def freed_in(self, target: Target | None) -> dict[str, int]:
        """Bytes that taking versions out of W&B was to free, by collection (all when None)."""
        table, freed = schema.versions, schema.reclaimed
        query = (
            sa.select(*_COLLECTION, total(freed.c.bytes))
            .select_from(freed.join(table, table.c.artifact_id == freed.c.artifact_id))
            .group_by(*_COLLECTION)
        )
        if target is not None:
            query = query.where(*within(table, target))
        return {"/".join(row[:3]): int(row[3]) for row in self._database.tuples(query)}

    def replaced(self, target: Target) -> dict[tuple[str, str, str], int]:
        """How many versions were replaced in each collection of a target."""
        table = schema.versions
        query = (
            sa.select(*_COLLECTION, sa.func.count())
            .where(table.c.state == "replaced", *within(table, target))
            .group_by(*_COLLECTION)
            .order_by(*_COLLECTION)
        )
        return {(row[0], row[1], row[2]): row[3] for row in self._database.tuples(query)}

    def collection(self, entity: str, project: str, collection: str) -> Tally | None:
        """One collection, None when nothing is known of it."""
        table = schema.versions
        query = (
            sa.select(*_COLLECTION, sa.func.max(table.c.type).label("type"), *sums())
            .where(*_of(entity, project, collection))
            .group_by(*_COLLECTION)
        )
        return next((tally_of(row) for row in self._database.rows(query)), None)

    def days(self) -> list[Day]:
        """What each day on which something moved or was freed added, the first first."""
        return self._kept.get("days", self._days)

    def _days(self) -> list[Day]:
        table, freed = schema.versions, schema.reclaimed
        moved = (
            sa.select(
                sa.func.substr(table.c.updated_at, 1, 10).label("day"),
                total(table.c.moved_bytes).label("moved"),
                total(table.c.deduplicated).label("deduplicated"),
            )
            .where(table.c.state == "replaced")
            .group_by("day")
        )
        free = sa.select(
            sa.func.substr(freed.c.at, 1, 10).label("day"), total(freed.c.bytes).label("freed")
        ).group_by("day")
        found: dict[str, Day] = {
            row["day"]: Day(
                day=row["day"],
                moved=int(row["moved"]),
                stored=max(0, int(row["moved"] - row["deduplicated"])),
                freed=0,
            )
            for row in self._database.rows(moved)
        }
        for row in self._database.rows(free):
            name, before = row["day"], found.get(row["day"])
            found[name] = Day(
                day=name,
                moved=before.moved if before else 0,
                stored=before.stored if before else 0,
                freed=int(row["freed"]),
            )
        return [found[name] for name in sorted(found)]

    def states(self) -> dict[tuple[str, str], int]:
        """How many versions are in each state, by project (`entity/project`) and state."""
        return self._kept.get("states", self._states)

    def _states(self) -> dict[tuple[str, str], int]:
        table = schema.versions
        named = (table.c.entity, table.c.project, table.c.state)
        query = sa.select(*named, sa.func.count().label("count")).group_by(*named)
        return {
            (f"{row['entity']}/{row['project']}", row["state"]): row["count"]
            for row in self._database.rows(query)
        }

    def failed_stages(self) -> dict[str, int]:
        """How many versions in quarantine failed in each stage."""
        return self._kept.get("failed_stages", self._failed_stages)

    def _failed_stages(self) -> dict[str, int]:
        table = schema.versions
        query = (
            sa.select(table.c.failed_stage, sa.func.count().label("count"))
            .where(table.c.state == "quarantined")
            .group_by(table.c.failed_stage)
        )
        return {row["failed_stage"]: row["count"] for row in self._database.rows(query)}

    def proofs(self) -> Proofs:
        """What has been read back."""
        return self._kept.get("proofs", self._proofs)

    def _proofs(self) -> Proofs:
        table = schema.verified
        figures: list[sa.ColumnElement[Any]] = [
            sa.func.count().label("all"),
            sa.func.sum(sa.case((table.c.good.is_(True), 1), else_=0)).label("good"),
            sa.func.max(table.c.verified_at).label("last"),
        ]
        [row] = self._database.rows(sa.select(*figures))
        good = int(row["good"] or 0)
        return Proofs(good=good, bad=row["all"] - good, last_at=row["last"] or "")

    def freed(self) -> int:
        """Bytes that taking versions out of W&B was to free."""
        return self._kept.get("freed", self._freed)

    def _freed(self) -> int:
        [row] = self._database.rows(sa.select(total(schema.reclaimed.c.bytes).label("freed")))
        return int(row["freed"])

    # --- lists

    def versions(
        self, entity: str, project: str, collection: str, *, page: int = 0
    ) -> Sequence[Line]:
        """The versions of a collection, the newest first; one more than a page when there are more."""
        query = (
            _lines()
            .where(*_of(entity, project, collection))
            .order_by(schema.versions.c.version_index.desc())
        )
        return self._page(query, page)

    def failures(self, *, page: int = 0, limit: int = PAGE) -> Sequence[Line]:
        """Versions in quarantine, the last to fail first; one more than the limit when there are more."""
        table = schema.versions
        query = (
            _lines()
            .where(table.c.state == "quarantined")
            .order_by(table.c.updated_at.desc(), table.c.artifact_id)
        )
        return self._page(query, page, limit)

    def named(self, entity: str, project: str, collection: str, index: int) -> Line | None:
        """The version of this name, None when nothing is known of it."""
        query = _lines().where(
            *_of(entity, project, collection), schema.versions.c.version_index == index
        )
        return next(iter(self._page(query, 0)), None)

    def search(self, text: str) -> tuple[list[str], Sequence[Line]]:
        """Collections (`entity/project/collection`) whose name holds a text, and versions by commit.

        Args:
            text: part of a name, or at least six digits of a commit.
        """
        table = schema.versions
        name = table.c.entity + "/" + table.c.project + "/" + table.c.collection
        places = (
            sa.select(name.label("name"))
            .where(name.ilike(f"%{_literal(text)}%", escape=_ESCAPE))
            .distinct()
            .order_by("name")
            .limit(PAGE)
        )
        # What begins so, as an index finds it: g comes after all digits.
        commits = _lines().where(table.c.commit_id >= text, table.c.commit_id < f"{text}g")
        is_commit = len(text) >= 6 and set(text) <= set("0123456789abcdef")  # noqa: PLR2004
        return (
            [row["name"] for row in self._database.rows(places)],
            self._page(commits, 0) if is_commit else (),
        )

    def replacements(self, artifact_ids: Collection[str]) -> set[str]:
        """Which of these versions syncd itself made."""
        table = schema.versions
        found: set[str] = set()
        for batch in batches(sorted(artifact_ids)):
            query = sa.select(table.c.replacement_id).where(table.c.replacement_id.in_(batch))
            found.update(row["replacement_id"] for row in self._database.rows(query))
        return found

    def _page(self, query: sa.Select[Any], page: int, limit: int = PAGE) -> Sequence[Line]:
        rows = self._database.rows(query.limit(limit + 1).offset(page * limit))
        return [Line(**{**row, "since": row["since"] or ""}) for row in rows]


def _lines() -> sa.Select[Any]:
    table, times = schema.versions, schema.failures
    own = [table.c[name] for name in Line.__slots__ if name != "since"]
    return sa.select(*own, times.c.first_at.label("since")).join_from(
        table, times, table.c.artifact_id == times.c.artifact_id, isouter=True
    )


def _of(entity: str, project: str, collection: str) -> list[sa.ColumnElement[bool]]:
    table = schema.versions
    return [
        table.c.entity == entity,
        table.c.project == project,
        table.c.collection == collection,
    ]


def _literal(text: str) -> str:
    """The text for LIKE, with nothing in it that stands for something else."""
    for sign in (_ESCAPE, "%", "_"):
        text = text.replace(sign, _ESCAPE + sign)
    return text
