"""The two seams of syncd: where versions come from, and where their bytes go.

Everything in the stages is written against these. An implementation raises only the errors of
`syncd.errors`; each says whether the call may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from syncd.clients.artifacts import (
    Automation,
    Collection,
    Heard,
    Membership,
    Run,
    Standing,
    Surroundings,
    Use,
    Version,
)
from syncd.clients.commits import Author, Commit, Content, StoredContent, TreeEntry
from syncd.errors import SyncdError
from syncd.manifest import Entry, Manifest
from syncd.refs import CommitRef, RepoRef, RunRef, Target

# --- W&B


class ArtifactSource(Protocol):
    """Where versions come from, and where their replacements go: W&B."""

    def projects(self, entity: str) -> Iterator[str]:
        """Names of an entity's projects."""
        ...

    def collections(self, target: Target) -> Iterator[Collection]:
        """The collections of a target, a hundred a request."""
        ...

    def pointed(self, collections: Sequence[Collection]) -> Sequence[Mapping[str, str]] | None:
        """Where the aliases of some collections are that are not on their newest versions.

        Returns:
            For each collection, in order, the versions' GraphQL ids by alias, for a hundred aliases a
            request, without those that are on no committed version; None when W&B does not tell.
        """
        ...

    def versions_of(self, collection: Collection) -> Iterator[Version]:
        """A collection's committed versions in version order, a hundred a request."""
        ...

    def versions(self, target: Target) -> Iterator[Version]:
        """Committed versions of a target, in version order within each collection."""
        ...

    def surroundings(self, versions: Sequence[Version]) -> Sequence[Surroundings]:
        """What refers to these versions of one collection, for a hundred a request.

        Those that are gone are left out.
        """
        ...

    def automations(self, entity: str) -> Sequence[Automation] | None:
        """The automations of an entity that watch it or something in it; None when W&B does not tell."""
        ...

    def manifest(self, version: Version) -> Manifest:
        """The version's manifest."""
        ...

    def sign(self, version: Version, paths: Sequence[str]) -> None:
        """Get ready to read these entries, in as few requests as W&B allows."""
        ...

    def read(
        self, version: Version, entry: Entry, *, begin: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """The bytes of one entry that W&B holds, in chunks; ends early only by raising.

        Args:
            version: the version.
            entry: one of its entries that is no reference.
            begin: the first byte wanted.
            size: how many bytes are wanted; None for all that follow.
        """
        ...

    def consumers(self, version: Version) -> Sequence[RunRef]:
        """The runs that used the version."""
        ...

    def run(self, ref: RunRef, *, all_outputs: bool = True) -> Run:
        """A run with its config, inputs and outputs.

        Args:
            ref: the run.
            all_outputs: whether all outputs are needed, or as many as the first request tells.
        """
        ...

    def heard(self, entity: str, project: str) -> Iterator[Heard]:
        """The runs of a project, those heard of last first, a hundred a request."""
        ...

    def log_replacement(
        self, version: Version, manifest: Manifest, metadata: Mapping[str, Any]
    ) -> Version:
        """Log a version with this manifest in the same collection, as output of the same run.

        Description, tags, TTL and history step are the source's. No alias is given. When the
        collection holds a committed version with the same digest already, that one is returned.
        """
        ...

    def move_aliases(
        self, version: Version, aliases: Sequence[str], *, places: Sequence[Membership] = ()
    ) -> None:
        """Give aliases to the version, all in one request, taking them from any other.

        Args:
            version: who gets them.
            aliases: aliases of the collection it was logged to.
            places: portfolios that link it, with the aliases it is to have there.
        """
        ...

    def memberships(self, version: Version) -> Sequence[Membership]:
        """Every collection that holds the version, the one it was logged to included."""
        ...

    def standing(self, artifact_id: str) -> Standing:
        """A version by its GraphQL id, with its memberships and consumers, as of one moment.

        Raises:
            NotFoundError: when it is gone.
        """
        ...

    def link(
        self, version: Version, membership: Membership, aliases: Sequence[str] = ()
    ) -> Membership:
        """Put the version into a portfolio; the place it has there is returned.

        W&B makes the newest link `latest`. Unless `latest` is among the aliases, it goes back in the
        same request to the version that `membership.latest` names, or off where it names none.

        Args:
            version: who is linked.
            membership: any version's place in the portfolio, as read just before.
            aliases: the portfolio's aliases that the version gets, taken from any other.
        """
        ...

    def unlink(self, version: Version, membership: Membership) -> None:
        """Take the version out of a portfolio, with the aliases it has there."""
        ...

    def record_use(self, run: RunRef, version: Version) -> None:
        """Make the run a consumer of the version; nothing happens when it is one."""
        ...

    def update_config(self, run: RunRef, values: Mapping[str, Any], unset: Sequence[str]) -> bool:
        """Set and unset keys of a run's config, nothing else of the run; whether it changed."""
        ...

    def update_metadata(
        self,
        version: Version,
        metadata: Mapping[str, Any],
        *,
        description: str | None = None,
        tags: Sequence[str] = (),
        ttl_seconds: int | None = None,
    ) -> None:
        """Replace a version's metadata, and what else is given; everything else of it stays.

        Args:
            version: the version.
            metadata: all of it.
            description: the new one; None leaves it.
            tags: added to those it has.
            ttl_seconds: counted from its creation, -1 inherit, -2 off; None leaves it.
        """
        ...

    def version(self, artifact_id: str) -> Version:
        """One version by its GraphQL id, as it is now."""
        ...

    def with_manifest(self, artifact_id: str) -> tuple[Version, Manifest]:
        """One version as it is now and its manifest, in one request."""
        ...

    # taking out of W&B, and putting back

    def uses(self, version: Version) -> Sequence[Use]:
        """The runs that used the version, with the times they ran."""
        ...

    def set_ttl(self, version: Version, seconds: int) -> None:
        """Set a version's time to live, counted from its creation; see `Version.ttl_seconds`."""
        ...

    def remove(self, version: Version) -> None:
        """Delete a version that has no aliases; W&B frees what no other version needs."""
        ...

    def upload(
        self, draft: Version, manifest: Manifest, read: Callable[[Entry], Iterator[bytes]]
    ) -> Version:
        """Log a version with its files, as output of the draft's run, without aliases.

        Entries that name no birth version are uploaded, as far as W&B does not hold their bytes. When
        the collection holds a committed version with the same digest already, that one is returned.

        Args:
            draft: what is logged, with its digest; its id, number and creation do not count.
            manifest: its entries.
            read: gives an entry's bytes; asked again when an attempt failed.
        """
        ...


# --- Oxen


class VersionStore(Protocol):
    """Where bytes go: Oxen repositories.

    One writer per repository at a time; the caller sees to that. Contents come before the commit
    that names them: `put` makes bytes durable and visible to nobody, `commit` names them.
    """

    def put(self, repo: RepoRef, chunks: Iterable[bytes]) -> StoredContent:
        """Store bytes in the repository (made on demand); hashing them while they pass.

        When `chunks` raises, nothing is kept and the exception passes through.
        """
        ...

    def expect(self, repo: RepoRef, branch: str, files: Iterable[tuple[str, str]]) -> None:
        """Say which files the next commit to the branch will hold, before their contents come.

        A store that stages files as they arrive gets ready for it; nothing depends on it.

        Args:
            repo: the repository.
            branch: the branch.
            files: their paths, and the hashes of their contents; "" of what has not come yet.
        """
        ...

    def bring(
        self, repo: RepoRef, contents: Sequence[Content]
    ) -> Sequence[StoredContent | SyncdError]:
        """Store contents as `put` does, in one go: one large file, or many small ones.

        What arrived of a large one before it was cut off is not asked for again, also by another
        process. May be called from several threads.

        Returns:
            For each content, in order, what was stored, or why it was not.
        """
        ...

    def missing(self, repo: RepoRef, hashes: Iterable[str]) -> set[str]:
        """Which of these contents the repository does not hold (all, when it does not exist)."""
        ...

    def commit(
        self, repo: RepoRef, *, branch: str, tree: Sequence[TreeEntry], message: str, author: Author
    ) -> CommitRef:
        """Make ONE commit whose complete tree is `tree` on top of `branch` (made on demand).

        The tree is sorted by path, and gone through several times: it may be one that makes its
        entries anew. All contents must be there (`missing` is empty). When the branch's tree equals `tree`
        already, a commit is still made: a version is a commit.
        """
        ...

    def resolve(self, repo: RepoRef, revision: str) -> Commit | None:
        """The commit a branch or commit id names, or None (also when the repository is missing)."""
        ...

    def tree(self, commit: CommitRef) -> Iterator[TreeEntry]:
        """The commit's tree, sorted by path."""
        ...

    def verify(self, commit: CommitRef, paths: Iterable[str] | None = None) -> Iterator[str]:
        """Re-read the commit from the store and yield one sentence per problem; none is proof.

        Bytes are re-hashed as stored, and the paths of the commit's tree are proved to name them.
        `paths` limits the re-hashing, never the check of the tree.
        """
        ...

    def read(self, commit: CommitRef, path: str) -> Iterator[bytes]:
        """The bytes of one file of a commit, in chunks."""
        ...

    def read_small(self, commit: CommitRef, entries: Sequence[TreeEntry]) -> Mapping[str, bytes]:
        """The bytes of small files of a commit, by hash, in as few requests as can be.

        What cannot be read so is left out; `read` then says why.
        """
        ...

    def set_branch(self, commit: CommitRef, name: str) -> None:
        """Point a branch at the commit, making or moving it; its tree and history stay."""
        ...

    def branches(self, repo: RepoRef) -> Mapping[str, str]:
        """All branches with the commit each points at; empty when the repository is missing."""
        ...

    def repositories(self, namespace: str) -> Sequence[RepoRef]:
        """The repositories of a namespace, by name; empty when there is no such namespace."""
        ...
