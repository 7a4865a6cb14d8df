"""One Oxen repository, driven through liboxen (the oxenai package) by one process at a time.

The work tree is empty at rest. To stage, contents are hard-linked from the version store into it,
`add` hashes them and finds them stored already, and after the commit the links are removed: bytes
are never copied. How liboxen 0.65 is brought to do that (read in its source, and tried):

- `HEAD` is a text file with a branch or a commit id. Commits are made with a commit id there, so
  that no branch moves before the commit is proved.
- New files are added while HEAD names a branch that does not exist, so that liboxen compares with
  nothing: one `add` of the root stages exactly the links, and never a removal. The same way a file
  is staged that has not changed. Files that have are added one by one against their commit, when
  they are few, because only then does liboxen keep its count of a folder's bytes right.
- Removals are staged before that, one `rm` for each topmost folder or file that goes. Paths are
  glob patterns there, so `* ? [ ]` are written `[*] [?] [[] []]`. A removed last file would leave
  its folder in the tree; hence the topmost folder.
- A branch is created by a checkout with HEAD on its commit, and deleted with HEAD on its own head.
- `add` only logs what it could not stage. So after each commit `status`, with the links still
  there, must show nothing but the files left out on purpose.
- Commit ids depend on parent, message, author and the second, not on the tree; an id that is taken
  is refused, and free a second later.

Node names. liboxen 0.65 names the node with a folder's entries after the folder and the contents
in it, not after the names of its files and whatever its subfolders hold, and writes over a node
of the same name: a later commit can so change what an earlier one says (tried: `d/one` committed,
`d` removed, the same bytes committed as `d/two`: the first commit lost `d/one`). It adds something
random to the name only when the folder is in the parent commit and an entry in it is staged. So
every folder that is written must meet both: one that only loses files gets one file staged again
(`oxen_changes.changes`), one that is new is first committed with a random placeholder in it
(`oxen_changes.scaffold`), and folders are not split into several nodes (`vnode_size`).

liboxen holds Python's GIL during a call and prints progress to standard output.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from syncd.clients.commits import Author, Commit
from syncd.clients.oxen_index import IndexEntry, RepoIndex, replaced, sync_directory
from syncd.clients.oxen_lock import in_use
from syncd.clients.oxen_paths import NOWHERE, escaped, parents
from syncd.errors import DiskFullError, PermanentError
from syncd.refs import CommitRef

Checkpoint = Callable[[str], None]
DEFAULT_BRANCH = "main"
COMMIT_TRIES = 5
ONE_NODE = 1 << 40  # entries: a folder is never split
_VNODE_SIZE = re.compile(r"^vnode_size\s*=.*\n", re.MULTILINE)
_NO_LINK = {errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP}
_author_lock = threading.Lock()  # the author is read from one file named by one variable


class _Library(Protocol):
    """What is used of `oxen.Repo`, which has no types (oxenai 0.65.1, `oxen/repo.py`)."""

    def init(self) -> object: ...
    def add(self, path: str) -> None: ...
    def rm(self, path: str, recursive: bool, staged: bool, force: bool) -> None: ...
    def restore(self, path: str, staged: bool, source: str | None) -> None: ...
    def status(self) -> Any: ...
    def clean(self) -> Any: ...
    def commit(self, message: str) -> Any: ...
    def log(self) -> list[Any]: ...
    def branches(self) -> list[Any]: ...
    def branch(self, name: str, delete: bool) -> object: ...
    def checkout(self, revision: str, create: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How the work tree differs from a commit, as liboxen sees it.

    Args:
        modified: files with other bytes.
        missing: files and folders of the commit that the work tree lacks; a folder stands for all.
        untracked: files and folders the commit lacks.
        clean: liboxen found nothing at all, reported here or not.
    """

    modified: frozenset[str]
    missing: frozenset[str]
    untracked: frozenset[str]
    clean: bool


class OxenRepository:
    """A repository that this thread has for itself (`oxen_lock.exclusive`); made on demand."""

    def __init__(self, index: RepoIndex, config: Path, checkpoint: Checkpoint) -> None:
        self.index = index
        self._config = config
        self._head = index.oxen / "HEAD"
        self._heads: dict[str, str] | None = None  # as they are as long as this thread has it
        self.checkpoint = checkpoint
        if not index.exists():
            self._init()
        self._keep_folders_whole()
        self._library = self._open(index.worktree)

    def _open(self, path: Path) -> _Library:
        os.environ["OXEN_CONFIG_DIR"] = str(self._config)
        import oxen  # type: ignore[import-untyped]  # noqa: PLC0415 costs 0.9 s; ships no types

        with self._translated("open"):
            return cast("_Library", oxen.Repo(str(path)))

    def _init(self) -> None:
        """Make the repository beside its place and move it there, so that half of it never shows."""
        fresh = self.index.directory / "init"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        with self._translated("init"):
            self._open(fresh).init()
        self.checkpoint("init.made")
        self.index.worktree.mkdir(parents=True, exist_ok=True)
        (fresh / ".oxen").rename(self.index.oxen)
        sync_directory(self.index.worktree)
        fresh.rmdir()

    def _keep_folders_whole(self) -> None:
        """See "node names"."""
        settings = self.index.oxen / "config.toml"
        line, text = f"vnode_size = {ONE_NODE}\n", settings.read_text()
        if not text.startswith(line):
            with replaced(settings) as path:
                path.write_text(line + _VNODE_SIZE.sub("", text))

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """The one place where liboxen's failures become ours."""
        try:
            yield
        except BaseException as error:
            panic = type(error).__name__ == "PanicException"  # pyo3: not an Exception
            if not panic and not isinstance(error, Exception):
                raise
            text = " ".join(str(error).split())[:500]
            if os.strerror(errno.ENOSPC).lower() in text.lower():
                raise DiskFullError(f"Oxen cannot {what} {self.index.repo}: {text}") from error
            if "lock file" in text.lower() or "LockTimeout" in text:
                raise in_use(self.index) from error
            raise PermanentError(f"Oxen cannot {what} {self.index.repo}: {text}") from error

    # --- where HEAD points

    def head(self) -> str:
        """What HEAD names: a branch or a commit id; empty when it is missing."""
        try:
            return self._head.read_text()
        except FileNotFoundError:
            return ""

    def set_head(self, revision: str) -> None:
        """Point HEAD at a branch or a commit id; the work tree is not touched."""
        with replaced(self._head) as path:
            path.write_text(revision)

    def rest(self) -> None:
        """Leave the repository as other tools expect it: work tree and stage empty, HEAD valid."""
        self.clear()
        shutil.rmtree(self.index.oxen / "staged", ignore_errors=True)
        heads = self.branches()
        if heads and (head := DEFAULT_BRANCH if DEFAULT_BRANCH in heads else min(heads)):
            if self.head() != head:
                self.set_head(head)
        else:
            self._head.unlink(missing_ok=True)

    # --- commits and branches

    def branches(self) -> dict[str, str]:
        """Branch -> commit; the first call to make, it fails when another process is at work.

        Each version has a branch, so liboxen is asked once, and again when something may have moved.
        """
        if self._heads is None:
            with self._translated("list the branches of"):
                listed = self._library.branches()
                self._heads = {str(branch.name): str(branch.commit_id) for branch in listed}
        return dict(self._heads)

    def commit_info(self, commit: str) -> Commit | None:
        """A commit as liboxen describes it, or None."""
        if not self.index.holds(commit):
            return None
        self.set_head(commit)
        with self._translated("read the history of"):
            history = self._library.log()
        for found in history:
            if found.id == commit:
                return Commit(
                    ref=CommitRef(repo=self.index.repo, commit=commit),
                    message=str(found.message),
                    author=Author(name=str(found.author), email=str(found.email)),
                    parents=tuple(map(str, found.parent_ids)),
                )
        return None

    def stage(
        self,
        removed: Sequence[str],
        modified: Sequence[IndexEntry],
        added: Iterable[IndexEntry],
    ) -> None:
        """Stage the difference to the commit that HEAD names; the links stay in the work tree.

        Args:
            removed: patterns of files and whole folders.
            modified: files to compare with the commit, one by one; no patterns.
            added: files to stage whatever the commit says.
        """
        commit = self.head()
        for pattern in removed:
            with self._translated(f"remove {pattern!r} from"):
                self._library.rm(pattern, True, False, True)
        self.clear()
        self.checkpoint("commit.removed")
        for entry in modified:
            self.link(entry)
            with self._translated(f"add {entry.path!r} to"):
                self._library.add(str(self.index.worktree / entry.path))
        self.clear()
        for entry in added:
            self.link(entry)
        self.checkpoint("commit.linked")
        self.set_head(NOWHERE)
        with self._translated("add to"):
            self._library.add(str(self.index.worktree))
        for entry in modified:
            self.link(entry)
        self.set_head(commit)
        self.checkpoint("commit.staged")

    def commit(self, message: str, author: Author) -> str:
        """Commit what is staged on top of the commit that HEAD names; HEAD names the new one."""
        self._heads = None
        for _ in range(COMMIT_TRIES):
            with _author_lock, self._translated("commit to"):
                self._write_author(author)
                try:
                    commit = str(self._library.commit(message).id)
                except ValueError as error:
                    if "already exists" not in str(error):
                        raise
                else:
                    self.checkpoint("commit.committed")
                    return commit
            time.sleep(1 - time.time() % 1)
        raise PermanentError(f"Oxen gives {self.index.repo} no free commit id")

    def _write_author(self, author: Author) -> None:
        from oxen import user  # noqa: PLC0415 see _open

        self._config.mkdir(parents=True, exist_ok=True)
        os.environ["OXEN_CONFIG_DIR"] = str(self._config)
        user.config_user(author.name, author.email, str(self._config / "user_config.toml"))

    def move_branch(self, name: str, commit: str | None) -> None:
        """Point a branch at a commit, making or moving it, or delete it (None)."""
        heads = self.branches()
        self._heads = None
        with self._translated(f"move the branch {name!r} of"):
            if name in heads:
                self.set_head(heads[name])
                self._library.branch(name, True)
                self.checkpoint("branch.deleted")
            if commit is not None:
                self.set_head(commit)
                self._library.checkout(name, True)

    # --- the work tree

    def clear(self) -> None:
        """Empty the work tree. Links go, the stored contents stay."""
        for entry in os.scandir(self.index.worktree):
            if entry.name == ".oxen":
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()

    def link(self, entry: IndexEntry) -> None:
        """Put a stored file into the work tree with the entry's modification time."""
        content = self.index.content(entry.hash)
        target = self.index.worktree / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.utime(content, ns=(entry.mtime, entry.mtime))
        try:
            target.hardlink_to(content)
        except OSError as error:
            if error.errno not in _NO_LINK:  # such as 65,000 equal files on ext4
                raise
            shutil.copy2(content, target)

    def compare(self, revision: str) -> Difference:
        """How the work tree differs from a revision; equal times and sizes count as equal bytes."""
        self.set_head(revision)
        with self._translated("compare"):
            status = self._library.status()
            untracked = self._library.clean()
        return Difference(
            modified=frozenset(map(str, status.unstaged_modified_files())),
            missing=frozenset(map(str, status.unstaged_removed_files())),
            untracked=frozenset(map(str, (*untracked.files, *untracked.dirs))),
            clean=bool(status.is_clean()),
        )

    def modified(self, revision: str) -> frozenset[str]:
        """The same, only the files with other bytes."""
        self.set_head(revision)
        with self._translated("compare"):
            return frozenset(map(str, self._library.status().unstaged_modified_files()))

    def files(self, commit: str) -> Iterator[tuple[str, Path]]:
        """Every file of a commit, restored one at a time into the work tree, sorted by path.

        Slow, some milliseconds a file: for a lost index. A folder of the commit shows its members
        as missing once it exists in the work tree; a file never does.
        """
        self.clear()
        names = self.compare(commit).missing
        files: list[str] = []
        while names:
            for name in names:
                (self.index.worktree / name).mkdir(parents=True)
            inner = self.compare(commit).missing
            folders = {next(parents(name)) for name in inner}
            files.extend(names - folders)
            names = inner
        self.clear()
        for name in sorted(files):
            path = self.index.worktree / name
            with self._translated(f"restore {name!r} of"):
                self._library.restore(escaped(name), False, commit)
            if path.is_file():  # an empty folder looks the same until here
                yield name, path
                path.unlink()
        self.clear()
