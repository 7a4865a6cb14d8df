"""A reclaim sweep: what is known of replaced versions is gathered, then planned, then done.

What is listed is enough to leave most of them. The others are looked at closely, in turn, until as
many may go as a day allows: those first that have waited longest, since their grace ended or since a
sweep last had to leave them. So what may be removed costs requests, not what was ever replaced, and
those that stay for long keep nobody behind them from going.

Everything that could need a version is looked at: all versions of all entities that the targets or
the configuration name, with their manifests and the objects in them. A listing that fails, or that
has far less than the catalog and Oxen know of, ends the sweep before anything is removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

from syncd import log
from syncd.clients.artifacts import Version, utc
from syncd.errors import PermanentError
from syncd.operations.clocks import check_clock
from syncd.operations.listings import Folder, Place, believe_catalog, doubts, place_of
from syncd.refs import Target
from syncd.replacements import Replacement, replacement_of
from syncd.runtime import Runtime
from syncd.stages import reclaim
from syncd.stages.reclaim import Facts, Removal, Stay
from syncd.stages.verify import verify
from syncd.versions.holdings import Freed, Holdings
from syncd.versions.originals import coverage, lineage_path, original
from syncd.versions.plans import LINEAGE_PATH
from syncd.versions.pointers import Pointers

MOST_REFUSED = 1000  # versions that a sweep looks at closely in vain before it leaves the others
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A plan, with what it frees.

    Args:
        plan: what leaves and what stays.
        expected: bytes that each removal frees, by its place in the plan.
        freed: which contents these are.
        refused: ids of the versions that were looked at closely and stay.
    """

    plan: reclaim.ReclaimPlan
    expected: Counter[int]
    freed: Freed
    refused: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class Report:
    """What a sweep did, or would do; `document()` is the answer of `syncd reclaim --json`."""

    policy: str
    dry_run: bool
    removals: list[dict[str, Any]] = field(default_factory=list)
    stays: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    expected: int = 0
    freed: int = 0

    def document(self) -> dict[str, Any]:
        """The report as JSON, sizes in bytes."""
        return {
            "policy": self.policy,
            "dry_run": self.dry_run,
            "removals": self.removals,
            "stays": self.stays,
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
            at as many as may go today, at up to `MOST_REFUSED` more that may not, and at those whose
            removal has been begun.

    Raises:
        ClockError: when this machine's clock is not W&B's, and the policy allows removals.
        SuspiciousListingError: when W&B lists far less than is known to be there.
        SyncdError: when anything cannot be read: then nobody knows what is needed.
    """
    terms = runtime.config.reclaim
    # First: what `now` says decides about all that follows.
    if terms.policy != reclaim.NONE and targets:
        check_clock(runtime.source, targets[0].entity)
    candidates, counted = _candidates(runtime, targets, now)
    facts, unseen = _looked_at(runtime, candidates, now, counted, everything=everything)
    hopeful = [item for item in facts if not reclaim.reasons(item, terms, now)]
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
    pointed, lately = _scan(runtime, targets, hopeful, holdings, now)
    facts = [changed(item, pointers=tuple(pointed.get(item.source.id, ()))) for item in facts]
    decided = reclaim.plan(facts, terms, now, lately=lately, unseen=unseen)
    going = {item.facts.source.id for item in decided.removals}
    for item in hopeful:
        if item.source.id not in going:
            holdings.stays(runtime.source.manifest(item.source))
    freed = holdings.done()
    numbers = {item.source.id: number for number, item in enumerate(hopeful)}
    by_number = freed.by_version()
    expected = Counter(
        {
            place: by_number[numbers[item.facts.source.id]]
            for place, item in enumerate(decided.removals)
        }
    )
    refused = frozenset(item.source.id for item in facts if reclaim.refusals(item, terms, now))
    return Sweep(plan=decided, expected=expected, freed=freed, refused=refused)


def _looked_at(
    runtime: Runtime,
    candidates: Sequence[Facts],
    now: datetime,
    counted: int,
    *,
    everything: bool,
) -> tuple[list[Facts], list[Facts]]:
    """Look closely at those whose turn it is.

    Args:
        runtime: open clients.
        candidates: replaced versions, as they were listed.
        now: the time, UTC.
        counted: removals of the last 24 hours, as far as the listing tells. It tells those of the
            targets alone; the limit itself holds the notes of all projects.
        everything: whether it is everybody's turn.

    Returns:
        What is known of those that were looked at, in the order in which they may go, and the others.
    """
    terms = runtime.config.reclaim
    if terms.policy == reclaim.NONE:  # what stays anyway need not be looked at closely
        return [], list(candidates)
    refused = runtime.catalog.refused()

    def order(item: Facts) -> tuple[bool, datetime]:
        watched = reclaim.must_be_watched(item.link.reclaimed, terms, now)
        return not watched, reclaim.turn(item, terms, refused.get(item.source.id))

    left, vain = terms.max_per_day - counted, MOST_REFUSED
    looked: list[Facts] = []
    unseen: list[Facts] = []
    for item in sorted(candidates, key=order):
        note = item.link.reclaimed
        turn = everything or reclaim.must_be_watched(note, terms, now)
        if not turn and (left <= 0 or vain <= 0 or reclaim.refusals(item, terms, now)):
            unseen.append(item)
            continue
        known = reclaim.look_again(runtime.source, item)
        if not reclaim.reasons(known, terms, now):
            known = changed(known, problems=tuple(_coverage(runtime, known)))
        looked.append(known)
        if reclaim.refusals(known, terms, now):
            vain -= 1
        elif not reclaim.is_counted(note, terms, now):
            left -= 1
    return looked, unseen


def _candidates(
    runtime: Runtime, targets: Sequence[Target], now: datetime
) -> tuple[list[Facts], int]:
    """Replaced versions of the targets that W&B still has, each once, and how many went in a day."""
    lately: set[str] = set()
    found: dict[str, Facts] = {}
    doubted: dict[Folder, str] = {}
    for target in targets:
        counted: Counter[Place] = Counter()
        moved: Counter[Folder] = Counter()
        for place, group in groupby(runtime.source.versions(target.whole), key=place_of):
            versions = list(group)
            counted[place] = len(versions)
            lately |= {version.id for version in versions if _went_lately(version, now)}
            for item in _replaced(versions, moved):
                made = item.replacement
                assert made is not None, "it has just been listed"
                names = {item.source.ref.alias, made.ref.alias}
                if target.alias in (None, *names, *item.source.aliases, *made.aliases):
                    found.setdefault(item.source.id, item)
        believe_catalog(runtime, target.whole, counted)
        doubted |= doubts(runtime, moved)
    return [
        changed(item, problems=(doubted[place],)) if place in doubted else item
        for item in found.values()
        for place in [(item.link.commit.repo, _folder(item.link))]
    ], len(lately)


def _went_lately(version: Version, now: datetime) -> bool:
    """Whether a version says that the one it replaces was removed in the last 24 hours."""
    link = replacement_of(version.metadata, version.digest)
    note = link.reclaimed if link else None
    return note is not None and utc(note.at) > now - reclaim.DAY


def _replaced(versions: Sequence[Version], moved: Counter[Folder]) -> Iterator[Facts]:
    """The replaced versions among those of a collection; counts what has been moved where."""
    held = {version.id: version for version in versions}
    for version in versions:
        link = replacement_of(version.metadata, version.digest)
        if link is None:
            continue
        moved[link.commit.repo, _folder(link)] += 1
        if (source := held.get(link.source_artifact_id)) is not None:
            yield Facts(source=source, replacement=version, link=link)


def _coverage(runtime: Runtime, facts: Facts) -> list[str]:
    assert facts.replacement is not None, "a guard looks at it"
    try:
        held = original(runtime.store, facts.link.commit, lineage_path(facts.link))
    except PermanentError as error:
        return [str(error)]
    source = runtime.source
    before, after = source.manifest(facts.source), source.manifest(facts.replacement)
    return coverage(held, facts.link, before, after)


def _scan(
    runtime: Runtime,
    targets: Sequence[Target],
    hopeful: Sequence[Facts],
    holdings: Holdings,
    now: datetime,
) -> tuple[dict[str, list[str]], int]:
    """Go through all versions that could need another one.

    Returns:
        Names of the versions that point into each, by its id; and how many versions were removed
        in the last 24 hours.
    """
    pointers = Pointers(runtime.source, runtime.store)
    going = {item.source.id for item in hopeful}
    pointed: dict[str, list[str]] = {}
    lately = 0
    configured = [Target.parse(str(text)) for text in runtime.config.wandb.projects]
    for entity in sorted({target.entity for target in (*targets, *configured)}):
        whole = Target(entity=entity)
        counted: Counter[Place] = Counter()
        for version in runtime.source.versions(whole):
            counted[place_of(version)] += 1
            lately += _went_lately(version, now)
            manifest = runtime.source.manifest(version)
            if version.id not in going:
                holdings.stays(manifest)
            for target in pointers.of(version, manifest) & going - {version.id}:
                pointed.setdefault(target, []).append(str(version.ref))
        believe_catalog(runtime, whole, counted)
    return pointed, lately


def _folder(link: Replacement) -> str:
    try:
        return lineage_path(link).removesuffix(LINEAGE_PATH).rstrip("/")
    except PermanentError:
        return ""  # a guard says so


# --- execution


def describe(sweep: Sweep, runtime: Runtime) -> Report:
    """What a plan would do, as a report."""
    report = Report(policy=runtime.config.reclaim.policy, dry_run=True)
    for place, item in enumerate(sweep.plan.removals):
        report.removals.append(_removal(item, sweep.expected[place]))
    report.stays = [_stay(item.facts, item.reasons) for item in sweep.plan.stays]
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
        ClockError: when this machine's clock was set meanwhile; nothing more is removed.
    """
    terms = runtime.config.reclaim
    report = Report(policy=terms.policy, dry_run=False)
    # Those that are removed in vain below wait for their next turn, too: they may fail each time.
    going = {removal.facts.source.id for removal in sweep.plan.removals}
    runtime.catalog.refuse(sweep.refused | going, now().isoformat())
    for item in sweep.plan.stays:
        _leave(runtime, item)
        report.stays.append(_stay(item.facts, item.reasons))
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
            _leave(runtime, Stay(facts=facts, reasons=found))
            report.stays.append(_stay(facts, found))
            continue
        if terms.policy == reclaim.DELETE:
            runtime.catalog.reclaimed(facts.source.id, expected)
        log.get().info(log.Stage.RECLAIM.done, artifact=name, bytes=expected)
        report.removals.append(_removal(removal, expected))
    freed = sweep.freed.without(runtime.source.manifest(facts.source) for facts in kept)
    report.expected = sweep.expected.total()
    report.freed = freed.by_version().total() if terms.policy == reclaim.DELETE else 0
    return report


def _leave(runtime: Runtime, stay: Stay) -> None:
    if stay.withdraw:
        reclaim.withdraw(runtime.source, stay.facts)
    log.get().info(
        log.Stage.RECLAIM.skipped,
        artifact=str(stay.facts.source.ref),
        reason="; ".join(stay.reasons),
    )


def _proof(runtime: Runtime, facts: Facts, progress: Callable[[int], None]) -> list[str]:
    """Read the commit back, all of it, and hold it against the receipt in W&B."""
    link = facts.link
    report = verify(
        runtime.store,
        runtime.catalog,
        link.commit,
        prefix=_folder(link),
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


def _stay(facts: Facts, reasons: Sequence[str]) -> dict[str, Any]:
    return {**_names(facts), "reasons": list(reasons)}


def _names(facts: Facts) -> dict[str, Any]:
    return {
        "source": str(facts.source.ref),
        "replacement": str(facts.replacement.ref) if facts.replacement else None,
        "oxen": str(facts.link.commit),
    }
