"""Many files of a first version: staged quickly, and nothing is left of how. A real oxen-server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from contract_contents import Bytes
from contract_files import ANN, HOSTILE, REPO, commit, contents
from contract_wire import Watched

from syncd.clients import oxen_gathering, oxen_repositories
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_server import ServerVersionStore
from syncd.clients.payload import Payload
from syncd.errors import AuthenticationError, PermanentError, ServiceUnavailableError, SyncdError
from syncd.refs import CommitRef
from syncd.testing.oxen_process import MISSING, find_server, oxen_server
from syncd.versions.ancestry import relation

pytestmark = pytest.mark.skipif(find_server() is None, reason=MISSING)
MANY = {f"{n % 7}/{n}": f"content {n}".encode() for n in range(30)}
BEFORE = {
    **MANY,
    **{path: path.encode() for path in HOSTILE if path.count("/") < 3},
    "root.jpg": b"of the root",
    "stays": b"in the root",
    "1/table.csv": b"a,b\n1,2\n",
    "1/stays.csv": b"a,b\n3,4\n",
    "stays.jsonl": b'{"a": 1}\n',
    "2/gone": b"goes",
}
CHANGING = {path: b"changed " + data for path, data in MANY.items() if path[0] not in "36"}
CHANGED = {
    **{path: data for path, data in BEFORE.items() if path != "2/gone"},
    **CHANGING,
    "root.jpg": b"changed",
    "1/table.csv": b"a,b\n5,6\n",
    "2/new": b"comes",
}


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


def entries(files: Mapping[str, bytes]) -> list[TreeEntry]:
    """The tree of files."""
    named = ((path, StoredContent.of(data)) for path, data in sorted(files.items()))
    return [TreeEntry(path=path, hash=stored.hash, size=stored.size) for path, stored in named]


def expect(
    store: ServerVersionStore, files: Mapping[str, bytes], before: Mapping[str, bytes]
) -> list[Bytes]:
    """Open the workspace of the next commit; what is to come into it."""
    known = {entry.path: entry.hash for entry in entries(before)}
    fresh = {path: data for path, data in files.items() if before.get(path) != data}
    store.expect(REPO, "main", [(p, "" if p in fresh else known[p]) for p in sorted(files)])
    return [Bytes(data=data, path=path) for path, data in fresh.items()]


def gathered(
    store: ServerVersionStore, files: Mapping[str, bytes], before: Mapping[str, bytes] | None = None
) -> list[TreeEntry]:
    """Bring files into the workspace of the next commit; the tree of them."""
    outcomes = store.bring(REPO, expect(store, files, before or {}))
    assert all(isinstance(outcome, StoredContent) for outcome in outcomes), outcomes
    return entries(files)


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
            expect(killed, MANY, {})
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


# --- files that change


_STEPS = {"files", "changes", "merge", "upload", "branches", "workspaces"}


class KilledError(BaseException):
    """The process ends here."""


class Dying(Watched):
    """Sends so many requests, and no more."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.left = requests
        self.last = ""  # that was asked for

    def ask(self, asked: str) -> None:
        """As any request, until none is left."""
        super().ask(asked)
        method, _, path = asked.partition(" ")
        self.last = f"{method} /{next((s for s in reversed(path.split('/')) if s in _STEPS), '')}"
        if not self.left:
            raise KilledError
        self.left -= 1


@pytest.fixture
def before(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommitRef:
    """A commit in which many files are about to change."""
    monkeypatch.setattr(oxen_gathering, "MOST", 1000)
    store = served.store(tmp_path / "before")
    return finished(store, gathered(store, BEFORE))


def told(served: Served, ref: CommitRef) -> dict[str, Any]:
    """What the server tells of a commit's files and folders, by path."""
    url = f"{served.url}/api/repos/{REPO.namespace}/{REPO.repo}/dir/{ref.commit}"
    found: dict[str, Any] = {}
    for folder in ("", *sorted({path.partition("/")[0] for path in CHANGED if "/" in path})):
        listed = httpx.get(f"{url}/{quote(folder)}?page_size=1000").json()
        found[f"{folder}/"] = listed["dir"]
        found.update(
            {f"{folder}/{item['filename']}".lstrip("/"): item for item in listed["entries"]}
        )
    return found


@pytest.mark.parametrize("brought", [True, False], ids=["brought", "there already"])
def test_many_files_that_change_are_staged_without_a_look_at_what_was(
    served: Served, tmp_path: Path, before: CommitRef, *, brought: bool
) -> None:
    """What stays is not touched, and the server counts right."""
    store = served.store(tmp_path)
    old = told(served, before)

    if brought:
        gathered(store, CHANGED, BEFORE)
        assert len(served.unreadable()) == 1
    else:
        there = [Bytes(data=data, path=path) for path, data in CHANGED.items()]
        served.store(tmp_path / "other").bring(REPO, there)
    made = finished(store, entries(CHANGED))

    assert contents(store, made) == CHANGED
    assert list(served.store(tmp_path / "later").tree(before)) == entries(BEFORE)
    assert served.unreadable() == []
    new = told(served, made)
    for path in ("stays", "stays.jsonl", "1/stays.csv", "3/3", "Data/x"):
        assert new[path] == {**old[path], "resource": new[path]["resource"]}, path
    for path in (*CHANGING, "root.jpg", "1/table.csv", "2/new"):
        assert new[path]["latest_commit"]["id"] == made.commit, path
    for folder in (item.rstrip("/") for item in new if item.endswith("/")):
        inside = [path for path in CHANGED if f"{path}/".startswith(f"{folder}/".lstrip("/"))]
        kinds = new[f"{folder}/"]["metadata"]["dir"]["data_types"]
        assert sum(kind["count"] for kind in kinds) == len(inside), folder
    assert new["2/"]["size"] == sum(len(CHANGED[path]) for path in CHANGED if path[:2] == "2/")
    found = store.resolve(REPO, made.commit)
    assert found is not None
    (lacking,) = found.parents
    between = store.resolve(REPO, lacking)
    assert between is not None
    assert between.message.startswith("Gather files")
    assert relation(store, REPO, before.commit, made.commit).ahead == 1


def test_files_that_are_taken_out_to_change_do_not_change_an_earlier_commit(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of their folder has the contents that it had once under another name."""
    monkeypatch.setattr(oxen_gathering, "MOST", 1000)
    store = served.store(tmp_path)
    first = commit(store, {"d/old name": b"same"})
    many = {f"d/{n}": b"%d" % n for n in range(20)}
    before = {**many, "d/new name": b"same"}
    finished(store, gathered(store, before))
    after = {**before, **{path: b"changed " + data for path, data in many.items()}}
    gathered(store, after, before)
    assert len(served.unreadable()) == 1
    made = finished(store, entries(after))

    again = served.store(tmp_path / "again")
    assert list(again.tree(first)) == entries({"d/old name": b"same"})
    assert list(again.tree(made)) == entries(after)


@pytest.mark.usefixtures("before")
def test_a_users_notes_on_the_columns_of_a_table_stay_when_many_files_change(
    served: Served, tmp_path: Path
) -> None:
    """They go over to the table that comes in its place, as without many files."""
    url = f"{served.url}/api/repos/{REPO.namespace}/{REPO.repo}"
    workspace = {"branch_name": "main", "workspace_id": "mine", "name": "mine"}
    assert httpx.put(f"{url}/workspaces", json=workspace).status_code < 300
    frame = f"{url}/workspaces/mine/data_frames"
    for table in ("1/table.csv", "1/stays.csv"):
        noted = httpx.put(f"{frame}/schema/{table}", json={"metadata": {"note": "mine"}})
        assert noted.status_code < 300, noted.text
    said = {"message": "notes", "author": "Ann", "email": "ann@example.com"}
    merged = httpx.post(f"{url}/workspaces/mine/merge/main", json=said)
    assert merged.status_code < 300, merged.text
    store = served.store(tmp_path)
    made = finished(store, gathered(store, CHANGED, BEFORE))

    assert list(store.tree(made)) == entries(CHANGED)
    for table in ("1/table.csv", "1/stays.csv"):
        meta = httpx.get(f"{url}/meta/{made.commit}/{table}").text
        assert '"note":"mine"' in meta, meta


@pytest.mark.parametrize(
    ("call", "error"),
    [("unstage", AuthenticationError("no")), ("merge", ServiceUnavailableError("busy"))],
)
def test_a_server_that_does_not_take_files_out_is_used_as_ever(
    served: Served, tmp_path: Path, before: CommitRef, call: str, error: SyncdError
) -> None:
    """Nothing of the attempt is left."""
    store = served.store(tmp_path)

    def refuse(*_: object, **_named: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OxenApi, call, refuse)
        items = expect(store, CHANGED, BEFORE)
    store.bring(REPO, items)
    assert served.unreadable() == []
    made = finished(store, entries(CHANGED))

    assert list(store.tree(made)) == entries(CHANGED)
    found = store.resolve(REPO, made.commit)
    assert found is not None
    assert found.parents == (before.commit,)


def test_what_is_left_wherever_a_process_is_killed_is_mended(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is told of it, and the next one makes the same commit as if it had not been."""
    monkeypatch.setattr(oxen_gathering, "MOST", 1000)
    files = {f"d/{n}": b"%d" % n for n in range(25)}
    changed = {**files, **{f"d/{n}": b"changed %d" % n for n in range(21)}}
    store = served.store(tmp_path / "before")
    before = finished(store, gathered(store, files))
    seen = list[str]()
    for requests in count(6):  # before that nothing is asked for but what is there
        http = Dying(requests)
        with suppress(KilledError):
            expect(served.store(tmp_path / str(requests), http), changed, files)
        seen.append(http.last)
        if http.left:
            break
    assert {"DELETE /files", "DELETE /changes", "POST /merge", "POST /upload"} <= set(seen)
    assert len(served.unreadable()) > 1
    assert contents(served.store(tmp_path), before) == files

    monkeypatch.setattr(oxen_repositories, "STALE", -1)
    store = served.store(tmp_path / "later")
    made = finished(store, gathered(store, changed, files))

    assert served.unreadable() == []
    assert contents(store, made) == changed
    assert contents(store, before) == files
    url = f"{served.url}/api/repos/{REPO.namespace}/{REPO.repo}"
    assert httpx.get(f"{url}/workspaces").json()["workspaces"] == []
    branches = httpx.get(f"{url}/branches").json()["branches"]
    assert {item["name"] for item in branches} == {"main", "syncd/base"}
