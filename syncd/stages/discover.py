"""Discover: which versions there are to move, and why the others are not.

A collection is read whole before its first version is yielded, because what replaces a version
stands behind it. Replacements are never sources, and what was restored is one only when it is named.
`changed` spares collections that have nothing new, for whoever looks every few minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from heapq import nsmallest
from itertools import groupby

from syncd.catalog.looks import Looks
from syncd.clients.artifacts import Version, utc
from syncd.clients.protocols import ArtifactSource
from syncd.config.model import Select
from syncd.errors import NotFoundError
from syncd.refs import ArtifactRef, CollectionName, Target
from syncd.replacements import Published, Replacement, published_of, replacement_of, restored_of
from syncd.versions.whereabouts import Listed, asked

AGAIN = 1  # collections without news that `changed` looks at all the same
# By GraphQL id: why nothing of some versions moves, as far as that is known.
Settled = Callable[[Sequence[str]], Mapping[str, str]]
Clock = Callable[[], datetime]


def _unsettled(_artifact_ids: Sequence[str]) -> Mapping[str, str]:
    return {}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """A version of W&B and what discovery knows about it.

    Args:
        version: the version.
        skip: why it is not to be moved, empty when it is.
        replacement: the version that replaces it, when there is one already.
        final: whether `skip` holds as long as the configuration is the same.
    """

    version: Version
    skip: str = ""
    replacement: Version | None = None
    final: bool = False


def discover(
    source: ArtifactSource,
    targets: Iterable[Target],
    select: Select,
    *,
    since: str = "",
    types: frozenset[str] = frozenset(),
    settled: Settled = _unsettled,
    clock: Clock = _now,
) -> Iterator[Discovered]:
    """Versions of the targets that are no replacements, in version order within a collection.

    Args:
        source: W&B.
        targets: what to look at.
        select: what the configuration includes and excludes.
        since: ISO 8601 date or time; older versions are skipped.
        types: artifact types; empty for all.
        settled: what an earlier look at manifests has decided.
        clock: tells the time; a version that has expired by then is skipped.

    Raises:
        NotFoundError: when a target names a version that is not there.
    """
    done: set[str] = set()  # targets may overlap
    for target in targets:
        wanted = target.alias
        there = wanted is None
        by_collection = groupby(
            source.versions(target.whole),
            key=lambda found: found.ref.place,
        )
        for _, versions in by_collection:
            items = [
                item
                for item in _collection(list(versions), named=wanted is not None)
                if not wanted or wanted in _names(item)
            ]
            there = there or bool(items)
            left_alone = settled([item.version.id for item in items])
            for item in items:
                if item.version.id in done:
                    continue
                done.add(item.version.id)
                yield _judged(item, select, left_alone, clock(), since=since, types=types)
        if not there:
            raise NotFoundError(f"{target}: there is no such version")


def changed(
    source: ArtifactSource,
    looks: Looks,
    targets: Iterable[Target],
    select: Select,
    fingerprint: str,
    *,
    again: int = AGAIN,
    under_way: MutableMapping[CollectionName, str] | None = None,
    turns: MutableMapping[Target, CollectionName] | None = None,
    hinted: Iterable[CollectionName] = (),
    clock: Clock = _now,
) -> Iterator[Discovered]:
    """What `discover` finds in the collections that are not known to have nothing left to do.

    One request tells of a hundred collections; only those are read that look otherwise than when
    everything in them was last found moved, or skipped for a reason that cannot change. One more tells of
    a hundred aliases which versions they are on, where these are none of the newest. What
    fails or waits keeps its collection awake. A collection is put to rest when what was yielded of it
    has been dealt with: when the next item is asked for.

    Args:
        source: W&B.
        looks: how far earlier looks came.
        targets: what to look at.
        select: what the configuration includes and excludes.
        fingerprint: of the configuration, see `stages.plan.fingerprint`.
        again: so many collections without news are read, too, those that were not read for longest:
            W&B tells here of a collection's newest versions only.
        under_way: what was told of collections that have versions on their way when they were read; those
            that look the same are passed over, and what is told of others that are read is noted.
        turns: the collection whose aliases were asked for last, by target; see `whereabouts.asked`.
        hinted: collections that are read whatever is told of them.
        clock: see `discover`.
    """
    done: set[CollectionName] = set()
    wanted = frozenset(hinted)
    read: MutableMapping[CollectionName, str] = {} if under_way is None else under_way

    def settled(artifact_ids: Sequence[str]) -> Mapping[str, str]:
        return looks.settled(artifact_ids, fingerprint)

    for target in targets:
        rest = looks.cursors(target, fingerprint)
        asleep: list[Listed] = []
        awake: list[Listed] = []
        for found in source.collections(target.whole):
            name, listed = found.place, Listed.of(found)
            if name in done:
                continue
            done.add(name)
            if read.get(name) == listed.told and name not in wanted:
                continue
            cursor = rest.get(name)
            rests = cursor is not None and cursor.seen.startswith(listed.told)
            (asleep if rests and name not in wanted else awake).append(listed)
        where = asked(source, asleep, target, {} if turns is None else turns)
        quiet: list[tuple[str, Listed]] = []  # with when each was read last
        for listed in asleep:
            cursor = rest[listed.collection.place]
            current = where.get(listed.collection.place)
            if current is None or cursor.seen == listed.told + current:
                quiet.append((cursor.looked_at, listed))
            else:
                awake.append(listed)
        late = nsmallest(again, quiet, key=lambda item: (item[0], item[1].collection.place))
        for listed in (*awake, *(listed for _, listed in late)):
            versions = list(source.versions_of(listed.collection))
            items = judged(versions, select, settled, clock=clock)
            yield from items
            name = listed.collection.place
            read[name] = listed.told
            if all(item.final for item in items):
                # As it was before it was read: what has moved since shows the next time.
                looks.rest(name, listed.told + where.get(name, listed.among(versions)), fingerprint)
            else:
                looks.wake(name)


def judged(
    versions: list[Version],
    select: Select,
    settled: Settled = _unsettled,
    *,
    clock: Clock = _now,
) -> list[Discovered]:
    """The versions of a collection, all there are, that are no replacements.

    Args:
        versions: in version order.
        select: what the configuration includes and excludes.
        settled: what an earlier look at manifests has decided.
        clock: see `discover`.
    """
    found = list(_collection(versions, named=False))
    left_alone = settled([item.version.id for item in found])
    return [_judged(item, select, left_alone, clock()) for item in found]


def _judged(
    item: Discovered,
    select: Select,
    settled: Mapping[str, str],
    now: datetime,
    *,
    since: str = "",
    types: frozenset[str] = frozenset(),
) -> Discovered:
    if item.skip:
        return item
    if expired := _expired(item, now):
        return replace(item, skip=expired)  # a longer time to live may be given it
    if types and item.version.type not in types:
        return replace(item, skip=f"type {item.version.type} was not asked for")
    if since and utc(item.version.created_at) < utc(since):
        return replace(item, skip=f"older than {since}")
    skip, final = ("", False) if _begun(item) else _unwanted(item.version, select)
    if not skip:
        skip = settled.get(item.version.id, "")
        final = bool(skip)
    return replace(item, skip=skip, final=final)


def held(source: ArtifactSource, ref: ArtifactRef) -> Version | None:
    """The version that a name or an alias stands for now; None for nothing."""
    target = Target(
        entity=ref.entity, project=ref.project, collection=ref.collection, alias=ref.alias
    )
    try:
        return next(iter(source.versions(target)), None)
    except NotFoundError:
        return None


def replacements(source: ArtifactSource, target: Target) -> Iterator[tuple[Version, Replacement]]:
    """The versions of a target's collections that replace others, each with what it says of that."""
    for version in source.versions(target.whole):
        link = replacement_of(version.metadata, version.digest)
        if link is not None:
            yield version, link


def replacing(source: ArtifactSource, ref: ArtifactRef) -> Version | None:
    """What replaced a version of this name, which W&B may have no more; None for nothing."""
    with suppress(NotFoundError):
        for made, link in replacements(source, Target.of(ref)):
            if link.source_version == str(ref):
                return made
    return None


def publications(source: ArtifactSource, target: Target) -> Iterator[tuple[Version, Published]]:
    """The versions of a target's collections that were born in Oxen."""
    for version in source.versions(target.whole):
        born = published_of(version.metadata, version.digest)
        if born is not None:
            yield version, born


def _names(item: Discovered) -> set[str]:
    """What a version is called; its aliases may have moved on to its replacement."""
    made = item.replacement
    moved = (made.ref.alias, *made.aliases) if made else ()
    return {item.version.ref.alias, *item.version.aliases, *moved}


def _collection(versions: list[Version], *, named: bool) -> Iterator[Discovered]:
    links = {
        version.id: link
        for version in versions
        if (link := replacement_of(version.metadata, version.digest)) is not None
    }
    replaced = {
        links[version.id].source_artifact_id: version for version in versions if version.id in links
    }
    # By digest: the mark is set before the restored version, whose id nobody knows yet, is there.
    restored = {
        links[version.id].source_digest: version
        for version in versions
        if version.id in links and links[version.id].restored is not None
    }
    for version in versions:
        if version.id in links:
            continue
        born = published_of(version.metadata, version.digest)
        if born is not None:
            yield Discovered(version=version, skip=f"born in Oxen as {born.commit}", final=True)
            continue
        replacement = replaced.get(version.id) or restored.get(version.digest)
        link = links[replacement.id] if replacement else None
        mark = restored_of(version.metadata, version.digest)
        if link is not None and link.complete and link.restored is None and replacement:
            skip = f"replaced by {replacement.ref}"
        elif named or (mark is None and version.digest not in restored):
            skip = ""
        else:
            skip = "restored from Oxen; name it as collection:vN to move it again"
        yield Discovered(version=version, skip=skip, replacement=replacement, final=bool(skip))


def _expired(item: Discovered, now: datetime) -> str:
    ends = item.version.expires_at
    if ends is None or ends > now or item.replacement is not None:  # what is begun is completed
        return ""
    return f"expired at {ends.isoformat(timespec='seconds')}, W&B deletes it"


def _begun(item: Discovered) -> bool:
    """Whether a replacement was logged and not completed: its aliases may have moved already."""
    if item.replacement is None:
        return False
    link = replacement_of(item.replacement.metadata, item.replacement.digest)
    return link is not None and not link.complete and link.restored is None


def _unwanted(version: Version, select: Select) -> tuple[str, bool]:
    """Why a version is not asked for, and whether nothing else is to be expected of it.

    An alias may be given later; that shows where W&B tells of a collection's newest versions.
    """
    facets = {  # with whether a change of them would be seen, or there is none
        "types": ("type", (version.type,), True),
        "collections": ("collection", (version.ref.collection,), True),
        "aliases": ("alias", version.aliases, True),
        "tags": ("tag", version.tags, False),
    }
    for key, (word, values, kept) in facets.items():
        excluded = [
            (value, pattern)
            for pattern in getattr(select.exclude, key)
            for value in values
            if fnmatchcase(value, pattern)
        ]
        if excluded:
            return f"{word} {excluded[0][0]} is excluded by {excluded[0][1]}", kept
        included = getattr(select.include, key)
        if included and not any(
            fnmatchcase(value, pattern) for pattern in included for value in values
        ):
            return f"no {word} of it is included", kept
    return "", False
