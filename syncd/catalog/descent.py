"""Who used what and who logged it: the part of the catalog that lineage is answered from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.heritage import INPUT, NAMELESS, OUTPUT, Heritage, in_collection, wide
from syncd.refs import ArtifactRef, CommitRef, RepoRef, RunRef
from syncd.versions.relatives import Place

Use = tuple[str, str]  # a version's id, a run's name


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion:
    """A version that is known from a run.

    Args:
        id: GraphQL id of what was logged; a commit's id where W&B knows no version of it.
        name: `entity/project/collection:vN`; empty where it has none.
        type: the artifact type.
        created_at: ISO 8601, UTC; empty when unknown.
        commit: the Oxen commit that holds it.
        replacement: the name of what W&B has in its place; empty where that is the version itself.
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


class Descent(Heritage):
    """The tables of versions around runs: kept as `Heritage` does, and asked."""

    def version(self, ref: ArtifactRef) -> KnownVersion | None:
        """The version of this name and number, also by the name of what replaces it."""
        table = schema.relatives
        if ref.index is None:
            return None
        query = (
            sa.select(table)
            .where(
                *in_collection(ref),
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
        query = sa.select(table).where(*in_collection(ref), table.c.digest == digest)
        return next(self._versions(query.order_by(table.c.version_index)), None)

    def commit(self, commit: CommitRef) -> KnownVersion | None:
        """The version that a commit holds."""
        return next(iter(self._of_commits([commit])), None)

    def versions(self, ids: Sequence[str]) -> Iterator[KnownVersion]:
        """The versions of these ids."""
        table = schema.relatives
        for batch in wide(ids):
            yield from self._versions(sa.select(table).where(table.c.artifact_id.in_(batch)))

    def runs(self, names: Sequence[str]) -> Iterator[KnownRun]:
        """The runs of these names."""
        table = schema.runs
        for batch in wide(names):
            query = sa.select(table).where(table.c.run.in_(batch))
            yield from map(_run, self._database.tuples(query))

    def runs_of(self, ids: Sequence[str], role: str, most: int | None = None) -> Iterator[Use]:
        """The runs that used (`input`) or logged (`output`) some versions; so many uses at most."""
        uses = schema.uses.c
        return self._uses(uses.artifact_id, uses.run, ids, role, most)

    def versions_of(self, runs: Sequence[str], role: str, most: int | None = None) -> Iterator[Use]:
        """The versions that some runs used or logged; so many uses at most."""
        uses = schema.uses.c
        return self._uses(uses.run, uses.artifact_id, runs, role, most)

    def _uses(
        self,
        near: sa.Column[Any],
        far: sa.Column[Any],
        values: Sequence[str],
        role: str,
        most: int | None,
    ) -> Iterator[Use]:
        uses = schema.uses.c
        for batch in wide(values):
            query = sa.select(uses.artifact_id, uses.run).where(near.in_(batch), uses.role == role)
            if most is not None:
                query = query.order_by(near, far).limit(most)  # the order of an index
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
        for batch in wide(ids):
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


def _pairs(rows: Sequence[tuple[Any, ...]]) -> list[Use]:
    return [(version, run) for version, run in rows]


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


__all__ = ["INPUT", "OUTPUT", "Descent", "KnownRun", "KnownVersion", "Use"]
