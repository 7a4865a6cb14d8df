"""A reclaim sweep: what is known of replaced versions is gathered, then planned, then done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import datetime
from functools import partial
from typing import Any

from syncd import log
from syncd.blocks import batches
from syncd.errors import ClockError, PermanentError
from syncd.operations.clocks import check_clock
from syncd.operations.replaced import candidates_of, folder_of, looked_at
from syncd.operations.scan import scan
from syncd.refs import Target
from syncd.runtime import Runtime
from syncd.stages import reclaim
from syncd.stages.reclaim import Removal, Several, Stay
from syncd.stages.verify import verify
from syncd.versions import guards
from syncd.versions.guards import Facts, Reason
from syncd.versions.holdings import Freed, Holdings, contents

BATCH = 500  # versions whose staying is told at a time
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A plan, with what it frees.

    Args:
        plan: what leaves and what stays.
        expected: bytes that each removal frees, by its place in the plan.
        freed: which contents these are.
        refused: ids of the versions that were looked at closely and stay.
        wrong: why nothing leaves, and only times to live are taken back; None when the clock is right.
    """

    plan: reclaim.ReclaimPlan
    expected: Counter[int]
    freed: Freed
    refused: frozenset[str] = frozenset()
    wrong: ClockError | None = None


@dataclass(slots=True, kw_only=True)
class Report:
    """What a sweep did, or would do; `document()` is the answer of `syncd reclaim --json`.

    Args:
        policy: the policy.
        dry_run: whether nothing was done.
        removals: what left, as in the document.
        stays: what the plan left.
        after_all: what was left although the plan would have it go.
        failures: what could not be removed, as in the document.
        expected: bytes that should be freed.
        freed: bytes that were.
    """

    policy: str
    dry_run: bool
    removals: list[dict[str, Any]] = field(default_factory=list)
    stays: Several[Stay] = ()
    after_all: list[Stay] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    expected: int = 0
    freed: int = 0

    @property
    def stay(self) -> int:
        """How many stay."""
        return len(self.stays) + len(self.after_all)

    def document(self) -> dict[str, Any]:
        """The report as JSON, sizes in bytes."""
        return {
            "policy": self.policy,
            "dry_run": self.dry_run,
            "removals": self.removals,
            "stays": [_stay(item) for item in (*self.stays, *self.after_all)],
            "failures": self.failures,
            "bytes": {"expected": self.expected, "freed": self.freed},
        }


# --- plan


def plan(
    runtime: Runtime, targets: Sequence[Target], now: datetime, *, everything: bool = False
) -> Sweep:
    """Look at replaced versions of the targets and decide; changes nothing.

    Args:
        runtime: open clients.
        targets: whose versions.
        now: the time, UTC.
        everything: look closely at each version, to tell all there is to tell of it. Otherwise only
            at as many as may go today, at up to `replaced.MOST_REFUSED` more that may not, and at those whose
            removal has been begun.

    Raises:
        ClockError: when this machine's clock is not W&B's, the policy allows removals, and there is
            nothing to take back.
        SuspiciousListingError: when W&B lists far less than is known to be there.
        SyncdError: when anything cannot be read: then nobody knows what is needed.
    """
    # First: what `now` says decides about all that follows.
    if runtime.config.reclaim.policy != guards.NONE and targets:
        try:
            check_clock(runtime.source, targets[0].entity)
        except ClockError as error:
            return _taken_back(runtime, targets, now, error)
    candidates, counted = candidates_of(runtime, targets, now)
    return _decided(runtime, targets, now, candidates, counted, everything=everything)


def _taken_back(
    runtime: Runtime, targets: Sequence[Target], now: datetime, error: ClockError
) -> Sweep:
    """What does not wait for the right time: W&B deletes what has a time to live without asking again.

    Raises:
        ClockError: when no version has one from syncd that a guard wants back.
    """
    now = runtime.source.told_time(targets[0].entity) or now
    candidates, counted = candidates_of(runtime, targets, now)
    waiting = [
        item for item in candidates if item.link.reclaimed and item.link.reclaimed.how == guards.TTL
    ]
    found = _decided(runtime, targets, now, waiting, counted).plan.stays if waiting else ()
    stays = tuple(item for item in found if item.withdraw)
    if not stays:
        raise error
    decided = reclaim.ReclaimPlan(removals=(), stays=stays)
    return Sweep(plan=decided, expected=Counter(), freed=Holdings().done(), wrong=error)


def _decided(
    runtime: Runtime,
    targets: Sequence[Target],
    now: datetime,
    candidates: Several[Facts],
    counted: int,
    *,
    everything: bool = False,
) -> Sweep:
    terms = runtime.config.reclaim
    facts, unseen = looked_at(runtime, candidates, now, counted, everything=everything)
    hopeful = [item for item in facts if not guards.reasons(item, terms, now)]
    if not hopeful:
        return Sweep(
            plan=reclaim.plan(facts, terms, now, lately=counted, unseen=unseen),
            expected=Counter(),
            freed=Holdings().done(),
            refused=frozenset(item.source.id for item in facts),
        )
    holdings = Holdings()
    for number, item in enumerate(hopeful):
        holdings.goes(number, runtime.source.manifest(item.source))
    pointed, lately = scan(runtime, targets, hopeful, holdings, now)
    facts = [changed(item, pointers=tuple(pointed.get(item.source.id, ()))) for item in facts]
    decided = reclaim.plan(facts, terms, now, lately=lately, unseen=unseen)
    going = {item.facts.source.id for item in decided.removals}
    for item in hopeful:
        if item.source.id not in going:
            holdings.stays(contents(runtime.source.manifest(item.source)))
    freed = holdings.done()
    numbers = {item.source.id: number for number, item in enumerate(hopeful)}
    by_number = freed.by_version()
    expected = Counter(
        {
            place: by_number[numbers[item.facts.source.id]]
            for place, item in enumerate(decided.removals)
        }
    )
    refused = frozenset(item.source.id for item in facts if guards.refusals(item, terms, now))
    return Sweep(plan=decided, expected=expected, freed=freed, refused=refused)


# --- execution


def describe(sweep: Sweep, runtime: Runtime) -> Report:
    """What a plan would do, as a report.

    Raises:
        ClockError: when that depends on the time, and this machine's clock is not W&B's.
    """
    if sweep.wrong:
        raise sweep.wrong
    report = Report(policy=runtime.config.reclaim.policy, dry_run=True)
    for place, item in enumerate(sweep.plan.removals):
        report.removals.append(_removal(item, sweep.expected[place]))
    report.stays = sweep.plan.stays
    report.expected = sweep.expected.total()
    return report


def execute(
    sweep: Sweep, runtime: Runtime, now: Clock, progress: Callable[[int], None] = lambda _: None
) -> Report:
    """Do what is planned; what turns out otherwise stays, and the report says why.

    Args:
        sweep: the plan.
        runtime: open clients; the caller holds the state directory's lock.
        now: the time, UTC.
        progress: told of bytes as they are read back.

    Raises:
        ClockError: when this machine's clock is wrong, after what is taken back nevertheless, or was
            set meanwhile; nothing more is removed.
    """
    terms = runtime.config.reclaim
    report = Report(policy=terms.policy, dry_run=False)
    # Those that are removed in vain below wait for their next turn, too: they may fail each time.
    going = {removal.facts.source.id for removal in sweep.plan.removals}
    runtime.catalog.refuse(sweep.refused | going, now().isoformat())
    told = _leave(runtime, sweep.plan.stays)
    if sweep.wrong:
        raise sweep.wrong
    report.stays = sweep.plan.stays
    counts = Counter(reason.guard for item in sweep.plan.stays for reason in item.reasons)
    kept: list[Facts] = []
    for place, removal in enumerate(sweep.plan.removals):
        facts, expected = removal.facts, sweep.expected[place]
        name = str(facts.source.ref)
        log.get().info(log.Stage.RECLAIM.started, artifact=name, commit=str(facts.link.commit))
        check_clock(runtime.source, facts.source.ref.entity)  # a sweep takes hours
        proof = partial(_proof, runtime, facts, progress)
        try:
            found = reclaim.remove(
                runtime.source, removal, terms, now(), expected=expected, proof=proof
            )
        except PermanentError as error:
            log.get().error(log.Stage.RECLAIM.failed, artifact=name, error=str(error))
            kept.append(facts)
            failure = {"stage": str(log.Stage.RECLAIM), "error": str(error), "hint": error.hint}
            report.failures.append({"version": name, **failure})
            continue
        if found:
            kept.append(facts)
            report.after_all.append(Stay(facts=facts, reasons=found))
            told += _leave(runtime, report.after_all[-1:])
            counts.update(reason.guard for reason in found)
            continue
        if terms.policy == guards.DELETE:
            runtime.catalog.reclaimed(facts.source.id, expected)
        log.get().info(log.Stage.RECLAIM.done, artifact=name, bytes=expected)
        report.removals.append(_removal(removal, expected))
    freed = sweep.freed.without(runtime.source.manifest(facts.source) for facts in kept)
    report.expected = sweep.expected.total()
    report.freed = freed.by_version().total() if terms.policy == guards.DELETE else 0
    log.get().info(
        log.Life.SWEEP_DONE,
        policy=terms.policy,
        removed=len(report.removals),
        failed=len(report.failures),
        stay=report.stay,
        told=told,
        reasons=dict(counts.most_common()),
    )
    return report


def _leave(runtime: Runtime, stays: Iterable[Stay]) -> int:
    """Take back what was begun of versions that stay, and tell why they do where that is news.

    Returns:
        Of how many it was told.
    """
    told = 0
    for some in batches(stays, BATCH):
        texts = {item.facts.source.id: _news(item.reasons) for item in some}
        news = runtime.catalog.told.news(texts)
        for item in some:
            if item.withdraw:
                reclaim.withdraw(runtime.source, item.facts)
            if item.facts.source.id in news:
                log.get().info(
                    log.Stage.RECLAIM.skipped,
                    artifact=str(item.facts.source.ref),
                    reason="; ".join(item.reasons),
                )
        runtime.catalog.told.keep({key: texts[key] for key in news})
        told += len(news)
    return told


def _news(reasons: Sequence[Reason]) -> str:
    """What makes reasons others; why all wait that wait changes for all of them at once."""
    return "; ".join("waits" if item.guard in reclaim.WAITS else item for item in reasons)


def _proof(runtime: Runtime, facts: Facts, progress: Callable[[int], None]) -> list[str]:
    """Read the commit back, all of it, and hold it against the receipt in W&B."""
    link = facts.link
    report = verify(
        runtime.store,
        runtime.catalog,
        link.commit,
        prefix=folder_of(link),
        everything=True,
        progress=progress,
    )
    problems = list(report.problems)
    claimed = link.receipt.get("tree")
    if not problems and claimed != report.receipt.tree:
        problems.append("the commit's tree is not the one that the receipt in W&B names")
    return problems


def _removal(removal: Removal, expected: int) -> dict[str, Any]:
    return {**_names(removal.facts), "bytes": expected}


def _stay(stay: Stay) -> dict[str, Any]:
    return {**_names(stay.facts), "reasons": list(stay.reasons)}


def _names(facts: Facts) -> dict[str, Any]:
    return {
        "source": str(facts.source.ref),
        "replacement": str(facts.replacement.ref) if facts.replacement else None,
        "oxen": str(facts.link.commit),
    }
