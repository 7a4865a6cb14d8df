"""Discover: which versions there are to move, and why the others are not.

A collection is read whole before its first version is yielded, because what replaces a version
stands behind it. Replacements are never sources, and what was restored is one only when it is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby

from syncd.clients.protocols import ArtifactSource, Version
from syncd.config.model import Select
from syncd.refs import Target
from syncd.replacements import Replacement, replacement_of, restored_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """A version of W&B and what discovery knows about it.

    Args:
        version: the version.
        skip: why it is not to be moved, empty when it is.
        replacement: the version that replaces it, when there is one already.
    """

    version: Version
    skip: str = ""
    replacement: Version | None = None


def discover(
    source: ArtifactSource,
    targets: Iterable[Target],
    select: Select,
    *,
    since: str = "",
    types: frozenset[str] = frozenset(),
) -> Iterator[Discovered]:
    """Versions of the targets that are no replacements, in version order within a collection.

    Args:
        source: W&B.
        targets: what to look at.
        select: what the configuration includes and excludes.
        since: ISO 8601 date or time; older versions are skipped.
        types: artifact types; empty for all.
    """
    seen: set[str] = set()  # targets may overlap
    for target in targets:
        wanted = target.alias
        by_collection = groupby(
            source.versions(target.whole),
            key=lambda found: (found.ref.entity, found.ref.project, found.ref.collection),
        )
        for _, versions in by_collection:
            for item in _collection(list(versions), named=wanted is not None):
                version = item.version
                if wanted and wanted not in _names(item):
                    continue
                if version.id in seen:
                    continue
                seen.add(version.id)
                skip = item.skip or _unwanted(version, select, since, types)
                yield Discovered(version=version, skip=skip, replacement=item.replacement)


def replacements(source: ArtifactSource, target: Target) -> Iterator[tuple[Version, Replacement]]:
    """The versions of a target's collections that replace others, each with what it says of that."""
    for version in source.versions(target.whole):
        link = replacement_of(version.metadata, version.digest)
        if link is not None:
            yield version, link


def _names(item: Discovered) -> set[str]:
    """What a version is called; its aliases may have moved on to its replacement."""
    moved = item.replacement.aliases if item.replacement else ()
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
        replacement = replaced.get(version.id) or restored.get(version.digest)
        link = links[replacement.id] if replacement else None
        mark = restored_of(version.metadata, version.digest)
        if link is not None and link.complete and link.restored is None and replacement:
            skip = f"replaced by {replacement.ref}"
        elif named or (mark is None and version.digest not in restored):
            skip = ""
        else:
            skip = "restored from Oxen; name it as collection:vN to move it again"
        yield Discovered(version=version, skip=skip, replacement=replacement)


def _unwanted(version: Version, select: Select, since: str, types: frozenset[str]) -> str:
    if types and version.type not in types:
        return f"type {version.type} was not asked for"
    if since and version.created_at < since:
        return f"older than {since}"
    facets = {
        "types": ("type", (version.type,)),
        "collections": ("collection", (version.ref.collection,)),
        "aliases": ("alias", version.aliases),
        "tags": ("tag", version.tags),
    }
    for key, (word, values) in facets.items():
        excluded = [
            (value, pattern)
            for pattern in getattr(select.exclude, key)
            for value in values
            if fnmatchcase(value, pattern)
        ]
        if excluded:
            return f"{word} {excluded[0][0]} is excluded by {excluded[0][1]}"
        included = getattr(select.include, key)
        if included and not any(
            fnmatchcase(value, pattern) for pattern in included for value in values
        ):
            return f"no {word} of it is included"
    return ""
