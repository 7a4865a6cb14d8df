"""A W&B server that answers as it is told, on a real socket, and what it may answer."""

from __future__ import annotations

import base64
import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from syncd.clients.artifacts import Version
from syncd.clients.wandb import WandbSource
from syncd.errors import SyncdError

KEY = "k3y-0123456789abcdef0123456789abcdef01234567"
BASIC = base64.b64encode(f"api:{KEY}".encode()).decode()
SIGNATURE = "5ecret-51gnature"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is answered; `cut` bytes of the promised body are not sent."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked; header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def variables(self) -> dict[str, Any]:
        """Of a GraphQL request."""
        found: dict[str, Any] = json.loads(self.body)["variables"]
        return found


class Server:
    """Answers by GraphQL operation or by path, the last answer again and again."""

    def __init__(self) -> None:
        self.asked: dict[str, list[Asked]] = defaultdict(list)
        self._answers: dict[str, list[Answer]] = {}
        told = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                told._serve(self)

            do_GET = do_POST = do_PUT = _serve  # noqa: N815 the names http.server looks for

            def log_message(self, *_: object) -> None:
                """Nothing is told."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = False  # closing waits for what is still answered
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop and wait."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def on(self, name: str, *answers: Answer | dict[str, Any]) -> None:
        """What to answer to an operation or path, in turn; a dict is GraphQL data."""
        self._answers[name] = [
            item if isinstance(item, Answer) else Answer(body=json.dumps({"data": item}).encode())
            for item in answers
        ]

    def all_asked(self) -> list[Asked]:
        """Every request."""
        return [request for requests in self.asked.values() for request in requests]

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        name = json.loads(body)["operationName"] if parts.path == "/graphql" else parts.path
        self.asked[name].append(
            Asked(
                method=request.command,
                path=parts.path,
                query=parts.query,
                headers={key.lower(): value for key, value in request.headers.items()},
                body=body,
            )
        )
        answers = self._answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        request.send_response(answer.status)
        for key, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            request.send_header(key, value)
        request.end_headers()
        request.wfile.write(answer.body[: len(answer.body) - answer.cut])


def node(index: int = 0, **changes: Any) -> dict[str, Any]:
    """A version as GraphQL answers it."""
    collection = {"name": "ds", "project": {"name": "proj", "entity": {"name": "team"}}}
    return {
        "id": f"id{index}",
        "artifactSequence": collection,
        "versionIndex": index,
        "artifactType": {"name": "dataset"},
        "description": "what it is",
        "metadata": '{"rows": 5}',
        "ttlDurationSeconds": -2,
        "ttlIsInherited": True,
        "tags": [{"name": "gold"}],
        "historyStep": 3,
        "state": "COMMITTED",
        "size": "7",
        "digest": "d1",
        "fileCount": 1,
        "createdAt": "2026-01-01T00:00:00Z",
        "aliases": [{"alias": "latest", "artifactCollection": collection}],
        "createdBy": {
            "__typename": "Run",
            "name": "r1",
            "project": collection["project"],
            "user": {"username": "ann"},
        },
        **changes,
    }


def page(*nodes: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    """A page of a connection; a cursor says that there are more."""
    info = {"endCursor": cursor, "hasNextPage": cursor is not None}
    return {"edges": [{"node": item} for item in nodes], "pageInfo": info}


def version(source: WandbSource, api: Server) -> Version:
    """`team/proj/ds:v0` as the client reads it."""
    api.on("ArtifactByID", {"artifact": node()})
    return source.version("id0")


def harmless(error: SyncdError) -> bool:
    """Whether an error may be shown to anybody."""
    text = f"{error} {error.hint} {error.__cause__}"
    return KEY not in text and BASIC not in text and SIGNATURE not in text
