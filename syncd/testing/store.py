"""The in-memory `VersionStore`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import xxhash

from syncd.clients.commits import Author, Commit, Content, StoredContent, TreeEntry
from syncd.clients.oxen_paths import check_branch, check_repo, check_tree
from syncd.clients.protocols import VersionStore
from syncd.errors import (
    IntegrityError,
    NotFoundError,
    PermanentError,
    SyncdError,
    VerificationError,
)
from syncd.refs import CommitRef, RepoRef
from syncd.testing.faults import Calls, Fault


@dataclass(slots=True)
class _Repository:
    contents: dict[str, bytes] = field(default_factory=dict)
    commits: dict[str, tuple[Commit, tuple[TreeEntry, ...]]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    partial: dict[str, bytearray] = field(default_factory=dict)  # by the content's key


class MemoryVersionStore:
    """A `VersionStore` in memory.

    Args:
        faults: failures to happen.
        chunk_size: bytes that `read` gives at once.
    """

    def __init__(self, *, faults: Iterable[Fault] = (), chunk_size: int = 1 << 20) -> None:
        self._repositories: dict[RepoRef, _Repository] = {}
        self._call = Calls(faults)
        self._chunk_size = chunk_size

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each method was called."""
        return self._call.count

    def put(self, repo: RepoRef, chunks: Iterable[bytes]) -> StoredContent:
        """See `VersionStore.put`."""
        self._call("put")
        stored = self._keep(repo, b"".join(chunks))
        self._call.answer("put")
        return stored

    def _keep(self, repo: RepoRef, data: bytes) -> StoredContent:
        content = f"{xxhash.xxh3_128_intdigest(data):x}"
        contents = self._repository(repo).contents
        if contents.get(content) != data:
            contents[content] = data
        return StoredContent(hash=content, size=len(data))

    def expect(self, repo: RepoRef, branch: str, files: Iterable[tuple[str, str]]) -> None:
        """See `VersionStore.expect`; there is nothing to get ready."""

    def bring(
        self, repo: RepoRef, contents: Sequence[Content]
    ) -> Sequence[StoredContent | SyncdError]:
        """See `VersionStore.bring`; counted as a `put` for each content."""
        outcomes: list[StoredContent | SyncdError] = []
        for content in contents:
            try:
                self._call("put")
                stored = self._keep(repo, self._arrived(repo, content))
                self._call.answer("put")
                outcomes.append(stored)
            except SyncdError as error:
                outcomes.append(error)
        return outcomes

    def _arrived(self, repo: RepoRef, content: Content) -> bytes:
        """All bytes of a content; those that came of it earlier are not asked for again."""
        partials = self._repository(repo).partial
        data = partials.pop(content.key, bytearray())  # nobody else goes on with it meanwhile
        try:
            for chunk in content.chunks([bytes(data)] if data else ()):
                data += chunk
        except IntegrityError:
            raise
        except BaseException:
            partials[content.key] = data
            raise
        return bytes(data)

    def _repository(self, repo: RepoRef) -> _Repository:
        return self._repositories.setdefault(repo, _Repository())

    def missing(self, repo: RepoRef, hashes: Iterable[str]) -> set[str]:
        """See `VersionStore.missing`."""
        self._call("missing")
        found = self._repositories.get(repo, _Repository())
        return set(hashes) - found.contents.keys()

    def commit(
        self, repo: RepoRef, *, branch: str, tree: Sequence[TreeEntry], message: str, author: Author
    ) -> CommitRef:
        """See `VersionStore.commit`.

        Raises:
            InvalidNameError: when Oxen cannot hold a path, or not under that branch name.
            PermanentError: when contents are missing or of another length.
        """
        self._call("commit")
        check_branch(branch)
        check_tree(tree)
        entries = tuple(tree)
        found = self._repositories.setdefault(repo, _Repository())
        for entry in entries:
            data = found.contents.get(entry.hash)
            if data is None or len(data) != entry.size:
                raise PermanentError(f"{repo} lacks the content {entry.hash} of {entry.path!r}")
        parents = (found.branches[branch],) if branch in found.branches else ()
        made = _commit_id(entries, message, parents)
        ref = CommitRef(repo=repo, commit=made)
        commit = Commit(ref=ref, message=message, author=author, parents=parents)
        found.commits[made] = (commit, entries)
        found.branches[branch] = made
        self._call.answer("commit")
        return ref

    def resolve(self, repo: RepoRef, revision: str) -> Commit | None:
        """See `VersionStore.resolve`."""
        self._call("resolve")
        found = self._repositories.get(repo, _Repository())
        commit = found.commits.get(found.branches.get(revision, revision))
        return commit[0] if commit else None

    def tree(self, commit: CommitRef) -> Iterator[TreeEntry]:
        """See `VersionStore.tree`.

        Raises:
            NotFoundError: when the repository has no such commit.
        """
        self._call("tree")
        yield from self._found(commit)[1]

    def verify(self, commit: CommitRef, paths: Iterable[str] | None = None) -> Iterator[str]:
        """See `VersionStore.verify`."""
        self._call("verify")
        try:
            made, entries = self._found(commit)
        except NotFoundError as error:
            yield str(error)
            return
        if _commit_id(entries, made.message, made.parents) != commit.commit:
            yield f"{commit}: the tree is not the one that was committed"
        contents = self._repositories[commit.repo].contents
        selected = None if paths is None else set(paths)
        for path in sorted((selected or set()) - {entry.path for entry in entries}):
            yield f"{commit}: there is no {path!r}"
        for entry in entries:
            data = contents.get(entry.hash)
            if data is None or len(data) != entry.size:
                yield f"{commit}: the content of {entry.path!r} is not there"
            elif (selected is None or entry.path in selected) and (
                f"{xxhash.xxh3_128_intdigest(data):x}" != entry.hash
            ):
                yield f"{commit}: the content of {entry.path!r} has another hash"

    def read(self, commit: CommitRef, path: str) -> Iterator[bytes]:
        """See `VersionStore.read`.

        Raises:
            NotFoundError: when the commit or the path does not exist.
            VerificationError: when the stored bytes are missing or of another length.
        """
        self._call("read")
        entry = next((e for e in self._found(commit)[1] if e.path == path), None)
        if entry is None:
            raise NotFoundError(f"{commit} holds no {path!r}")
        data = self._repositories[commit.repo].contents.get(entry.hash)
        if data is None or len(data) != entry.size:
            raise VerificationError(f"the bytes of {path!r} in {commit} are not there")
        for begin in range(0, len(data), self._chunk_size):
            yield data[begin : begin + self._chunk_size]

    def read_small(self, commit: CommitRef, entries: Sequence[TreeEntry]) -> Mapping[str, bytes]:
        """See `VersionStore.read_small`; nothing is gained here."""
        del commit, entries
        return {}

    def set_branch(self, commit: CommitRef, name: str) -> None:
        """See `VersionStore.set_branch`.

        Raises:
            InvalidNameError: when the name cannot be a branch.
            NotFoundError: when the repository has no such commit.
        """
        self._call("set_branch")
        check_branch(name)
        self._found(commit)
        self._repositories[commit.repo].branches[name] = commit.commit
        self._call.answer("set_branch")

    def branches(self, repo: RepoRef) -> Mapping[str, str]:
        """See `VersionStore.branches`."""
        self._call("branches")
        return dict(self._repositories.get(repo, _Repository()).branches)

    def repositories(self, namespace: str) -> Sequence[RepoRef]:
        """See `VersionStore.repositories`."""
        self._call("repositories")
        check_repo(RepoRef(namespace=namespace, repo="any"))
        return sorted(repo for repo in self._repositories if repo.namespace == namespace)

    def corrupt(self, repo: RepoRef, content: str, data: bytes | None) -> None:
        """Put other bytes in the place of a content, or take it away (None)."""
        contents = self._repositories[repo].contents
        if data is None:
            del contents[content]
        else:
            contents[content] = data

    def falsify(self, commit: CommitRef, tree: Sequence[TreeEntry]) -> None:
        """Make a commit name another tree than was committed."""
        made, _ = self._found(commit)
        self._repositories[commit.repo].commits[commit.commit] = (made, tuple(tree))

    def stored(self, repo: RepoRef, content: str) -> bytes:
        """The bytes of a content as they are kept: the same object as long as it is not rewritten."""
        return self._repositories[repo].contents[content]

    def _found(self, commit: CommitRef) -> tuple[Commit, tuple[TreeEntry, ...]]:
        found = self._repositories.get(commit.repo, _Repository()).commits.get(commit.commit)
        if found is None:
            raise NotFoundError(f"{commit} does not exist")
        return found


def _commit_id(entries: Iterable[TreeEntry], message: str, parents: Sequence[str]) -> str:
    """An id that depends on all a commit says; unlike Oxen's, not on the time."""
    digest = hashlib.sha256(repr((message, parents)).encode())
    for entry in entries:
        digest.update(f"{entry.path}\t{entry.hash}\t{entry.size}\n".encode())
    return digest.hexdigest()[:32]


class StoreHarness(Protocol):
    """What the contract suite needs of a kind of store, besides the store: ways to break it."""

    store: VersionStore
    knows_lengths: bool  # of contents, without reading them

    def reopened(self) -> VersionStore:
        """A new store over the same contents, as another start of the program has it."""
        ...

    def corrupt(self, repo: RepoRef, content: str, data: bytes | None) -> None:
        """Put other bytes in the place of a content, or take it away (None)."""
        ...

    def falsify(self, commit: CommitRef, tree: Sequence[TreeEntry]) -> None:
        """Make the store's account of a commit's tree wrong."""
        ...

    def stored(self, repo: RepoRef, content: str) -> object:
        """Something that changes when a content is written again."""
        ...

    def checked_out(self, commit: CommitRef) -> Mapping[str, bytes]:
        """The commit's files, by another way than the store's own."""
        ...
