"""An Oxen server with one commit, which fails as it is told: faults that the real one does not have."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import xxhash

COMMIT = "c0ffee"
TOKEN = "the-token-of-the-oxen-server"
REPO = "/api/repos/team/data"


class StandIn:
    """The routes that the gateway asks for, in the shape of oxen-server 0.65.2.

    Args:
        files: what the commit holds.

    Attributes:
        asked: `route path?query` of each request, without the commit.
        credentials: every Authorization header that came.
        failing: by route, a status and headers to answer with.
        stored: what lies under a path in the place of what was committed.
        cut: bytes that are missing at the end of every answer of these routes.
        saying: what is answered in the place of everything.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.asked: list[str] = []
        self.credentials: set[str | None] = set()
        self.failing: dict[str, tuple[int, dict[str, str]]] = {}
        self.stored: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.saying = b""
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                told._serve(self)

            def log_message(self, *_: object) -> None:
                """Nothing is told."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop and wait."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        route, _, rest = parts.path.removeprefix(f"{REPO}/").partition("/")
        path = unquote(rest.partition("/")[2])
        self.asked.append(f"{route} {path}{parts.query and '?'}{parts.query}")
        self.credentials.add(request.headers["authorization"])
        query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
        status, headers, body = (
            200,
            dict[str, str](),
            self.saying or self._body(route, rest, path, query),
        )
        if route in self.failing:
            status, headers = self.failing[route]
        elif body is None:
            status = 404
        sent = body if body is not None and status == 200 else f"not for {TOKEN}".encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(sent)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        missing = self.cut.get(route, 0)
        request.wfile.write(sent[: len(sent) - missing])
        request.close_connection = bool(missing)

    def _body(self, route: str, rest: str, path: str, query: Mapping[str, int]) -> bytes | None:
        if route == "branches":
            heads = ("main", "syncd/base", "deadbeef")
            return _json({"branches": [{"name": name, "commit_id": COMMIT} for name in heads]})
        if route == "commits":  # found with zeros before it, too
            return _json({"commit": {"id": COMMIT}}) if rest.lstrip("0") == COMMIT else None
        if route == "dir":
            return self._listed(path, query["page"], query["page_size"])
        there = rest.startswith(f"{COMMIT}/") and path in self.files
        return self._file(route, path, query) if there else None

    def _file(self, route: str, path: str, query: Mapping[str, int]) -> bytes:
        data = self.files[path]
        if route == "meta":
            return _json({"entry": _entry(path, data)})
        stored = self.stored.get(path, data)
        return stored[query["chunk_start"] :][: query["chunk_size"]]

    def _listed(self, folder: str, page: int, size: int) -> bytes:
        inside = [path for path in sorted(self.files) if path.rpartition("/")[0] == folder]
        shown = inside[(page - 1) * size :][:size]
        entries = [_entry(path, self.files[path]) for path in shown]
        folders = [{"is_dir": True, "filename": "d", "hash": "abc", "size": 0}]
        return _json({"entries": folders + entries, "total_pages": -(-len(inside) // size)})


def _entry(path: str, data: bytes) -> dict[str, Any]:
    digest = f"{xxhash.xxh3_128_intdigest(data):x}"
    name = path.rpartition("/")[2]
    return {"is_dir": False, "filename": name, "hash": digest, "size": len(data)}


def _json(value: Any) -> bytes:
    return b"\n\n" + json.dumps({"status": "success", **value}).encode()  # after heartbeats
