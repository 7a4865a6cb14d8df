"""Who used what and who logged it, written down when syncd reads a run anyway: that costs W&B nothing.

Nothing here is forgotten with a version that leaves W&B: what was trained on it was trained on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database
from syncd.clients.artifacts import Run
from syncd.refs import ArtifactRef, CommitRef, RepoRef
from syncd.versions.relatives import NamedInput, Relative, named_inputs, relatives

WIDE = 10_000  # values in one IN list, so that a distance is one statement; SQLite takes 32,766
INPUT, OUTPUT = "input", "output"
NAMELESS = -1  # the number of a version that nobody knows
COMMIT = ("namespace", "repo", "commit_id")  # columns


class Heritage:
    """The tables of versions around runs, as they are written.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, run: Run) -> None:
        """Remember a run with what it used and logged; twice is once."""
        inputs, outputs = relatives(run.inputs), relatives(run.outputs)
        ids = self.keep_versions([*inputs, *outputs])
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

    def heard(self, runs: Sequence[str]) -> dict[str, datetime]:
        """When some runs were last heard of as they were looked at, where that is known."""
        table = schema.heard
        found: dict[str, datetime] = {}
        for batch in wide(runs):
            query = sa.select(table.c.run, table.c.at).where(table.c.run.in_(batch))
            found |= {run: datetime.fromisoformat(at) for run, at in self._database.tuples(query)}
        return found

    def note_heard(self, runs: Mapping[str, datetime]) -> None:
        """Remember when runs that have ended were last heard of."""
        rows = [{"run": run, "at": at.isoformat()} for run, at in runs.items()]
        self._database.upsert(schema.heard, rows, ("run",))

    def keep_versions(self, found: Sequence[Relative]) -> dict[str, str]:
        """Remember versions, and by name the runs that logged them.

        What was restored from Oxen, or moved once more after that, goes on under the id it had.

        Returns:
            The id that each is kept under, by its own.
        """
        ids = {item.id: self._first_id(item) if item.has_moved else item.id for item in found}
        ids |= self._came_back([item for item in found if not item.has_moved])
        rows = [_row(item) for item in found if ids[item.id] == item.id]
        # What is not known to be in Oxen here may be known to be there from elsewhere.
        for there, kept in ((True, ()), (False, (*COMMIT, "replacement_index"))):
            batch = [row for row in rows if bool(row["commit_id"]) is there]
            self._database.upsert(schema.relatives, batch, ("artifact_id",), once=kept)
        for item in found:
            if ids[item.id] != item.id and item.commit is not None:
                values = {name: _row(item)[name] for name in (*COMMIT, "replacement_index")}
                own = schema.relatives.c.artifact_id == ids[item.id]
                self._database.change(sa.update(schema.relatives).where(own).values(**values))
        pairs = [(other, ids[item.id]) for item in found for other in (item.id, *_members(item))]
        others = {other: kept for other, kept in pairs if other != kept}
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
            .where(*in_collection(item.ref), table.c.digest == item.digest)
            .order_by(table.c.version_index)
        )
        rows = self._database.rows(query)
        return str(rows[0]["artifact_id"]) if rows else item.id

    def _came_back(self, found: Sequence[Relative]) -> dict[str, str]:
        """The ids of what came back, which says nothing of that itself: its number is known to do so."""
        table = schema.relatives
        known: dict[str, str] = {}
        by_collection: dict[ArtifactRef, list[Relative]] = {}
        for item in found:
            by_collection.setdefault(replace(item.ref, alias=""), []).append(item)
        batches = (
            (collection, items[start : start + WIDE])
            for collection, items in by_collection.items()
            for start in range(0, len(items), WIDE)
        )
        for collection, items in batches:
            query = sa.select(table.c.artifact_id, table.c.replacement_index, table.c.digest).where(
                *in_collection(collection),
                table.c.replacement_index.in_([_index(item.ref) for item in items]),
            )
            there = {(index, digest): id_ for id_, index, digest in self._database.tuples(query)}
            for item in items:
                known[item.id] = str(there.get((_index(item.ref), item.digest), item.id))
        return known

    def _keep_commits(self, named: Sequence[NamedInput]) -> list[str]:
        """Remember what a run used without W&B's knowing; the ids they are kept under."""
        if not named:
            return []
        found = self._held([item.commit for item in named])
        rows = [_commit_row(item) for item in named if item.commit not in found]
        self._database.upsert(schema.relatives, rows, ("artifact_id",))
        return [found.get(item.commit, item.commit.commit) for item in named]

    def _join(self, ids: Mapping[str, str]) -> None:
        """Give to a version what was known under an id that turns out to be the same one's."""
        table, uses = schema.relatives, schema.uses
        for batch in wide(sorted(ids)):
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

    def _held(self, commits: Sequence[CommitRef]) -> dict[CommitRef, str]:
        """The ids of the versions that some commits hold, as far as they are known."""
        table = schema.relatives
        query = sa.select(table.c.artifact_id, *(table.c[name] for name in COMMIT)).where(
            table.c.commit_id.in_([commit.commit for commit in commits])
        )
        found = {
            CommitRef(repo=RepoRef(namespace=namespace, repo=repo), commit=commit): str(id_)
            for id_, namespace, repo, commit in self._database.tuples(query)
        }
        return {commit: found[commit] for commit in commits if commit in found}


def wide(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """The values in lists that one IN takes."""
    for start in range(0, len(items), WIDE):
        yield items[start : start + WIDE]


def in_collection(ref: ArtifactRef) -> list[sa.ColumnElement[bool]]:
    """The conditions that a version lies in the collection of a name."""
    table = schema.relatives
    return [
        table.c.entity == ref.entity,
        table.c.project == ref.project,
        table.c.collection == ref.collection,
    ]


def _commit(commit: CommitRef | None) -> dict[str, str]:
    if commit is None:
        return dict.fromkeys(COMMIT, "")
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


def _members(item: Relative) -> list[str]:
    """The ids that W&B has of one version."""
    return [version.id for version in item.members]


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
