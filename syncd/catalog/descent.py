"""Who used what and who logged it: the part of the catalog that lineage is answered from.

Written when syncd reads a run anyway, so that it costs W&B nothing. Nothing here is forgotten with a
version that leaves W&B: what was trained on it was trained on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database
from syncd.clients.artifacts import Run
from syncd.refs import ArtifactRef, CommitRef, RepoRef, RunRef
from syncd.relatives import NamedInput, Place, Relative, named_inputs, relatives

WIDE = 10_000  # values in one IN list, so that a distance is one statement; SQLite takes 32,766
INPUT, OUTPUT = "input", "output"
Use = tuple[str, str]  # a version's id, a run's name
NAMELESS = -1  # the number of a version that nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion:
    """A version that is known from a run.

    Args:
        id: GraphQL id of what was logged; a commit's id where W&B knows no version of it.
        name: `entity/project/collection:vN`; empty where it has none.
        type: the artifact type.
        created_at: ISO 8601, UTC; empty when unknown.
        commit: the Oxen commit that holds it.
        replacement: the name of what replaces it in W&B; empty when nothing does.
    """

    id: str
    name: str
    type: str
    created_at: str
    commit: CommitRef | None
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run that is known.

    Args:
        ref: its name.
        label: what people call it.
        state: as W&B had it last.
        url: its page.
        created_at: ISO 8601, UTC; empty when unknown.
        seen: whether it was read, and not only named by a version it logged.
    """

    ref: RunRef
    label: str
    state: str
    url: str
    created_at: str
    seen: bool


class Descent:
    """The tables of versions around runs.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- written when a run or a version is read anyway

    def keep(self, run: Run) -> None:
        """Remember a run with what it used and logged; twice is once."""
        inputs, outputs = relatives(run.inputs), relatives(run.outputs)
        ids = self._keep_versions([*inputs, *outputs])
        used = [ids[item.id] for item in inputs]
        used += self._keep_commits(named_inputs(run))
        row = {
            "run": str(run.ref),
            "name": run.name,
            "state": run.state,
            "url": run.url,
            "created_at": run.created_at,
            "seen": True,
        }
        self._database.upsert(schema.runs, [row], ("run",))
        self._keep_uses(
            [
                *((item, str(run.ref), INPUT) for item in used),
                *((ids[item.id], str(run.ref), OUTPUT) for item in outputs),
            ]
        )

    def keep_versions(self, found: Sequence[Relative]) -> None:
        """Remember versions, and by name the runs that logged them."""
        self._keep_versions(found)

    def _keep_versions(self, found: Sequence[Relative]) -> dict[str, str]:
        """Remember versions; the id that each is kept under, by its own.

        What was restored from Oxen, or moved once more after that, goes on under the id it had.
        """
        ids = {item.id: self._first_id(item) if item.has_moved else item.id for item in found}
        rows = [_row(item) for item in found if ids[item.id] == item.id]
        # What is not known to be in Oxen here may be known to be there from elsewhere.
        for there, kept in ((True, ()), (False, (*_COMMIT, "replacement_index"))):
            batch = [row for row in rows if bool(row["commit_id"]) is there]
            self._database.upsert(schema.relatives, batch, ("artifact_id",), once=kept)
        for item in found:
            if ids[item.id] != item.id and item.commit is not None:
                values = {name: _row(item)[name] for name in (*_COMMIT, "replacement_index")}
                own = schema.relatives.c.artifact_id == ids[item.id]
                self._database.change(sa.update(schema.relatives).where(own).values(**values))
        others = {item.id: ids[item.id] for item in found if ids[item.id] != item.id}
        nameless = {item.commit.commit: ids[item.id] for item in found if item.commit}
        self._join(others | nameless)
        logged = [(ids[item.id], str(run), OUTPUT) for item in found for run in item.runs]
        named = {run: _named_run(run) for _, run, _ in logged}
        self._database.upsert(
            schema.runs, list(named.values()), ("run",), once=tuple(schema.runs.c.keys())
        )
        self._keep_uses(logged)
        return ids

    def _first_id(self, item: Relative) -> str:
        """The id under which the content of a version was known first in its collection."""
        table = schema.relatives
        query = (
            sa.select(table.c.artifact_id)
            .where(*_in_collection(item.ref), table.c.digest == item.digest)
            .order_by(table.c.version_index)
        )
        rows = self._database.rows(query)
        return str(rows[0]["artifact_id"]) if rows else item.id

    def _keep_commits(self, named: Sequence[NamedInput]) -> list[str]:
        """Remember what a run used without W&B's knowing; the ids they are kept under."""
        if not named:
            return []
        found = {item.commit: item.id for item in self._of_commits([item.commit for item in named])}
        rows = [_commit_row(item) for item in named if item.commit not in found]
        self._database.upsert(schema.relatives, rows, ("artifact_id",))
        return [found.get(item.commit, item.commit.commit) for item in named]

    def _join(self, ids: Mapping[str, str]) -> None:
        """Give to a version what was known under an id that turns out to be the same one's."""
        table, uses = schema.relatives, schema.uses
        for batch in _wide(sorted(ids)):
            query = sa.select(table.c.artifact_id).where(table.c.artifact_id.in_(batch))
            for other in (row["artifact_id"] for row in self._database.rows(query)):
                held = self._database.rows(sa.select(uses).where(uses.c.artifact_id == other))
                self._keep_uses((ids[other], row["run"], row["role"]) for row in held)
                self._database.change(
                    sa.delete(uses).where(uses.c.artifact_id == other),
                    sa.delete(table).where(table.c.artifact_id == other),
                )

    def _keep_uses(self, uses: Iterable[tuple[str, str, str]]) -> None:
        key = ("artifact_id", "run", "role")
        rows = [dict(zip(key, use, strict=True)) for use in dict.fromkeys(uses)]
        self._database.upsert(schema.uses, rows, key)

    # --- how far runs were followed

    def followed(self, entity: str, project: str) -> datetime | None:
        """Runs of a project that ended and were last heard of before then were looked at."""
        table = schema.run_cursors
        query = sa.select(table.c.at).where(table.c.entity == entity, table.c.project == project)
        rows = self._database.rows(query)
        return datetime.fromisoformat(rows[0]["at"]) if rows else None

    def follow(self, entity: str, project: str, at: datetime) -> None:
        """Remember how far runs were followed."""
        row = {"entity": entity, "project": project, "at": at.isoformat()}
        self._database.upsert(schema.run_cursors, [row], ("entity", "project"))

    # --- asked

    def version(self, ref: ArtifactRef) -> KnownVersion | None:
        """The version of this name and number, also by the name of what replaces it."""
        table = schema.relatives
        if ref.index is None:
            return None
        query = (
            sa.select(table)
            .where(
                *_in_collection(ref),
                sa.or_(table.c.version_index == ref.index, table.c.replacement_index == ref.index),
            )
            .order_by(table.c.version_index)
        )
        return next(self._versions(query), None)

    def content(self, place: Place) -> KnownVersion | None:
        """The version of a collection with a digest, see `relatives.place_of`."""
        entity, project, collection, digest = place
        table = schema.relatives
        ref = ArtifactRef(entity=entity, project=project, collection=collection, alias="")
        query = sa.select(table).where(*_in_collection(ref), table.c.digest == digest)
        return next(self._versions(query.order_by(table.c.version_index)), None)

    def commit(self, commit: CommitRef) -> KnownVersion | None:
        """The version that a commit holds."""
        return next(iter(self._of_commits([commit])), None)

    def versions(self, ids: Sequence[str]) -> Iterator[KnownVersion]:
        """The versions of these ids."""
        table = schema.relatives
        for batch in _wide(ids):
            yield from self._versions(sa.select(table).where(table.c.artifact_id.in_(batch)))

    def runs(self, names: Sequence[str]) -> Iterator[KnownRun]:
        """The runs of these names."""
        table = schema.runs
        for batch in _wide(names):
            query = sa.select(table).where(table.c.run.in_(batch))
            yield from map(_run, self._database.tuples(query))

    def runs_of(self, ids: Sequence[str], role: str) -> Iterator[Use]:
        """The runs that used (`input`) or logged (`output`) some versions."""
        return self._uses(schema.uses.c.artifact_id, ids, role)

    def versions_of(self, runs: Sequence[str], role: str) -> Iterator[Use]:
        """The versions that some runs used or logged."""
        return self._uses(schema.uses.c.run, runs, role)

    def _uses(self, column: sa.Column[Any], values: Sequence[str], role: str) -> Iterator[Use]:
        uses = schema.uses
        for batch in _wide(values):
            query = sa.select(uses.c.artifact_id, uses.c.run).where(
                column.in_(batch), uses.c.role == role
            )
            yield from _pairs(self._database.tuples(query))

    def all_beyond(self, ids: Sequence[str], *, near: str, far: str) -> tuple[list[Use], list[Use]]:
        """All that leads on from some versions, however far: the runs, and the versions behind them.

        The database goes the whole way by itself, in two statements.

        Args:
            ids: the versions.
            near: the role in which runs have the version that one comes from.
            far: the role in which they have those that one goes on to.
        """
        table, one, other = schema.relatives, schema.uses.alias("one"), schema.uses.alias("other")
        runs: list[Use] = []
        versions: list[Use] = []
        for batch in _wide(ids):
            seeds = sa.select(table.c.artifact_id).where(table.c.artifact_id.in_(batch))
            reached = seeds.cte("reached", recursive=True)
            step = sa.and_(one.c.artifact_id == reached.c.artifact_id, one.c.role == near)
            on = sa.and_(other.c.run == one.c.run, other.c.role == far)
            reached = reached.union(
                sa.select(other.c.artifact_id).select_from(reached.join(one, step).join(other, on))
            )
            step = sa.and_(one.c.artifact_id == reached.c.artifact_id, one.c.role == near)
            way = reached.join(one, step)
            query = sa.select(one.c.artifact_id, one.c.run).select_from(way)
            runs += _pairs(self._database.tuples(query))
            query = sa.select(other.c.artifact_id, other.c.run).select_from(way.join(other, on))
            versions += _pairs(self._database.tuples(query.distinct()))
        return runs, versions

    def repositories(self) -> list[RepoRef]:
        """The repositories that hold a version, by name."""
        table = schema.relatives
        query = sa.select(table.c.namespace, table.c.repo).where(table.c.repo != "").distinct()
        rows = self._database.rows(query)
        return sorted(RepoRef(namespace=row["namespace"], repo=row["repo"]) for row in rows)

    def _of_commits(self, commits: Sequence[CommitRef]) -> list[KnownVersion]:
        table = schema.relatives
        wanted = set(commits)
        query = sa.select(table).where(table.c.commit_id.in_([item.commit for item in commits]))
        return [item for item in self._versions(query) if item.commit in wanted]

    def _versions(self, query: sa.Select[Any]) -> Iterator[KnownVersion]:
        """The versions of a query of all columns."""
        repos: dict[tuple[str, str], RepoRef] = {}
        for row in self._database.tuples(query):
            (id_, entity, project, collection, number, type_, _, created_at, *place, other) = row
            namespace, repo, commit = place
            held = None
            if commit:
                known = repos.setdefault((namespace, repo), RepoRef(namespace=namespace, repo=repo))
                held = CommitRef(repo=known, commit=commit)
            begin = f"{entity}/{project}/{collection}:v"
            yield KnownVersion(
                id=id_,
                name="" if number == NAMELESS else f"{begin}{number}",
                type=type_,
                created_at=created_at,
                commit=held,
                replacement="" if other == NAMELESS else f"{begin}{other}",
            )


_COMMIT = ("namespace", "repo", "commit_id")


def _pairs(rows: Sequence[tuple[Any, ...]]) -> list[Use]:
    return [(version, run) for version, run in rows]


def _wide(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), WIDE):
        yield items[start : start + WIDE]


def _in_collection(ref: ArtifactRef) -> list[sa.ColumnElement[bool]]:
    table = schema.relatives
    return [
        table.c.entity == ref.entity,
        table.c.project == ref.project,
        table.c.collection == ref.collection,
    ]


def _commit(commit: CommitRef | None) -> dict[str, str]:
    if commit is None:
        return dict.fromkeys(_COMMIT, "")
    return {
        "namespace": commit.repo.namespace,
        "repo": commit.repo.repo,
        "commit_id": commit.commit,
    }


def _name(ref: ArtifactRef | None) -> dict[str, Any]:
    if ref is None:
        return {"entity": "", "project": "", "collection": "", "version_index": NAMELESS}
    return {
        "entity": ref.entity,
        "project": ref.project,
        "collection": ref.collection,
        "version_index": _index(ref),
    }


def _index(ref: ArtifactRef | None) -> int:
    return NAMELESS if ref is None or ref.index is None else ref.index


def _row(item: Relative) -> dict[str, Any]:
    return {
        "artifact_id": item.id,
        **_name(item.ref),
        "type": item.type,
        "digest": item.digest,
        "created_at": item.created_at,
        **_commit(item.commit),
        "replacement_index": _index(item.replacement),
    }


def _commit_row(item: NamedInput) -> dict[str, Any]:
    return {
        "artifact_id": item.commit.commit,
        **_name(item.ref),
        "type": item.type,
        "digest": "",
        "created_at": "",
        **_commit(item.commit),
        "replacement_index": NAMELESS,
    }


def _named_run(run: str) -> dict[str, Any]:
    return {"run": run, "name": "", "state": "", "url": "", "created_at": "", "seen": False}


def _run(row: tuple[Any, ...]) -> KnownRun:
    name, label, state, url, created_at, seen = row
    entity, project, _, run_id = name.split("/", 3)
    return KnownRun(
        ref=RunRef(entity=entity, project=project, run_id=run_id),
        label=label,
        state=state,
        url=url,
        created_at=created_at,
        seen=seen,
    )
