"""HTTP for bytes: where it is led, what it sends there, and through which proxy."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from syncd.clients.payload import Payload
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
