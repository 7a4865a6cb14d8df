"""Ways of bytes to a server that loses, damages and forgets: a stand-in, where no real one is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import xxhash

from syncd.clients import oxen_uploads
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_uploads import Uploads
from syncd.errors import (
    AuthenticationError,
    IntegrityError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
)
from syncd.refs import RepoRef

REPO = RepoRef(namespace="team", repo="proj-ds")
PART = 1000
DATA = bytes(range(256)) * 10  # three parts, the last one short


def name(data: bytes) -> str:
    """Oxen's hash."""
    return f"{xxhash.xxh3_128_intdigest(data):x}"


def stored(data: bytes) -> StoredContent:
    """What the server is to have."""
    return StoredContent(hash=name(data), size=len(data))


@dataclass
class Server:
    """The calls of `OxenApi` that bring bytes, and what may go wrong with them."""

    contents: dict[str, bytes] = field(default_factory=dict)
    staged: dict[str, str] = field(default_factory=dict)
    begun: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    parts: list[int] = field(default_factory=list)
    loses: set[str] = field(default_factory=set)  # paths that are not staged
    garbles: bool = False  # what is streamed is stored otherwise
    fails: dict[int, Exception] = field(default_factory=dict)  # by number of a part, once
    never: bool = False  # no upload is ever complete

    def missing(self, _repo: RepoRef, hashes: Sequence[str]) -> set[str]:
        """What is not there; nobody looks at what is."""
        return set(hashes) - self.contents.keys()

    def content(self, _repo: RepoRef, content: str) -> Iterator[bytes]:
        """What lies under a hash."""
        yield self.contents[content]

    def remove_damaged(self, _repo: RepoRef) -> None:
        """Look at everything."""
        self.contents = {key: data for key, data in self.contents.items() if name(data) == key}

    def store(self, _repo: RepoRef, parts: Sequence[tuple[str, bytes]]) -> None:
        """What is there already stays as it is."""
        self.contents = {**dict(parts), **self.contents}

    def stage(self, _repo: RepoRef, _ws: str, parts: Sequence[tuple[str, bytes]]) -> set[str]:
        """Store, stage, and tell of which."""
        kept = [(path, data) for path, data in parts if path not in self.loses]
        self.store(_repo, [(name(data), data) for _, data in kept])
        self.staged |= {path: name(data) for path, data in kept}
        return {path for path, _ in kept}

    def stage_stream(
        self, _repo: RepoRef, _ws: str, path: str, chunks: Iterable[bytes], _size: int | None
    ) -> bool:
        """In one pass."""
        data = b"".join(chunks) + b"!" * self.garbles
        return bool(self.stage(_repo, _ws, [(path, data)]))

    def begin_upload(
        self, _repo: RepoRef, content: str, size: int, where: tuple[str, str] | None = None
    ) -> dict[str, Any] | None:
        """Stage what is there, or begin."""
        if content in self.contents:
            if where is not None:
                self.staged[where[1]] = content
            return None
        upload = f"upload-{len(self.begun)}"
        self.begun[upload] = content, {}
        return {"upload_id": upload, "part_size": PART, "num_parts": -(-size // PART)}

    def send_part(
        self, _repo: RepoRef, upload: str, number: int, body: tuple[Iterable[bytes], int]
    ) -> bool:
        """Take a part; the last one completes what is whole."""
        if upload not in self.begun:
            raise NotFoundError("no such upload")
        if number in self.fails:
            raise self.fails.pop(number)
        data = b"".join(body[0])
        assert len(data) == body[1]
        self.parts.append(number)
        content, there = self.begun[upload]
        there[number] = data
        whole = b"".join(part for _, part in sorted(there.items()))
        if name(whole) != content or self.never:
            return False
        self.contents[content] = whole
        return True


@dataclass
class Bytes:
    """A content."""

    data: bytes
    path: str = "a"
    known: bool = True
    sized: bool = True

    @property
    def key(self) -> str:
        """As W&B's digest would be."""
        return f"xxh128-{name(self.data)}"

    @property
    def size(self) -> int | None:
        """Bytes, where they are told."""
        return len(self.data) if self.sized else None

    @property
    def hash(self) -> str | None:
        """Where it is known before."""
        return name(self.data) if self.known else None

    def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
        """All of it behind what is there."""
        yield self.data[sum(map(len, before)) :]

    def part(self, begin: int, size: int) -> Iterator[bytes]:
        """A range."""
        yield self.data[begin : begin + size]


@pytest.fixture
def server() -> Server:
    """An empty one."""
    return Server()


@pytest.fixture
def uploads(server: Server, tmp_path: Path) -> Uploads:
    """The ways into it."""
    return opened(server, tmp_path)


def opened(server: Server, folder: Path) -> Uploads:
    """As another process would open them."""
    return Uploads(cast("OxenApi", server), folder / "spool", limit=1 << 30)


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand bytes are large."""
    monkeypatch.setattr(oxen_uploads, "SMALL", PART)
    monkeypatch.setattr(oxen_uploads, "LARGE", 2 * PART)
    monkeypatch.setattr(oxen_uploads, "IN_MEMORY", PART)


def notes(folder: Path) -> list[Path]:
    """Files that are left in the spool."""
    return [path for path in (folder / "spool").rglob("*") if path.is_file()]


WAYS = {
    "together": lambda ways: ways.bring(REPO, [Bytes(DATA), Bytes(b"other", "b")], None)[0][0],
    "together, staged": lambda ways: ways.bring(REPO, [Bytes(DATA), Bytes(b"o", "b")], "w")[0][0],
    "in parts": lambda ways: ways.bring(REPO, [Bytes(DATA)], None)[0][0],
    "put": lambda ways: ways.put(REPO, [DATA]),
    "put, small": lambda ways: ways.put(REPO, [DATA[:9]]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("before", [None, b"damaged"], ids=["", "damaged before"])
def test_what_is_brought_is_there_and_whole(
    way: str, before: bytes | None, server: Server, uploads: Uploads, tmp_path: Path
) -> None:
    """By whatever way; a server never looks at what it has under a hash, and would keep damage."""
    data = DATA[:9] if way == "put, small" else DATA
    if before is not None:
        server.contents[name(data)] = before
    found = WAYS[way](uploads)

    assert found == stored(data)
    assert server.contents[name(data)] == data
    assert notes(tmp_path) == []


def test_what_is_there_and_whole_is_not_sent(server: Server, uploads: Uploads) -> None:
    """It is read back, which proves it."""
    server.contents[name(DATA)] = DATA
    assert uploads.put(REPO, [DATA]) == stored(DATA)
    [(outcome, staged)] = uploads.bring(REPO, [Bytes(DATA)], "w")

    assert (outcome, staged) == (stored(DATA), False)
    assert server.begun == {}


def test_a_file_that_the_server_did_not_stage_is_a_failure_of_that_file(
    server: Server, uploads: Uploads
) -> None:
    """It names what it staged; all others are there."""
    server.loses = {"b"}
    outcomes = uploads.bring(REPO, [Bytes(b"one", "a"), Bytes(b"two", "b")], "w")

    assert outcomes[0] == (stored(b"one"), True)
    assert isinstance(outcomes[1][0], ServiceUnavailableError)
    assert not outcomes[1][1]
    with pytest.raises(ServiceUnavailableError, match="'b'"):
        uploads.stage(REPO, "w", [TreeEntry(path="b", hash=name(b""), size=0)])


def test_what_cannot_be_read_is_a_failure_of_that_file(server: Server, uploads: Uploads) -> None:
    """What travels with it arrives."""

    class Broken(Bytes):
        def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
            del before
            raise IntegrityError("cut short")

    [bad, good] = uploads.bring(REPO, [Broken(b"one", "a"), Bytes(b"two", "b")], None)

    assert isinstance(bad[0], IntegrityError)
    assert good == (stored(b"two"), False)
    assert server.contents == {name(b"two"): b"two"}


def test_a_server_that_takes_nothing_is_a_failure_of_each_file(
    server: Server, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a group that travels together."""

    def refuse(*_: object) -> None:
        raise AuthenticationError("refused")

    monkeypatch.setattr(server, "store", refuse)
    outcomes = uploads.bring(REPO, [Bytes(b"one", "a"), Bytes(b"two", "b")], None)

    assert [type(outcome) for outcome, _ in outcomes] == [AuthenticationError] * 2


def test_contents_that_are_to_be_staged_and_are_gone_are_told(
    server: Server, uploads: Uploads
) -> None:
    """A commit that lacks them is never made."""
    server.contents[name(DATA)] = DATA
    uploads.stage(REPO, "w", [TreeEntry(path="a", hash=name(DATA), size=len(DATA))])
    assert server.staged == {"a": name(DATA)}

    with pytest.raises(ServiceUnavailableError, match="lost the content of 'b'"):
        uploads.stage(REPO, "w", [TreeEntry(path="b", hash="12ab", size=5)])


def test_what_is_streamed_is_compared_with_what_the_server_has_stored(
    server: Server, uploads: Uploads
) -> None:
    """The hash is known only at the end, on both sides."""
    source = Bytes(DATA[: PART + 5], known=False)
    assert uploads.bring(REPO, [source], "w") == [(stored(source.data), True)]
    server.contents.clear()
    server.garbles = True
    [(outcome, staged)] = uploads.bring(REPO, [source], "w")
    assert (type(outcome), staged) == (IntegrityError, False)
    server.garbles, server.loses = False, {"a"}
    [(outcome, staged)] = uploads.bring(REPO, [source], "w")
    assert (type(outcome), staged) == (ServiceUnavailableError, False)


# --- parts


@pytest.mark.parametrize("known", [True, False], ids=["known hash", "through the spool"])
def test_another_process_goes_on_where_one_was_cut_off(
    known: bool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is sent once."""
    monkeypatch.setattr(oxen_uploads, "ONE_PASS", 0)
    source = Bytes(DATA, known=known)
    server.fails = {3: ServiceUnavailableError("cut off")}
    [(broken, _)] = opened(server, tmp_path).bring(REPO, [source], None)
    assert isinstance(broken, ServiceUnavailableError)
    [(outcome, _)] = opened(server, tmp_path).bring(REPO, [source], None)

    assert outcome == stored(DATA)
    assert server.parts == [1, 2, 3]
    assert server.contents == {name(DATA): DATA}
    assert notes(tmp_path) == []


@pytest.mark.parametrize(
    "note",
    [
        "",
        "no JSON\n1\n",
        "[]\n",
        json.dumps({"upload_id": "upload-9", "part_size": PART, "num_parts": 3}) + "\n1\n",
        json.dumps({"upload_id": "upload-9", "part_size": 1, "num_parts": 9, "size": 7}) + "\n1\n",
        json.dumps({"upload_id": "gone", "part_size": PART, "num_parts": 3, "size": 2560}) + "\n2",
    ],
    ids=["empty", "garbage", "another document", "without a size", "another size", "forgotten"],
)
def test_a_note_that_is_not_to_be_believed_costs_the_upload_alone(
    note: str, server: Server, uploads: Uploads, tmp_path: Path
) -> None:
    """All parts are sent again, and the bytes are right."""
    folder = tmp_path / "spool" / "notes"
    folder.mkdir(parents=True)
    (folder / f"team-proj-ds-{name(DATA)}.json").write_text(note)
    server.begun["upload-9"] = ("another", {})
    [(outcome, _)] = uploads.bring(REPO, [Bytes(DATA)], None)

    assert outcome == stored(DATA)
    assert server.contents == {name(DATA): DATA}
    assert notes(tmp_path) == []


def test_a_part_whose_number_was_cut_off_is_sent_again(
    server: Server, uploads: Uploads, tmp_path: Path
) -> None:
    """A kill may come in the middle of a line: `12` of `120` is no twelve."""
    begun = server.begin_upload(REPO, name(DATA), len(DATA))
    assert begun is not None
    server.send_part(REPO, "upload-0", 1, ([DATA[:PART]], PART))
    folder = tmp_path / "spool" / "notes"
    folder.mkdir(parents=True)
    text = json.dumps({**begun, "size": len(DATA)})
    (folder / f"team-proj-ds-{name(DATA)}.json").write_text(f"{text}\n1\n3")
    server.parts.clear()
    [(outcome, _)] = uploads.bring(REPO, [Bytes(DATA)], None)

    assert outcome == stored(DATA)
    assert server.parts == [2, 3]


@pytest.mark.parametrize(
    ("number", "error", "told"),
    [
        (3, PermanentError("409: wrong hash"), IntegrityError),  # what all of them hold
        (1, PermanentError("409"), PermanentError),
        (3, AuthenticationError("401"), AuthenticationError),
    ],
)
def test_only_the_last_part_can_be_refused_for_the_bytes(
    number: int, error: Exception, told: type[Exception], server: Server, uploads: Uploads
) -> None:
    """Bytes are fetched again then; a refusal of anything else is final."""
    server.fails = {number: error}
    [(outcome, _)] = uploads.bring(REPO, [Bytes(DATA)], None)

    assert type(outcome) is told


def test_an_upload_that_is_forgotten_at_once_ends(
    server: Server, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not begun for ever."""
    begin: Callable[..., Any] = server.begin_upload

    def forgetful(*words: Any) -> Any:
        begun = begin(*words)
        assert len(server.begun) <= 1, "it was begun again"
        server.begun = {"other": ("", {})}
        return begun

    monkeypatch.setattr(server, "begin_upload", forgetful)
    [(outcome, _)] = uploads.bring(REPO, [Bytes(DATA)], None)

    assert isinstance(outcome, NotFoundError)


def test_all_parts_without_an_end_are_an_error_and_the_next_attempt_begins_anew(
    server: Server, uploads: Uploads, tmp_path: Path
) -> None:
    """The server lost one, and does not say which."""
    server.never = True
    [(outcome, _)] = uploads.bring(REPO, [Bytes(DATA)], None)
    assert isinstance(outcome, IntegrityError)
    assert notes(tmp_path) == []
    server.never = False
    [(outcome, _)] = uploads.bring(REPO, [Bytes(DATA)], None)

    assert outcome == stored(DATA)
    assert server.parts == [1, 2, 3] * 2


def test_two_repositories_do_not_mix_their_uploads_up(
    server: Server, uploads: Uploads, tmp_path: Path
) -> None:
    """The same content may be on its way to both."""
    server.fails = {2: ServiceUnavailableError("cut off")}
    uploads.bring(REPO, [Bytes(DATA)], None)
    uploads.bring(RepoRef(namespace="team", repo="other"), [Bytes(DATA)], None)

    assert list(server.begun) == ["upload-0", "upload-1"]
    assert [path.name for path in notes(tmp_path)] == [f"team-proj-ds-{name(DATA)}.json"]
