"""Where many files gather on an Oxen server.

For each file that is staged, oxen-server 0.65.2 looks whether the commit that the workspace is based on
holds it, and opens the folder index (a RocksDB) of that commit and reads the folder's node anew each
time (liboxen 0.65.2, `add.rs`, `stage_file_with_hash`). That takes most of what a small file costs it:
0.2 ms in an empty repository, 5 ms in a folder of a thousand files, 50 ms in one of ten thousand. A lookup
that fails means "was not there" to it, and what is staged replaces what was there all the same. So the
workspace is based on a commit of its own that has the tree of the one before and an index that cannot
be opened, because the file that a RocksDB begins with is empty. When all is staged the server rebuilds
that index from the tree, before anything else asks for it: a removal, or the commit.

Files that change are taken out of that commit beforehand, and come as new ones (`oxen_clearing`).

The new commit is made on top of that one, for then the server compares nothing at the end, either. Only
before a first version there is nothing to compare: then the branch goes back, and history holds it not.

Tried, on a file system in memory: 4,000 files of 10 KiB into an empty repository in 1.15 s instead of 1.8, and
3,000 small ones into a folder of a thousand in 1.5 s instead of 17.4.
"""

from __future__ import annotations

import io
import json
import secrets
import tarfile
from datetime import UTC, datetime

from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_clearing import Coming
from syncd.clients.oxen_repositories import GATHERING, SYNCD
from syncd.clients.oxen_wire import AS_GZIP, AS_JSON, Wire
from syncd.errors import PermanentError, SyncdError
from syncd.refs import RepoRef

TRIED = "0.65.2"  # the server whose ways are known so well; others stage as they do
MANY = 250  # files that come; for fewer the requests cost more than they save
MOST = 100_000  # files of the commit before; the server holds them in memory to make one like it
SHARE = 50  # of them for each that comes: reading so many twice costs what staging one saves
FEW = 1  # files before: the server compares each staged file with both commits in no time then
_EMPTY = "CURRENT"  # of a RocksDB's files the one that is read first


class Gathering:
    """Workspaces in which many files are staged quickly.

    Args:
        wire: how the server is spoken to.
        api: its other calls.
    """

    def __init__(self, wire: Wire, api: OxenApi) -> None:
        self._wire = wire
        self._api = api
        self._refused = False
        self._based: dict[str, str] = {}  # the commits without an index, by workspace

    def serves_changes(self, numbers: Coming) -> bool:
        """Whether so many files that change are staged sooner so, once they are taken out.

        A table is put back by a request of its own there; see `oxen_clearing`.
        """
        return numbers.tables <= numbers.changed and self._serves(numbers.files, numbers.changed)

    def open(
        self, repo: RepoRef, workspace: str, branch: str, before: str, numbers: Coming | None
    ) -> str:
        """Open a workspace, for many files one in which they are staged without a look at what was.

        Args:
            repo: the repository.
            workspace: the id that the workspace gets.
            branch: a branch of syncd's own at `before`.
            before: the commit that the coming one is made on.
            numbers: how many files it holds, and how many come; None where it was made for this.

        Returns:
            The commit where the branch is now, which the coming one gets as its parent.
        """
        head, few = before, False
        if numbers is None:
            if self._emptied(repo, before):
                self._based[workspace] = before
        elif self._serves(numbers.files, numbers.new):
            head = self._made(repo, branch, before)
            if head != before:
                self._based[workspace] = head
                few = numbers.files <= FEW
        try:
            self._api.open_workspace(repo, workspace, branch)
            if few:
                self._api.set_branch(repo, branch, before)
                head = before
        except SyncdError:
            self.close(repo, workspace)
            raise
        return head

    def close(self, repo: RepoRef, workspace: str) -> None:
        """Have the index made where a workspace was opened without: nothing but staging can do so.

        Nothing happens where that has been done, or was not needed.
        """
        if workspace in self._based:
            self._api.rebuild_index(repo, self._based[workspace])
            del self._based[workspace]

    def _serves(self, files: int, coming: int) -> bool:
        many = coming >= MANY and files <= min(MOST, coming * SHARE)
        return many and not self._refused and self._api.version() == TRIED

    def _made(self, repo: RepoRef, branch: str, before: str) -> str:
        """A commit like another one, without its index, to which the branch points now; or that one."""
        try:
            made = self._like(repo, branch, before)
            self._unpack(repo, f"history/{made}/dir_hashes/{_EMPTY}")
        except SyncdError as error:
            # Not every token may do this, and there is another way.
            self._refused = isinstance(error, PermanentError)
            self._api.set_branch(repo, branch, before)
            return before
        return made

    def _emptied(self, repo: RepoRef, commit: str) -> bool:
        """Take the index of a commit away; whether that could be done."""
        try:
            self._unpack(repo, f"history/{commit}/dir_hashes/{_EMPTY}")
        except SyncdError as error:
            self._refused = isinstance(error, PermanentError)
            self._api.rebuild_index(repo, commit)  # the answer may be what was lost
            return False
        return True

    def _like(self, repo: RepoRef, branch: str, before: str) -> str:
        """Make a commit with the tree that a branch points at; sent once, for it moves the branch."""
        body = {
            "branch_name": branch,
            "id": f"{secrets.randbits(128):x}",
            "parent_ids": [before],
            "message": GATHERING,
            "author": SYNCD.name,
            "email": SYNCD.email,
            "timestamp": datetime.now(UTC).isoformat(),
        }
        path, what = f"{self._wire.place(repo)}/commits", f"gather files in {repo}"
        found = self._wire.send("POST", path, what, json.dumps(body).encode(), AS_JSON)
        return str(found["commit"]["id"])

    def _unpack(self, repo: RepoRef, name: str) -> None:
        """Write an empty file into what the server keeps of a repository."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.addfile(tarfile.TarInfo(name))
        path, what = f"{self._wire.place(repo)}/commits/upload", f"gather files in {repo}"
        self._wire.send("POST", path, what, archive.getvalue(), AS_GZIP)
