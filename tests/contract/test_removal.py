"""A rehearsal's repositories go, whole, and no other one does."""

from __future__ import annotations

import errno
import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from contract_files import OTHER, REPO, commit, put

from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.clients.oxen_removal import remove_folder, remove_from_server
from syncd.clients.oxen_server import ServerVersionStore
from syncd.clients.oxen_wire import Wire
from syncd.clients.payload import Payload
from syncd.clients.protocols import VersionStore
from syncd.errors import PermanentError, StoreLockedError
from syncd.refs import RepoRef
from syncd.testing.oxen_process import oxen_server

Ends = tuple[Callable[[], VersionStore], Callable[[RepoRef], None]]


@pytest.fixture(params=["embedded", "server"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    """What opens a store, as another process would, and what removes repositories from it."""
    if request.param == "embedded":
        yield lambda: EmbeddedVersionStore(tmp_path), lambda repo: remove_folder(tmp_path, repo)
        return
    request.getfixturevalue("oxen_binary")
    with oxen_server(tmp_path / "server") as started, closing(Payload()) as http:

        def opened() -> VersionStore:
            spool = tmp_path / "spool"
            return ServerVersionStore(started.url, "", http, spool=spool, spool_limit=1 << 20)

        yield opened, lambda repo: remove_from_server(OxenApi(Wire(started.url, "", http)), repo)


def test_a_repository_is_removed_and_no_other(ends: Ends) -> None:
    """Twice is once, and what was never there is no failure."""
    opened, remove = ends
    store = opened()
    kept = commit(store, {"a": b"kept"}, repo=OTHER)
    commit(store, {"a": b"gone"}, repo=REPO)
    for _ in range(2):
        remove(REPO)

    store = opened()
    assert store.branches(REPO) == {}
    assert b"".join(store.read(kept, "a")) == b"kept"
    assert put(store, b"kept", OTHER).size == 4


def test_a_repository_in_which_another_process_works_is_left_alone(tmp_path: Path) -> None:
    """Nothing is taken from under it."""
    store = EmbeddedVersionStore(tmp_path)
    ref = commit(store, {"a": b"kept"}, repo=REPO)
    with RepoIndex(tmp_path, REPO).lock.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as another process does: the lock is of the open file
        with pytest.raises(StoreLockedError):
            remove_folder(tmp_path, REPO)

    assert b"".join(EmbeddedVersionStore(tmp_path).read(ref, "a")) == b"kept"


def test_what_the_disk_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the repository's name."""
    commit(EmbeddedVersionStore(tmp_path), {"a": b"kept"}, repo=REPO)

    def refuse(_path: Path) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(PermanentError, match=rf"{REPO} could not be removed: Permission denied"):
        remove_folder(tmp_path, REPO)


def test_nothing_of_an_embedded_repository_is_left(tmp_path: Path) -> None:
    """Its index files go with it, and its namespace when that is empty."""
    store = EmbeddedVersionStore(tmp_path)
    commit(store, {"a": b"gone"}, repo=REPO)
    remove_folder(tmp_path, REPO)

    assert not (tmp_path / REPO.namespace).exists()
