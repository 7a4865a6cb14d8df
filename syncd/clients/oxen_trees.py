"""Trees of commits on a server, listed once and kept in files: a commit never changes.

The files are those of the embedded store's index (`oxen_index`), so a tree of millions of files is
compared without being in memory. They are a cache: deleting them costs a listing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

from syncd.blocks import Builder
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_index import CommitIndex, IndexEntry, RepoIndex
from syncd.clients.protocols import TreeEntry
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
                yield entry.tree_entry()

    def entry(self, commit: CommitRef, path: str) -> TreeEntry | None:
        """One file of a commit; None also when the commit does not exist."""
        try:
            with self._opened(commit.repo, commit.commit) as index:
                found = index.find(path)
        except NotFoundError:
            return None
        return found.tree_entry() if found else None

    def fetch(self, repo: RepoRef, commit: str) -> None:
        """List a commit anew, whatever is known of it.

        Raises:
            NotFoundError: when the repository has no such commit.
        """
        if self._api.commit(repo, commit) is None:
            raise NotFoundError(f"{CommitRef(repo=repo, commit=commit)} does not exist")
        index = RepoIndex(self._folder, repo)
        index.pending = index.directory / f"{uuid.uuid4().hex}.pending"
        header = {"message": "", "author": "", "email": "", "parents": []}
        index.write_pending(header, self._listed(repo, commit, ""))
        index.adopt_pending(commit)
        for old in sorted(
            index.index_path(commit).parent.iterdir(), key=lambda file: file.stat().st_mtime_ns
        )[:-KEPT]:
            old.unlink(missing_ok=True)

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

    def _listed(self, repo: RepoRef, commit: str, folder: str) -> Iterator[IndexEntry]:
        """The files below a folder in path order: what follows `a/` sorts by that slash."""
        rows = Builder()
        for item in self._api.directory(repo, commit, folder.rstrip("/")):
            path, hash_ = f"{folder}{item['filename']}", None if item["is_dir"] else item["hash"]
            rows.add((path + "/" * bool(item["is_dir"]), hash_, int(item["size"])))
        for path, hash_, size in rows.build():
            if hash_ is None:
                yield from self._listed(repo, commit, path)
            else:
                yield IndexEntry(path=path, hash=str(hash_), size=size)
