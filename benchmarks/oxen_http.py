"""The least that brings bytes into an oxen-server, to know what it can take.

Nothing is retried, looked up or committed.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import xxhash

_OK = 200
_BRANCH = "main"
_CHUNK = 1 << 20


class OxenHttp:
    """One repository on one server.

    Args:
        url: where the server is.
        repo: namespace and name.
    """

    def __init__(self, url: str, repo: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port
        self._repo = repo
        self._workspace = uuid.uuid4().hex
        self._here = threading.local()

    def create(self) -> None:
        """Make the repository, and a workspace in it."""
        namespace, name = self._repo.split("/")
        wanted = {"namespace": namespace, "name": name}
        self._json("POST", "/api/repos", wanted)
        wanted = {"branch_name": _BRANCH, "workspace_id": self._workspace}
        self._json("PUT", f"/api/repos/{self._repo}/workspaces", wanted)

    def delete(self) -> None:
        """Remove the repository, if it is there."""
        with suppress(RuntimeError):
            self._send("DELETE", f"/api/repos/{self._repo}", b"", {})

    def parts(self, path: Path) -> Callable[[], int]:
        """What uploads one file in parts; it is hashed beforehand."""
        digest, size = xxhash.xxh3_128(), path.stat().st_size
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        content = f"{digest.intdigest():x}"

        def send() -> int:
            uploads = f"/api/repos/{self._repo}/versions/uploads"
            destination = {"workspace_id": self._workspace, "path": path.name}
            wanted = {"hash": content, "size": size, "destination": destination}
            begun = self._json("POST", uploads, wanted)
            headers = {"Content-Type": "application/octet-stream"}
            with path.open("rb") as file:
                for number in range(1, begun["num_parts"] + 1):
                    part = file.read(begun["part_size"])
                    self._send(
                        "PUT", f"{uploads}/{begun['upload_id']}/parts/{number}", part, headers
                    )
            return size

        return send

    def batch(self, paths: Sequence[Path]) -> Callable[[], int]:
        """What uploads and stages small files of one folder in one request."""

        def send() -> int:
            boundary = uuid.uuid4().hex
            pieces, size = [], 0
            for path in paths:
                content = path.read_bytes()
                head = f'form-data; name="file[]"; filename="{path.name}"'
                pieces.append(f"--{boundary}\r\nContent-Disposition: {head}\r\n\r\n".encode())
                pieces += [content, b"\r\n"]
                size += len(content)
            body = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
            headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            folder = f"data/{paths[0].parent.name}"
            target = f"/api/repos/{self._repo}/workspaces/{self._workspace}/files/{folder}"
            self._send("POST", target, body, headers)
            return size

        return send

    def _json(self, method: str, target: str, body: object) -> dict[str, int]:
        headers = {"Content-Type": "application/json"}
        answer: dict[str, int] = json.loads(
            self._send(method, target, json.dumps(body).encode(), headers)
        )
        return answer

    def _send(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> bytes:
        if not hasattr(self._here, "connection"):
            self._here.connection = HTTPConnection(self._host, self._port, timeout=600)
        connection: HTTPConnection = self._here.connection
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != _OK:
            raise RuntimeError(f"{method} {target}: {response.status} {answer[:500]!r}")
        return answer
