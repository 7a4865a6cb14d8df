"""What the store on a server promises beyond the contract. A real oxen-server, bare and guarded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
import xxhash
from contract_files import ANN, HOSTILE, REPO, commit, contents, put
from contract_wire import Watched

from syncd.clients import oxen_gathering, oxen_repositories, oxen_uploads
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.clients.oxen_server import ServerVersionStore
from syncd.clients.payload import Answer, Payload
from syncd.errors import (
    AuthenticationError,
    IntegrityError,
    PermanentError,
    ServiceUnavailableError,
    SyncdError,
)
from syncd.refs import CommitRef
from syncd.testing.oxen_process import MISSING, OxenServer, find_server, oxen_server
from syncd.testing.served import served

needs_server = pytest.mark.skipif(find_server() is None, reason=MISSING)
CLONE = """
import sys, oxen
oxen.user.config_user("Ann", "ann@example.com")
url, folder, branch = sys.argv[1:]
oxen.clone(url, folder, branch=branch, all=True)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OxenServer]:
    """A server of the test's own."""
    with oxen_server(tmp_path / "server") as started:
        yield started


def opened(url: str, folder: Path, token: str = "") -> ServerVersionStore:
    """A store as another process would open it."""
    return ServerVersionStore(url, token, Payload(), spool=folder / "spool", spool_limit=1 << 30)


@dataclass
class Bytes:
    """A content whose source counts what is asked of it, and breaks off where it is told to."""

    data: bytes
    path: str = "content"
    known: bool = True
    breaks_at: int | None = None
    asked: int = 0
    begins: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        """As W&B's digest would be."""
        return f"xxh128-{xxhash.xxh3_128_hexdigest(self.data)}"

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def hash(self) -> str | None:
        """Where it is known before."""
        return f"{xxhash.xxh3_128_intdigest(self.data):x}" if self.known else None

    def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
        """All of it behind what is there."""
        begin = sum(len(chunk) for chunk in before)
        return self.part(begin, len(self.data) - begin)

    def part(self, begin: int, size: int) -> Iterator[bytes]:
        """A range in pieces."""
        self.begins.append(begin)
        for start in range(begin, begin + size, 1 << 16):
            if self.breaks_at is not None and start >= self.breaks_at:
                raise ServiceUnavailableError("cut off")
            piece = self.data[start : min(start + (1 << 16), begin + size)]
            self.asked += len(piece)
            yield piece


@needs_server
def test_a_new_branch_costs_what_its_commit_adds(server: OxenServer, tmp_path: Path) -> None:
    """Where one is made by being moved, the server looks at each file that the commit holds."""
    http = Watched()
    store = ServerVersionStore(server.url, "", http, spool=tmp_path / "spool", spool_limit=1 << 30)
    first = commit(store, {"a": b"1"})
    second = commit(store, {"a": b"1", "b": b"2"})
    for ref, name in ((first, "wandb/v0"), (second, "wandb/v1"), (first, "latest")):
        store.set_branch(ref, name)
    assert [name for name in http.moved if not name.startswith("syncd/")] == ["main"]

    store.set_branch(second, "latest")
    store.set_branch(second, "latest")

    assert http.moved[-1:] == ["latest"]
    assert http.moved.count("latest") == 1
    heads = {"main": second.commit, "wandb/v0": first.commit, "wandb/v1": second.commit}
    assert store.branches(REPO) == {**heads, "latest": second.commit}


@needs_server
def test_a_branch_that_another_made_meanwhile_is_moved(server: OxenServer, tmp_path: Path) -> None:
    """Or one whose making was answered with nothing."""
    store = opened(server.url, tmp_path)
    first = commit(store, {"a": b"1"})
    second = commit(store, {"a": b"2"})
    store.set_branch(first, "latest")

    store._api.create_branch(REPO, "latest", second.commit)

    assert store.branches(REPO)["latest"] == second.commit


@needs_server
def test_an_increment_lists_only_the_folders_it_changed(server: OxenServer, tmp_path: Path) -> None:
    """The server tells each folder's hash, and that of a folder is one of all below it."""
    http = Watched()
    store = ServerVersionStore(server.url, "", http, spool=tmp_path / "spool", spool_limit=1 << 30)
    files = {f"{a}/{b}/{c}": f"{a}{b}{c}".encode() for a in "xyz" for b in "pq" for c in "12"}
    commit(store, files)
    http.seen.clear()

    second = commit(store, {**files, "x/p/1": b"changed", "z/q/3": b"new"})

    assert sorted(set(http.listed)) == ["", "x", "x/p", "z", "z/q"]
    assert contents(store, second) == {**files, "x/p/1": b"changed", "z/q/3": b"new"}
    assert list(store.verify(second)) == []


@needs_server
@pytest.mark.parametrize("others", [{}, {"d/c": b"other"}], ids=["nothing else", "something else"])
def test_a_file_that_the_server_takes_for_unmodified_is_committed(
    server: OxenServer, tmp_path: Path, others: dict[str, bytes]
) -> None:
    """It compares sizes and times of storing, and these it may believe to be coarse."""
    store = opened(server.url, tmp_path)
    before = {"a": b"one", "d/b": b"two", "e": b"still"}
    after = {"a": b"eno", "d/b": b"owt", "e": b"still", **others}
    for files in (before, after):
        for data in files.values():
            put(store, data)
        for stored in (tmp_path / "server").glob("**/versions/files/*/*/data"):
            os.utime(stored, (1, 1))
        ref = commit(store, files)

        assert contents(store, ref) == files


@needs_server
@pytest.mark.parametrize("many", [oxen_gathering.MANY, 5], ids=["staged as ever", "gathered"])
def test_a_clone_by_another_client_equals_what_was_committed(
    server: OxenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """With its whole history, hostile names included; oxenai knows nothing of us."""
    monkeypatch.setattr(oxen_gathering, "MANY", many)
    store = opened(server.url, tmp_path)
    first = commit(store, {path: path.encode() for path in HOSTILE})
    new = {f"folder/new {n}": b"%d" % n for n in range(6)}
    second = commit(store, {path: b"2 " + path.encode() for path in HOSTILE[::2]} | new)
    home = tmp_path / "home"
    home.mkdir()

    for ref in (first, second):
        folder = tmp_path / ref.commit
        store.set_branch(ref, f"wandb/{ref.commit}")
        subprocess.run(
            [
                sys.executable,
                "-c",
                CLONE,
                f"{server.url}/team/project-data",
                folder,
                f"wandb/{ref.commit}",
            ],
            check=True,
            capture_output=True,
            env={"HOME": str(home), "PATH": os.environ["PATH"]},
        )
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and ".oxen" not in path.relative_to(folder).parts
        }
        assert found == contents(store, ref)


@needs_server
@pytest.mark.parametrize("known", [True, False], ids=["known hash", "unknown hash"])
def test_what_was_sent_before_a_break_is_not_sent_again(
    server: OxenServer, tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not by another process: at most one part of 10 MiB."""
    monkeypatch.setattr(oxen_uploads, "LARGE", 1 << 20)
    data = os.urandom(45 << 20)
    source = Bytes(data, known=known, breaks_at=len(data) * 9 // 10)
    stored = StoredContent(hash=f"{xxhash.xxh3_128_intdigest(data):x}", size=len(data))

    [broken] = opened(server.url, tmp_path).bring(REPO, [source])
    assert isinstance(broken, ServiceUnavailableError)
    source.breaks_at = None
    [outcome] = opened(server.url, tmp_path).bring(REPO, [source])

    assert outcome == stored
    assert source.asked <= len(data) + (10 << 20)
    assert opened(server.url, tmp_path).missing(REPO, [stored.hash]) == set()
    assert not any(path.is_file() for path in (tmp_path / "spool").rglob("*"))


@needs_server
@pytest.mark.parametrize(
    ("soon", "most"),
    [(60.0, 3 << 20), (0.0, 20 << 20)],
    ids=["comes soon", "takes long"],
)
def test_only_a_file_that_takes_long_is_kept_on_its_way(
    server: OxenServer, tmp_path: Path, soon: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would come again within two minutes goes through in one pass; the way it began is kept."""
    monkeypatch.setattr(oxen_uploads, "LARGE", 1 << 20)
    monkeypatch.setattr(oxen_uploads, "FIRST", 2 << 20)
    monkeypatch.setattr(oxen_uploads, "SOON", soon)
    kept: list[int] = []
    data = os.urandom(20 << 20)

    class Watched(Bytes):
        def part(self, begin: int, size: int) -> Iterator[bytes]:
            for piece in Bytes.part(self, begin, size):
                partial = (tmp_path / "spool" / "partial").iterdir()
                kept.append(sum(path.stat().st_size for path in partial))
                yield piece

    store = opened(server.url, tmp_path)
    store.expect(REPO, "main", [("content", "")])
    source = Watched(data, known=False, breaks_at=15 << 20)
    [broken] = store.bring(REPO, [source])
    source.breaks_at = None
    [outcome] = store.bring(REPO, [source])

    assert isinstance(broken, ServiceUnavailableError)
    assert isinstance(outcome, StoredContent)
    assert most - (1 << 20) <= max(kept) + (1 << 16) <= most + (2 << 20)
    assert source.begins == [0, source.begins[1]]
    assert source.begins[1] >= (2 << 20)
    assert not any(path.is_file() for path in (tmp_path / "spool" / "partial").iterdir())
    tree = [TreeEntry(path="content", hash=outcome.hash, size=outcome.size)]
    made = store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)
    assert contents(store, made) == {"content": data}


@needs_server
def test_an_upload_that_the_server_forgot_begins_anew(server: OxenServer, tmp_path: Path) -> None:
    """It keeps uploads in memory."""
    data = os.urandom(25 << 20)
    source = Bytes(data, breaks_at=21 << 20)
    assert isinstance(opened(server.url, tmp_path).bring(REPO, [source])[0], SyncdError)
    server.stop()
    server.start_again()
    source.breaks_at = None

    [outcome] = opened(server.url, tmp_path).bring(REPO, [source])

    assert outcome == StoredContent(hash=str(source.hash), size=len(data))


@needs_server
def test_bytes_that_are_not_what_their_hash_says_are_refused(
    server: OxenServer, tmp_path: Path
) -> None:
    """W&B sent other bytes than its manifest names; nothing is kept."""
    right, wrong = Bytes(os.urandom(12 << 20)), Bytes(os.urandom(12 << 20))
    right.part = wrong.part  # type: ignore[method-assign]

    [outcome] = opened(server.url, tmp_path).bring(REPO, [right])

    assert isinstance(outcome, IntegrityError)
    assert opened(server.url, tmp_path).missing(REPO, [str(right.hash)]) == {right.hash}


@needs_server
def test_small_files_are_staged_as_they_arrive(server: OxenServer, tmp_path: Path) -> None:
    """And the commit is the tree that was asked for, whatever else had been staged."""
    store = opened(server.url, tmp_path)
    commit(store, {"d/old": b"old", "e/kept": b"kept"})
    files = {f"d/{n}": f"content {n}".encode() for n in range(300)}
    brought = [Bytes(data, path) for path, data in files.items()]
    store.expect(REPO, "main", [(path, "") for path in (*files, "e/kept")])
    outcomes = store.bring(REPO, brought)
    store.bring(REPO, [Bytes(b"of no use", "d/stray")])
    kept = put(store, b"kept")
    tree = [TreeEntry(path="e/kept", hash=kept.hash, size=kept.size)]
    for path, outcome in zip(files, outcomes, strict=True):
        assert isinstance(outcome, StoredContent)
        tree.append(TreeEntry(path=path, hash=outcome.hash, size=outcome.size))

    tree.sort(key=lambda entry: entry.path)
    made = store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)

    assert contents(store, made) == {**files, "e/kept": b"kept"}


@needs_server
def test_what_a_killed_process_left_is_deleted_when_it_is_old(
    server: OxenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workspaces take room on the server; other people's, and living ones, are left alone."""
    where = f"{server.url}/api/repos/team/project-data/workspaces"
    killed = opened(server.url, tmp_path)
    commit(killed, {"a": b"1"})
    killed.expect(REPO, "main", [("a", ""), ("b", "")])
    (living,) = httpx.get(where).json()["workspaces"]
    commit(opened(server.url, tmp_path / "other"), {"a": b"1", "c": b"3"}, branch="side")
    assert living["id"] in {item["id"] for item in httpx.get(where).json()["workspaces"]}
    httpx.put(where, json={"branch_name": "main", "workspace_id": "of-ann"}).raise_for_status()

    monkeypatch.setattr(oxen_repositories, "STALE", -1)
    ref = commit(opened(server.url, tmp_path), {"a": b"1", "b": b"2"})

    assert [item["id"] for item in httpx.get(where).json()["workspaces"]] == ["of-ann"]
    assert contents(killed, ref) == {"a": b"1", "b": b"2"}


@needs_server
def test_branches_of_our_own_are_not_told_of(server: OxenServer, tmp_path: Path) -> None:
    """Nor is the work left over: one branch remains on which others begin."""
    store = opened(server.url, tmp_path)
    ref = commit(store, {"a": b"1"})

    found = httpx.get(f"{server.url}/api/repos/team/project-data/branches").json()["branches"]

    assert {item["name"] for item in found} == {"main", "syncd/base"}
    assert store.branches(REPO) == {"main": ref.commit}
    assert store.resolve(REPO, "syncd/base") is None


@needs_server
def test_a_wrong_token_is_refused_with_the_next_step(tmp_path: Path) -> None:
    """And never printed."""
    with oxen_server(tmp_path / "server", authenticated=True) as guarded:
        store = opened(guarded.url, tmp_path, token="a-wrong-token")

        with pytest.raises(AuthenticationError) as caught:
            put(store, b"bytes")

    assert "a-wrong-token" not in str(caught.value)
    assert caught.value.hint


@contextmanager
def answering(answer: Callable[[str], tuple[int, object]]) -> Iterator[str]:
    """A server that says what it is told to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = answer(self.path)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with served(Handler) as url:
        yield url


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"oxen_version": "0.40.2"}, "0.40.2"),
        ({"oxen_version": "?"}, "no Oxen version"),
        ({}, "no Oxen version"),
    ],
)
def test_a_server_that_is_too_old_or_none_is_named(
    tmp_path: Path, document: dict[str, str], words: str
) -> None:
    """Before anything is sent to it."""
    asked: list[str] = []

    def answer(path: str) -> tuple[int, object]:
        asked.append(path)
        return 200, document

    with answering(answer) as url, pytest.raises(PermanentError, match=words):
        put(opened(url, tmp_path), b"bytes")

    assert asked == ["/api/version"]


# --- several processes in one repository


@needs_server
def test_two_processes_in_one_repository_leave_each_others_work_alone(
    server: OxenServer, tmp_path: Path
) -> None:
    """A mover transfers for hours, and a training publishes meanwhile."""
    mover, trainer = opened(server.url, tmp_path / "a"), opened(server.url, tmp_path / "b")
    first = commit(mover, {"x": b"0"})
    mover.expect(REPO, "main", [("a", ""), ("x", "")])
    assert isinstance(mover.bring(REPO, [Bytes(b"of the mover", path="a")])[0], StoredContent)

    other = commit(trainer, {"x": b"0", "b": b"of the training"}, branch="side")
    made = commit(mover, {"x": b"0", "a": b"of the mover"})

    assert mover.branches(REPO) == {"main": made.commit, "side": other.commit}
    assert contents(mover, first) == {"x": b"0"}


@needs_server
def test_who_commits_meanwhile_is_not_written_over(
    server: OxenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who comes later is told, and begins anew on top."""
    mover, trainer = opened(server.url, tmp_path / "a"), opened(server.url, tmp_path / "b")
    commit(mover, {"x": b"0"})
    kept = mover._workspaces._kept
    other: list[CommitRef] = []

    def meanwhile(*words: Any) -> list[str]:
        if not other:
            other.append(commit(trainer, {"x": b"0", "b": b"1"}))
        return kept(*words)

    monkeypatch.setattr(mover._workspaces, "_kept", meanwhile)
    with pytest.raises(ServiceUnavailableError, match="somebody else moved main"):
        commit(mover, {"x": b"0", "a": b"1"})
    assert mover.branches(REPO) == {"main": other[0].commit}
    again = commit(mover, {"x": b"0", "a": b"1", "b": b"1"})
    found = mover.resolve(REPO, again.commit)
    assert found is not None
    assert list(found.parents) == [other[0].commit]


@needs_server
def test_a_lost_answer_to_making_a_repository_is_no_failure(
    server: OxenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, and that is what was wanted."""
    real = Payload.request
    lost: list[str] = []

    @contextmanager
    def request(self: Payload, method: str, url: str, **more: Any) -> Iterator[Answer]:
        with real(self, method, url, **more) as answer:
            if method == "POST" and url.endswith("/api/repos") and not lost:
                lost.append(url)
                for _ in answer.chunks(1 << 20):
                    pass
                raise ServiceUnavailableError("the connection broke when the server had done it")
            yield answer

    monkeypatch.setattr(Payload, "request", request)
    store = opened(server.url, tmp_path)
    ref = commit(store, {"a": b"1"})
    assert lost
    assert contents(store, ref) == {"a": b"1"}
    assert store.branches(REPO) == {"main": ref.commit}
