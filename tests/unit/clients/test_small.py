"""Small files over connections that are kept: each used again, none trusted for long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import takewhile

import pytest

from syncd.clients.small import SmallAnswer, SmallGets
from syncd.errors import IntegrityError, PermanentError, ServiceUnavailableError

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Name: here\r\n\r\nbody"


class Talker:
    """Answers each request with the next of its answers; after one that is None it hangs up."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.connections = 0
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, connection.makefile("rb") as lines:
                # A line that is empty is the end of the connection, or of a request's head.
                while request := b"".join(
                    takewhile(lambda line: line != b"\r\n", iter(lines.readline, b""))
                ):
                    self.requests.append(request)
                    answer = self.answers.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)
                    if self.answers and self.answers[0] is None:
                        self.answers.pop(0)
                        break


@pytest.fixture
def talker() -> Iterator[Talker]:
    """A server on a real socket, one connection at a time."""
    with closing(Talker()) as talker:
        yield talker


@pytest.fixture
def get(talker: Talker) -> Iterator[Callable[..., SmallAnswer | None]]:
    """Asks it for a path."""
    with closing(SmallGets()) as gets:
        yield lambda path="/a?sig=5ecret": gets.get(talker.url + path, what="download a", limit=4)


def test_a_connection_is_used_again(talker: Talker, get: Callable[[], SmallAnswer]) -> None:
    """To make one costs more than a small file."""
    talker.answers = [WHOLE, WHOLE, WHOLE]
    found = [get() for _ in range(3)]

    assert [(one.status, one.body, one.headers["x-name"]) for one in found] == [
        (200, b"body", "here")
    ] * 3
    assert talker.connections == 1
    assert talker.requests[0].startswith(b"GET /a?sig=5ecret HTTP/1.1\r\n")


def test_a_connection_that_was_closed_meanwhile_is_replaced(
    talker: Talker, get: Callable[[], SmallAnswer]
) -> None:
    """Servers close what was idle; whoever asks does not notice."""
    talker.answers = [WHOLE, None, WHOLE]

    assert [get().body, get().body] == [b"body", b"body"]
    assert talker.connections == 2


def test_a_new_connection_that_is_closed_is_an_error(
    talker: Talker, get: Callable[[], SmallAnswer]
) -> None:
    """It is not tried for ever here; whoever asked has a policy."""
    talker.answers = [None, None]
    with pytest.raises(ServiceUnavailableError, match="download a") as caught:
        get()

    assert "5ecret" not in str(caught.value)
    assert talker.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nlonger on",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    ],
    ids=["more than was wanted", "close", "1.0"],
)
def test_a_connection_with_something_left_on_it_is_not_kept(
    answer: bytes, talker: Talker, get: Callable[[], SmallAnswer]
) -> None:
    """The next answer would begin with it."""
    talker.answers = [answer, None, WHOLE]
    first = get()

    assert len(first.body) <= 5
    assert get().body == b"body"
    assert talker.connections == 2


def test_an_answer_that_is_cut_short_is_an_error(
    talker: Talker, get: Callable[[], SmallAnswer]
) -> None:
    """It does not pass for a smaller file."""
    talker.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo", None]
    with pytest.raises(IntegrityError, match=r"download a.*cut short"):
        get()


@pytest.mark.parametrize("answer", [b"what?\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
def test_what_is_no_http_is_an_error(
    answer: bytes, talker: Talker, get: Callable[[], SmallAnswer]
) -> None:
    """It says what was being done."""
    talker.answers = [answer, None]
    with pytest.raises(IntegrityError, match="download a"):
        get()


@pytest.mark.parametrize("path", ["/ä", "/a b", "/a\r\nHost: other", "/a\0"])
def test_a_url_that_has_to_be_quoted_is_left_to_the_other_client(
    path: str, talker: Talker, get: Callable[[str], SmallAnswer | None]
) -> None:
    """No character of a URL from W&B becomes a line of a request."""
    assert get(path) is None
    assert not talker.requests


def test_a_url_with_a_password_is_left_to_the_other_client(talker: Talker) -> None:
    """It is not asked for without."""
    url = talker.url.replace("://", "://ann:pass@")
    with closing(SmallGets()) as gets:
        assert gets.get(f"{url}/a", what="download a", limit=4) is None
    assert not talker.requests


def test_a_connection_is_of_one_server_alone(talker: Talker) -> None:
    """Two may be on one host; each is asked for its own."""
    with closing(Talker()) as other, closing(SmallGets()) as gets:
        for one in (talker, other, talker, other):
            one.answers = [WHOLE]
            assert gets.get(f"{one.url}/a", what="download a", limit=4) is not None
        assert [len(one.requests) for one in (talker, other)] == [2, 2]


def test_a_host_name_that_no_dns_takes_is_told() -> None:
    """As what will never work."""
    with closing(SmallGets()) as gets, pytest.raises(PermanentError, match="names no host"):
        gets.get(f"http://{'a' * 64}.example/a", what="download a", limit=4)


def test_a_redirect_is_left_to_the_other_client(
    talker: Talker, get: Callable[[], SmallAnswer | None]
) -> None:
    """It follows with care."""
    talker.answers = [b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"]

    assert get() is None


def test_a_proxy_is_left_to_the_other_client(
    talker: Talker, get: Callable[[], SmallAnswer | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's proxy holds for small files, too."""
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.delenv("no_proxy", raising=False)

    assert get() is None
    assert not talker.requests


def test_what_is_no_web_address_is_refused() -> None:
    """Least of all a file of this machine."""
    with closing(SmallGets()) as gets, pytest.raises(PermanentError):
        gets.get("file:///etc/passwd", what="download a", limit=4)
