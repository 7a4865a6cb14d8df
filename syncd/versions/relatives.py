"""Versions as lineage counts them: one for a version, what replaces it, and what was restored from it.

W&B keeps one version of a digest in a collection, so the digest of what was logged tells which belong
together: a replacement names it, and what comes back has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from syncd.clients.artifacts import Run, Version
from syncd.errors import UsageError
from syncd.refs import ArtifactRef, CommitRef, RunRef
from syncd.replacements import (
    KEY,
    Logged,
    Replacement,
    published_of,
    replacement_of,
    restored_of,
    returned_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """One version of lineage.

    Args:
        id: GraphQL id of the version that was logged, which W&B may have no more.
        ref: its name, `entity/project/collection:vN`.
        type: the artifact type.
        digest: its digest, hex.
        created_at: ISO 8601, UTC.
        commit: the Oxen commit that holds it, None when there is none.
        replacement: the name of what W&B has in its place, the version of references or the files that
            came back; None where that is the version itself.
        aliases: of all of them, without `vN`.
        runs: the runs that logged it, as far as the versions themselves say.
        members: the versions of W&B that it stands for.
        has_moved: whether one of them was moved, or came back.
    """

    id: str
    ref: ArtifactRef
    type: str
    digest: str
    created_at: str
    commit: CommitRef | None
    replacement: ArtifactRef | None
    aliases: tuple[str, ...]
    runs: tuple[RunRef, ...]
    members: tuple[Version, ...]
    has_moved: bool


Place = tuple[str, str, str, str]  # entity, project, collection, digest


def place_of(version: Version) -> Place:
    """What a version, its replacement and what is restored from it have in common."""
    link = replacement_of(version.metadata, version.digest)
    ref = version.ref
    digest = link.source_digest if link else version.digest
    return ref.entity, ref.project, ref.collection, digest


def relatives(versions: Iterable[Version]) -> list[Relative]:
    """The versions of lineage among some of W&B, in the order in which they come.

    Args:
        versions: what a run used or logged, or a collection's; those that are gone are told by
            what replaces them.
    """
    groups: dict[Place, list[Version]] = {}
    for version in versions:
        groups.setdefault(place_of(version), []).append(version)
    return [_relative(place, members) for place, members in groups.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedInput:
    """A commit that a run's config names as its input.

    Args:
        commit: the commit.
        ref: the version that stands for it, where the config names one.
        type: the artifact type, as far as the config's short keys tell it.
    """

    commit: CommitRef
    ref: ArtifactRef | None
    type: str


def named_inputs(run: Run) -> list[NamedInput]:
    """What a run's config names as its inputs, and W&B does not know that the run used it.

    A script that reads from Oxen writes it there, in the map that `stages.annotate` keeps.
    """
    full = run.config.get(KEY)
    side = full.get("inputs") if isinstance(full, Mapping) else None
    held = {item.commit for item in relatives(run.inputs)}
    found: dict[CommitRef, NamedInput] = {}
    for name, text in side.items() if isinstance(side, Mapping) else ():
        with suppress(UsageError):
            commit = CommitRef.parse(str(text))
            if commit not in held:
                type_ = _short_type(run, commit)
                found[commit] = NamedInput(commit=commit, ref=_numbered(str(name)), type=type_)
    return list(found.values())


def _numbered(name: str) -> ArtifactRef | None:
    with suppress(UsageError):
        ref = ArtifactRef.parse(name)
        return ref if ref.index is not None else None
    return None


def _short_type(run: Run, commit: CommitRef) -> str:
    short = {"dataset": "dataset", "base_model": "model"}
    named = [
        kind for key, kind in short.items() if run.config.get(f"{key}_commit") == commit.commit
    ]
    full = run.config.get(KEY)
    pinned = full.get("pinned") if isinstance(full, Mapping) else None
    for key, text in pinned.items() if isinstance(pinned, Mapping) else ():
        if str(text) == str(commit):  # what a script was told to use beside these is data, too
            named.append(short.get(str(key), "dataset"))
    return next(iter(named), "")


def _relative(place: Place, members: list[Version]) -> Relative:
    links = [
        (version, link)
        for version in members
        if (link := replacement_of(version.metadata, version.digest)) is not None
    ]
    plain = [version for version in members if version.digest == place[3]]
    made, link = max(links, key=lambda pair: pair[0].index, default=(None, None))
    born = [
        item.commit
        for version in members
        if (item := published_of(version.metadata, version.digest)) is not None
    ]
    back = [
        (version, came)
        for version in plain
        if (came := returned_of(version.metadata, version.digest)) is not None
    ]
    commits = [*([link.commit] if link else ()), *born, *(came.commit for _, came in back)]
    if made is not None and link is not None:
        first = _logged(link.first, plain, made)
        now = _present(made, link, first)
    elif back:
        first = _logged(back[0][1].logged, plain, back[0][0])
        now = back[0][0].ref
    else:
        first, now = min(plain, key=lambda version: version.index), None
    return Relative(
        id=first.id,
        ref=first.ref,
        type=first.type,
        digest=place[3],
        created_at=first.created_at,
        commit=commits[0] if commits else None,
        replacement=now if now != first.ref else None,
        aliases=tuple(sorted({alias for version in members for alias in version.aliases})),
        runs=tuple(dict.fromkeys(version.run for version in members if version.run)),
        members=tuple(members),
        has_moved=link is not None
        or any(restored_of(version.metadata, version.digest) for version in plain),
    )


def _present(made: Version, link: Replacement, first: Version) -> ArtifactRef:
    """What W&B shows in the place of what was logged: whoever has the aliases."""
    back = link.restored
    if back is None or not back.artifact_id:
        return made.ref  # or it is about to come back
    if back.artifact_id == first.id:
        return first.ref
    return replace(made.ref, alias=back.version.rpartition(":")[2])


def _logged(logged: Logged, plain: list[Version], other: Version) -> Version:
    """The version that was logged: itself, or as what W&B has of it describes it."""
    there = next((version for version in plain if version.id == logged.artifact_id), None)
    if there is not None:
        return there
    number = logged.version.rpartition(":")[2]  # its collection may have another name by now
    return replace(
        other,
        id=logged.artifact_id,
        ref=replace(other.ref, alias=number),
        created_at=logged.created_at,
    )
