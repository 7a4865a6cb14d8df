"""The store on an Oxen server: hub.oxen.ai or a self-hosted oxen-server, 0.65 or later.

The order of things, which makes a kill at any point harmless:

    bring    contents -> the server's version store, the small ones staged in a workspace on the way
    commit   (groundwork ->) the rest staged -> merged into WORK -> the tree listed and compared
    branch   the wanted branch is pointed at the commit, WORK is deleted

A commit is made on the branch WORK, which nobody looks at, and only one whose tree is proved
becomes what a branch shows. Workspaces are unnamed; those of a process that was killed are deleted
by the next one. Branches below `syncd/` are syncd's own and are not told of.

Groundwork: the server has liboxen's fault that a later commit can change what an earlier one says
(`oxen_repo`, "node names"; tried: `d/one`, then nothing, then the same bytes as `d/two`, and the
first commit says `d/two`). What avoids it there is done here over HTTP, as one more commit in
between (`oxen_changes.groundwork`).
"""

from __future__ import annotations

import threading
import time
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import xxhash

from syncd import retry
from syncd.blocks import batches, paired
from syncd.clients.oxen_api import HASHES_A_REQUEST, Json, OxenApi, check_url
from syncd.clients.oxen_changes import Groundwork, groundwork, topmost
from syncd.clients.oxen_paths import check_branch, checked_tree
from syncd.clients.oxen_trees import TreeCache
from syncd.clients.oxen_uploads import Uploads
from syncd.clients.payload import Payload
from syncd.clients.protocols import Author, Commit, Content, StoredContent, TreeEntry
from syncd.errors import (
    IntegrityError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    SyncdError,
    TransientError,
    VerificationError,
)
from syncd.refs import CommitRef, RepoRef

WORKSPACE = "syncd-"  # begins the ids of workspaces that are syncd's own
OWN = "syncd/"  # begins the names of branches that are syncd's own
WORK = f"{OWN}work"
BASE = f"{OWN}base"  # an empty commit, on which branches without a past begin
BASE_FILE = ".syncd/base"
SYNCD = Author(name="syncd", email="syncd@wandb.invalid")
DEFAULT = "main"  # the branch of a repository's first commit
PATH: Callable[[TreeEntry], str] = attrgetter("path")
INITIAL = "Initialized Repo"  # begins the message of the empty commit that the server makes


@dataclass(slots=True)
class _Intake:
    """A workspace in which the next commit gathers.

    Args:
        workspace: its id.
        branch: where the commit will go.
        parent: the head of that branch, or BASE's; on it came the groundwork.
        base: the commit that the workspace is based on.
        paths: names the paths of the coming tree.
        staged: names each pair of path and hash that was staged.
    """

    workspace: str
    branch: str
    parent: str
    base: str
    paths: int
    staged: array[int] = field(default_factory=lambda: array("Q"))


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
        self._api = OxenApi(check_url(url), token, http)
        self._trees = TreeCache(self._api, spool / "trees")
        self._uploads = Uploads(self._api, spool, limit=spool_limit)
        self._known: set[RepoRef] = set()
        self._bases: dict[RepoRef, str] = {}
        self._swept: set[RepoRef] = set()
        self._intakes: dict[RepoRef, _Intake] = {}
        self._locks: dict[RepoRef, threading.RLock] = {}
        self._lock = threading.Lock()

    # --- contents

    def expect(self, repo: RepoRef, branch: str, paths: Iterable[str]) -> None:
        """See `VersionStore.expect`; opens the workspace in which small files are staged."""
        wanted = sorted(paths)
        with self._alone(repo):
            self._ensure(repo)
            self._reopened(repo, branch, wanted)

    def put(self, repo: RepoRef, chunks: Iterable[bytes]) -> StoredContent:
        """See `VersionStore.put`."""
        self._ensure(repo)
        return self._uploads.put(repo, chunks)

    def bring(
        self, repo: RepoRef, contents: Sequence[Content]
    ) -> Sequence[StoredContent | SyncdError]:
        """See `VersionStore.bring`."""
        self._ensure(repo)
        intake = self._intakes.get(repo)
        outcomes = self._uploads.bring(repo, contents, intake.workspace if intake else None)
        if intake is not None:
            names = [
                _name(content.path, outcome.hash)
                for content, (outcome, staged) in zip(contents, outcomes, strict=True)
                if staged and isinstance(outcome, StoredContent)
            ]
            with self._lock:
                intake.staged.extend(names)
        return [outcome for outcome, _ in outcomes]

    def missing(self, repo: RepoRef, hashes: Iterable[str]) -> set[str]:
        """See `VersionStore.missing`."""
        wanted = sorted(set(hashes))
        if not wanted:
            return set()
        try:
            return self._api.missing(repo, wanted) if self._there(repo) else set(wanted)
        except NotFoundError:
            return set(wanted)

    def read(self, commit: CommitRef, path: str) -> Iterator[bytes]:
        """See `VersionStore.read`.

        Raises:
            NotFoundError: when the commit or the path does not exist.
            VerificationError: when the stored bytes are missing or of another length.
        """
        self._api.probe()
        try:
            yield from self._api.read(commit.repo, commit.commit, path)
        except NotFoundError as error:
            if self._trees.entry(commit, path) is None:
                raise NotFoundError(f"{commit} holds no {path!r}") from error
            raise VerificationError(f"the bytes of {path!r} in {commit} are missing") from error
        except (IntegrityError, ServiceUnavailableError) as error:
            # Of bytes that are gone the server says 500; of too few it breaks off.
            entry = self._trees.entry(commit, path)
            if entry is None or self._api.size(commit.repo, entry.hash) == entry.size:
                raise
            raise VerificationError(
                f"the bytes of {path!r} in {commit} are missing or have another length"
            ) from error

    def read_small(self, commit: CommitRef, entries: Sequence[TreeEntry]) -> Mapping[str, bytes]:
        """See `VersionStore.read_small`; a GET of each would take some 40 ms."""
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
            VerificationError: when the server made another tree; the branch is left as it was.
        """
        check_branch(branch)
        entries = checked_tree(tree)

        def attempt() -> CommitRef:
            with self._alone(repo):
                self._ensure(repo)
                try:
                    made = self._commit(repo, branch, entries, message, author)
                finally:
                    self._discard(repo)
                self._api.set_branch(repo, branch, made)
                self._api.delete_branch(repo, WORK)
                return CommitRef(repo=repo, commit=made)

        return retry.call(attempt, what=f"commit to {repo}")

    def _commit(
        self,
        repo: RepoRef,
        branch: str,
        entries: Sequence[TreeEntry],
        message: str,
        author: Author,
    ) -> str:
        paths = [entry.path for entry in entries]
        intake = self._intakes.get(repo)
        heads = self._api.branches(repo)
        fits = intake is not None and (intake.branch, intake.paths) == (branch, _names(paths))
        if intake is None or not fits or intake.parent != heads.get(branch, heads.get(BASE)):
            intake = self._reopened(repo, branch, paths)
        if not self._stage(repo, intake, entries):
            # Nothing differs, or something else was staged: a fresh workspace, with groundwork.
            intake = self._reopened(
                repo, branch, paths, unchanged=self._same(repo, intake, entries)
            )
            self._stage(repo, intake, entries)
        made = self._merge(repo, intake.workspace, intake.base, message, author)
        self._trees.fetch(repo, made)
        for old, new in paired(self._trees.entries(repo, made), entries, PATH, PATH):
            if old != new:
                wrong = old or new
                assert wrong is not None, "a pair holds one entry at least"
                raise VerificationError(f"Oxen made another tree of {repo}: see {wrong.path!r}")
        return made

    def _stage(self, repo: RepoRef, intake: _Intake, entries: Sequence[TreeEntry]) -> bool:
        """Stage what is not yet; whether a commit of it would be the wanted tree, and one at all."""
        staged = set(intake.staged)
        present: set[int] = set()
        new: list[TreeEntry] = []
        removed: list[str] = []
        changes = 0
        before = self._trees.entries(repo, intake.base)
        for old, entry in paired(before, entries, PATH, PATH):
            if entry is None:
                assert old is not None, "a pair holds one entry at least"
                removed.append(old.path)
            elif old is None or old != entry:
                changes += 1
                name = _name(entry.path, entry.hash)
                if name in staged:
                    present.add(name)
                else:
                    new.append(entry)
        if present != staged or not (changes or removed):
            return False
        absent = self._api.missing(repo, sorted({entry.hash for entry in new if entry.size}))
        for entry in new:
            if entry.hash in absent:
                raise PermanentError(f"{repo} lacks the content {entry.hash} of {entry.path!r}")
        self._api.remove(repo, intake.workspace, topmost(removed, entries))
        self._uploads.stage(repo, intake.workspace, new)
        return True

    def _same(self, repo: RepoRef, intake: _Intake, entries: Sequence[TreeEntry]) -> bool:
        pairs = paired(self._trees.entries(repo, intake.parent), entries, PATH, PATH)
        return all(old == new for old, new in pairs)

    def resolve(self, repo: RepoRef, revision: str) -> Commit | None:
        """See `VersionStore.resolve`; the empty commit that the server makes is none."""
        if revision.startswith(OWN) or not revision or not self._there(repo):
            return None
        commit = self._api.branch(repo, revision) or revision
        found = self._api.commit(repo, commit) if "/" not in commit else None
        if found is None or found["id"] != commit:
            return None
        parents = tuple(str(parent) for parent in found["parent_ids"])
        if not parents and (found["message"].startswith(INITIAL) or _is_seed(found)):
            return None
        if parents == (self._base(repo),):
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
        if not self._there(commit.repo):
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
        except (PermanentError, TransientError) as error:
            return f"cannot be read ({error})"
        if size != entry.size:
            return f"has {size} bytes instead of {entry.size}"
        found = f"{digest.intdigest():x}"
        return None if found == entry.hash else f"has the hash {found} instead of {entry.hash}"

    # --- branches

    def branches(self, repo: RepoRef) -> Mapping[str, str]:
        """See `VersionStore.branches`."""
        if not self._there(repo):
            return {}
        found = self._api.branches(repo)
        base = found.get(BASE)
        return {
            name: commit
            for name, commit in found.items()
            if not name.startswith(OWN) and commit != base
        }

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

    # --- workspaces

    def _reopened(
        self, repo: RepoRef, branch: str, paths: Sequence[str], *, unchanged: bool = False
    ) -> _Intake:
        self._discard(repo)
        intake = self._open(repo, branch, paths, unchanged=unchanged)
        self._intakes[repo] = intake
        return intake

    def _open(
        self, repo: RepoRef, branch: str, paths: Sequence[str], *, unchanged: bool = False
    ) -> _Intake:
        """A workspace for the next commit to a branch, on groundwork where that is needed."""
        heads = self._api.branches(repo)
        if branch not in heads and BASE not in heads:
            heads[BASE] = self._begin(repo, heads)
        parent = base = heads.get(branch) or heads[BASE]
        name = f"syncd-{uuid.uuid4().hex}"
        wanted = groundwork(
            lambda: self._trees.entries(repo, parent),
            lambda: paths,
            name,
            fresh_repository=heads.keys() <= {BASE, WORK},
            unchanged=unchanged,
        )
        if heads.get(WORK) != base:
            self._api.set_branch(repo, WORK, base)
        if wanted.needed:
            base = self._lay(repo, base, wanted)
        workspace = _fresh()
        self._api.open_workspace(repo, workspace, WORK)
        return _Intake(workspace, branch, parent, base, _names(paths))

    def _base(self, repo: RepoRef) -> str | None:
        """The commit BASE points at, where there is one."""
        if repo not in self._bases:
            base = self._api.branch(repo, BASE)
            if base is None:
                return None
            self._bases[repo] = base
        return self._bases[repo]

    def _begin(self, repo: RepoRef, heads: Mapping[str, str]) -> str:
        """The commit BASE points at, made in a repository that another made or a kill left."""
        for commit in sorted(set(heads.values())):
            found = self._api.commit(repo, commit)
            if found is not None and _is_seed(found):
                self._api.set_branch(repo, BASE, commit)
                return commit
        if heads:
            self._api.set_branch(repo, BASE, heads.get(DEFAULT) or min(heads.values()))
        workspace = _fresh()
        before = self._api.open_workspace(repo, workspace, BASE)
        removed = topmost([entry.path for entry in self._trees.entries(repo, before)], [])
        self._api.remove(repo, workspace, removed)
        self._api.stage(repo, workspace, [(BASE_FILE, uuid.uuid4().bytes)])
        return self._api.merge(
            repo, workspace, BASE, message="Begin", author=SYNCD.name, email=SYNCD.email
        )

    def _lay(self, repo: RepoRef, base: str, wanted: Groundwork) -> str:
        """Commit groundwork to WORK."""
        for removals, placeholders in ((wanted.removals, ()), ((), wanted.placeholders)):
            if not removals and not placeholders:
                continue
            workspace = _fresh()
            self._api.open_workspace(repo, workspace, WORK)
            self._api.remove(repo, workspace, removals)
            if placeholders:
                data = uuid.uuid4().bytes
                self._api.stage(repo, workspace, [(path, data) for path in placeholders])
            base = self._merge(repo, workspace, base, f"Make folders\n\n{workspace}", SYNCD)
        return base

    def _merge(self, repo: RepoRef, workspace: str, base: str, message: str, author: Author) -> str:
        """Commit a workspace to WORK; an answer that was lost is found on the branch."""
        tried = False

        def attempt() -> str:
            nonlocal tried
            head = self._api.branch(repo, WORK) if tried else base
            tried = True
            if head is not None and head != base:
                return head
            try:
                return self._api.merge(
                    repo, workspace, WORK, message=message, author=author.name, email=author.email
                )
            except ServiceUnavailableError as error:
                if "already taken" in str(error):
                    # Ids depend on parent, message, author and the second: the next one is free.
                    time.sleep(1 - time.time() % 1)
                raise

        return retry.call(attempt, what=f"commit to {repo}")

    def _discard(self, repo: RepoRef) -> None:
        """Delete the workspace that is open, if one is."""
        intake = self._intakes.pop(repo, None)
        if intake is not None:
            self._api.delete_workspace(repo, intake.workspace)

    @contextmanager
    def _alone(self, repo: RepoRef) -> Iterator[None]:
        """The repository for this thread alone."""
        with self._lock:
            lock = self._locks.setdefault(repo, threading.RLock())
        with lock:
            yield

    def _there(self, repo: RepoRef) -> bool:
        """Whether the repository exists."""
        if repo not in self._known and self._api.exists(repo):
            self._known.add(repo)
        return repo in self._known

    def _ensure(self, repo: RepoRef) -> None:
        """Make the repository; what a killed process left in it is deleted."""
        with self._alone(repo):
            if repo in self._swept:
                return
            if not self._there(repo):
                seed = (BASE_FILE, uuid.uuid4().hex.encode())
                self._api.create(repo, seed, author=SYNCD.name, email=SYNCD.email)
                self._known.add(repo)
                self._api.set_branch(repo, BASE, self._api.branches(repo)[DEFAULT])
                self._api.delete_branch(repo, DEFAULT)
            for workspace in self._api.workspaces(repo):
                if workspace.startswith(WORKSPACE):
                    self._api.delete_workspace(repo, workspace)
            self._swept.add(repo)


def _is_seed(found: Json) -> bool:
    """Whether a commit is the one that a repository of ours was made with."""
    return not found["parent_ids"] and (found["author"], found["email"]) == (
        SYNCD.name,
        SYNCD.email,
    )


def _fresh() -> str:
    return f"{WORKSPACE}{uuid.uuid4().hex}"


def _name(path: str, content: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{path}\0{content}".encode())


def _names(paths: Sequence[str]) -> int:
    digest = xxhash.xxh3_64()
    for path in paths:
        digest.update(f"{path}\0".encode())
    return digest.intdigest()
