"""The repositories on an Oxen server: whether they are there, how they begin, who works in them.

Several processes may work in one: each has workspaces and branches of its own. Their names tell when they
were made, so that what a killed process left can be told from what a living one needs.

A repository is made with its first file, because the empty commit that the server makes otherwise
has a tree that oxenai 0.65.1 cannot find: a clone of the whole history would fail. That commit is
where branches without a past begin; it is told of to nobody.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from syncd.clients.commits import Author
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_changes import PATH, topmost
from syncd.clients.oxen_trees import TreeCache
from syncd.clients.oxen_wire import Json
from syncd.errors import PermanentError
from syncd.refs import RepoRef

WORKSPACE = "syncd-"  # begins the ids of workspaces that are syncd's own
OWN = "syncd/"  # begins the names of branches that are syncd's own
BASE = f"{OWN}base"  # an empty commit, on which branches without a past begin
WORK = f"{OWN}work-"  # begins the names of branches that commits are made on
BASE_FILE = ".syncd/base"
SYNCD = Author(name="syncd", email="syncd@wandb.invalid")
GATHERING = "Gather files"  # says first a commit in which files gather (`oxen_gathering`)
STALE = 7 * 86400  # seconds after which nobody is at work any more; a transfer may take days
_MADE = re.compile(r"(?:syncd-|syncd/work-)([0-9a-f]{8})-[0-9a-f]{32}")
DEFAULT = "main"  # the branch of a repository's first commit


class Repositories:
    """What is known of the repositories on one server.

    Args:
        api: the server.
        trees: what its commits hold.
    """

    def __init__(self, api: OxenApi, trees: TreeCache) -> None:
        self._api = api
        self._trees = trees
        self._known: set[RepoRef] = set()
        self._bases: dict[RepoRef, str] = {}
        self._swept: set[RepoRef] = set()
        self._locks: dict[RepoRef, threading.RLock] = {}
        self._lock = threading.Lock()

    def there(self, repo: RepoRef) -> bool:
        """Whether the repository exists."""
        if repo not in self._known and self._api.exists(repo):
            self._known.add(repo)
        return repo in self._known

    def ensure(self, repo: RepoRef) -> None:
        """Make the repository; workspaces that killed processes left in it long ago are deleted."""
        with self.alone(repo):
            if repo in self._swept:
                return
            if not self.there(repo):
                self._make(repo)
            workspaces = self._api.workspaces(repo)
            for workspace in stale(workspaces, WORKSPACE):
                self._index(repo, workspaces[workspace])
                self._api.delete_workspace(repo, workspace)
            self._swept.add(repo)

    def sweep(self, repo: RepoRef, heads: Mapping[str, str]) -> None:
        """Delete the branches that killed processes worked on long ago, of those that there are."""
        for branch in stale(heads, WORK[:-1]):
            self._index(repo, self._api.commit(repo, heads[branch]))
            self._api.delete_branch(repo, branch)

    def _index(self, repo: RepoRef, commit: Json | None) -> None:
        """Have the index of a commit made, where a process was killed that had taken it away."""
        if commit is not None and commit["message"].startswith(GATHERING):
            self._api.rebuild_index(repo, commit["id"])

    def _make(self, repo: RepoRef) -> None:
        """Make the repository. Where the answer was lost, or another is faster, `begin` does the rest."""
        seed = (BASE_FILE, uuid.uuid4().hex.encode())
        try:
            self._api.create(repo, seed, author=SYNCD.name, email=SYNCD.email)
        except PermanentError:
            if not self._api.exists(repo):
                raise
        else:
            self._api.set_branch(repo, BASE, self._api.branches(repo)[DEFAULT])
            self._api.delete_branch(repo, DEFAULT)
        self._known.add(repo)

    @contextmanager
    def alone(self, repo: RepoRef) -> Iterator[None]:
        """The repository for this thread alone."""
        with self._lock:
            lock = self._locks.setdefault(repo, threading.RLock())
        with lock:
            yield

    def base(self, repo: RepoRef) -> str | None:
        """The commit BASE points at, where there is one."""
        if repo not in self._bases:
            base = self._api.branch(repo, BASE)
            if base is None:
                return None
            self._bases[repo] = base
        return self._bases[repo]

    def begin(self, repo: RepoRef, heads: Mapping[str, str]) -> str:
        """The commit BASE points at, made in a repository that another made or a kill left."""
        for commit in sorted(set(heads.values())):
            found = self._api.commit(repo, commit)
            if found is not None and is_seed(found):
                self._api.set_branch(repo, BASE, commit)
                return commit
        if heads:
            self._api.set_branch(repo, BASE, heads.get(DEFAULT) or min(heads.values()))
        workspace = fresh()
        before = self._api.open_workspace(repo, workspace, BASE)
        everything = map(PATH, self._trees.entries(repo, before))
        self._api.remove(repo, workspace, topmost(everything, ()))
        self._api.stage(repo, workspace, [(BASE_FILE, uuid.uuid4().bytes)])
        return self._api.merge(
            repo, workspace, BASE, message="Begin", author=SYNCD.name, email=SYNCD.email
        )


def is_seed(found: Json) -> bool:
    """Whether a commit is the one that a repository of ours was made with."""
    return not found["parent_ids"] and (found["author"], found["email"]) == (
        SYNCD.name,
        SYNCD.email,
    )


def fresh(what: str = WORKSPACE) -> str:
    """The id of a new workspace, or the name of a new branch to work on."""
    return f"{what}{int(time.time()):08x}-{uuid.uuid4().hex}"


def stale(names: Iterable[str], what: str) -> Iterator[str]:
    """The workspaces, or branches, of ours that nobody works with any more."""
    for name in names:
        made = _MADE.fullmatch(name)
        if name.startswith(what) and (made is None or int(made[1], 16) < time.time() - STALE):
            yield name
