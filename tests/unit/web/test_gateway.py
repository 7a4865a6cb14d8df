"""The gateway: exact files, permanent tags, ranges, tokens, and nothing outside."""

from __future__ import annotations

import base64
import errno
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import xxhash
from gateway_requests import ask
from starlette.applications import Starlette
from starlette.routing import Mount

from syncd.clients.commits import Author, TreeEntry
from syncd.clients.origin_folder import FolderOrigin
from syncd.clients.origin_server import ServerOrigin
from syncd.clients.origins import Origin
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.clients.oxen_server import ServerVersionStore
from syncd.clients.payload import Payload
from syncd.clients.protocols import VersionStore
from syncd.config import Config
from syncd.refs import CommitRef, RepoRef, reference_url
from syncd.testing.oxen_process import MISSING, find_server, oxen_server
from syncd.web import gateway
from syncd.web.origin import hosts

REPO = RepoRef(namespace="team", repo="data")
OTHER = RepoRef(namespace="team", repo="other")
DIGITS = b"0123456789"
BIG = bytes(range(256)) * 20_000  # several chunks of the folder, and two pieces of the server
NAMES = [
    "plain.bin",
    "d/e/f",
    "a b+c&d=e",
    "hash#mark?query=1",
    "100%",
    "percent%2Fencoded",
    "%2e%2e",
    "%00",
    "[a]*?",
    '"quotes"; x="y"',
    "café/caf\u00e9",
    "日本語",
    "index.html",
    ".hidden",
    "..dots..",
    "api/repos/team/data/file",
]


@dataclass(frozen=True)
class Place:
    """A store with two commits, the older one also on a branch with a slash in its name."""

    origin: Origin
    first: CommitRef
    last: CommitRef
    other: CommitRef


def commit(store: VersionStore, repo: RepoRef, files: Mapping[str, bytes]) -> CommitRef:
    """Commit files on main."""
    tree = []
    for path, data in sorted(files.items()):
        content = store.put(repo, [data])
        tree.append(TreeEntry(path=path, hash=content.hash, size=content.size))
    author = Author(name="a", email="a@b")
    return store.commit(repo, branch="main", tree=tree, message="m", author=author)


@pytest.fixture(scope="module", params=["folder", "server"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """The store, read only to the tests: a folder, then a real server behind a token."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "secret").write_text("outside")
    if request.param == "folder":
        yield filled(EmbeddedVersionStore(folder / "store"), FolderOrigin(folder / "store"))
        return
    if find_server() is None:
        pytest.skip(MISSING)
    with oxen_server(folder / "server", authenticated=True) as server:
        address = server.url, server.token or "", Payload()
        store = ServerVersionStore(*address, spool=folder / "spool", spool_limit=1 << 30)
        yield filled(store, ServerOrigin(*address))


def filled(store: VersionStore, origin: Origin) -> Place:
    """A place with the tests' commits."""
    first = commit(store, REPO, {name: name.encode() for name in NAMES})
    store.set_branch(first, "wandb/v0")
    files = {"digits": DIGITS, "big": BIG, "empty": b"", "d/digits": DIGITS}
    last = commit(store, REPO, files)
    return Place(origin, first, last, commit(store, OTHER, {"elsewhere": DIGITS}))


@pytest.fixture(scope="module")
def app(place: Place) -> Starlette:
    """A gateway that is open to all."""
    return gateway.gateway_app(place.origin, tokens=None)


def url(ref: CommitRef, path: str) -> str:
    """The file's reference URL."""
    return reference_url("http://gateway", ref, path)


# --- files


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_url_gives_exactly_its_file(app: Starlette, place: Place, name: str) -> None:
    """Whatever is in its name."""
    answer = ask(app, url(place.first, name))

    assert (answer.status, answer.body) == (200, name.encode())


@pytest.mark.parametrize("path", ["digits", "big", "empty"])
def test_headers_say_what_the_bytes_are(app: Starlette, place: Place, path: str) -> None:
    """Length, permanent tag, revision; never something a browser runs."""
    answer = ask(app, url(place.last, path))

    data = {"digits": DIGITS, "big": BIG, "empty": b""}[path]
    assert answer.body == data
    assert answer.headers == {
        "etag": f'"{xxhash.xxh3_128_intdigest(data):x}"',
        "content-length": str(len(data)),
        "content-type": "application/octet-stream",
        "accept-ranges": "bytes",
        "cache-control": "public, max-age=31536000, immutable, no-transform",
        "oxen-revision-id": place.last.commit,
        "content-disposition": f"attachment; filename*=UTF-8''{path}",
        "x-content-type-options": "nosniff",
    }


def test_equal_bytes_have_one_tag_everywhere(app: Starlette, place: Place) -> None:
    """In every path, commit and repository."""
    places = [(place.last, "digits"), (place.last, "d/digits"), (place.other, "elsewhere")]

    tags = {ask(app, url(ref, path)).headers["etag"] for ref, path in places}

    assert tags == {f'"{xxhash.xxh3_128_intdigest(DIGITS):x}"'}


def test_head_answers_as_get_without_the_bytes(app: Starlette, place: Place) -> None:
    """For files and errors; only GET knows ranges (RFC 9110, 14.2)."""
    target = url(place.last, "big")
    get = ask(app, target)
    for headers in ({}, {"range": "bytes=5-9"}):
        head = ask(app, target, "HEAD", headers)
        assert (head.status, head.headers, head.body) == (200, get.headers, b"")
    assert ask(app, url(place.last, "none"), "HEAD").status == 404


def test_a_branch_is_served_but_not_for_ever(app: Starlette, place: Place) -> None:
    """Its slash may be encoded or not."""
    for revision in ("wandb%2Fv0", "wandb/v0"):
        answer = ask(app, f"http://gateway/api/repos/team/data/file/{revision}/d/e/f")

        assert (answer.status, answer.body) == (200, b"d/e/f")
        assert answer.headers["oxen-revision-id"] == place.first.commit
        assert answer.headers["cache-control"] == "no-cache, no-transform"


def test_other_methods_are_refused(app: Starlette, place: Place) -> None:
    """The gateway only reads."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(app, url(place.last, "digits"), method).status == 405


def test_health_is_told_without_a_token(place: Place) -> None:
    """For a supervisor."""
    answer = ask(gateway.gateway_app(place.origin, tokens=frozenset({"t"})), "http://g/healthz")

    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


def test_the_routes_work_inside_another_application(place: Place) -> None:
    """At its root, or mounted at a path."""
    routes = gateway.gateway_routes(place.origin, tokens=None)
    mounted = Starlette(routes=[Mount("/oxen", routes=routes), *routes])

    for prefix in ("", "/oxen"):
        target = reference_url(f"http://gateway{prefix}", place.first, "100%")
        assert ask(mounted, target).body == b"100%"


# --- ranges and conditions


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (206, b"0", "bytes 0-0/10")),
        ("bytes=2-4", (206, b"234", "bytes 2-4/10")),
        ("bytes=7-", (206, b"789", "bytes 7-9/10")),
        ("bytes=0-", (206, DIGITS, "bytes 0-9/10")),
        ("bytes=5-99", (206, b"56789", "bytes 5-9/10")),
        ("bytes=-3", (206, b"789", "bytes 7-9/10")),
        ("bytes=-99", (206, DIGITS, "bytes 0-9/10")),
        ("bytes=10-", (416, None, "bytes */10")),
        ("bytes=99-100", (416, None, "bytes */10")),
        ("bytes=-0", (416, None, "bytes */10")),
        ("bytes=4-2", (200, DIGITS, None)),  # malformed, so it is ignored
        ("bytes=-", (200, DIGITS, None)),
        ("bytes=a-b", (200, DIGITS, None)),
        ("bytes=0-1,4-5", (200, DIGITS, None)),  # several: the whole file is allowed
        ("lines=0-1", (200, DIGITS, None)),
        ("bytes=99999999999999999999999-", (200, DIGITS, None)),
    ],
)
def test_a_range_gives_exactly_its_bytes(
    app: Starlette, place: Place, header: str, expected: tuple[int, bytes | None, str | None]
) -> None:
    """206 with the part, 416 outside, 200 with all for what is no single range."""
    status, body, content_range = expected

    answer = ask(app, url(place.last, "digits"), headers={"range": header})

    assert answer.status == status
    assert answer.headers.get("content-range") == content_range
    if body is None:
        assert "10 bytes" in answer.reason
    else:
        assert answer.body == body
        assert answer.headers["content-length"] == str(len(body))


def test_ranges_of_a_large_file_put_together_are_the_file(app: Starlette, place: Place) -> None:
    """Also across the chunks it is read in."""
    size, step = len(BIG), 700_001
    parts = [
        ask(app, url(place.last, "big"), headers={"range": f"bytes={at}-{at + step - 1}"}).body
        for at in range(0, size, step)
    ]

    assert b"".join(parts) == BIG


def test_an_empty_file_has_no_range(app: Starlette, place: Place) -> None:
    """But is served."""
    for header in ("bytes=0-", "bytes=-1"):
        answer = ask(app, url(place.last, "empty"), headers={"range": header})
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */0")


def test_a_range_of_another_state_gives_the_whole_file(app: Starlette, place: Place) -> None:
    """If-Range holds the tag of what the client has."""
    tag = ask(app, url(place.last, "digits")).headers["etag"]

    for condition, status in ((tag, 206), ('"other"', 200), (f"W/{tag}", 200)):
        headers = {"range": "bytes=1-2", "if-range": condition}
        assert ask(app, url(place.last, "digits"), headers=headers).status == status


def test_a_client_that_has_the_file_is_told_so(app: Starlette, place: Place) -> None:
    """304 without bytes; with the tag, so that it stays valid."""
    tag = ask(app, url(place.last, "digits")).headers["etag"]

    for condition in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = ask(app, url(place.last, "digits"), headers={"if-none-match": condition})
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
    answer = ask(app, url(place.last, "digits"), headers={"if-none-match": '"x"'})
    assert (answer.status, answer.body) == (200, DIGITS)


# --- what is not there


def test_each_missing_part_is_named(app: Starlette, place: Place) -> None:
    """Namespace, repository, revision, path."""
    commit_id = place.last.commit
    for path, part in (
        (f"nobody/data/file/{commit_id}/digits", "nobody"),
        (f"team/nothing/file/{commit_id}/digits", "repository 'oxen://team/nothing'"),
        (f"team/data/file/{'0' * 32}/digits", "commit or branch"),
        ("team/data/file/no-branch/digits", "commit or branch 'no-branch'"),
        (f"team/data/file/{commit_id}/nope/x", "file 'nope/x'"),
        (f"team/data/file/{commit_id}/d", "file 'd'"),
        (f"team/data/file/{commit_id}/digits/", "file 'digits/'"),
        (f"team/data/file/{commit_id}", "no such page"),
        (f"team/data/dir/{commit_id}/digits", "no such page"),
        ("team", "no such page"),
        (f"team/other/file/{commit_id}/digits", "commit or branch"),
    ):
        answer = ask(app, f"http://gateway/api/repos/{path}")
        assert answer.status == 404
        assert part in answer.reason
    for path in ("", "/", "/api", "/api/repos", "/index.html"):
        assert ask(app, f"http://gateway{path}").status == 404


HOSTILE = [
    "team/data/file/{commit}/../../../../../secret",
    "team/data/file/{commit}/%2e%2e/%2e%2e/%2e%2e/secret",
    "team/data/file/{commit}/..%2f..%2f..%2fsecret",
    "team/data/file/{commit}/%252e%252e/%252e%252e/secret",
    "team/data/file/{commit}/..%5c..%5csecret",
    "team/data/file/{commit}/digits%00",
    "team/data/file/{commit}/digits%00.txt",
    "team/data/file/{commit}/d%2Fdigits",
    "team/data/file/{commit}//digits",
    "team/data/file/{commit}/./digits",
    "team/data/file/{commit}/%ff%fe",
    "team/data/file/{commit}/%ed%a0%80",
    "team/data/file/{commit}/100%",
    "team/data/file/{commit}/%zz",
    "team/data/file/{commit}/digits%09x%090%090",
    "team/data/file/{commit}/digits%0A",
    "team/data/file/{commit}/" + "x" * 20_000,
    "team/data/file/{commit}/" + "x/" * 4_000,
    "team/data/file/{commit}/" + "%41" * 6_000,
    "team/data/file/../{commit}/digits",
    "team/data/file/%2e%2e/digits",
    "team/data/file/..%2F..%2F/digits",
    "team/data/file/.oxen/digits",
    "team/data/file//digits",
    "../store/team/data/file/{commit}/digits",
    "%2e%2e/store/file/{commit}/digits",
    "team/..%2Fteam%2Fdata/file/{commit}/digits",
    "team/%2e/file/{commit}/digits",
    "team/.syncd/file/{commit}/digits",
    ".syncd/config/file/{commit}/digits",
    "team%00/data/file/{commit}/digits",
    "/team/data/file/{commit}/digits",
    "team/data%2Ffile/{commit}/digits/x",
    "team/data/%66ile%2F{commit}/digits/x",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_url_reaches_nothing(app: Starlette, place: Place, path: str) -> None:
    """400 or 404 with a reason; no file of the host, no other file of the commit."""
    target = "http://gateway/api/repos/" + path.format(commit=place.last.commit)

    answer = ask(app, target)

    assert answer.status in {400, 404}
    assert answer.reason
    assert b"outside" not in answer.body
    assert DIGITS not in answer.body


def test_an_encoded_prefix_is_another_page(app: Starlette, place: Place) -> None:
    """One file has one URL."""
    target = url(place.last, "digits").replace("/api/", "/%61pi/")

    assert ask(app, target).status == 404


def test_damaged_bytes_are_not_served_under_their_tag(tmp_path: Path) -> None:
    """A file of another length, or none, is an error of the host."""
    store = EmbeddedVersionStore(tmp_path)
    ref = commit(store, REPO, {"digits": DIGITS})
    content = RepoIndex(tmp_path, REPO).content(next(store.tree(ref)).hash)
    app = gateway.gateway_app(FolderOrigin(tmp_path), tokens=None)

    content.write_bytes(DIGITS[:-1])
    assert "another length" in ask(app, url(ref, "digits")).reason
    content.unlink()
    answer = ask(app, url(ref, "digits"))

    assert answer.status == 500
    assert "cannot be read" in answer.reason
    assert str(tmp_path) not in answer.reason


def test_a_gateway_that_may_open_no_more_files_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks again in a moment gets his file; it is neither gone nor damaged."""
    store = EmbeddedVersionStore(tmp_path)
    ref = commit(store, REPO, {"digits": DIGITS})
    content = RepoIndex(tmp_path, REPO).content(next(store.tree(ref)).hash)
    app = gateway.gateway_app(FolderOrigin(tmp_path), tokens=None)
    real = Path.open

    for scarce in (content, RepoIndex(tmp_path, REPO).index_path(ref.commit)):

        def refuse(path: Path, *words: Any, scarce: Path = scarce, **options: Any) -> Any:
            if path == scarce:
                raise OSError(errno.EMFILE, "Too many open files")
            return real(path, *words, **options)

        monkeypatch.setattr(Path, "open", refuse)
        answer = ask(app, url(ref, "digits"))
        assert (answer.status, "retry-after" in answer.headers) == (503, True)
    monkeypatch.setattr(Path, "open", real)
    assert ask(app, url(ref, "digits")).body == DIGITS


# --- who may read


def basic(user: str, password: str) -> dict[str, str]:
    """The header that a netrc line leads to."""
    value = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {value}"}


TOKENS = frozenset({"first-token", "zwei:ü", "third"})


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first-token"},
        {"authorization": "bearer   third "},
        basic("anybody", "first-token"),
        basic("", "third"),
        basic("user", "zwei:ü"),
    ],
)
def test_a_token_opens_the_gateway(place: Place, headers: dict[str, str]) -> None:
    """As Bearer, or as the password of any user."""
    app = gateway.gateway_app(place.origin, tokens=TOKENS)

    answer = ask(app, url(place.last, "digits"), headers=headers)

    assert (answer.status, answer.body) == (200, DIGITS)
    assert answer.headers["cache-control"].startswith("private, ")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong-token"},
        {"authorization": "Bearer first-token "[:-2]},
        {"authorization": "Bearer ÿþ"},
        {"authorization": "Digest first-token"},
        {"authorization": "Basic first-token"},
        {"authorization": "Basic " + base64.b64encode(b"first-token").decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        basic("first-token", ""),
        basic("first-token", "wrong-token"),
    ],
)
def test_without_a_token_nothing_is_told(place: Place, headers: dict[str, str]) -> None:
    """401 with both schemes, whether the file exists or not, and never the token."""
    app = gateway.gateway_app(place.origin, tokens=TOKENS)

    for target in (url(place.last, "digits"), "http://gateway/api/repos/no/where/file/x/y"):
        answer = ask(app, target, headers=headers)

        assert answer.status == 401
        assert "token" in answer.reason
        assert "Basic" in answer.headers["www-authenticate"]
        assert "Bearer" in answer.headers["www-authenticate"]
        assert b"first-token" not in answer.body
        assert b"wrong-token" not in answer.body


def test_no_tokens_at_all_let_nobody_in(place: Place) -> None:
    """Only None opens the gateway."""
    app = gateway.gateway_app(place.origin, tokens=frozenset())

    assert ask(app, url(place.last, "digits"), headers={"authorization": "Bearer x"}).status == 401


BROWSER = {"accept-language": "de"}


@pytest.mark.parametrize(
    "host", ["rebound.example:8337", "rebound.example.", "localhost.example", "", "[", "a@b.c"]
)
def test_a_page_of_another_site_reads_nothing(place: Place, host: str) -> None:
    """It lets its own name lead here; the browser tells that name, and that it is one."""
    app = gateway.gateway_app(place.origin, tokens=None, hosts={"data.example"})
    target = url(place.last, "digits")
    for sign in (BROWSER, {"origin": "null"}, {"referer": "x"}, {"sec-fetch-mode": "cors"}):
        answer = ask(app, target, headers={"host": host, **sign})
        assert (answer.status, DIGITS in answer.body) == (403, False)
        assert answer.reason


def test_a_program_may_call_the_gateway_what_it_likes(place: Place) -> None:
    """References hold a name for ever, whatever the gateway is called today."""
    app = gateway.gateway_app(place.origin, tokens=None, hosts={"data.example"})
    for host in ("an-old-name.example", "rebound.example:8337", ""):
        headers = {"host": host, "user-agent": "python-requests/2", "accept": "*/*"}
        assert ask(app, url(place.last, "digits"), headers=headers).body == DIGITS


@pytest.mark.parametrize(
    "host",
    [
        "data.example",
        "DATA.example:443",
        "data.example.",
        "localhost:8337",
        "syncd.localhost",
        "gateway:8337",
        "127.0.0.1:8337",
        "10.1.2.3",
        "[::1]:8337",
    ],
)
def test_a_person_opens_a_file_under_a_name_of_ours(place: Place, host: str) -> None:
    """One that the configuration has, an address, or one that leads nowhere outside."""
    app = gateway.gateway_app(place.origin, tokens=None, hosts={"data.example"})
    answer = ask(app, url(place.last, "digits"), headers={"host": host, **BROWSER})

    assert (answer.status, answer.body) == (200, DIGITS)


def test_with_a_token_any_name_is_right(place: Place) -> None:
    """No page has one."""
    app = gateway.gateway_app(place.origin, tokens=TOKENS)
    headers = {"host": "proxy.example", "authorization": "Bearer third", **BROWSER}

    assert ask(app, url(place.last, "digits"), headers=headers).body == DIGITS


def test_the_names_of_a_gateway_are_those_of_its_configuration() -> None:
    """And this machine's own."""
    config = Config.model_validate(
        {
            "web": {"bind": "[::1]:8337", "public_url": "https://Syncd.example/x"},
            "references": {"base_url": "http://data.example:8080"},
        }
    )

    assert hosts(config) == {
        "syncd.example",
        "data.example",
        "::1",
        socket.gethostname().lower(),
    }


# --- as a process


SERVER = """
import sys
from pathlib import Path
from syncd.clients.origin_folder import FolderOrigin
from syncd.web import gateway
from syncd.web.origin import hosts
gateway.serve(FolderOrigin(Path(sys.argv[1])), "127.0.0.1", 0, None, lambda url: print(url, flush=True))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, http.client.HTTPConnection]]:
    """A gateway over an empty directory, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=20)
        yield tmp_path, connection
        connection.close()
        process.terminate()
        assert process.wait(20) in {0, -15}


def test_it_serves_what_another_process_is_writing(
    server: tuple[Path, http.client.HTTPConnection],
) -> None:
    """Each commit as soon as it is made, over one connection, without liboxen."""
    root, connection = server
    store = EmbeddedVersionStore(root)
    for turn in range(5):
        ref = commit(store, REPO, {f"hash#{turn}": BIG, "same": DIGITS})
        for path, data in ((f"hash#{turn}", BIG), ("same", DIGITS)):
            for revision in (ref, CommitRef(repo=REPO, commit="main")):
                connection.request("GET", urlsplit(url(revision, path)).path)
                response = connection.getresponse()
                assert (response.status, response.read()) == (200, data)


def test_it_needs_no_liboxen() -> None:
    """Which would lock the repositories."""
    modules = "syncd.web.gateway, syncd.web.origin"
    check = f"import sys, {modules}; sys.exit('oxen' in sys.modules)"

    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("path", ["/../../secret", "/api/repos/../x", "/api/repos/%2e%2e/x/%ff"])
def test_it_survives_hostile_urls(
    server: tuple[Path, http.client.HTTPConnection], path: str
) -> None:
    """As they come over the wire."""
    _, connection = server

    connection.request("GET", path)
    response = connection.getresponse()

    assert response.status in {400, 404}
    assert set(json.loads(response.read())) == {"error", "hint"}
