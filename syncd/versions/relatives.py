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
from syncd.replacements import KEY, Replacement, published_of, replacement_of, restored_of


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
        replacement: the name of what replaces it in W&B, None when nothing does.
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
    named = (
        kind for key, kind in short.items() if run.config.get(f"{key}_commit") == commit.commit
    )
    return next(named, "")


def _relative(place: Place, members: list[Version]) -> Relative:
    links = [
        (version, link)
        for version in members
        if (link := replacement_of(version.metadata, version.digest)) is not None
    ]
    plain = [version for version in members if version.digest == place[3]]
    made, link = links[0] if links else (None, None)
    born = [
        item.commit
        for version in members
        if (item := published_of(version.metadata, version.digest)) is not None
    ]
    first = _first(plain, made, link)
    return Relative(
        id=first.id,
        ref=first.ref,
        type=first.type,
        digest=place[3],
        created_at=first.created_at,
        commit=link.commit if link else born[0] if born else None,
        replacement=made.ref if made else None,
        aliases=tuple(sorted({alias for version in members for alias in version.aliases})),
        runs=tuple(dict.fromkeys(version.run for version in members if version.run)),
        members=tuple(members),
        has_moved=link is not None
        or any(restored_of(version.metadata, version.digest) for version in plain),
    )


def _first(plain: list[Version], made: Version | None, link: Replacement | None) -> Version:
    """The version that was logged: itself, or as what replaces it describes it."""
    if link is None or made is None:
        return min(plain, key=lambda version: version.index)
    there = [version for version in plain if version.id == link.source_artifact_id]
    if there:
        return there[0]
    number = link.source_version.rpartition(":")[2]  # its collection may have another name by now
    return replace(
        made,
        id=link.source_artifact_id,
        ref=replace(made.ref, alias=number),
        created_at=link.source_created_at,
    )
