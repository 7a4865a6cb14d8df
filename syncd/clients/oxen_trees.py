"""Trees of commits on a server, listed once and kept in files: a commit never changes.

The files are those of the embedded store's index (`oxen_index`), so a tree of millions of files is
compared without being in memory. They are a cache: deleting them costs a listing. Folders have a
line, too: a path that ends in a slash, and liboxen's hash of the folder.

A folder's hash is made of its name and of the names, contents and node names of all below it, when
a commit stages something there (liboxen 0.65.2, `commit_writer.rs`, `compute_dir_node`); a commit
that stages nothing there leaves it alone, and writes nothing below. So a folder that has the hash
it had in the commit before is what it was then, as far as the new commit goes, and is not listed
again. That an earlier commit is changed by another one ("node names") is seen by listing all anew.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from syncd.blocks import Builder
from syncd.clients.commits import TreeEntry
from syncd.clients.disk import disk
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_index import CommitIndex, IndexEntry, RepoIndex
from syncd.errors import NotFoundError, PermanentError
from syncd.refs import CommitRef, RepoRef

KEPT = 4  # trees of a repository


class TreeCache:
    """What commits hold, by path.

    Args:
        api: the server.
        folder: where the files are kept.
    """

    def __init__(self, api: OxenApi, folder: Path) -> None:
        self._api = api
        self._folder = folder

    def entries(self, repo: RepoRef, commit: str) -> Iterator[TreeEntry]:
        """The files of a commit, sorted by path.

        Raises:
            NotFoundError: when the repository has no such commit.
        """
        with self._opened(repo, commit) as index:
            for entry in index:
                if not entry.path.endswith("/"):
                    yield entry.tree_entry()

    def entry(self, commit: CommitRef, path: str) -> TreeEntry | None:
        """One file of a commit; None also when the commit does not exist."""
        try:
            with self._opened(commit.repo, commit.commit) as index:
                found = index.find(path)
        except NotFoundError:
            return None
        return found.tree_entry() if found and not path.endswith("/") else None

    def fetch(self, repo: RepoRef, commit: str, *, like: str | None = None) -> None:
        """List a commit anew, whatever is known of it.

        Args:
            repo: the repository.
            commit: the commit.
            like: the commit it was made on: what has the same hash there is not listed again.

        Raises:
            NotFoundError: when the repository has no such commit.
        """
        if self._api.commit(repo, commit) is None:
            raise NotFoundError(f"{CommitRef(repo=repo, commit=commit)} does not exist")
        index = RepoIndex(self._folder, repo)
        index.pending = index.directory / f"{uuid.uuid4().hex}.pending"
        header = {"message": "", "author": "", "email": "", "parents": []}
        with disk(f"cannot keep the tree of {repo}"):
            with _sound(index, like) as known:
                index.write_pending(header, self._listed(repo, commit, "", known))
            index.adopt_pending(commit)
            _forget_oldest(index.index_path(commit).parent)

    def _opened(self, repo: RepoRef, commit: str) -> CommitIndex:
        index = RepoIndex(self._folder, repo)
        try:
            found = index.open(commit)
        except PermanentError:  # damaged; it is made again
            found = None
        if found is None:
            self.fetch(repo, commit)
            found = CommitIndex(index.index_path(commit))
        return found

    def _listed(
        self, repo: RepoRef, commit: str, folder: str, known: CommitIndex | None
    ) -> Iterator[IndexEntry]:
        """All below a folder in path order: what follows `a/` sorts by that slash."""
        rows = Builder()
        for item in self._api.directory(repo, commit, folder.rstrip("/")):
            path = f"{folder}{item['filename']}" + "/" * bool(item["is_dir"])
            rows.add((path, str(item["hash"]), int(item["size"])))
        for path, hash_, size in rows.build():
            before = known.find(path) if known and path.endswith("/") else None
            if known and before and before.hash == hash_:
                yield from known.below(path)
                continue
            yield IndexEntry(path=path, hash=hash_, size=size)
            if path.endswith("/"):
                yield from self._listed(repo, commit, path, known)


def _forget_oldest(folder: Path) -> None:
    """Delete all trees but the newest; other processes may do so, too."""
    found: list[tuple[int, Path]] = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            found.append((file.stat().st_mtime_ns, file))
    for _, old in sorted(found)[:-KEPT]:
        old.unlink(missing_ok=True)


@contextmanager
def _sound(index: RepoIndex, commit: str | None) -> Iterator[CommitIndex | None]:
    """The tree of a commit as it was listed; None where it was not, or is damaged."""
    with ExitStack() as stack:
        try:
            found = index.open(commit) if commit else None
            if found is not None:
                stack.enter_context(found).check()
        except PermanentError:
            found = None
        yield found
