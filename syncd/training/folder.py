"""Is a folder of repositories the one that it was? What a script can know of it, which has no catalog.

The empty mount point of a disk that is not there looks like a new store. What was committed there
would be hidden by the disk when it is back, and W&B would refer to nothing. The folder's mark tells
a store that is in use (`clients.oxen_mark`); where there is none, what the run was pinned to and what
W&B's versions refer to tell which repositories should be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from pathlib import Path

from syncd import retry
from syncd.clients.artifacts import Collection, Version
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_mark import HINT, Mark
from syncd.clients.protocols import ArtifactSource
from syncd.config import Config
from syncd.config.model import MANAGED_BY_WANDB
from syncd.errors import NotFoundError, ServiceUnavailableError
from syncd.refs import CommitRef, RepoRef, Target
from syncd.replacements import published_of, replacement_of

# Of a project; a request each hundred. They are gone through where a store is new, and never again.
LISTED = 300  # collections, those of W&B's own tables among them
COLLECTIONS = 20  # that are looked into
VERSIONS = 100  # of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A commit that should be in a store.

    Args:
        commit: the commit.
        by: who names it.
        here: whether it is in this store, as far as can be told; else in whichever was in use then.
    """

    commit: CommitRef
    by: str
    here: bool


def named_by_pins(commits: Mapping[str, CommitRef]) -> Iterator[Named]:
    """What a run was pinned to: it was read from the store when the run began."""
    for name, commit in commits.items():
        yield Named(commit=commit, by=f"the pinned {name}", here=True)


def named_by(versions: Iterable[Version], base_url: str) -> Iterator[Named]:
    """What versions of W&B stand for.

    Args:
        versions: the versions.
        base_url: under which this store's files are served.
    """
    for version in versions:
        link = replacement_of(version.metadata, version.digest) or published_of(
            version.metadata, version.digest
        )
        if link is not None:
            here = link.url.startswith(f"{base_url.rstrip('/')}/")
            yield Named(commit=link.commit, by=str(version.ref), here=here)


def named_in(source: ArtifactSource, project: Target, base_url: str) -> Iterator[Named]:
    """What a project refers to in this store, by a few of its collections."""
    what = f"look at the collections of {project}"
    try:
        listed = retry.call(lambda: [*islice(source.collections(project), LISTED)], what=what)
    except NotFoundError:
        return
    found = (c for c in listed if not any(fnmatchcase(c.type, kind) for kind in MANAGED_BY_WANDB))
    for collection in islice(found, COLLECTIONS):
        versions = retry.call(partial(_first, source, collection), what=what)
        yield from (item for item in named_by(versions, base_url) if item.here)


def _first(source: ArtifactSource, collection: Collection) -> list[Version]:
    return [*islice(source.versions_of(collection), VERSIONS)]


def check_writable(
    root: Path, repo: RepoRef, named: Sequence[Named], others: Iterable[Named]
) -> str:
    """Make sure that a commit may be made in a repository of a folder; the folder's mark.

    A new store is marked. One that a person has marked by an empty file is taken for what they say.

    Args:
        root: the folder.
        repo: the repository.
        named: commits of this repository, wherever, and others that should be in this folder.
        others: more that should be in it; gone through only where nothing else tells.

    Raises:
        ServiceUnavailableError: when the folder is not the store that it was.
        DiskFullError: when there is no room to mark it.
        PermanentError: when the disk refuses.
    """
    mark = Mark(root)
    found = mark.read()
    if found is not None:
        lost = [item for item in named if item.commit.repo == repo and item.here]
        if found and lost and not RepoIndex(root, repo).exists():
            raise ServiceUnavailableError(
                f"nothing was published: {lost[-1].by} is {lost[-1].commit}, and the folder {root} "
                f"has no repository {repo}. Another disk than before may be mounted there",
                hint="Mount the right disk. If the repository is gone for good and a new one is to be "
                f"begun, empty this file: {mark.path}",
            )
        return found
    if not RepoIndex(root, repo).exists():
        expected = [*named] or [*others]
        if expected and not any(RepoIndex(root, i.commit.repo).exists() for i in expected):
            raise ServiceUnavailableError(
                f"nothing was published: {expected[-1].by} is {expected[-1].commit}, and the folder "
                f"{root} has neither that repository nor its mark {mark.path}. Its disk may not be "
                "mounted",
                hint=f"{HINT}{mark.path}",
            )
    return mark.make()


def check_readable(config: Config, commits: Sequence[CommitRef]) -> None:
    """Make sure that a folder of repositories, where there is one, is none whose disk is not there.

    Args:
        config: names it.
        commits: what is to be read.

    Raises:
        ServiceUnavailableError: when it has no mark, nor any repository of these.
    """
    root = config.oxen.directory
    if root is None or not commits:
        return
    mark = Mark(root)
    if mark.read() is None and not any(RepoIndex(root, c.repo).exists() for c in commits):
        raise ServiceUnavailableError(
            f"{commits[0]} cannot be read: the folder {root} has neither its repository nor the mark of "
            f"a store, {mark.path}. Its disk may not be mounted",
            hint="Mount the disk, then start again. Where it is mounted, look whether [oxen] url or "
            "SYNCD_OXEN__URL names the right folder.",
        )
