"""Where a version lies on both sides: the W&B version that has its aliases, and its Oxen commit.

A version may be named by any of its names: as it was logged, as the reference version that replaced
it, as the files that came back, by an alias, by its place in a portfolio, or by its commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncd.clients.artifacts import Version
from syncd.clients.commits import Commit
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.errors import NotFoundError, PermanentError
from syncd.naming import alias_branch
from syncd.refs import ArtifactRef, CommitRef, OxenURL, Target, parse_reference_url
from syncd.replacements import Published, Replacement, published_of, replacement_of, restored_of
from syncd.stages.discover import held, replacing
from syncd.versions.events import Point
from syncd.versions.lineages import MALFORMED, story
from syncd.versions.plans import LINEAGE_PATH, lineage_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A version on both sides.

    Args:
        version: the W&B version that has, or may have, the aliases.
        point: where it lies.
        named: the collection it was named by, as `entity/project/collection`.
    """

    version: Version
    point: Point
    named: str


def from_ref(source: ArtifactSource, store: VersionStore, text: str) -> Located:
    """Find a version by `entity/project/collection:alias` or `oxen://namespace/repo@revision`.

    Raises:
        NotFoundError: when there is none, or it is not in Oxen.
        UsageError: when the text is no name.
    """
    if text.startswith("oxen://"):
        return _from_commit(source, store, OxenURL.parse(text))
    ref = ArtifactRef.parse(text)
    version = held(source, ref) or replacing(source, ref)
    if version is None:
        raise NotFoundError(f"{ref}: there is no such version")
    found = of(source, version, named=collection_of(str(ref)))
    if found.point.commit is None:
        raise NotFoundError(
            f"{version.ref} is not in Oxen",
            hint=f"Run `syncd backfill {collection_of(str(version.ref))}` first; `syncd plan` tells "
            "why a version does not move.",
        )
    return found


def of(source: ArtifactSource, version: Version, *, named: str = "") -> Located:
    """A version on both sides; one that is not in Oxen lies at no commit.

    Args:
        source: W&B.
        version: any version that stands for it.
        named: the collection it was named by; its own by default.
    """
    own = collection_of(str(version.ref))
    link = _link(version)
    if isinstance(link, Published) or (link is not None and not _came_back(link)):
        return _located(version, link, named or own)
    for other in source.versions(Target.of(version.ref)):
        found = replacement_of(other.metadata, other.digest)
        if found is None or version.id not in _names(other, found):
            continue
        if _came_back(found) and found.restored is not None:
            there = version if version.id == found.restored.artifact_id else None
            return _located(there or source.version(found.restored.artifact_id), found, named)
        return _located(other, found, named or own)
    name = str(version.ref)
    return Located(
        version=version,
        point=Point(version=name, logged=name, artifact_id=version.id),
        named=named or own,
    )


def again(source: ArtifactSource, store: VersionStore, point: Point) -> Version | None:
    """The version that stands at a point now: the one it was, or another with the same commit.

    What was deleted in W&B may have been restored since, or moved anew.
    """
    if not point.artifact_id:
        return None
    try:
        return source.version(point.artifact_id)
    except NotFoundError:
        pass
    if point.commit is None:
        return None
    ref = ArtifactRef.parse(point.version)
    try:
        versions = list(source.versions(Target.of(ref)))
    except NotFoundError:
        return None
    same = (item for item in versions if _lies_at(item, point.commit))
    return next(same, None) or _restored(store, versions, point)


def aliased(source: ArtifactSource, targets: Iterable[Target], alias: str) -> list[str]:
    """The collections of some targets in which an alias is given, as `entity/project/collection:alias`.

    W&B tells of the newest versions and the aliases of a hundred collections a request; where the alias is
    on none of these versions and there is one of its name, or there are too many, it is asked for.
    """
    found: list[str] = []
    for target in targets:
        for collection in source.collections(target):
            ref = ArtifactRef(
                entity=collection.entity,
                project=collection.project,
                collection=collection.name,
                alias=alias,
            )
            older = collection.crowded or alias in collection.elsewhere
            if alias in collection.shown or (older and held(source, ref) is not None):
                found.append(str(ref))
    return found


def branch_of(config: Config, alias: str, folder: str) -> str:
    """The Oxen branch of an alias.

    Args:
        config: names the main branch, which no alias hides.
        alias: W&B's alias.
        folder: where its versions lie in their commits' trees.
    """
    return alias_branch(alias, folder, main=config.oxen.main_branch)


def collection_of(name: str) -> str:
    """`entity/project/collection` of a version's name or an alias's."""
    return name.partition(":")[0]


def _from_commit(source: ArtifactSource, store: VersionStore, url: OxenURL) -> Located:
    commit = store.resolve(url.repo, url.revision)
    if commit is None:
        raise NotFoundError(f"{url}: there is no such commit")
    ref = ArtifactRef.parse(_artifact(store, commit))
    for version in source.versions(Target.of(ref)):
        if _lies_at(version, commit.ref):
            return of(source, version)
    raise NotFoundError(
        f"{url} holds {ref}, which W&B has no more",
        hint=f"`syncd restore {commit.ref}` puts it back into W&B.",
    )


def _artifact(store: VersionStore, commit: Commit) -> str:
    """The name of the version that a commit holds, by its message or else by its lineage file."""
    named = commit.trailers.get("Wandb-Artifact")
    if named is not None:
        return named
    try:
        return str(story(store.read(commit.ref, LINEAGE_PATH)).artifact["ref"])
    except (NotFoundError, *MALFORMED) as error:
        raise NotFoundError(f"{commit.ref} is no commit of syncd's") from error


def _link(version: Version) -> Replacement | Published | None:
    return replacement_of(version.metadata, version.digest) or published_of(
        version.metadata, version.digest
    )


def _lies_at(version: Version, commit: CommitRef) -> bool:
    link = _link(version)
    return link is not None and link.commit == commit


def _came_back(link: Replacement | Published) -> bool:
    """Whether its files are in W&B again, in a version of their own that has the aliases."""
    return (
        isinstance(link, Replacement)
        and link.restored is not None
        and bool(link.restored.artifact_id)
    )


def _names(version: Version, link: Replacement) -> set[str]:
    restored = link.restored.artifact_id if link.restored else ""
    return {version.id, link.source_artifact_id, restored} - {""}


def _located(version: Version, link: Replacement | Published, named: str) -> Located:
    return Located(
        version=version,
        point=Point(
            version=str(version.ref),
            logged=link.source_version if isinstance(link, Replacement) else str(version.ref),
            artifact_id=version.id,
            commit=link.commit,
            folder=folder(link),
        ),
        named=named or collection_of(str(version.ref)),
    )


def folder(link: Replacement | Published) -> str:
    """Where a version lies in its commit's tree: beside its lineage file; empty for the root.

    Raises:
        PermanentError: when what the version says of itself names no lineage file.
    """
    served = parse_reference_url(link.url)
    if served is None or not served[1].endswith(LINEAGE_PATH):
        raise PermanentError(f"{link.url} is no lineage file of {link.commit}")
    return served[1].removesuffix(LINEAGE_PATH).rstrip("/")


def _restored(store: VersionStore, versions: Iterable[Version], point: Point) -> Version | None:
    """The files that came back where the replacement is gone, too: they name the digest alone."""
    marked = [item for item in versions if restored_of(item.metadata, item.digest) is not None]
    if not marked or point.commit is None:
        return None
    path = lineage_in(point.folder)
    try:
        digest = story(store.read(point.commit, path)).artifact.get("digest")
    except (NotFoundError, *MALFORMED):
        return None
    return next((item for item in marked if item.digest == digest), None)
