"""Requests to a gateway in this process, whose paths arrive exactly as written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.applications import Starlette


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """The error that the body tells."""
        told = json.loads(self.body)
        assert set(told) == {"error", "hint"}
        assert all(told.values())
        return str(told["error"])


def ask(
    app: Starlette, url: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request whose path arrives exactly as written."""
    parts = urlsplit(url)
    raw, _, query = parts.path.encode("latin-1").partition(b"?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "server": ("gateway", 80),
        "client": ("client", 1),
        "root_path": "",
        "path": _decoded(raw),
        "raw_path": raw,
        "query_string": query or parts.query.encode(),
        "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent)
    found = {key.decode(): value.decode() for key, value in start["headers"]}
    return Answer(start["status"], found, body)


def _decoded(raw: bytes) -> str:
    """The path as uvicorn decodes it (uvicorn 0.54, `protocols/http/h11_impl.py`)."""
    return unquote(raw.decode("ascii", "replace"))
