"""The stores that keep the contract; a new one adds a harness to `HARNESSES`.

Helpers beside the tests are imported by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from syncd.clients.oxen_index import IndexEntry, RepoIndex
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.clients.oxen_lock import exclusive
from syncd.clients.oxen_repo import OxenRepository
from syncd.clients.protocols import TreeEntry, VersionStore
from syncd.refs import CommitRef, RepoRef
from syncd.testing import MemoryVersionStore, StoreHarness

sys.path.insert(0, str(Path(__file__).parent / "support"))


class MemoryHarness:
    """The double."""

    def __init__(self, path: Path) -> None:
        del path
        self._memory = MemoryVersionStore(chunk_size=5)
        self.store: VersionStore = self._memory
        self.corrupt = self._memory.corrupt
        self.falsify = self._memory.falsify
        self.stored = self._memory.stored

    def reopened(self) -> VersionStore:
        """The same: it lives as long as the process."""
        return self.store

    def checked_out(self, commit: CommitRef) -> Mapping[str, bytes]:
        """There is no other way into it."""
        return {e.path: b"".join(self.store.read(commit, e.path)) for e in self.store.tree(commit)}


class EmbeddedHarness:
    """Real Oxen repositories."""

    def __init__(self, path: Path) -> None:
        self._root = path / "store"
        self.store: VersionStore = EmbeddedVersionStore(self._root)

    def reopened(self) -> VersionStore:
        """Another store over the directory."""
        return EmbeddedVersionStore(self._root)

    def corrupt(self, repo: RepoRef, content: str, data: bytes | None) -> None:
        """Write over the file in Oxen's version store."""
        path = RepoIndex(self._root, repo).content(content)
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)

    def falsify(self, commit: CommitRef, tree: Sequence[TreeEntry]) -> None:
        """Write another index for the commit, keeping the recorded times."""
        index = RepoIndex(self._root, commit.repo)
        opened = index.open(commit.commit)
        assert opened is not None
        with opened:
            header, times = opened.header, {entry.path: entry.mtime for entry in opened}
        entries = [
            IndexEntry(path=e.path, hash=e.hash, size=e.size, mtime=times.get(e.path, 0))
            for e in tree
        ]
        index.write_pending(header, entries)
        index.adopt_pending(commit.commit)

    def stored(self, repo: RepoRef, content: str) -> object:
        """The file's inode: a file that is written again is another one."""
        return RepoIndex(self._root, repo).content(content).stat().st_ino

    def checked_out(self, commit: CommitRef) -> Mapping[str, bytes]:
        """What liboxen restores, which walks the tree from its root."""
        index = RepoIndex(self._root, commit.repo)
        with exclusive(index):
            opened = OxenRepository(index, self._root / ".syncd" / "config", lambda _: None)
            opened.clear()
            opened.set_head(commit.commit)
            opened._library.restore(".", False, commit.commit)
            found = {
                path.relative_to(index.worktree).as_posix(): path.read_bytes()
                for path in index.worktree.rglob("*")
                if path.is_file() and index.oxen not in path.parents
            }
            opened.rest()
        return found


HARNESSES: dict[str, Callable[[Path], StoreHarness]] = {
    "memory": MemoryHarness,
    "embedded": EmbeddedHarness,
}


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> StoreHarness:
    """One kind of store after the other, empty."""
    return HARNESSES[request.param](tmp_path)
