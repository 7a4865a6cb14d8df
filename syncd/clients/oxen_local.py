"""The embedded store: real Oxen repositories in a directory, written by liboxen in this process.

Layout and index files: `oxen_index`. How one repository is driven: `oxen_repo`. Here is the order
of things, which makes a kill at any point harmless:

    bring    bytes -> tmp/, hashed while they pass, made durable, renamed into the version store
    commit   pending index (durable) -> staged -> commit on no branch -> proved -> pending renamed
    branch   intent in branches.json (from here on it counts) -> moved in liboxen -> branches.json

Whoever opens a repository next first heals it (`oxen_recovery`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from syncd.clients import oxen_proof, oxen_recovery
from syncd.clients.commits import Author, Commit, Content, StoredContent, TreeEntry
from syncd.clients.disk import translated
from syncd.clients.oxen_changes import Changes, changes, scaffold, timed
from syncd.clients.oxen_contents import PROCESS, Intake
from syncd.clients.oxen_index import (
    CommitIndex,
    IndexEntry,
    RepoIndex,
    repositories,
    sync,
)
from syncd.clients.oxen_lock import exclusive
from syncd.clients.oxen_mark import Mark
from syncd.clients.oxen_paths import NOWHERE, check_branch, check_tree, escaped
from syncd.clients.oxen_proof import CHUNK
from syncd.clients.oxen_repo import Checkpoint, OxenRepository
from syncd.clients.oxen_times import content_times
from syncd.errors import NotFoundError, StoreLockedError, SyncdError, VerificationError
from syncd.refs import CommitRef, RepoRef

STAGED_AT_ONCE = 50_000  # files; liboxen takes some 1.3 KB of memory for each


def _nothing(point: str) -> None:
    del point


class EmbeddedVersionStore:
    """A `VersionStore` over a directory of Oxen repositories.

    Args:
        root: the directory; `{root}/{namespace}/{repo}` are the repositories.
        at_once: files that one commit stages.
        checkpoint: called with a name at each step of a write, for tests that kill the process.

    Attributes:
        mark: tells the folder from the empty mount point of its disk.
    """

    def __init__(
        self, root: Path, *, at_once: int = STAGED_AT_ONCE, checkpoint: Checkpoint = _nothing
    ) -> None:
        self._root = root.absolute()
        self.mark = Mark(self._root)
        self._at_once = at_once
        self._checkpoint = checkpoint

    # --- contents

    def put(self, repo: RepoRef, chunks: Iterable[bytes]) -> StoredContent:
        """See `VersionStore.put`; stored bytes that are damaged are replaced.

        Raises:
            StoreLockedError: when the repository must be made and another process is at work.
            DiskFullError: when there is no room.
            PermanentError: when the disk refuses.
        """
        return self._intake(repo).put(chunks)

    def expect(self, repo: RepoRef, branch: str, files: Iterable[tuple[str, str]]) -> None:
        """See `VersionStore.expect`; there is nothing to get ready."""

    def bring(
        self, repo: RepoRef, contents: Sequence[Content]
    ) -> Sequence[StoredContent | SyncdError]:
        """See `VersionStore.bring`; above 8 MiB, what arrived is kept when the rest does not."""
        try:
            return self._intake(repo).bring(contents)
        except SyncdError as error:
            return [error] * len(contents)

    def _intake(self, repo: RepoRef) -> Intake:
        """The way into a repository, which is made when there is none."""
        index = RepoIndex(self._root, repo)
        if not index.exists():
            with self._opened(index):
                pass
        return Intake(index, self._checkpoint)

    def missing(self, repo: RepoRef, hashes: Iterable[str]) -> set[str]:
        """See `VersionStore.missing`."""
        index = RepoIndex(self._root, repo)
        return {content for content in hashes if not index.content(content).is_file()}

    def read(self, commit: CommitRef, path: str) -> Iterator[bytes]:
        """See `VersionStore.read`.

        Raises:
            NotFoundError: when the commit or the path does not exist.
            VerificationError: when the stored bytes are missing or of another length.
        """
        with self._index(commit) as opened:
            entry = opened.find(path)
        if entry is None:
            raise NotFoundError(f"{commit} holds no {path!r}")
        left = entry.size
        try:
            with RepoIndex(self._root, commit.repo).content(entry.hash).open("rb") as file:
                while chunk := file.read(CHUNK):
                    left -= len(chunk)
                    yield chunk
        except FileNotFoundError as error:
            raise VerificationError(f"the bytes of {path!r} in {commit} are missing") from error
        if left:
            raise VerificationError(f"the bytes of {path!r} in {commit} have another length")

    def read_small(self, commit: CommitRef, entries: Sequence[TreeEntry]) -> Mapping[str, bytes]:
        """See `VersionStore.read_small`; nothing is gained here."""
        del commit, entries
        return {}

    # --- commits

    def commit(
        self, repo: RepoRef, *, branch: str, tree: Sequence[TreeEntry], message: str, author: Author
    ) -> CommitRef:
        """See `VersionStore.commit`; a branch that does not exist begins without a parent.

        When the tree needs folders that the parent lacks, a commit that makes them comes in between
        (`oxen_repo`, "node names"). What stages very many files is done in parts, a commit each,
        because liboxen holds in memory what it commits. No branch ever points at such a commit.

        Raises:
            InvalidNameError: when Oxen cannot hold a path, or not under that branch name.
            StoreLockedError: when another process is at work in the repository.
            PermanentError: when contents are missing, or liboxen refuses.
            VerificationError: when liboxen made another tree; the branch is left as it was.
        """
        check_branch(branch)
        check_tree(tree)
        index = RepoIndex(self._root, repo)
        with self._opened(index) as opened:
            oxen_proof.check_contents(index, tree)
            heads = opened.branches()
            parent = heads.get(branch)
            if index.has_commits():  # else there is nothing a new folder could clash with
                parent = self._scaffolded(opened, parent, tree, author)
            made = self._make(opened, parent, tree, message, author)
            oxen_recovery.move(opened, heads, {branch: made})
        return CommitRef(repo=repo, commit=made)

    def _scaffolded(
        self,
        opened: OxenRepository,
        parent: str | None,
        entries: Iterable[TreeEntry],
        author: Author,
    ) -> str | None:
        """The parent, or a commit on it that has every folder of the tree (`scaffold`).

        Why: `oxen_repo`, "node names".
        """
        name = f"syncd-{uuid.uuid4().hex}"
        data = uuid.uuid4().bytes
        content = StoredContent.of(data)
        placeholder = TreeEntry(path=name, hash=content.hash, size=content.size)
        message = f"Make folders\n\nOxen needs them before they are filled: {name}"
        with self._before(opened, parent) as before:
            tree = scaffold(before, entries, placeholder)
            if tree is None:
                return parent
            self.put(opened.index.repo, [data])
            return self._make(opened, parent, tree, message, author)

    def _make(
        self,
        opened: OxenRepository,
        parent: str | None,
        tree: Iterable[TreeEntry],
        message: str,
        author: Author,
    ) -> str:
        """Make a commit on no branch, and its index, which is there first and tells the tree."""
        index = opened.index
        header = {
            "message": message,
            "author": author.name,
            "email": author.email,
            "parents": [parent] if parent else [],
        }
        sync(index.oxen)
        with self._before(opened, parent) as before:
            plan = changes(before, tree)
            index.write_pending(header, timed(before, tree, plan.kinds, content_times()))
        self._checkpoint("commit.pending")
        with CommitIndex(index.pending) as entries:
            *parts, last = plan.parts(self._at_once)
            for number, part in enumerate(parts, 1):
                said = f"Part {number} of {len(parts) + 1}\n\n{uuid.uuid4().hex}"
                parent = self._commit(opened, parent, part(), entries, said, author)
            if parts:
                index.write_pending({**header, "parents": [parent]}, entries)
            made = self._commit(opened, parent, last(), entries, message, author)
        self._checkpoint("commit.proved")
        index.adopt_pending(made)
        self._checkpoint("commit.indexed")
        return made

    @staticmethod
    def _commit(  # noqa: PLR0917
        opened: OxenRepository,
        parent: str | None,
        step: Changes,
        entries: Iterable[IndexEntry],
        message: str,
        author: Author,
    ) -> str:
        """Stage what a step has, commit it, and prove that."""
        opened.set_head(parent or NOWHERE)
        singly = step.singly(entries)
        paths = {entry.path for entry in singly}
        opened.stage(
            ["*"] if step.rebuild else [escaped(path) for path in step.removals],
            singly,
            (entry for entry in step.staged(entries) if entry.path not in paths),
        )
        made = opened.commit(message, author)
        if problems := oxen_proof.staged(opened, made, step, entries):
            raise VerificationError(f"Oxen made another tree of {opened.index.repo}: {problems[0]}")
        return made

    def resolve(self, repo: RepoRef, revision: str) -> Commit | None:
        """See `VersionStore.resolve`."""
        index = RepoIndex(self._root, repo)
        commit = self.branches(repo).get(revision, revision)
        if not index.holds(commit):
            return None
        ref = CommitRef(repo=repo, commit=commit)
        found = index.open(commit)
        if found is not None:
            with found:
                return found.commit(ref)
        with self._opened(index) as opened:
            return opened.commit_info(commit)

    def tree(self, commit: CommitRef) -> Iterator[TreeEntry]:
        """See `VersionStore.tree`; an index that was lost is made again, slowly.

        Raises:
            NotFoundError: when the repository has no such commit.
        """
        with self._index(commit) as opened:
            for entry in opened:
                yield entry.tree_entry()

    def verify(self, commit: CommitRef, paths: Iterable[str] | None = None) -> Iterator[str]:
        """See `VersionStore.verify`; liboxen itself compares the stored bytes with its tree.

        Raises:
            StoreLockedError: when another process is at work in the repository.
        """
        index = RepoIndex(self._root, commit.repo)
        if not index.holds(commit.commit):
            yield f"{commit} does not exist"
            return
        with self._opened(index) as opened, oxen_recovery.indexed(opened, commit.commit) as entries:
            selected = None if paths is None else frozenset(paths)
            problems = oxen_proof.complete(opened, commit.commit, entries, selected)
        yield from problems

    # --- branches

    def branches(self, repo: RepoRef) -> Mapping[str, str]:
        """See `VersionStore.branches`; while another process writes, what it last published."""
        index = RepoIndex(self._root, repo)
        if not index.exists():
            return {}
        try:
            with self._opened(index) as opened:
                return opened.branches()
        except StoreLockedError:
            published = index.branches()
            if published is None:
                raise
            return published.heads

    def repositories(self, namespace: str) -> Sequence[RepoRef]:
        """See `VersionStore.repositories`."""
        with _io(f"cannot list {self._root / namespace}"):
            return repositories(self._root, namespace)

    def set_branch(self, commit: CommitRef, name: str) -> None:
        """See `VersionStore.set_branch`.

        Raises:
            InvalidNameError: when the name cannot be a branch.
            NotFoundError: when the repository has no such commit.
            StoreLockedError: when another process is at work in the repository.
        """
        check_branch(name)
        index = RepoIndex(self._root, commit.repo)
        if not index.holds(commit.commit):
            raise NotFoundError(f"{commit} does not exist")
        with self._opened(index) as opened:
            heads = opened.branches()
            if heads.get(name) != commit.commit:
                oxen_recovery.move(opened, heads, {name: commit.commit})

    # --- opening and healing

    @contextmanager
    def _opened(self, index: RepoIndex) -> Iterator[OxenRepository]:
        """The repository, healed, for this thread alone; left at rest.

        Raises:
            ServiceUnavailableError: when the folder is not the store any more.
        """
        self.mark.marked()
        with (
            _io(f"cannot write {index.repo}"),
            exclusive(index),
        ):
            config = self._root / ".syncd" / "config"
            opened = OxenRepository(index, config, self._checkpoint)
            oxen_recovery.heal(opened, PROCESS)
            try:
                yield opened
            finally:
                opened.rest()

    @contextmanager
    def _index(self, commit: CommitRef) -> Iterator[CommitIndex]:
        """A commit's index; only when it was lost is the repository opened."""
        index = RepoIndex(self._root, commit.repo)
        if not index.holds(commit.commit):
            raise NotFoundError(f"{commit} does not exist")
        found = index.open(commit.commit)
        if found is None:
            with self._opened(index) as opened:
                oxen_recovery.rebuild(opened, commit.commit)
            found = CommitIndex(index.index_path(commit.commit))
        with found:
            yield found

    @contextmanager
    def _before(self, opened: OxenRepository, commit: str | None) -> Iterator[Iterable[IndexEntry]]:
        """The tree of a parent; none is an empty one."""
        if commit is None:
            yield ()
        else:
            with oxen_recovery.indexed(opened, commit) as index:
                yield index


@contextmanager
def _io(what: str) -> Iterator[None]:
    """The one place where the operating system's failures become ours."""
    try:
        yield
    except OSError as error:
        raise translated(error, what) from error
