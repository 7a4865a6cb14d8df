"""The catalog: the only place that talks SQL.

Nothing in it is needed to keep a promise; it saves work. Every method is one short transaction and
safe from any thread.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.database import Database, batches, now, within
from syncd.catalog.deaths import DeathTable
from syncd.catalog.descent import Descent
from syncd.catalog.firings import Firings
from syncd.catalog.looks import Looks
from syncd.catalog.mirror import Mirror
from syncd.catalog.panels import Panels
from syncd.catalog.pulse import Pulse
from syncd.catalog.readings import Readings
from syncd.catalog.stores import Stores
from syncd.catalog.told import Told
from syncd.clients.artifacts import Version
from syncd.clients.commits import StoredContent
from syncd.clients.disk import disk, private_folder
from syncd.config import Config
from syncd.refs import ArtifactRef, CommitRef, RepoRef, RunRef, Target
from syncd.versions.plans import Digest


class State(StrEnum):
    """Where a version stands; a stage's name means that it is in it."""

    WAITING = "waiting"
    TRANSFER = "transfer"
    COMMIT = "commit"
    VERIFY = "verify"
    REPLACE = "replace"
    REPLACED = "replaced"
    SKIPPED = "skipped"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the catalog knows of one version; sizes in bytes, times ISO 8601 in UTC."""

    artifact_id: str
    entity: str
    project: str
    collection: str
    version_index: int
    type: str
    state: State
    attempts: int
    workflow_id: str
    created_at: str
    updated_at: str
    size: int
    namespace: str
    repo: str
    commit_id: str
    replacement_id: str
    replacement: str
    moved_files: int
    moved_bytes: int
    kept_bytes: int
    downloaded: int
    uploaded: int
    deduplicated: int
    failed_stage: str
    reason: str
    hint: str

    @property
    def ref(self) -> ArtifactRef:
        """The version's name."""
        return ArtifactRef(
            entity=self.entity,
            project=self.project,
            collection=self.collection,
            alias=f"v{self.version_index}",
        )

    @property
    def commit(self) -> CommitRef | None:
        """The version's commit, None before there is one."""
        if not self.commit_id:
            return None
        return CommitRef(
            repo=RepoRef(namespace=self.namespace, repo=self.repo), commit=self.commit_id
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A version that failed for good, and when; times ISO 8601 in UTC."""

    record: Record
    first_at: str
    last_at: str


# What else is kept by a version's id, and goes with it.
_OF_A_VERSION = (schema.settled, schema.failures, schema.refused, schema.told, schema.deaths)


class Catalog:
    """The state of one syncd installation.

    Args:
        url: an SQLAlchemy URL, `sqlite:///...` or `postgresql://...`.

    Attributes:
        deaths: processes that died while they moved a version.
        descent: who used what, and who logged it.
        firings: who is told of new versions.
        looks: what discovery decided for good, and how far it came.
        mirror: what was promoted and deployed.
        panels: what the pages and the figures ask.
        stores: where versions were moved to.
        pulse: what the processes of an installation tell each other.
        readings: what sweeps read of manifests.
        told: why versions stay, as far as the log has it.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.deaths = DeathTable(self._database)
        self.descent = Descent(self._database)
        self.firings = Firings(self._database)
        self.looks = Looks(self._database)
        self.mirror = Mirror(self._database)
        self.panels = Panels(self._database)
        self.pulse = Pulse(self._database)
        self.readings = Readings(self._database)
        self.stores = Stores(self._database)
        self.told = Told(self._database)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    # --- versions

    def note(self, version: Version, state: State, **values: Any) -> None:
        """Write where a version stands; columns not named keep their value."""
        named = {**_row(version, state), **values}
        self._database.upsert(schema.versions, [named], ("artifact_id",))

    def wait(self, versions: Sequence[Version]) -> None:
        """Let versions be known that are to move; what is known of one stays as it is."""
        for batch in batches(versions):
            rows = [_row(version, State.WAITING) for version in batch]
            self._database.upsert(schema.versions, rows, ("artifact_id",), once=tuple(rows[0]))

    def get(self, artifact_id: str) -> Record | None:
        """What is known of a version, or None."""
        table = schema.versions
        rows = self._database.rows(sa.select(table).where(table.c.artifact_id == artifact_id))
        return next((_record(row) for row in rows), None)

    def records(self, target: Target | None = None) -> Iterator[Record]:
        """All versions of a target (all when None), by collection and version."""
        table = schema.versions
        query = sa.select(table).order_by(
            table.c.entity, table.c.project, table.c.collection, table.c.version_index
        )
        if target is not None:
            query = query.where(*within(table, target))
        for row in self._database.rows(query):
            yield _record(row)

    # --- versions that failed for good

    def fail(self, version: Version, *, stage: str, reason: str, hint: str) -> None:
        """Set a version aside: what failed, why, what to do next, and when."""
        self.note(version, State.QUARANTINED, failed_stage=stage, reason=reason, hint=hint)
        moment = now()
        row = {"artifact_id": version.id, "first_at": moment, "last_at": moment}
        self._database.upsert(schema.failures, [row], ("artifact_id",), once=("first_at",))

    def quarantined(self, target: Target | None = None) -> Iterator[Quarantined]:
        """The versions of a target (all when None) that failed for good, by collection and version."""
        table, times = schema.versions, schema.failures
        query = (
            sa.select(table, times.c.first_at, times.c.last_at)
            .join_from(table, times, table.c.artifact_id == times.c.artifact_id, isouter=True)
            .where(table.c.state == State.QUARANTINED)
            .order_by(table.c.entity, table.c.project, table.c.collection, table.c.version_index)
        )
        if target is not None:
            query = query.where(*within(table, target))
        for row in self._database.rows(query):
            first, last = (row.pop(key) or row["updated_at"] for key in ("first_at", "last_at"))
            yield Quarantined(record=_record(row), first_at=first, last_at=last)

    def release(self, artifact_id: str) -> bool:
        """Let a version out of quarantine, to wait for its turn; whether it was in there."""
        table = schema.versions
        self.deaths.forgive(artifact_id)  # a second chance is a whole one
        return self._database.changed(
            sa.update(table)
            .where(table.c.artifact_id == artifact_id, table.c.state == State.QUARANTINED)
            .values(state=State.WAITING, failed_stage="", reason="", hint="", updated_at=now())
        )

    def reclaimed(self, artifact_id: str, size: int) -> None:
        """Remember that a version was taken out of W&B, and the bytes that were to come free."""
        row = {"artifact_id": artifact_id, "bytes": size, "at": now()}
        self._database.upsert(schema.reclaimed, [row], ("artifact_id",))
        self._delete(artifact_id, schema.refused, schema.told)

    def refuse(self, artifact_ids: Collection[str], at: str) -> None:
        """Remember that a sweep looked at versions closely and had to leave them.

        Args:
            artifact_ids: their GraphQL ids.
            at: when it did, ISO 8601 in UTC.
        """
        for batch in batches(sorted(artifact_ids)):
            rows = [{"artifact_id": artifact_id, "at": at} for artifact_id in batch]
            self._database.upsert(schema.refused, rows, ("artifact_id",))

    def refused(self) -> dict[str, str]:
        """When a sweep last left each version that it looked at closely, ISO 8601 by GraphQL id."""
        table = schema.refused
        return dict(self._database.tuples(sa.select(table.c.artifact_id, table.c.at)))

    def forget(self, artifact_id: str) -> None:
        """Forget a version."""
        self._delete(artifact_id, schema.versions, *_OF_A_VERSION)

    def _delete(self, artifact_id: str, *tables: sa.Table) -> None:
        self._database.change(
            *(sa.delete(table).where(table.c.artifact_id == artifact_id) for table in tables)
        )

    def clear(self, target: Target | None) -> None:
        """Forget the versions of a target, and how far discovery came; all when None, but firings: who knows of them?"""
        if target is None:
            known = (
                table for table in schema.metadata.sorted_tables if table is not schema.firings
            )
            self._database.change(*(sa.delete(table) for table in known))
            return
        table = schema.versions
        ids = sa.select(table.c.artifact_id).where(*within(table, target))
        self._database.change(
            *(sa.delete(other).where(other.c.artifact_id.in_(ids)) for other in _OF_A_VERSION),
            sa.delete(schema.cursors).where(*within(schema.cursors, target)),
            sa.delete(schema.events).where(*within(schema.events, target)),
            sa.delete(schema.readings).where(*within(schema.readings, target)),
            sa.delete(table).where(*within(table, target)),
        )

    # --- contents

    def known(self, digests: Collection[Digest]) -> dict[Digest, StoredContent]:
        """What Oxen calls contents that W&B names by these digests, as far as it was learned."""
        table = schema.contents
        found: dict[Digest, StoredContent] = {}
        for algorithm in {digest[0] for digest in digests}:
            names = [digest[1] for digest in digests if digest[0] == algorithm]
            for batch in batches(names):
                query = sa.select(table.c.digest, table.c.hash, table.c.size).where(
                    table.c.algorithm == algorithm, table.c.digest.in_(batch)
                )
                for digest, content, size in self._database.tuples(query):
                    found[algorithm, digest] = StoredContent(hash=content, size=size)
        return found

    def learn(self, contents: Mapping[Digest, StoredContent]) -> None:
        """Remember what Oxen calls these contents; only after their bytes were hashed both ways."""
        rows = [
            {"algorithm": algorithm, "digest": digest, "hash": stored.hash, "size": stored.size}
            for (algorithm, digest), stored in contents.items()
        ]
        self._database.upsert(schema.contents, rows, ("algorithm", "digest"))

    def verified(self, repo: RepoRef, hashes: Collection[str]) -> set[str]:
        """Which of these contents were read back from this repository and found right."""
        return self._read_back(repo, hashes, good=True)

    def damaged(self, repo: RepoRef, hashes: Collection[str]) -> set[str]:
        """Which of these contents were read back from this repository and found wrong."""
        return self._read_back(repo, hashes, good=False)

    def _read_back(self, repo: RepoRef, hashes: Collection[str], *, good: bool) -> set[str]:
        table = schema.verified
        found: set[str] = set()
        for batch in batches(sorted(hashes)):
            query = sa.select(table.c.hash).where(
                table.c.namespace == repo.namespace,
                table.c.repo == repo.repo,
                table.c.hash.in_(batch),
                table.c.good.is_(good),
            )
            found.update(row["hash"] for row in self._database.rows(query))
        return found

    def mark_read_back(self, repo: RepoRef, hashes: Collection[str], *, good: bool) -> None:
        """Remember that these contents were read back from this repository, and how they were."""
        moment = now()
        rows = [
            {
                "namespace": repo.namespace,
                "repo": repo.repo,
                "hash": item,
                "good": good,
                "verified_at": moment,
            }
            for item in hashes
        ]
        self._database.upsert(schema.verified, rows, ("namespace", "repo", "hash"))

    def forget_read_back(self, repo: RepoRef, hashes: Collection[str]) -> None:
        """Take these contents for unproved again, because they were stored anew."""
        table = schema.verified
        self._database.change(
            *(
                sa.delete(table).where(
                    table.c.namespace == repo.namespace,
                    table.c.repo == repo.repo,
                    table.c.hash.in_(batch),
                )
                for batch in batches(sorted(hashes))
            )
        )

    # --- runs that wait for their end

    def add_run_due(self, run: RunRef) -> None:
        """Remember that a run's config is still to be written."""
        row = {"entity": run.entity, "project": run.project, "run_id": run.run_id}
        self._database.upsert(schema.runs_due, [row], ("entity", "project", "run_id"))

    def remove_run_due(self, run: RunRef) -> None:
        """Forget a run whose config has been written."""
        table = schema.runs_due
        self._database.change(
            sa.delete(table).where(
                table.c.entity == run.entity,
                table.c.project == run.project,
                table.c.run_id == run.run_id,
            )
        )

    def runs_due(self) -> list[RunRef]:
        """Runs whose config is still to be written."""
        return [
            RunRef(entity=row["entity"], project=row["project"], run_id=row["run_id"])
            for row in self._database.rows(sa.select(schema.runs_due))
        ]


@contextmanager
def opened(config: Config) -> Iterator[Catalog]:
    """The catalog of a configuration, closed at the end of the block; made where there is none."""
    with disk(f"cannot use [engine] state_dir = {config.engine.state_dir}"):
        private_folder(config.engine.state_dir)
        if not os.access(config.engine.state_dir, os.W_OK):
            raise PermissionError(errno.EACCES, "it cannot be written to")
    catalog = Catalog(str(config.engine.database))
    try:
        yield catalog
    finally:
        catalog.close()


def _row(version: Version, state: State) -> dict[str, Any]:
    ref = version.ref
    return {
        "artifact_id": version.id,
        "entity": ref.entity,
        "project": ref.project,
        "collection": ref.collection,
        "version_index": version.index,
        "type": version.type,
        "size": version.size,
        "created_at": version.created_at,
        "updated_at": now(),
        "state": state,
    }


def _record(row: Mapping[str, Any]) -> Record:
    return Record(**{**row, "state": State(row["state"])})
