"""The store on an Oxen server: hub.oxen.ai or a self-hosted oxen-server, 0.65 or later.

The order of things, which makes a kill at any point harmless:

    bring    contents -> the server's version store, the small ones staged in a workspace on the way
    commit   (groundwork ->) the rest staged -> merged into a branch of its own -> the tree listed and compared
    branch   the wanted branch is pointed at the commit, the own one is deleted

A commit is made on a branch of syncd's own, and only one whose tree is proved becomes what another
branch shows (`oxen_workspaces`). Branches below `syncd/` are syncd's own and are not told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import xxhash

from syncd import retry
from syncd.blocks import batches
from syncd.clients.commits import Author, Commit, Content, StoredContent, TreeEntry
from syncd.clients.oxen_api import HASHES_A_REQUEST, OxenApi
from syncd.clients.oxen_files import OxenFiles
from syncd.clients.oxen_gathering import Gathering
from syncd.clients.oxen_paths import check_branch, check_tree
from syncd.clients.oxen_repositories import BASE, OWN, Repositories, is_seed
from syncd.clients.oxen_trees import TreeCache
from syncd.clients.oxen_uploads import Uploads
from syncd.clients.oxen_wire import Wire, check_url
from syncd.clients.oxen_workspaces import Workspaces
from syncd.clients.payload import Payload
from syncd.config import Config, oxen_token
from syncd.errors import (
    IntegrityError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    SyncdError,
    VerificationError,
)
from syncd.refs import CommitRef, RepoRef

INITIAL = "Initialized Repo"  # begins the message of the empty commit that the server makes


class ServerVersionStore:
    """A `VersionStore` over HTTP.

    Args:
        url: the server, without `/api`.
        token: the bearer token; empty when the server asks for none.
        http: keeps the connections.
        spool: a folder for what waits there: large files of unknown hash, trees.
        spool_limit: bytes that large files may take there at a time.
    """

    def __init__(
        self, url: str, token: str, http: Payload, *, spool: Path, spool_limit: int
    ) -> None:
        wire = Wire(check_url(url), token, http)
        self._api = OxenApi(wire)
        self._files = OxenFiles(check_url(url), token, http)
        self._trees = TreeCache(self._api, spool / "trees")
        self._uploads = Uploads(self._api, spool, limit=spool_limit)
        self._repositories = Repositories(self._api, self._trees)
        self._workspaces = Workspaces(
            self._api, self._repositories, self._trees, self._uploads, Gathering(wire, self._api)
        )

    @classmethod
    def configured(cls, config: Config, environ: Mapping[str, str], http: Payload) -> Self:
        """The store of the server that a configuration names.

        Args:
            config: the configuration; `[oxen] url` is no folder.
            environ: the environment variables, which may hold the token.
            http: keeps the connections.

        Raises:
            ConfigurationError: when the server's URL cannot be used, or its token cannot be read.
        """
        token = oxen_token(config, environ)
        return cls(
            config.oxen.url,
            token.get_secret_value() if token else "",
            http,
            spool=config.transfer.spool_dir,
            spool_limit=config.transfer.spool_limit,
        )

    # --- contents

    def expect(self, repo: RepoRef, branch: str, files: Iterable[tuple[str, str]]) -> None:
        """See `VersionStore.expect`; opens the workspace in which small files are staged."""
        self._workspaces.expect(repo, branch, files)

    def put(self, repo: RepoRef, chunks: Iterable[bytes]) -> StoredContent:
        """See `VersionStore.put`."""
        self._repositories.ensure(repo)
        return self._uploads.put(repo, chunks)

    def bring(
        self, repo: RepoRef, contents: Sequence[Content]
    ) -> Sequence[StoredContent | SyncdError]:
        """See `VersionStore.bring`."""
        self._repositories.ensure(repo)
        workspace = self._workspaces.gathering(repo)
        if workspace is None:
            return [outcome for outcome, _ in self._uploads.bring(repo, contents, None)]
        later = [content for content in contents if content.path in workspace.later]
        now = [content for content in contents if content.path not in workspace.later]
        outcomes = dict(zip(map(id, later), self._uploads.bring(repo, later, None), strict=True))
        brought = self._uploads.bring(repo, now, workspace.id)
        outcomes.update(zip(map(id, now), brought, strict=True))
        self._workspaces.note(
            workspace,
            (
                (content.path, outcome.hash)
                for content, (outcome, staged) in zip(now, brought, strict=True)
                if staged and isinstance(outcome, StoredContent)
            ),
        )
        return [outcomes[id(content)][0] for content in contents]

    def missing(self, repo: RepoRef, hashes: Iterable[str]) -> set[str]:
        """See `VersionStore.missing`."""
        wanted = sorted(set(hashes))
        if not wanted:
            return set()
        try:
            return (
                self._api.missing(repo, wanted) if self._repositories.there(repo) else set(wanted)
            )
        except NotFoundError:
            return set(wanted)

    def read(self, commit: CommitRef, path: str) -> Iterator[bytes]:
        """See `VersionStore.read`.

        Raises:
            NotFoundError: when the commit or the path does not exist.
            VerificationError: when the stored bytes are missing or of another length.
        """
        self._api.probe()
        entry = self._files.entry(commit.repo, commit.commit, path)
        if entry is None:
            raise NotFoundError(f"{commit} holds no {path!r}")
        content, size = entry
        try:
            yield from self._files.range(commit.repo, commit.commit, path, 0, size)
        except (NotFoundError, IntegrityError, ServiceUnavailableError) as error:
            # Of bytes that are gone the server says 500; of too few it sends what there is.
            if self._api.size(commit.repo, content) == size:
                raise
            raise VerificationError(
                f"the bytes of {path!r} in {commit} are missing or have another length"
            ) from error

    def read_small(self, commit: CommitRef, entries: Sequence[TreeEntry]) -> Mapping[str, bytes]:
        """See `VersionStore.read_small`."""
        found: dict[str, bytearray] = {}
        try:
            for content, data in self._api.contents(commit.repo, {e.hash for e in entries}):
                found.setdefault(content, bytearray()).extend(data)
        except SyncdError:
            return {}  # one that is missing makes the server refuse all
        return {content: bytes(data) for content, data in found.items()}

    # --- commits

    def commit(
        self, repo: RepoRef, *, branch: str, tree: Sequence[TreeEntry], message: str, author: Author
    ) -> CommitRef:
        """See `VersionStore.commit`.

        Raises:
            InvalidNameError: when Oxen cannot hold a path, or not under that branch name.
            PermanentError: when contents are missing, or the server refuses.
            ServiceUnavailableError: when somebody else moved the branch meanwhile: the tree may have
                been made of what it was before, so whoever made it has to begin anew.
            VerificationError: when the server made another tree; the branch is left as it was.
        """
        check_branch(branch)
        check_tree(tree)
        made = retry.call(
            lambda: self._workspaces.commit(repo, branch, tree, message, author),
            what=f"commit to {repo}",
        )
        if made is None:
            raise ServiceUnavailableError(f"somebody else moved {branch} of {repo} meanwhile")
        return CommitRef(repo=repo, commit=made)

    def resolve(self, repo: RepoRef, revision: str) -> Commit | None:
        """See `VersionStore.resolve`; the empty commit that the server makes is none."""
        if revision.startswith(OWN) or not revision or not self._repositories.there(repo):
            return None
        commit = self._api.branch(repo, revision) or revision
        found = self._api.commit(repo, commit) if "/" not in commit else None
        if found is None or found["id"] != commit:
            return None
        parents = tuple(str(parent) for parent in found["parent_ids"])
        if not parents and (found["message"].startswith(INITIAL) or is_seed(found)):
            return None
        if parents == (self._repositories.base(repo),):
            parents = ()
        return Commit(
            ref=CommitRef(repo=repo, commit=commit),
            message=found["message"],
            author=Author(name=found["author"], email=found["email"]),
            parents=parents,
        )

    def tree(self, commit: CommitRef) -> Iterator[TreeEntry]:
        """See `VersionStore.tree`.

        Raises:
            NotFoundError: when the repository has no such commit.
        """
        self._api.probe()
        yield from self._trees.entries(commit.repo, commit.commit)

    def verify(self, commit: CommitRef, paths: Iterable[str] | None = None) -> Iterator[str]:
        """See `VersionStore.verify`; the tree is listed anew, and contents are read and hashed."""
        if not self._repositories.there(commit.repo):
            yield f"{commit} does not exist"
            return
        try:
            self._trees.fetch(commit.repo, commit.commit)
        except NotFoundError:
            yield f"{commit} does not exist"
            return
        selected = None if paths is None else set(paths)
        entries = self._trees.entries(commit.repo, commit.commit)
        for batch in batches(entries, HASHES_A_REQUEST):
            yield from self._problems(commit, batch, selected)
        for path in sorted(selected or ()):
            if self._trees.entry(commit, path) is None:
                yield f"{commit}: there is no {path!r}"

    def _problems(
        self, commit: CommitRef, batch: Sequence[TreeEntry], selected: set[str] | None
    ) -> Iterator[str]:
        absent = self.missing(commit.repo, {entry.hash for entry in batch})
        good: set[str] = set()
        for entry in batch:
            if entry.hash in absent:
                yield f"{commit}: the content of {entry.path!r} is missing"
            elif entry.hash not in good and (selected is None or entry.path in selected):
                problem = self._damage(commit, entry)
                if problem is None:
                    good.add(entry.hash)
                else:
                    yield f"{commit}: the content of {entry.path!r} {problem}"

    def _damage(self, commit: CommitRef, entry: TreeEntry) -> str | None:
        digest, size = xxhash.xxh3_128(), 0
        try:
            for chunk in self.read(commit, entry.path):
                digest.update(chunk)
                size += len(chunk)
        except PermanentError as error:
            return f"cannot be read ({error})"
        if size != entry.size:
            return f"has {size} bytes instead of {entry.size}"
        found = f"{digest.intdigest():x}"
        return None if found == entry.hash else f"has the hash {found} instead of {entry.hash}"

    # --- branches

    def branches(self, repo: RepoRef) -> Mapping[str, str]:
        """See `VersionStore.branches`."""
        if not self._repositories.there(repo):
            return {}
        found = self._api.branches(repo)
        base = found.get(BASE)
        return {
            name: commit
            for name, commit in found.items()
            if not name.startswith(OWN) and commit != base
        }

    def repositories(self, namespace: str) -> Sequence[RepoRef]:
        """See `VersionStore.repositories`."""
        return self._api.repositories(namespace)

    def set_branch(self, commit: CommitRef, name: str) -> None:
        """See `VersionStore.set_branch`.

        Raises:
            InvalidNameError: when the name cannot be a branch.
            NotFoundError: when the repository has no such commit.
        """
        check_branch(name)
        self._api.probe()
        if self._api.commit(commit.repo, commit.commit) is None:
            raise NotFoundError(f"{commit} does not exist")
        self._api.set_branch(commit.repo, name, commit.commit)
