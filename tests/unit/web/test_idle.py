"""Clients that keep a connection and do nothing with it: given up, and nobody else is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from syncd.clients.origins import Found
from syncd.refs import RepoRef
from syncd.web import idle
from syncd.web.gateway import gateway_app
from syncd.web.idle import ASK_WITHIN, LOOK, TAKE_WITHIN, Idle
from syncd.web.server import KEEP_ALIVE, Server, listening, settings

PIECE = bytes(1 << 20)
HALF = b"GET / HTTP/1.1\r\nHost: here\r\n"


class Endless:
    """An `Origin` of a file that nobody has seen the end of."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def find(self, repo: RepoRef, names: Sequence[str]) -> Found:
        """See `Origin.find`."""
        commit, path = names
        return Found(repo=repo, commit=commit, path=path, hash="1", size=1 << 60, permanent=True)

    def read(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """See `Origin.read`."""
        del found, begin, end
        try:
            while True:
                yield PIECE
        finally:
            self.closed.set()


@contextmanager
def served(app: Starlette) -> Iterator[tuple[str, int]]:
    """The application at a free port."""
    ready = threading.Event()
    with listening("127.0.0.1", 0, "test") as (listener, url):
        server = Server(app, ready.set, patience=0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        assert ready.wait(20)
        try:
            yield "127.0.0.1", urlsplit(url).port or 0
        finally:
            server.should_exit = True
            thread.join()


def hung_up(client: socket.socket) -> bool:
    """Whether the server ends the connection, after what it has sent."""
    client.settimeout(20)
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    return True


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that gives up after a moment."""
    for name in ("ASK_WITHIN", "TAKE_WITHIN"):
        monkeypatch.setattr(idle, name, 0.2)
    monkeypatch.setattr(idle, "LOOK", 0.05)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        HALF,
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nabc",
        HALF + b"\r\n" + HALF,  # whole, and again by half
    ],
)
def test_who_sends_no_whole_request_is_given_up(sent: bytes) -> None:
    """However much of it there is, and whatever came before."""

    async def page(request: Request) -> Response:
        del request
        return PlainTextResponse("here")

    app = Starlette(routes=[Route("/", page, methods=["GET", "POST"])])
    with served(app) as address, socket.create_connection(address) as client:
        client.sendall(sent)
        assert hung_up(client)


@pytest.mark.usefixtures("soon")
def test_who_takes_nothing_of_an_answer_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    """And what made the answer is closed, with the file that it reads."""
    origin = Endless()
    app = gateway_app(origin, tokens=None)
    with served(app) as address, socket.create_connection(address) as client:
        client.sendall(b"GET /api/repos/n/r/file/c/a HTTP/1.1\r\nHost: here\r\n\r\n")
        assert origin.closed.wait(20)
        assert hung_up(client)
    assert "takes nothing" in capsys.readouterr().err


def test_what_is_not_taken_when_the_server_ends_is_no_whole_answer() -> None:
    """The client sees a reset, and not an end that it might take for the file's."""
    app = gateway_app(Endless(), tokens=None)
    with ExitStack() as clients:
        with served(app) as address:
            client = clients.enter_context(socket.create_connection(address))
            client.sendall(b"GET /api/repos/n/r/file/c/a HTTP/1.1\r\nHost: here\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        with pytest.raises(ConnectionResetError):
            _all_of(client)


def _all_of(client: socket.socket) -> None:
    while client.recv(1 << 16):
        pass


# --- what is no fault of the client's


@dataclass(eq=False)
class Cycle:
    """A request as uvicorn keeps it."""

    response_complete: bool = False


@dataclass(eq=False)
class Connection:
    """A connection as uvicorn keeps it, and its transport in one."""

    cycle: Cycle | None = field(default_factory=Cycle)
    unsent: int = 0
    aborted: bool = False

    @property
    def transport(self) -> Connection:
        """What is written to."""
        return self

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has not taken."""
        return self.unsent

    def get_extra_info(self, _name: str) -> Connection:
        """What it is made on."""
        return self

    def setsockopt(self, *_option: object) -> None:
        """How it ends."""

    def abort(self) -> None:
        """Give it up."""
        self.aborted = True


class Hours:
    """A clock, and looks every few seconds of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.idle = Idle(lambda: self.now)

    def pass_over(self, connection: Connection, seconds: float) -> Iterator[float]:
        """Each look within this time, before it is taken."""
        end = self.now + seconds
        while self.now < end:
            yield self.now
            self.idle.look([connection])
            self.now += LOOK


def test_a_connection_between_two_requests_is_left_to_uvicorn() -> None:
    """It closes at that moment which a proxy expects least: later than the proxy itself does."""
    assert 60 < KEEP_ALIVE < ASK_WITHIN
    assert settings(Starlette()).timeout_keep_alive == KEEP_ALIVE


def test_who_takes_a_little_at_a_time_gets_all_of_it() -> None:
    """For hours, with a pause now and then."""
    hours, connection = Hours(), Connection(unsent=10 << 20)
    for _ in range(20):
        for _ in hours.pass_over(connection, TAKE_WITHIN - LOOK):
            assert not connection.aborted
        connection.unsent -= 1000
    for _ in hours.pass_over(connection, 2 * TAKE_WITHIN):
        pass

    assert connection.aborted


def test_who_waits_for_us_waits_as_long_as_it_takes() -> None:
    """A request under way that has no bytes to send yet."""
    hours, connection = Hours(), Connection()
    for _ in hours.pass_over(connection, 10 * TAKE_WITHIN):
        assert not connection.aborted


def test_requests_one_after_the_other_are_no_pause() -> None:
    """Although each look may find the connection between two of them."""
    hours, connection = Hours(), Connection()
    for _ in hours.pass_over(connection, 10 * ASK_WITHIN):
        connection.cycle = Cycle(response_complete=True)
        assert not connection.aborted


def test_the_end_of_an_answer_is_taken_as_slowly_as_its_middle() -> None:
    """What is complete for us is not yet with the client."""
    hours, connection = Hours(), Connection(cycle=Cycle(response_complete=True), unsent=10 << 20)
    for _ in hours.pass_over(connection, 10 * ASK_WITHIN):
        connection.unsent -= 1
        assert not connection.aborted
