"""HTTP for bytes: where it is led, what it sends there, and through which proxy."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from syncd.clients.http import raise_for_status
from syncd.clients.payload import Payload, proxy_of
from syncd.errors import PermanentError
from syncd.testing.served import served


@dataclass
class Pool:
    """What answers in the place of connections: one redirect, then an empty body."""

    location: str
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def urlopen(self, _method: str, url: str, *, headers: Mapping[str, str], **_: Any) -> Any:
        """Answer."""
        self.asked.append((url, dict(headers)))
        return _Response({"location": self.location} if len(self.asked) == 1 else {})


class _Response:
    def __init__(self, headers: Mapping[str, str]) -> None:
        self.status, self.headers = (302 if headers else 200), headers
        self.length_remaining, self.closed = 0, True

    def drain_conn(self) -> None:
        pass

    release_conn = close = drain_conn

    def read(self, *_: Any, **__: Any) -> bytes:
        return b""


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("https://oxen.example/other", True),
        ("/other", True),
        ("http://oxen.example/other", False),  # the same host, in clear text
        ("https://other.example/other", False),
        ("https://oxen.example:8443/other", False),
    ],
)
def test_a_token_goes_to_its_host_alone_and_never_in_clear_text(
    location: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a server redirects."""
    pool = Pool(location)
    with closing(Payload()) as http:
        monkeypatch.setattr(http, "_manager", lambda _url: pool)
        sent = {"Authorization": "Bearer secret-token-1"}
        with http.request("GET", "https://oxen.example/file", what="read", headers=sent):
            pass
    assert [("Authorization" in headers) for _, headers in pool.asked] == [True, kept]


def test_a_redirect_to_what_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the place that sent it."""
    pool = Pool("http://[::1/x")
    with closing(Payload()) as http:
        monkeypatch.setattr(http, "_manager", lambda _url: pool)
        with (
            pytest.raises(PermanentError, match=r"oxen\.example/file leads to what is no URL"),
            http.request("GET", "https://oxen.example/file", what="read"),
        ):
            pass


def recording(monkeypatch: pytest.MonkeyPatch, http: Payload, *answers: dict[str, str]) -> Recorder:
    """Put these answers, by their headers, in the place of connections; the last one for ever."""
    made = Recorder(list(answers))
    monkeypatch.setattr(http, "_manager", lambda _url: made)
    return made


@dataclass
class Recorder:
    """What answers in the place of connections, and notes all that it was asked with."""

    answers: list[dict[str, str]]
    asked: list[dict[str, Any]] = field(default_factory=list)

    def urlopen(self, method: str, url: str, **more: Any) -> Any:
        """Answer."""
        self.asked.append({"method": method, "url": url, **more})
        return _Response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])


def test_a_circle_of_redirects_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few, and says where."""
    with closing(Payload()) as http:
        asked = recording(monkeypatch, http, {"location": "/file"}).asked
        with (
            pytest.raises(PermanentError, match=r"oxen\.example/file leads in a circle"),
            http.request("GET", "https://oxen.example/file", what="read"),
        ):
            pass
    assert len(asked) == 6


def test_what_is_sent_is_not_sent_again_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sent a body is given the redirect as it came."""
    with closing(Payload()) as http:
        asked = recording(monkeypatch, http, {"location": "https://other.example/"}, {}).asked
        with http.request("POST", "https://oxen.example/f", what="send", body=b"1") as answer:
            assert answer.status == 302
    assert [one["url"] for one in asked] == ["https://oxen.example/f"]


def test_nobody_is_waited_for_without_end_and_bytes_are_asked_for_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A body that was compressed on its way has another hash."""
    with closing(Payload()) as http:
        asked = recording(monkeypatch, http, {}).asked
        with http.request("GET", "https://oxen.example/f", what="read"):
            pass
    assert asked[0]["headers"]["Accept-Encoding"] == "identity"
    assert 0 < asked[0]["timeout"].connect_timeout <= 60
    assert 0 < asked[0]["timeout"].read_timeout <= 300


def test_hosts_that_the_environment_excepts_are_asked_without_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of `no_proxy`; the proxy would not find them."""
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")

    assert proxy_of("https", "inside.example") is None
    assert proxy_of("https", "outside.example") == "http://proxy.example:3128"


@pytest.mark.parametrize("url", ["http://a..example/x", "file://localhost/etc/passwd", "ftp://h/x"])
def test_a_url_that_nobody_can_be_asked_for_is_told(url: str) -> None:
    """As what will never work."""
    with (
        closing(Payload()) as http,
        pytest.raises(PermanentError, match=r"is not (a usable|an http\(s\)) URL"),
        http.request("GET", url, what="read"),
    ):
        pass


@pytest.mark.parametrize("status", [301, 304, 400, 409, 418])
def test_an_answer_of_no_success_is_none(status: int) -> None:
    """A redirect that nobody followed least of all: nothing was done."""
    with pytest.raises(PermanentError, match=f"answered {status}"):
        raise_for_status("send", status, {}, "https://oxen.example/f?sig=secret")
    for well in (200, 204, 206):
        raise_for_status("send", well, {}, "https://oxen.example/f")


def test_a_proxy_that_wants_a_password_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the client of W&B's GraphQL sends it; special characters are as the URL has them."""
    seen: list[str | None] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Proxy-Authorization"))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

    with served(Proxy) as url, closing(Payload()) as http:
        monkeypatch.setenv("http_proxy", url.replace("://", "://ann:p%40ss@"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with http.request("GET", "http://files.example/x", what="read") as answer:
            assert answer.status == 200
    assert seen == ["Basic YW5uOnBAc3M="]
