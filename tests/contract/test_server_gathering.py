"""Many files of a first version: staged quickly, and nothing is left of how. A real oxen-server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from contract_contents import Bytes
from contract_files import ANN, HOSTILE, REPO, commit, contents
from contract_wire import Watched

from syncd.clients import oxen_gathering, oxen_repositories
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.clients.oxen_server import ServerVersionStore
from syncd.clients.payload import Payload
from syncd.errors import AuthenticationError, PermanentError, ServiceUnavailableError, SyncdError
from syncd.refs import CommitRef
from syncd.testing.oxen_process import MISSING, find_server, oxen_server

pytestmark = pytest.mark.skipif(find_server() is None, reason=MISSING)
MANY = {f"{n % 7}/{n}": f"content {n}".encode() for n in range(30)}


class Served:
    """A server of the test's own, and what lies in its folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def unreadable(self) -> list[str]:
        """The commits whose index cannot be opened."""
        found = self.folder.rglob("history/*/dir_hashes/CURRENT")
        return [path.parents[1].name for path in found if not path.stat().st_size]

    def store(self, folder: Path, http: Payload | None = None) -> ServerVersionStore:
        """A store as another process would open it."""
        return ServerVersionStore(
            self.url, "", http or Payload(), spool=folder / "spool", spool_limit=1 << 30
        )


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """One for each test, for which fewer files are many."""
    monkeypatch.setattr(oxen_gathering, "MANY", 20)
    monkeypatch.setattr(oxen_gathering, "MOST", 25)
    folder = tmp_path / "server"
    with oxen_server(folder) as started:
        yield Served(started.url, folder)


def gathered(store: ServerVersionStore, files: Mapping[str, bytes]) -> list[TreeEntry]:
    """Bring files into the workspace of the next commit; the tree of them."""
    store.expect(REPO, "main", sorted(files))
    outcomes = store.bring(REPO, [Bytes(data=data, path=path) for path, data in files.items()])
    entries = []
    for path, outcome in zip(files, outcomes, strict=True):
        assert isinstance(outcome, StoredContent), outcome
        entries.append(TreeEntry(path=path, hash=outcome.hash, size=outcome.size))
    return sorted(entries, key=lambda entry: entry.path)


def finished(store: ServerVersionStore, tree: list[TreeEntry]) -> CommitRef:
    """Commit what was gathered."""
    return store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)


def test_many_files_of_a_first_version_are_staged_without_a_look_at_what_was(
    served: Served, tmp_path: Path
) -> None:
    """The workspace's own commit has no index until then, and nobody's history holds it."""
    store = served.store(tmp_path)
    files = {**MANY, **{path: path.encode() for path in HOSTILE}}

    tree = gathered(store, files)
    assert len(served.unreadable()) == 1
    ref = finished(store, tree)

    assert served.unreadable() == []
    assert contents(store, ref) == files
    assert list(store.verify(ref)) == []
    found = store.resolve(REPO, ref.commit)
    assert found is not None
    assert found.parents == ()
    branches = httpx.get(f"{served.url}/api/repos/team/project-data/branches").json()["branches"]
    assert {item["name"] for item in branches} == {"main", "syncd/base"}


@pytest.mark.parametrize("brought", [True, False], ids=["brought", "there already"])
def test_many_files_beside_few_that_change_and_go_are_the_tree_that_was_asked_for(
    served: Served, tmp_path: Path, *, brought: bool
) -> None:
    """What was there before is not looked at when files are staged, and yet replaced and removed."""
    store = served.store(tmp_path)
    before = {"0/0": b"old", "gone/deep/file": b"gone", "kept/file": b"kept", "turns": b"a file"}
    first = commit(store, before)
    files = {**MANY, "kept/file": b"kept", "turns/folder": b"a folder"}
    if not brought:
        commit(served.store(tmp_path / "other"), files, branch="other")

    made = finished(store, gathered(store, files)) if brought else commit(store, files)

    assert contents(store, made) == files
    assert contents(store, first) == before
    assert served.unreadable() == []
    assert list(store.verify(made)) == []


def test_few_files_and_many_before_are_staged_as_ever(served: Served, tmp_path: Path) -> None:
    """The server reads all that is there to make a commit like it."""
    http = Watched()
    store = served.store(tmp_path, http)
    commit(store, dict(list(MANY.items())[:19]))
    many = {f"f{n}": b"%d" % n for n in range(26)}
    assert "POST /commits" not in http.seen
    commit(store, many, branch="side")
    asked = http.seen.count("POST /commits")
    commit(store, {**many, **MANY}, branch="side")

    assert http.seen.count("POST /commits") == asked == 1


@pytest.mark.parametrize(
    ("route", "error", "again"),
    [
        ("POST /commits", AuthenticationError("no"), False),
        ("POST /commits/upload", AuthenticationError("no"), False),
        ("POST /commits/upload", ServiceUnavailableError("busy"), True),
    ],
)
def test_a_server_that_refuses_is_used_as_ever(
    served: Served, tmp_path: Path, route: str, error: SyncdError, *, again: bool
) -> None:
    """What is refused for good is not asked for again; nothing is lost, and no branch is moved."""
    http = Watched({route: error})
    store = served.store(tmp_path, http)
    ref = finished(store, gathered(store, MANY))
    asked = http.seen.count("POST /commits")
    other = commit(store, {**MANY, "more": b"more"}, branch="other")

    assert contents(store, ref) == MANY
    assert contents(store, other) == {**MANY, "more": b"more"}
    assert served.unreadable() == []
    assert (http.seen.count("POST /commits") > asked) == again
    found = store.resolve(REPO, ref.commit)
    assert found is not None
    assert found.parents == ()


def test_another_server_than_the_one_that_was_tried_is_used_as_ever(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How it looks for files may have changed."""
    monkeypatch.setattr(oxen_gathering, "TRIED", "0.65.1")
    http = Watched()
    store = served.store(tmp_path, http)

    assert contents(store, finished(store, gathered(store, MANY))) == MANY
    assert "POST /commits" not in http.seen


@pytest.mark.parametrize("at", ["PUT /workspaces", "staging"])
def test_what_a_killed_process_left_without_an_index_gets_one(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """With its workspace or its branch, when they are old; nothing of the server's stays damaged."""
    fails = {} if at == "staging" else {at: ServiceUnavailableError("gone")}
    killed = served.store(tmp_path, Watched(fails))
    if fails:
        monkeypatch.setattr(oxen_gathering.Gathering, "close", lambda *_: None)
        with pytest.raises(ServiceUnavailableError):
            killed.expect(REPO, "main", sorted(MANY))
        monkeypatch.undo()
    else:
        gathered(killed, MANY)
    assert len(served.unreadable()) == 1

    monkeypatch.setattr(oxen_repositories, "STALE", -1)
    commit(served.store(tmp_path / "other"), {"a": b"1"})

    assert served.unreadable() == []


def test_a_commit_that_fails_leaves_no_commit_without_an_index(
    served: Served, tmp_path: Path
) -> None:
    """Its workspace is given up, and what was taken away for it comes back."""
    store = served.store(tmp_path)
    tree = gathered(store, {**MANY, "z": b"z"})
    lacking = [*tree[:-1], TreeEntry(path="z", hash="12ab", size=3)]
    with pytest.raises(PermanentError, match="lacks the content"):
        finished(store, lacking)

    assert served.unreadable() == []
