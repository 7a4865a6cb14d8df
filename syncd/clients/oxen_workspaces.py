"""How a commit on an Oxen server is made: where it gathers, what is laid below it, how it is proved.

A commit is made on a branch of its own, which nobody looks at, in a workspace without a name; those
of a process that was killed are deleted when they are old. What it goes to must be where it was when it
was begun: who has moved it meanwhile is not written over.

Groundwork: the server has liboxen's fault that a later commit can change what an earlier one says
(`oxen_repo`, "node names"; tried: `d/one`, then nothing, then the same bytes as `d/two`, and the
first commit says `d/two`). What avoids it there is done here over HTTP, as one more commit in
between (`oxen_changes.groundwork`).

A tree may have millions of files. It is gone through as often as there is something to ask of it;
what is kept are folders, the few paths that groundwork removes, eight bytes a staged file, and, where
many change, their paths (`oxen_clearing`).
"""

from __future__ import annotations

import threading
import time
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter

import xxhash

from syncd import retry
from syncd.blocks import Builder, Marks, batches, paired
from syncd.clients.commits import Author, TreeEntry
from syncd.clients.oxen_api import HASHES_A_REQUEST, OxenApi
from syncd.clients.oxen_changes import PATH, Groundwork, folders_of, groundwork, topmost
from syncd.clients.oxen_clearing import Clearing, Coming, Files, coming
from syncd.clients.oxen_gathering import Gathering
from syncd.clients.oxen_repositories import BASE, OWN, SYNCD, WORK, Repositories, fresh
from syncd.clients.oxen_trees import TreeCache
from syncd.clients.oxen_uploads import Uploads
from syncd.errors import PermanentError, ServiceUnavailableError, VerificationError
from syncd.refs import RepoRef

FILE: Callable[[tuple[str, str]], str] = itemgetter(0)


@dataclass(slots=True, kw_only=True)
class Workspace:
    """Where the next commit gathers.

    Args:
        id: as the server knows it.
        work: the branch that it is merged into.
        branch: where the commit will go.
        parent: the head of that branch, or BASE's; on it came the groundwork.
        base: the commit that the tree is made of; it may lack what changes (`oxen_clearing`).
        head: the commit that the new one is made on; its tree is the same as that of `base`.
        paths: names the paths of the coming tree.
        later: tables that change; they are staged when all else is, with a look at what was.
        staged: names each pair of path and hash that was staged.
    """

    id: str
    work: str
    branch: str
    parent: str
    base: str
    head: str
    paths: int
    later: frozenset[str] = frozenset()
    staged: array[int] = field(default_factory=lambda: array("Q"))


class Workspaces:
    """The commits under way on one server, one in each repository.

    Args:
        api: the server.
        repositories: what is there.
        trees: what its commits hold.
        uploads: the ways of bytes to it.
        gathering: where the files of a first version are staged.
    """

    def __init__(
        self,
        api: OxenApi,
        repositories: Repositories,
        trees: TreeCache,
        uploads: Uploads,
        gathering: Gathering,
    ) -> None:
        self._api = api
        self._repositories = repositories
        self._trees = trees
        self._uploads = uploads
        self._gathering = gathering
        self._clearing = Clearing(api, trees)
        self._open: dict[RepoRef, Workspace] = {}
        self._lock = threading.Lock()

    # --- gathering

    def expect(self, repo: RepoRef, branch: str, files: Iterable[tuple[str, str]]) -> None:
        """Open the workspace in which the files of the next commit are staged as they come."""
        rows = Builder()
        rows.extend(files)
        expected = rows.build()
        with self._repositories.alone(repo):
            self._repositories.ensure(repo)
            self._reopen(repo, branch, lambda: ((row[0], row[1]) for row in expected))

    def gathering(self, repo: RepoRef) -> Workspace | None:
        """The workspace that is open."""
        return self._open.get(repo)

    def note(self, workspace: Workspace, staged: Iterable[tuple[str, str]]) -> None:
        """Remember pairs of path and hash that were staged in a workspace."""
        names = [_name(path, content) for path, content in staged]
        with self._lock:
            workspace.staged.extend(names)

    # --- committing

    def commit(
        self,
        repo: RepoRef,
        branch: str,
        tree: Iterable[TreeEntry],
        message: str,
        author: Author,
    ) -> str | None:
        """Make one commit of a tree, prove it, and point the branch at it.

        Args:
            repo: the repository, made on demand.
            branch: the branch, made on demand.
            tree: the files, sorted by path; gone through several times.
            message: what the commit says.
            author: who says it.

        Returns:
            The commit; None when somebody else moved the branch meanwhile, which stays as it is.

        Raises:
            PermanentError: when contents are missing, or the server refuses.
            VerificationError: when the server made another tree; the branch is left as it was.
        """
        with self._repositories.alone(repo):
            self._repositories.ensure(repo)
            try:
                parent, made = self._made(repo, branch, tree, message, author)
                if self._api.branch(repo, branch) not in {parent, None}:
                    return None
                self._api.set_branch(repo, branch, made)
            finally:
                self._discard(repo)
            return made

    def _made(
        self, repo: RepoRef, branch: str, tree: Iterable[TreeEntry], message: str, author: Author
    ) -> tuple[str, str]:
        """Where the branch was, and the commit on top of that."""

        def files() -> Iterable[tuple[str, str]]:
            return ((entry.path, entry.hash) for entry in tree)

        workspace = self._open.get(repo)
        heads = self._api.branches(repo)
        if (
            workspace is None
            or workspace.branch != branch
            or workspace.parent != heads.get(branch, heads.get(BASE))
            or workspace.paths != _names(map(PATH, tree))
        ):
            workspace = self._reopen(repo, branch, files)
        if not self._stage(repo, workspace, tree):
            # Nothing differs, or something else was staged: a fresh workspace, with groundwork.
            unchanged = self._same(repo, workspace, tree)
            workspace = self._reopen(repo, branch, files, unchanged=unchanged)
            self._stage(repo, workspace, tree)
        made = self._merge(repo, workspace, message, author)
        if kept := self._kept(repo, workspace, made, tree):
            workspace = self._reopen(repo, branch, files, anew=kept)
            self._stage(repo, workspace, tree)
            made = self._merge(repo, workspace, message, author)
            if kept := self._kept(repo, workspace, made, tree):
                raise _another_tree(repo, kept[0])
        return workspace.parent, made

    def _kept(
        self, repo: RepoRef, workspace: Workspace, made: str, tree: Iterable[TreeEntry]
    ) -> list[str]:
        """Paths of a commit at which the server kept what was there before; see "times".

        Raises:
            VerificationError: when the commit differs from the tree in any other way.
        """
        self._trees.fetch(repo, made, like=workspace.base)
        kept = []
        for old, new in paired(self._trees.entries(repo, made), tree, PATH, PATH):
            if old is None or new is None:
                wrong = old or new
                assert wrong is not None, "a pair holds one entry at least"
                raise _another_tree(repo, wrong.path)
            if old != new:
                kept.append(new.path)
        return kept

    def _stage(self, repo: RepoRef, workspace: Workspace, tree: Iterable[TreeEntry]) -> bool:
        """Stage what is not yet; whether a commit of it would be the wanted tree, and one at all."""
        staged = Marks(workspace.staged)
        present = changes = lost = 0
        for old, entry in self._beside(repo, workspace, tree):
            if entry is None:
                lost += 1
            elif old != entry:
                changes += 1
                present += _name(entry.path, entry.hash) in staged
        if present != len(staged) or not (changes or lost):
            return False
        pairs = partial(self._beside, repo, workspace, tree) if changes > present else tuple
        self._put(repo, workspace, _left(pairs(), staged, lambda p: p not in workspace.later))
        if lost:
            self._gathering.close(repo, workspace.id)
            gone = (old.path for old, new in self._beside(repo, workspace, tree) if old and not new)
            removed = topmost(gone, folders_of(map(PATH, tree)))
            self._api.remove(repo, workspace.id, removed)
        if workspace.later:
            self._gathering.close(repo, workspace.id)
            self._put(repo, workspace, _left(pairs(), staged, workspace.later.__contains__))
        return True

    def _put(self, repo: RepoRef, workspace: Workspace, entries: Iterable[TreeEntry]) -> None:
        """Stage contents that are there."""
        for batch in batches(entries, HASHES_A_REQUEST):
            absent = self._api.missing(repo, sorted({entry.hash for entry in batch if entry.size}))
            for entry in batch:
                if entry.hash in absent:
                    raise PermanentError(f"{repo} lacks the content {entry.hash} of {entry.path!r}")
            self._uploads.stage(repo, workspace.id, batch)

    def _beside(
        self, repo: RepoRef, workspace: Workspace, tree: Iterable[TreeEntry]
    ) -> Iterator[tuple[TreeEntry | None, TreeEntry | None]]:
        """The tree that a workspace begins with, and the wanted one."""
        return paired(self._trees.entries(repo, workspace.base), tree, PATH, PATH)

    def _same(self, repo: RepoRef, workspace: Workspace, tree: Iterable[TreeEntry]) -> bool:
        pairs = paired(self._trees.entries(repo, workspace.parent), tree, PATH, PATH)
        return all(old == new for old, new in pairs)

    # --- workspaces

    def _reopen(
        self,
        repo: RepoRef,
        branch: str,
        files: Files,
        *,
        unchanged: bool = False,
        anew: Iterable[str] = (),
    ) -> Workspace:
        """A workspace for the next commit to a branch, on groundwork where that is needed."""
        self._discard(repo)
        heads = self._api.branches(repo)
        if branch not in heads and BASE not in heads:
            heads[BASE] = self._repositories.begin(repo, heads)
        parent = base = heads.get(branch) or heads[BASE]
        work = fresh(WORK)
        self._repositories.sweep(repo, heads)
        wanted = groundwork(
            lambda: self._trees.entries(repo, parent),
            lambda: map(FILE, files()),
            f"syncd-{uuid.uuid4().hex}",
            fresh_repository=all(name.startswith(OWN) for name in heads),
            unchanged=unchanged,
            anew=anew,
        )
        self._api.create_branch(repo, work, base)
        if wanted.needed:
            base = self._lay(repo, work, base, wanted)
        name = fresh()
        numbers: Coming | None
        numbers = coming(self._trees.entries(repo, base), files())
        later = frozenset[str]()
        if self._gathering.serves_changes(numbers):
            cleared = self._clearing.made(repo, base, files)
            if cleared is not None:
                base, later = cleared
                self._api.set_branch(repo, work, base)
                numbers = None
        opened = Workspace(
            id=name,
            work=work,
            branch=branch,
            parent=parent,
            base=base,
            head=self._gathering.open(repo, name, work, base, numbers),
            paths=_names(map(FILE, files())),
            later=later,
        )
        self._open[repo] = opened
        return opened

    def _lay(self, repo: RepoRef, work: str, base: str, wanted: Groundwork) -> str:
        """Commit groundwork to the branch that a commit is made on."""
        for removals, placeholders in ((wanted.removals, ()), ((), wanted.placeholders)):
            if not removals and not placeholders:
                continue
            workspace = fresh()
            self._api.open_workspace(repo, workspace, work)
            self._api.remove(repo, workspace, removals)
            if placeholders:
                data = uuid.uuid4().bytes
                self._api.stage(repo, workspace, [(path, data) for path in placeholders])
            place = (workspace, work, base)
            made = self._merged(repo, place, f"Make folders\n\n{workspace}", SYNCD)
            self._trees.fetch(repo, made, like=base)
            base = made
        return base

    def _merge(self, repo: RepoRef, workspace: Workspace, message: str, author: Author) -> str:
        self._gathering.close(repo, workspace.id)
        place = (workspace.id, workspace.work, workspace.head)
        return self._merged(repo, place, message, author)

    def _merged(
        self, repo: RepoRef, place: tuple[str, str, str], message: str, author: Author
    ) -> str:
        """Commit a workspace to its branch; an answer that was lost is found there.

        Args:
            repo: the repository.
            place: the workspace's id, its branch, and the commit that this is at.
            message: what the commit says.
            author: who says it.
        """
        workspace, work, base = place
        tried = False

        def attempt() -> str:
            nonlocal tried
            head = self._api.branch(repo, work) if tried else base
            tried = True
            if head is not None and head != base:
                return head
            try:
                return self._api.merge(
                    repo, workspace, work, message=message, author=author.name, email=author.email
                )
            except PermanentError as error:
                if "NoChanges" in str(error):
                    return base  # all that was staged was passed over; see "times"
                raise
            except ServiceUnavailableError as error:
                if "already taken" in str(error):
                    # Ids depend on parent, message, author and the second: the next one is free.
                    time.sleep(1 - time.time() % 1)
                raise

        return retry.call(attempt, what=f"commit to {repo}")

    def _discard(self, repo: RepoRef) -> None:
        """Delete the workspace that is open and its branch, if one is."""
        workspace = self._open.pop(repo, None)
        if workspace is not None:
            self._gathering.close(repo, workspace.id)
            self._api.delete_workspace(repo, workspace.id)
            self._api.delete_branch(repo, workspace.work)


def _another_tree(repo: RepoRef, path: str) -> VerificationError:
    return VerificationError(f"Oxen made another tree of {repo}: see {path!r}")


def _left(
    pairs: Iterable[tuple[TreeEntry | None, TreeEntry | None]],
    staged: Marks,
    chosen: Callable[[str], bool],
) -> Iterator[TreeEntry]:
    """What is to be staged still, of the paths that are chosen."""
    for old, entry in pairs:
        if not entry or old == entry or not chosen(entry.path):
            continue
        if _name(entry.path, entry.hash) not in staged:
            yield entry


def _name(path: str, content: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{path}\0{content}".encode())


def _names(paths: Iterable[str]) -> int:
    digest = xxhash.xxh3_64()
    for path in paths:
        digest.update(f"{path}\0".encode())
    return digest.intdigest()
