"""Backfill: discover, put what is to move in the queue, and follow it to the end.

In which order versions go: `lines`. Nothing is kept here that a second run would miss: run it again
to resume.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from syncd import log
from syncd.blocks import Builder, batches
from syncd.catalog.catalog import State
from syncd.catalog.database import answering, driver_url
from syncd.catalog.stores import ASKED
from syncd.clients.artifacts import Version
from syncd.deployment import triggers
from syncd.durable import engine, fleet, workflow
from syncd.durable.context import Context, Outcome
from syncd.durable.fleet import Member
from syncd.durable.following import finish_runs, follow_runs
from syncd.durable.handover import EndedUnheardError
from syncd.durable.lines import Lines, slim, uses
from syncd.durable.locks import Locks
from syncd.errors import PermanentError, SyncdError
from syncd.naming import alias_branch
from syncd.operations.births import keep_born
from syncd.refs import RepoRef, Target
from syncd.replacements import commit_of
from syncd.runtime import Runtime, check_store, engine_database
from syncd.stages.discover import Discovered, changed, discover
from syncd.stages.plan import destination, fingerprint, plan
from syncd.stages.transfer import held
from syncd.versions.plans import BATCH, Digest, TransferPlan

HEADS = 64  # repositories whose branches are in memory
LOOK_AGAIN = 5.0  # seconds after which the engine is asked for what ended unheard
LOOK_AGAIN_SHARED = 0.5  # the same where other machines work, of which there is no news


@dataclass(slots=True, kw_only=True)
class Report:
    """What a backfill did; `document()` is the answer of `syncd backfill --json`.

    Args:
        discovered: versions that were looked at.
        replaced: how versions ended that moved.
        skipped: versions of which nothing moves, and why.
        failures: versions that could not be moved, and why.
        left: versions of an earlier call that were on their way beside; threads are still at them, and
            whatever these do is done again by the next call.
    """

    discovered: int = 0
    replaced: list[Outcome] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    left: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count how one version ended."""
        if outcome["state"] == State.REPLACED:
            self.replaced.append(outcome)
        elif outcome["state"] == State.SKIPPED:
            self.skipped.append({"version": outcome["version"], "reason": outcome["reason"]})
        else:
            keys = ("version", "stage", "error", "hint")
            self.failures.append({key: outcome[key] for key in keys})

    def fail(self, version: Version, stage: log.Stage, error: SyncdError) -> None:
        """Count what could not be done for a version."""
        self.failures.append(
            {
                "version": str(version.ref),
                "stage": str(stage),
                "error": str(error),
                "hint": error.hint,
            }
        )

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
    """Told how a backfill goes; does nothing by itself but ending the process when its place is lost."""

    def found(self, versions: int, size: int) -> None:
        """So many versions of so many bytes are to be moved."""

    def working(self, artifact_id: str, stage: log.Stage, done: int) -> None:
        """A stage of a version is done with so many more bytes."""

    def ended(self, outcome: Outcome) -> None:
        """A version reached its end."""

    def lost(self, cause: str) -> None:
        """PostgreSQL is gone, in another thread's words: the process has to end at once, see `fleet`."""
        fleet.end_process(cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to look at.

    Args:
        targets: what was named.
        since: ISO 8601 date or time; older versions are skipped.
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
    for target in scope.targets:
        if target.collection is None:
            follow_runs(runtime, target)
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
        found: the versions, those that are to be skipped included.
        follower: told how it goes.
        limit: versions to move at most, None for all.
    """
    report = Report()
    news: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    pending: list[Discovered] = []
    heads: dict[RepoRef, dict[str, str]] = {}
    counted = 0
    met: set[RepoRef] = set()
    for item in found:
        report.discovered += 1
        meet(item, met)
        triggers.enlist(runtime.catalog, runtime.config, item.version)  # what was born in Oxen
        keep_born(runtime, item.version)
        if item.skip:
            try:
                follow_aliases(runtime, item, heads)
            except PermanentError as error:  # its commit is gone, say; all others go on
                report.fail(item.version, log.Stage.REPLACE, error)
            else:
                report.skipped.append({"version": str(item.version.ref), "reason": item.skip})
        elif limit is not None and counted >= limit:
            reason = f"beyond --limit {limit}"
            report.skipped.append({"version": str(item.version.ref), "reason": reason})
        else:
            pending.append(slim(item))
            if limit is not None:
                record = runtime.catalog.get(item.version.id)
                # What had nothing to move before is looked at again, but must not use up the limit.
                counted += record is None or record.state is not State.SKIPPED
    log.get().info(log.Stage.DISCOVER.done, versions=report.discovered, pending=len(pending))
    follower.found(len(pending), sum(item.version.size for item in pending))
    if pending:
        check_store(runtime, met, begins=True)
        database = engine_database(runtime.config)
        with (
            answering("the engine's database", driver_url(database)),
            fleet.joined(runtime.config, lost=follower.lost) as member,
        ):
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
                database=database,
                concurrency=runtime.config.transfer.concurrency,
                executor_id=member.executor_id,
            )
            try:
                lines = Lines(runtime)
                lines.add(pending, uses(runtime, [item.version for item in pending]))
                ends = _Ends(member, lines, news)
                _drive(lines, ends, lambda outcome: _ended(report, follower, outcome))
                engine.forget_ended(datetime.now(UTC) - engine.KEPT)
            finally:
                context.deaths.let_go()
                workflow.stop()
                report.left = context.busy
    finish_runs(runtime, runtime.catalog.runs_due(), Locks())
    triggers.fire(runtime.catalog, runtime.config)
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
        settled=lambda artifact_ids: looks.settled(artifact_ids, decided),
    )


def _ended(report: Report, follower: Follower, outcome: Outcome) -> None:
    report.add(outcome)
    follower.ended(outcome)


def _drive(lines: Lines, ends: _Ends, ended: Callable[[Outcome], None]) -> None:
    """Queue versions as their inputs are done with, until all have ended."""
    lines.release()
    while lines.open:
        for artifact_id, outcome in ends.next():
            if outcome is None:
                lines.again(artifact_id)
            elif lines.ended(artifact_id):
                ended(outcome)
                lines.release()


class _Ends:
    """How versions end: here, of which there is news, or elsewhere, which the engine tells.

    Args:
        member: this process's place in the fleet.
        lines: what is on its way.
        news: outcomes of this process.
    """

    def __init__(self, member: Member, lines: Lines, news: queue.SimpleQueue[Outcome]) -> None:
        self._member, self._lines, self._news = member, lines, news
        self._every = LOOK_AGAIN if member.presence is None else LOOK_AGAIN_SHARED
        self._look_at = time.monotonic() + self._every
        self._recovered = time.monotonic()

    def next(self) -> Iterator[tuple[str, Outcome | None]]:
        """Wait for some versions to end; artifact ids with outcomes, None for a cancelled workflow.

        Raises:
            EndedUnheardError: when a workflow ended with an exception.
            StateUnavailableError: when it was that a database is away or locked, or its own error.
        """
        with suppress(queue.Empty):
            outcome = self._news.get(timeout=self._every)
            yield outcome["artifact_id"], outcome
        now = time.monotonic()
        if now >= self._look_at:
            for artifact_id, end in self._lines.over().items():
                if isinstance(end, EndedUnheardError):
                    raise end.state or end
                yield artifact_id, end
            cost = time.monotonic() - now  # grows with what is queued
            self._look_at = time.monotonic() + max(self._every, 10 * cost)
        if now - self._recovered >= fleet.RECOVER:
            fleet.recover(self._member)
            self._recovered = time.monotonic()


def meet(item: Discovered, met: set[RepoRef]) -> None:
    """Remember the repository that a replacement in W&B names, unless many are remembered.

    Args:
        item: a version.
        met: repositories that should be in the store; see `runtime.check_store`.
    """
    made = item.replacement
    if made is not None and len(met) < ASKED:
        commit = commit_of(made.metadata, made.digest)
        if commit is not None:
            met.add(commit.repo)


def follow_aliases(
    runtime: Runtime, item: Discovered, heads: dict[RepoRef, dict[str, str]]
) -> None:
    """Point the Oxen branches of a version's aliases where W&B has them now.

    Args:
        runtime: open clients.
        item: the version.
        heads: the branches of the repositories that were met last; versions come by collections.
    """
    holder = item.replacement or item.version
    commit = commit_of(holder.metadata, holder.digest)
    # A person may give one to the version itself, too, or W&B does: the same content was logged anew.
    aliases = {*item.version.aliases, *holder.aliases}
    if commit is None or not aliases:
        return
    _, prefix = destination(item.version, runtime.config)
    repo = commit.repo
    if repo not in heads:
        if len(heads) >= HEADS:
            del heads[next(iter(heads))]
        heads[repo] = dict(runtime.store.branches(repo))
    for alias in sorted(aliases):
        name = alias_branch(alias, prefix, main=runtime.config.oxen.main_branch)
        if heads[repo].get(name) != commit.commit:
            runtime.store.set_branch(commit, name)
            heads[repo][name] = commit.commit
