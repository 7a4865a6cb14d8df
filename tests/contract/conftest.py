"""The stores that keep the contract; a new one adds a harness to `HARNESSES`.

Helpers beside the tests are imported by name.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import httpx
import pytest

from syncd.clients.commits import TreeEntry
from syncd.clients.oxen_index import IndexEntry, RepoIndex
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.clients.oxen_lock import exclusive
from syncd.clients.oxen_repo import OxenRepository
from syncd.clients.oxen_server import ServerVersionStore
from syncd.clients.payload import Payload
from syncd.clients.protocols import VersionStore
from syncd.refs import CommitRef, RepoRef
from syncd.testing import MemoryVersionStore, StoreHarness
from syncd.testing.oxen_process import MISSING, OxenServer, find_server, oxen_server

sys.path.insert(0, str(Path(__file__).parents[1] / "sandbox"))
sys.path.insert(0, str(Path(__file__).parent / "support"))

from contract_files import OTHER, REPO
from contract_sources import World, opened


class MemoryHarness:
    """The double."""

    knows_lengths = True

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

    knows_lengths = True

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


class ServerHarness:
    """A real oxen-server; its data directory is what the embedded store's is, too."""

    knows_lengths = False

    def __init__(self, path: Path, server: OxenServer) -> None:
        self._path = path
        self._server = server
        self._headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
        for repo in (REPO, OTHER):
            where = f"{server.url}/api/repos/{repo.namespace}/{repo.repo}"
            httpx.delete(where, headers=self._headers, timeout=60)
        self.store: VersionStore = self.reopened()

    def reopened(self) -> VersionStore:
        """Another client with the same spool."""
        return ServerVersionStore(
            self._server.url,
            self._server.token or "",
            Payload(),
            spool=self._path / "spool",
            spool_limit=1 << 30,
        )

    def corrupt(self, repo: RepoRef, content: str, data: bytes | None) -> None:
        """Write over the file in the server's version store."""
        path = self._content(repo, content)
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)

    def falsify(self, commit: CommitRef, tree: Sequence[TreeEntry]) -> None:
        """The server has but one account of a tree: nothing can be made to differ from it."""
        del commit, tree
        pytest.skip("a server's tree is what it says it is")

    def stored(self, repo: RepoRef, content: str) -> object:
        """The file's inode: a file that is written again is another one."""
        return self._content(repo, content).stat().st_ino

    def checked_out(self, commit: CommitRef) -> Mapping[str, bytes]:
        """What the server exports as an archive, which walks the tree on its own."""
        url = f"{self._where(commit.repo)}/export/download/{commit.commit}"
        answer = httpx.get(url, headers=self._headers, timeout=60)
        if answer.status_code == 404:
            return {}
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def _where(self, repo: RepoRef) -> str:
        return f"{self._server.url}/api/repos/{repo.namespace}/{repo.repo}"

    def _content(self, repo: RepoRef, content: str) -> Path:
        """In the directory that the repository's UUID leads to (liboxen 0.65.2)."""
        found = httpx.get(self._where(repo), headers=self._headers, timeout=60).json()
        uuid = found["repository"]["repo_uuid"]
        (oxen,) = self._server.sync_dir.glob(f"repo/*/*/{uuid}/.oxen")
        return oxen / "versions" / "files" / content[:2] / content[2:] / "data"


HARNESSES: dict[str, Callable[[Path], StoreHarness]] = {
    "memory": MemoryHarness,
    "embedded": EmbeddedHarness,
}
SERVERS = {"server": False, "server behind a token": True}


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], OxenServer]]:
    """Real servers, one of each kind for all tests of a process."""
    with ExitStack() as stack:

        @cache
        def started(authenticated: bool) -> OxenServer:
            folder = tmp_path_factory.mktemp("oxen-server")
            return stack.enter_context(oxen_server(folder, authenticated=authenticated))

        yield started


@pytest.fixture(params=[*HARNESSES, *SERVERS])
def harness(
    request: pytest.FixtureRequest, tmp_path: Path, servers: Callable[[bool], OxenServer]
) -> StoreHarness:
    """One kind of store after the other, empty."""
    kind = request.param
    if kind in HARNESSES:
        return HARNESSES[kind](tmp_path)
    if find_server() is None:
        pytest.skip(MISSING)
    return ServerHarness(tmp_path, servers(SERVERS[kind]))


@pytest.fixture(params=["memory", "sandbox"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """One W&B after the other, empty."""
    with opened(request.param, tmp_path) as made:
        yield made
