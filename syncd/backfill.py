"""Backfill: discover, put what is to move in the queue, and follow it to the end.

Versions of a repository are queued in order. A version waits until the inputs of the run that
logged it have been moved (or have failed), so that a model's commit can name the commit of its
data. Nothing is kept here that a second run would miss: run it again to resume.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from syncd import fleet, handover, log, workflow
from syncd.blocks import Builder, batches
from syncd.catalog.catalog import Record, State
from syncd.clients.artifacts import Run, Version
from syncd.context import Context, Outcome
from syncd.errors import NotFoundError
from syncd.fleet import Member
from syncd.plans import BATCH, Digest, TransferPlan
from syncd.refs import RepoRef, RunRef, Target, alias_branch
from syncd.replacements import replacement_of
from syncd.runtime import Runtime, engine_database
from syncd.stages.annotate import annotate
from syncd.stages.discover import Discovered, changed, discover
from syncd.stages.plan import destination, fingerprint, plan
from syncd.stages.transfer import held

LOOK_AGAIN = 5.0  # seconds after which the engine is asked for what ended unheard
LOOK_AGAIN_SHARED = 0.5  # the same where other machines work, of which there is no news
RECOVER = 5.0  # seconds between two looks after machines that are gone


@dataclass(slots=True, kw_only=True)
class Report:
    """What a backfill did; `document()` is the answer of `syncd backfill --json`."""

    discovered: int = 0
    replaced: list[Outcome] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count how one version ended."""
        if outcome["state"] == State.REPLACED:
            self.replaced.append(outcome)
        elif outcome["state"] == State.SKIPPED:
            self.skipped.append({"version": outcome["version"], "reason": outcome["reason"]})
        else:
            keys = ("version", "stage", "error", "hint")
            self.failures.append({key: outcome[key] for key in keys})

    def document(self) -> dict[str, Any]:
        """The report as JSON, all sizes in bytes."""

        def total(key: str) -> int:
            return sum(int(outcome.get(key, 0)) for outcome in self.replaced)

        names = ("planned", "downloaded", "uploaded", "deduplicated", "kept")
        return {
            "versions": {
                "discovered": self.discovered,
                "replaced": len(self.replaced),
                "skipped": len(self.skipped),
                "failed": len(self.failures),
            },
            "bytes": {name: total(name) for name in names},
            "replacements": [
                {
                    "source": outcome["version"],
                    "replacement": outcome["replacement"],
                    "oxen": outcome["oxen"],
                    "entries_moved": outcome["entries_moved"],
                }
                for outcome in self.replaced
            ],
            "skipped": self.skipped,
            "failures": self.failures,
        }


class Follower:
    """Told how a backfill goes; does nothing by itself."""

    def found(self, versions: int, size: int) -> None:
        """So many versions of so many bytes are to be moved."""

    def working(self, artifact_id: str, stage: log.Stage, done: int) -> None:
        """A stage of a version is done with so many more bytes."""

    def ended(self, outcome: Outcome) -> None:
        """A version reached its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to look at.

    Args:
        targets: what was named.
        since: ISO 8601 date or time; older versions are left alone.
        types: artifact types; empty for all.
        limit: versions to move at most, None for all.
        changed: whether collections that are known to have nothing left to do are passed over; then
            the report is silent about them, and neither `since` nor `types` may be given.
    """

    targets: Sequence[Target]
    since: str = ""
    types: frozenset[str] = frozenset()
    limit: int | None = None
    changed: bool = False


def preview(runtime: Runtime, scope: Scope) -> Iterable[tuple[Discovered, TransferPlan | None]]:
    """Every version of the scope with its plan, None where discovery leaves it alone."""
    left = scope.limit
    for item in _discover(runtime, scope):
        if item.skip or left == 0:
            yield item, None
            continue
        planned = plan(item.version, runtime.source.manifest(item.version), runtime.config)
        if not planned.skip and left is not None:
            left -= 1
        yield item, planned


def new_bytes(runtime: Runtime, planned: TransferPlan) -> int:
    """Bytes of a plan that Oxen is not known to hold, equal files counted once."""
    contents = Builder()
    for item in planned.stored:
        algorithm, digest = item.digest
        contents.add((f"{algorithm}:{digest}", item.entry.size))
    new = 0
    for batch in batches(contents.build(), BATCH):
        sizes: dict[Digest, int | None] = {}
        for key, size in batch:
            algorithm, _, digest = key.partition(":")
            sizes[algorithm, digest] = size
        present = held(runtime.store, runtime.catalog, planned.repo, sizes)
        new += sum(size or 0 for digest, size in sizes.items() if digest not in present)
    return new


def backfill(runtime: Runtime, scope: Scope, follower: Follower) -> Report:
    """Move everything in the scope; the report says what happened to each version.

    Args:
        runtime: open clients; the caller holds the state directory's lock.
        scope: what to look at.
        follower: told how it goes.
    """
    log.get().info(log.Stage.DISCOVER.started, targets=[str(item) for item in scope.targets])
    return move(runtime, _discover(runtime, scope), follower, limit=scope.limit)


def move(
    runtime: Runtime,
    found: Iterable[Discovered],
    follower: Follower,
    *,
    limit: int | None = None,
) -> Report:
    """Move what was found; the report says what happened to each version.

    Args:
        runtime: open clients; the caller holds the state directory's lock.
        found: the versions, those that are to be left alone included.
        follower: told how it goes.
        limit: versions to move at most, None for all.
    """
    report = Report()
    news: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    pending: list[Discovered] = []
    heads: dict[RepoRef, dict[str, str]] = {}
    counted = 0
    for item in found:
        report.discovered += 1
        if item.skip:
            report.skipped.append({"version": str(item.version.ref), "reason": item.skip})
            _follow_aliases(runtime, item, heads)
        elif limit is not None and counted >= limit:
            reason = f"beyond --limit {limit}"
            report.skipped.append({"version": str(item.version.ref), "reason": reason})
        else:
            pending.append(item)
            record = runtime.catalog.get(item.version.id)
            # What had nothing to move before is looked at again, but must not use up the limit.
            counted += record is None or record.state is not State.SKIPPED
    log.get().info(log.Stage.DISCOVER.done, versions=report.discovered, pending=len(pending))
    follower.found(len(pending), sum(item.version.size for item in pending))
    if pending:
        with fleet.joined(runtime.config) as member:
            context = Context(
                source=runtime.source,
                store=runtime.store,
                catalog=runtime.catalog,
                config=runtime.config,
                etagged=runtime.etagged,
                progress=follower.working,
                finished=news.put,
                locks=member.locks,
            )
            workflow.launch(
                context,
                database=engine_database(runtime.config),
                concurrency=runtime.config.transfer.concurrency,
                executor_id=member.executor_id,
            )
            try:
                ends = _Ends(member, news)
                _drive(
                    runtime,
                    pending,
                    ends,
                    lambda outcome: _ended(report, follower, outcome),
                )
            finally:
                workflow.stop(timeout=0)
    for run in runtime.catalog.runs_due():
        if annotate(runtime.source, run):
            runtime.catalog.remove_run_due(run)
    return report


def _discover(runtime: Runtime, scope: Scope) -> Iterable[Discovered]:
    decided, looks = fingerprint(runtime.config), runtime.catalog.looks
    if scope.changed:
        return changed(runtime.source, looks, scope.targets, runtime.config.select, decided)
    return discover(
        runtime.source,
        scope.targets,
        runtime.config.select,
        since=scope.since,
        types=scope.types,
        settled=lambda artifact_id: looks.settled(artifact_id, decided),
    )


def _ended(report: Report, follower: Follower, outcome: Outcome) -> None:
    report.add(outcome)
    follower.ended(outcome)


def _drive(
    runtime: Runtime,
    pending: Sequence[Discovered],
    ends: _Ends,
    ended: Callable[[Outcome], None],
) -> None:
    """Queue versions as their inputs are done with, until all have ended."""
    waits = _inputs(runtime, [item.version for item in pending])
    lines: dict[RepoRef, deque[Discovered]] = {}
    for item in pending:
        repo, _ = destination(item.version, runtime.config)
        lines.setdefault(repo, deque()).append(item)
    open_ids = {item.version.id for item in pending}
    running: dict[str, str] = {}  # artifact id -> workflow id

    def release() -> None:
        for repo, line in lines.items():
            while line and not waits[line[0].version.id] & open_ids:
                item = line.popleft()
                running[item.version.id] = _enqueue(runtime, item, repo)
        if not running and any(lines.values()):
            # A circle: a run logged a version and then used a later one. The oldest goes first.
            oldest = min(
                (line[0].version for line in lines.values() if line),
                key=lambda version: (version.created_at, str(version.ref)),
            )
            waits[oldest.id] = set()
            release()

    release()
    while open_ids:
        for artifact_id, outcome in ends.next(running):
            if artifact_id not in open_ids:
                continue
            running.pop(artifact_id, None)
            if outcome is None:  # cancelled: of a path that nobody speaks any more
                again = next(item for item in pending if item.version.id == artifact_id)
                repo, _ = destination(again.version, runtime.config)
                running[artifact_id] = _enqueue(runtime, again, repo)
                continue
            open_ids.discard(artifact_id)
            ended(outcome)
            release()


class _Ends:
    """How versions end: here, of which there is news, or elsewhere, which the engine tells.

    Args:
        member: this process's place in the fleet.
        news: outcomes of this process.
    """

    def __init__(self, member: Member, news: queue.SimpleQueue[Outcome]) -> None:
        self._member, self._news = member, news
        self._every = LOOK_AGAIN if member.presence is None else LOOK_AGAIN_SHARED
        self._look_at = time.monotonic() + self._every
        self._recovered = time.monotonic()

    def next(self, running: Mapping[str, str]) -> Iterator[tuple[str, Outcome | None]]:
        """Wait for some versions to end; artifact ids with outcomes, None for a cancelled workflow.

        Args:
            running: workflow ids by artifact id.
        """
        with suppress(queue.Empty):
            outcome = self._news.get(timeout=self._every)
            yield outcome["artifact_id"], outcome
        now = time.monotonic()
        if now >= self._look_at:
            artifacts = {workflow_id: artifact_id for artifact_id, workflow_id in running.items()}
            over = handover.ended(artifacts)
            yield from [(artifacts[workflow_id], outcome) for workflow_id, outcome in over.items()]
            cost = time.monotonic() - now  # grows with what is queued
            self._look_at = time.monotonic() + max(self._every, 10 * cost)
        if now - self._recovered >= RECOVER:
            fleet.recover(self._member)
            self._recovered = time.monotonic()


def _enqueue(runtime: Runtime, item: Discovered, repo: RepoRef) -> str:
    record = runtime.catalog.get(item.version.id)
    if record is not None and workflow.unfinished(record.workflow_id):
        return record.workflow_id  # begun by a process that was killed; the engine goes on with it
    # The engine may know of attempts that a lost or rebuilt catalog does not. One that it does not
    # know is being queued by somebody else at this moment, or was about to be when that was killed.
    known = record is not None and workflow.known(record.workflow_id)
    after = record.attempts if record else 0
    attempt = workflow.next_attempt(item.version.id, after=after if known else max(after - 1, 0))
    workflow_id = workflow.workflow_id(item.version.id, attempt)
    # Before it is queued: whoever takes it writes where it stands from then on.
    runtime.catalog.note(
        item.version,
        record.state if record and _under_way(record) else State.WAITING,
        attempts=attempt,
        workflow_id=workflow_id,
        namespace=repo.namespace,
        repo=repo.repo,
    )
    workflow.enqueue(
        item.version,
        attempt=attempt,
        partition=str(repo),
        replacement_id=item.replacement.id if item.replacement else "",
    )
    return workflow_id


def _under_way(record: Record) -> bool:
    return record.state is State.REPLACE  # a replacement may have been logged: look before again


def _inputs(runtime: Runtime, versions: Sequence[Version]) -> dict[str, set[str]]:
    """For each version the pending versions that the run which logged it had used before."""
    pending = {version.id for version in versions}
    runs: dict[RunRef, Run | None] = {}
    waits: dict[str, set[str]] = {}
    for version in versions:
        waits[version.id] = set()
        if version.run is None:
            continue
        if version.run not in runs:
            try:
                runs[version.run] = runtime.source.run(version.run)
            except NotFoundError:
                runs[version.run] = None  # its own workflow reports it
        run = runs[version.run]
        for used in run.inputs if run else ():
            if used.id in pending and used.id != version.id:
                waits[version.id].add(used.id)
    return waits


def _follow_aliases(
    runtime: Runtime, item: Discovered, heads: dict[RepoRef, dict[str, str]]
) -> None:
    """Point the Oxen branches of a moved version's aliases where W&B has them now.

    Args:
        runtime: open clients.
        item: the version.
        heads: the branches of repositories, asked for once each.
    """
    replacement = item.replacement
    link = replacement_of(replacement.metadata, replacement.digest) if replacement else None
    if replacement is None or link is None or not replacement.aliases:
        return
    _, prefix = destination(item.version, runtime.config)
    repo = link.commit.repo
    if repo not in heads:
        heads[repo] = dict(runtime.store.branches(repo))
    for alias in replacement.aliases:
        name = alias_branch(alias, prefix, main=runtime.config.oxen.branch)
        if heads[repo].get(name) != link.commit.commit:
            runtime.store.set_branch(link.commit, name)
            heads[repo][name] = link.commit.commit
