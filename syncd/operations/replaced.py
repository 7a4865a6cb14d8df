"""What a sweep knows of replaced versions before it decides about them.

What is listed is enough to leave most of them. The others are looked at closely, in turn, until as
many may go as a day allows: those first that have waited longest, since their grace ended or since a
sweep last had to leave them. So what may be removed costs requests, not what was ever replaced, and
those that stay for long keep nobody behind them from going.

What could need a version is not looked at here, see `scan`. A listing that fails, or that has far less
than the catalog and Oxen know of, ends the sweep before anything is removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from itertools import groupby

from syncd.clients.artifacts import Version, utc
from syncd.errors import PermanentError
from syncd.operations.listings import Folder, believe_catalog, doubts
from syncd.operations.packed import Packed, Packer
from syncd.refs import CollectionName, Target
from syncd.replacements import KEY, Replacement, replacement_of
from syncd.runtime import Runtime
from syncd.stages import reclaim
from syncd.stages.reclaim import Several
from syncd.versions import guards
from syncd.versions.guards import Facts
from syncd.versions.originals import coverage, lineage_path, original
from syncd.versions.plans import LINEAGE_PATH

MOST_REFUSED = 1000  # versions that a sweep looks at closely in vain before it leaves the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Replaced versions as they were listed, in the order in which they are looked at.

    Args:
        listed: they.
        doubted: why what is listed is not believed, by the folder in Oxen.
    """

    listed: Packed
    doubted: Mapping[Folder, str]

    def __len__(self) -> int:
        return len(self.listed)

    def __iter__(self) -> Iterator[Facts]:
        for item in self.listed:
            doubt = self.doubted.get((item.link.commit.repo, folder_of(item.link)))
            yield changed(item, problems=(doubt,)) if doubt else item


def looked_at(
    runtime: Runtime,
    candidates: Several[Facts],
    now: datetime,
    counted: int,
    *,
    everything: bool,
) -> tuple[list[Facts], Several[Facts]]:
    """Look closely at those whose turn it is.

    Args:
        runtime: open clients.
        candidates: replaced versions, as they were listed, in the order of their turns.
        now: the time, UTC.
        counted: removals of the last 24 hours, as far as the listing tells. It tells those of the
            targets alone; the limit itself holds the notes of all projects.
        everything: whether it is everybody's turn.

    Returns:
        What is known of those that were looked at, in the order in which they may go, and the others.
    """
    terms = runtime.config.reclaim
    if terms.policy == guards.NONE:  # what stays anyway need not be looked at closely
        return [], candidates
    left, vain = terms.max_per_day - counted, MOST_REFUSED
    looked: list[Facts] = []
    unseen = Packer()
    for number, item in enumerate(candidates):
        note = item.link.reclaimed
        turn = everything or reclaim.must_be_watched(note, terms, now)
        if not turn and (left <= 0 or vain <= 0 or guards.refusals(item, terms, now)):
            unseen.add(f"{number:012}", item)
            continue
        known = reclaim.look_again(runtime.source, item)
        if not guards.reasons(known, terms, now):
            known = changed(known, problems=tuple(_coverage(runtime, known)))
        looked.append(known)
        if guards.refusals(known, terms, now):
            vain -= 1
        elif not guards.is_counted(note, terms, now):
            left -= 1
    return looked, unseen.done()


def candidates_of(
    runtime: Runtime, targets: Sequence[Target], now: datetime
) -> tuple[Candidates, int]:
    """Replaced versions of the targets that W&B still has, each once, and how many went in a day."""
    terms, refused = runtime.config.reclaim, runtime.catalog.refused()

    def order(item: Facts) -> str:
        """Those first whose removal was begun, then those that have waited longest."""
        watched = reclaim.must_be_watched(item.link.reclaimed, terms, now)
        turn = reclaim.turn(item, terms, refused.get(item.source.id)).astimezone(UTC)
        return f"{not watched:d} {turn.isoformat(timespec='microseconds')} {len(found):012}"

    lately: set[str] = set()
    found: set[str] = set()
    packer = Packer()
    doubted: dict[Folder, str] = {}
    for target in targets:
        counted: Counter[CollectionName] = Counter()
        moved: Counter[Folder] = Counter()
        for place, group in groupby(
            runtime.source.versions(target.whole), key=lambda item: item.ref.place
        ):
            versions = list(map(_bare, group))
            counted[place] = len(versions)
            lately |= {version.id for version in versions if went_lately(version, now)}
            for item in _replaced(versions, moved):
                made = item.replacement
                assert made is not None, "it has just been listed"
                names = {item.source.ref.alias, made.ref.alias}
                wanted = target.alias in (None, *names, *item.source.aliases, *made.aliases)
                if wanted and item.source.id not in found:
                    found.add(item.source.id)
                    packer.add(order(item), item)
        believe_catalog(runtime, target.whole, counted)
        doubted |= doubts(runtime, moved)
    return Candidates(listed=packer.done(), doubted=doubted), len(lately)


def went_lately(version: Version, now: datetime) -> bool:
    """Whether a version says that the one it replaces was removed in the last 24 hours."""
    link = replacement_of(version.metadata, version.digest)
    note = link.reclaimed if link else None
    return note is not None and utc(note.at) > now - guards.DAY


def _replaced(versions: Sequence[Version], moved: Counter[Folder]) -> Iterator[Facts]:
    """The replaced versions among those of a collection; counts what has been moved where."""
    held = {version.id: version for version in versions}
    for version in versions:
        link = replacement_of(version.metadata, version.digest)
        if link is None:
            continue
        moved[link.commit.repo, folder_of(link)] += 1
        if (source := held.get(link.source_artifact_id)) is not None:
            yield Facts(source=source, replacement=version, link=link)


def _bare(version: Version) -> Version:
    """Without what people wrote, which no guard asks about; there may be millions of them."""
    metadata = {name: value for name, value in version.metadata.items() if name == KEY}
    return changed(version, metadata=metadata, description=None)


def _coverage(runtime: Runtime, facts: Facts) -> list[str]:
    assert facts.replacement is not None, "a guard looks at it"
    try:
        held = original(runtime.store, facts.link.commit, lineage_path(facts.link))
    except PermanentError as error:
        return [str(error)]
    source = runtime.source
    before, after = source.manifest(facts.source), source.manifest(facts.replacement)
    return coverage(held, facts.link, before, after)


def folder_of(link: Replacement) -> str:
    """The folder of its repository that a version was moved to; empty for the whole of it."""
    try:
        return lineage_path(link).removesuffix(LINEAGE_PATH).rstrip("/")
    except PermanentError:
        return ""  # a guard says so
