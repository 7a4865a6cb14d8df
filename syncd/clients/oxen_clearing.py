"""A commit on an Oxen server that lacks the files that are about to change, so that they come as new ones.

What the server has not it need not look for (`oxen_gathering`). Files that are there could be staged
without a look, too, and the tree would be right; but then the server adds the new files to the counts and
sizes that it tells of their folders, and takes the old ones from nothing (liboxen 0.65.2,
`commit_writer.rs`, `compute_dir_node`: what is "added" adds, what is "removed" subtracts). So they are removed
first, and what the folders tell is right.

One by one a removal costs what staging does, for each reads its folder. One request removes the root
with all below, and a second one takes back, without any look, what is to stay. A table cannot be taken back
so: the server would lay out its rows for editing. A path that begins with `./` names nothing in a commit to
it, but does among what is staged, and a removal of what is no more than staged takes it back
(`files.rs`, `p_rm`). Tables that change stay: a user's notes on their columns go over to what is staged later.

A placeholder comes into each folder that loses files, into each node of it: see "node names" in
`oxen_repo`. It goes with the next commit. Whatever is made is compared with what was wanted;
anything else is not used, nor is anything by which the server refused it.
"""

from __future__ import annotations

import heapq
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from operator import itemgetter
from pathlib import PurePosixPath

import xxhash

from syncd.blocks import paired
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_changes import PATH, folders_of
from syncd.clients.oxen_repositories import GATHERING, SYNCD, WORK, fresh
from syncd.clients.oxen_trees import TreeCache
from syncd.errors import PermanentError, SyncdError
from syncd.refs import RepoRef

NODE = 10_000  # entries of a folder in each of its nodes
_TABLES = {".csv", ".tsv", ".parquet", ".arrow", ".ndjson", ".jsonl"}

Files = Callable[[], Iterable[tuple[str, str]]]  # paths, sorted, and hashes; "" is not known yet


@dataclass(slots=True, kw_only=True)
class Coming:
    """How a tree becomes another one, in numbers of files.

    Args:
        files: those that it has.
        new: those that come.
        changed: those that get another content, or may, without tables.
        tables: tables that it has.
    """

    files: int = 0
    new: int = 0
    changed: int = 0
    tables: int = 0


def coming(before: Iterable[TreeEntry], after: Iterable[tuple[str, str]]) -> Coming:
    """Compare two trees, both sorted by path."""
    found = Coming()
    for old, new in paired(before, after, PATH, itemgetter(0)):
        if old is None:
            found.new += 1
            continue
        found.files += 1
        table = is_table(old.path)
        found.tables += table
        found.changed += not table and new is not None and old.hash != new[1]
    return found


class Clearing:
    """Makes such commits.

    Args:
        api: the server.
        trees: what its commits hold.
    """

    def __init__(self, api: OxenApi, trees: TreeCache) -> None:
        self._api = api
        self._trees = trees
        self._refused = False

    def made(self, repo: RepoRef, base: str, files: Files) -> tuple[str, frozenset[str]] | None:
        """A commit on top of another one, without the files that change; None when it cannot be had.

        Args:
            repo: the repository.
            base: the commit.
            files: those that are to be.

        Returns:
            The commit, and the tables that change, which it has.
        """
        if self._refused:
            return None
        changed = frozenset(self._changed(repo, base, files))
        tables = frozenset(path for path in changed if is_table(path))
        work, workspace = fresh(WORK), fresh()
        self._api.create_branch(repo, work, base)
        try:
            made = self._cleared(repo, base, changed - tables, (work, workspace))
        except SyncdError as error:
            self._refused = isinstance(error, PermanentError)
            made = None
            self._api.delete_workspace(repo, workspace)
        self._api.delete_branch(repo, work)
        return (made, tables) if made else None

    def _changed(self, repo: RepoRef, base: str, files: Files) -> Iterator[str]:
        """The files of a commit that get another content, or may."""
        for old, new in paired(self._trees.entries(repo, base), files(), PATH, itemgetter(0)):
            if old is not None and new is not None and old.hash != new[1]:
                yield old.path

    def _cleared(
        self, repo: RepoRef, base: str, changing: Collection[str], place: tuple[str, str]
    ) -> str | None:
        def staying() -> Iterator[TreeEntry]:
            return (e for e in self._trees.entries(repo, base) if e.path not in changing)

        work, workspace = place
        folders = folders_of(map(PATH, self._trees.entries(repo, base)))
        fillers = placeholders(map(PATH, staying()), folders, changing)
        self._api.open_workspace(repo, workspace, work)
        self._api.remove(repo, workspace, [""])
        kept = (entry.path for entry in staying() if not is_table(entry.path))
        self._api.unstage(repo, workspace, kept)
        self._api.unstage(repo, workspace, sorted(folders - {""}))
        self._api.remove(repo, workspace, (f"./{e.path}" for e in staying() if is_table(e.path)))
        parts = [(path, uuid.uuid4().bytes) for path in fillers]
        self._api.stage(repo, workspace, parts)
        message = f"{GATHERING}\n\n{workspace}"
        made = self._api.merge(
            repo, workspace, work, message=message, author=SYNCD.name, email=SYNCD.email
        )
        self._trees.fetch(repo, made, like=base)
        wanted = heapq.merge(staying(), sorted(map(_entry, parts), key=PATH), key=PATH)
        pairs = zip_longest(self._trees.entries(repo, made), wanted)
        return made if all(one == other for one, other in pairs) else None


def placeholders(
    staying: Iterable[str], folders: Iterable[str], changing: Iterable[str]
) -> list[str]:
    """Names for files that come into each node of each folder that loses some.

    Args:
        staying: the files that stay.
        folders: all folders, of which none goes.
        changing: the files that go.
    """
    entries = Counter(path.rpartition("/")[0] for path in staying)
    entries.update(path.rpartition("/")[0] for path in folders if path)
    names: list[str] = []
    for folder in sorted({path.rpartition("/")[0] for path in changing}):
        nodes = 1
        while nodes * NODE < entries[folder] + nodes:
            nodes += 1
        found: dict[int, str] = {}
        while len(found) < nodes:
            path = f"{folder}/syncd-{uuid.uuid4().hex}".lstrip("/")
            found.setdefault(xxhash.xxh3_128_intdigest(path.encode()) % nodes, path)
        names += found.values()
    return names


def is_table(path: str) -> bool:
    """Whether the server takes a file for a table, by its name."""
    return PurePosixPath(path).suffix.lower() in _TABLES


def _entry(part: tuple[str, bytes]) -> TreeEntry:
    stored = StoredContent.of(part[1])
    return TreeEntry(path=part[0], hash=stored.hash, size=stored.size)
