"""What clients of a gateway get while the Oxen server behind it fails, and what each side is shown."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import xxhash
from gateway_requests import Answer, ask
from oxen_stand_in import COMMIT, REPO, TOKEN, StandIn
from starlette.applications import Starlette

from syncd import retry
from syncd.clients.origin_server import ServerOrigin
from syncd.clients.oxen_entries import PAGES
from syncd.clients.oxen_files import PAGE, PIECE
from syncd.clients.payload import Payload
from syncd.errors import ConfigurationError
from syncd.testing.oxen_process import free_port
from syncd.web import gateway

SMALL = b"0123456789"
LARGE = bytes(range(256)) * 40_000  # three pieces
READER = "a-token-for-readers"
FILES = {"small": SMALL, "d/other": b"other", "large": LARGE, "empty": b""}


@pytest.fixture
def oxen() -> Iterator[StandIn]:
    """The server."""
    made = StandIn(FILES)
    yield made
    made.close()


@pytest.fixture
def app(oxen: StandIn) -> Iterator[Starlette]:
    """A gateway that is open to all, and tries again without waiting."""
    with retry.fast():
        yield open_to_all(oxen.url)


def open_to_all(url: str) -> Starlette:
    """A gateway before the server."""
    return gateway.gateway_app(ServerOrigin(url, TOKEN, Payload()), tokens=None)


def get(app: Starlette, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for a file of the commit."""
    return ask(app, f"http://gateway{REPO}/file/{COMMIT}/{path}", method, headers)


def harmless(answer: Answer, oxen: StandIn) -> bool:
    """Whether neither the server's token nor its address is told."""
    text = f"{answer.headers} {answer.body!r}"
    return TOKEN not in text and urlsplit(oxen.url).netloc not in text


# --- what is asked of the server


def test_what_a_commit_holds_is_looked_up_once(app: Starlette, oxen: StandIn) -> None:
    """However often a file is asked for, and by whatever method; each read is one request."""
    for path in ("small", "d/other", "small", "large"):
        assert get(app, path).body == FILES[path]
    assert get(app, "small", "HEAD").status == 200
    assert get(app, "small", range="bytes=2-4").body == b"234"
    assert get(app, "empty").body == b""

    assert [line for line in oxen.asked if not line.startswith("chunk ")] == [
        "commits ",
        "meta small",
        "meta d/other",
        "dir ?page=1&page_size=2000",
    ]
    assert [line for line in oxen.asked if line.startswith("chunk ")] == [
        "chunk small?chunk_start=0&chunk_size=10",
        "chunk d/other?chunk_start=0&chunk_size=5",
        "chunk small?chunk_start=0&chunk_size=10",
        "chunk large?chunk_start=0&chunk_size=4194304",
        "chunk large?chunk_start=4194304&chunk_size=4194304",
        "chunk large?chunk_start=8388608&chunk_size=1851392",
        "chunk small?chunk_start=2&chunk_size=3",
    ]


def test_a_folder_is_looked_up_page_by_page(app: Starlette, oxen: StandIn) -> None:
    """Not file by file; one of very many files is not listed for the sake of two."""
    for folder, count in (("many", PAGE + 5), ("most", PAGES * PAGE + 1)):
        oxen.files |= {f"{folder}/{number:05}": b"." for number in range(count)}
    asked = [f"many/{number:05}" for number in range(PAGE, PAGE + 5)]

    for path in (*asked, "most/00000", "most/00001", "most/00002"):
        assert get(app, path).body == b"."

    looked_up = [line for line in oxen.asked if line.startswith(("meta", "dir"))]
    assert [line.partition("&")[0] for line in looked_up] == [
        f"meta {asked[0]}",
        "dir many?page=1",
        "dir many?page=2",
        "meta most/00000",
        "dir most?page=1",
    ]


def test_a_client_that_has_the_file_costs_no_read(app: Starlette, oxen: StandIn) -> None:
    """304 from what is known; nor does a range outside."""
    tag = f'"{xxhash.xxh3_128_intdigest(LARGE):x}"'

    assert get(app, "large", **{"if-none-match": tag}).status == 304
    assert get(app, "large", range=f"bytes={len(LARGE)}-").status == 416
    assert not [line for line in oxen.asked if line.startswith("chunk")]


def test_a_long_range_comes_in_pieces(app: Starlette, oxen: StandIn) -> None:
    """The server holds each in memory."""
    answer = get(app, "large", range="bytes=1-")

    assert answer.body == LARGE[1:]
    asked = [line for line in oxen.asked if line.startswith("chunk")]
    assert asked[0] == f"chunk large?chunk_start=1&chunk_size={PIECE}"
    assert len(asked) == 3


def test_what_was_not_there_is_asked_for_again(app: Starlette, oxen: StandIn) -> None:
    """It may have come."""
    assert get(app, "late").status == 404
    oxen.files["late"] = b"late"

    assert get(app, "late").body == b"late"


def test_a_query_does_not_reach_the_server(app: Starlette, oxen: StandIn) -> None:
    """It would make a smaller picture of a picture."""
    assert get(app, "small?width=10&thumbnail=true").body == SMALL
    assert not [line for line in oxen.asked if "width" in line]


@pytest.mark.parametrize(
    ("path", "hint"), [("100%", "%25"), ("x" * 16_384, "16384 bytes")], ids=["percent", "long"]
)
def test_a_url_that_nobody_writes_by_intent_is_refused_with_a_hint(
    app: Starlette, oxen: StandIn, path: str, hint: str
) -> None:
    """Before the server is asked for it."""
    answer = get(app, path)

    assert answer.status == 400
    assert hint in answer.body.decode()
    assert not oxen.asked


# --- tokens


def test_each_side_sees_its_own_token_alone(oxen: StandIn) -> None:
    """The client's is not passed on, and the server's not given away."""
    app = gateway.gateway_app(ServerOrigin(oxen.url, TOKEN, Payload()), tokens=frozenset({READER}))

    assert get(app, "small").status == 401
    assert not oxen.asked
    for path in ("small", "large", "nothing"):
        answer = get(app, path, authorization=f"Bearer {READER}")
        assert answer.status == (200 if path in FILES else 404)
        assert harmless(answer, oxen)
    assert get(app, "small", authorization=f"Bearer {TOKEN}").status == 401
    assert oxen.credentials == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("route", ["commits", "meta", "chunk"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_gateways_own_token_is_not_the_clients_fault(
    app: Starlette, oxen: StandIn, route: str, status: int
) -> None:
    """403, which W&B's client does not try again for 20 minutes; no other token is asked for."""
    oxen.failing[route] = status, {}

    answer = get(app, "small")

    assert answer.status == 403
    assert "gateway" in answer.reason
    assert "www-authenticate" not in answer.headers
    assert harmless(answer, oxen)


# --- revisions


@pytest.mark.parametrize("revision", ["main", "deadbeef"])
def test_a_branch_may_look_like_a_commit(app: Starlette, revision: str) -> None:
    """Then it is none: its answers are not for ever."""
    answer = ask(app, f"http://gateway{REPO}/file/{revision}/small")

    assert (answer.body, answer.headers["cache-control"]) == (SMALL, "no-cache, no-transform")
    assert answer.headers["oxen-revision-id"] == COMMIT


@pytest.mark.parametrize("revision", [f"0{COMMIT}", COMMIT.upper(), "syncd/base", "syncd%2Fbase"])
def test_a_commit_has_one_name_and_syncds_own_branches_none(app: Starlette, revision: str) -> None:
    """Though the server finds them."""
    answer = ask(app, f"http://gateway{REPO}/file/{revision}/small")

    assert answer.status == 404
    assert "no commit or branch" in answer.reason


# --- failures before the first byte


@pytest.mark.parametrize("route", ["commits", "meta", "chunk"])
def test_a_server_that_is_busy_is_asked_again_later(
    app: Starlette, oxen: StandIn, route: str
) -> None:
    """503, when the server says so; nothing of what it said."""
    oxen.failing[route] = 429, {"Retry-After": "7"}

    answer = get(app, "small")

    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert answer.reason
    assert harmless(answer, oxen)


def test_a_server_that_is_away_is_said_to_be() -> None:
    """503, and it is served as soon as it is back."""
    with retry.fast():
        answer = get(open_to_all(f"http://127.0.0.1:{free_port()}"), "small")

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "cannot be reached" in answer.reason


@pytest.mark.parametrize("route", ["commits", "meta", "chunk"])
def test_an_answer_that_is_cut_short_is_no_answer(
    app: Starlette, oxen: StandIn, route: str
) -> None:
    """502, and to be asked again."""
    oxen.cut[route] = 1

    answer = get(app, "small")

    assert (answer.status, answer.headers["retry-after"]) == (502, "5")
    oxen.cut.clear()
    assert get(app, "small").body == SMALL


@pytest.mark.parametrize("told", ["{}", "[]", '{"status": "error"}', "<html>"])
def test_an_answer_that_is_not_understood_is_the_servers_fault(
    app: Starlette, oxen: StandIn, told: str
) -> None:
    """502; whatever stands in the server's place."""
    oxen.saying = told.encode()

    answer = get(app, "small")

    assert answer.status == 502
    assert answer.reason


@pytest.mark.parametrize("stored", [SMALL[::-1], SMALL[:-1]])
def test_small_damaged_bytes_are_not_served_under_their_tag(
    app: Starlette, oxen: StandIn, stored: bytes
) -> None:
    """Of the right length or not."""
    oxen.stored["small"] = stored

    assert get(app, "small").status in {500, 502}


def test_bytes_that_the_server_has_lost_are_an_error_of_the_host(
    app: Starlette, oxen: StandIn
) -> None:
    """Not a file that is not there."""
    assert get(app, "small").status == 200
    oxen.failing["chunk"] = 404, {}

    answer = get(app, "small")

    assert answer.status == 500
    assert "syncd verify" in str(answer.body)


@pytest.mark.parametrize("repo", ["..", "a%2Fb", "%2e%2e", ".data", "a?b", ""])
def test_a_hostile_repository_is_not_asked_for(app: Starlette, oxen: StandIn, repo: str) -> None:
    """It would be another route."""
    assert ask(app, f"http://g/api/repos/team/{repo}/file/{COMMIT}/small").status == 404
    assert not oxen.asked


@pytest.mark.parametrize("url", ["http://host/?a=b", "http://user@host", "http://host#a"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Before anything is served."""
    with pytest.raises(ConfigurationError):
        ServerOrigin(url, TOKEN, Payload())


# --- failures after the first byte


SERVER = """
import sys
from syncd.clients.origin_server import ServerOrigin
from syncd.clients.payload import Payload
from syncd.web import gateway
origin = ServerOrigin(sys.argv[1], "token", Payload())
gateway.serve(origin, "127.0.0.1", 0, None, lambda url: print(url, flush=True))
"""


@contextmanager
def served(url: str) -> Iterator[http.client.HTTPConnection]:
    """A gateway in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=20)
        try:
            yield connection
        finally:
            connection.close()
            process.terminate()


@pytest.mark.parametrize(
    ("faults", "headers"),
    [
        ({"cut": {"chunk": 1}}, {}),
        ({"cut": {"chunk": PIECE // 2}}, {}),
        ({"stored": {"large": LARGE[:-1]}}, {}),
        ({"stored": {"large": LARGE[:-1] + b"?"}}, {}),
        ({"stored": {"large": LARGE[: PIECE + 9]}}, {"Range": "bytes=5-"}),
    ],
)
def test_a_transfer_that_fails_on_its_way_is_never_a_short_success(
    oxen: StandIn, faults: Mapping[str, Mapping[str, object]], headers: Mapping[str, str]
) -> None:
    """The connection is reset: a client that counts no bytes, as urllib3 1.26 does not, notices too."""
    with served(oxen.url) as connection:
        for name, value in faults.items():
            setattr(oxen, name, value)
        connection.request("GET", f"{REPO}/file/{COMMIT}/large", headers=dict(headers))
        response = connection.getresponse()
        assert response.status in {200, 206}
        came = bytearray()
        with pytest.raises(ConnectionResetError):
            all_of(response, came)
        assert LARGE.startswith(came) or LARGE[5:].startswith(came)
        for name in faults:
            setattr(oxen, name, {})
        connection.close()
        connection.request("GET", f"{REPO}/file/{COMMIT}/large")
        assert connection.getresponse().read() == LARGE


def all_of(response: http.client.HTTPResponse, came: bytearray) -> None:
    """Read to the end."""
    while piece := response.read(1 << 16):
        came += piece


def test_a_client_that_leaves_ends_the_servers_transfer(oxen: StandIn) -> None:
    """And others are served meanwhile."""
    with served(oxen.url) as connection:
        for _ in range(3):
            connection.request("GET", f"{REPO}/file/{COMMIT}/large")
            connection.getresponse().read(10)
            connection.close()
        connection.request("GET", f"{REPO}/file/{COMMIT}/small")
        assert connection.getresponse().read() == SMALL
