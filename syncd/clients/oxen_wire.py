"""How an Oxen server is spoken to: its token, its JSON, its multipart bodies and its archives.

Long answers begin with newlines as heartbeats, which JSON allows; an answer may also say
`"status": "error"` under a 200, because its head was sent before the work was done. Which routes
there are is told by `oxen_api`.
"""

from __future__ import annotations

import gzip
import json
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from itertools import chain
from typing import Any
from urllib.parse import quote

from syncd import retry
from syncd.clients.http import raise_for_status
from syncd.clients.oxen_paths import check_repo
from syncd.clients.payload import Answer, Body, Payload
from syncd.errors import ConfigurationError, IntegrityError, PermanentError
from syncd.refs import RepoRef

CHUNK = 1 << 20
ERROR_BYTES = 65536  # of an error's text, at most
AS_GZIP = {"Content-Type": "application/gzip"}
AS_JSON = {"Content-Type": "application/json"}
Json = dict[str, Any]
Part = tuple[str, bytes]  # file name, content


class Wire:
    """Requests to one server, and their answers as values or as our errors.

    Args:
        url: where the server is, without `/api` and without a slash at its end.
        token: the bearer token; empty for a server that asks for none.
        http: keeps the connections.
    """

    def __init__(self, url: str, token: str, http: Payload) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = http

    def place(self, repo: RepoRef) -> str:
        """Where a repository is, after the server's URL.

        Raises:
            InvalidNameError: when Oxen cannot have one of that name.
        """
        check_repo(repo)
        return f"/api/repos/{quote(repo.namespace)}/{quote(repo.repo)}"

    def json(self, method: str, path: str, what: str, body: object = None) -> Json:
        """Send a request that may be repeated."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else AS_JSON
        return retry.call(lambda: self.send(method, path, what, data, headers), what=what)

    def multipart(self, path: str, parts: Sequence[Part], what: str) -> Json:
        """Send files that are in memory, in one request that may be repeated."""
        boundary = uuid.uuid4().hex  # at random: no content can hold it on purpose
        heads = ((_head(boundary, name), data, b"\r\n") for name, data in parts)
        body = b"".join([*chain.from_iterable(heads), f"--{boundary}--\r\n".encode()])
        headers = _multipart(boundary)
        return retry.call(lambda: self.send("POST", path, what, body, headers), what=what)

    def stream(
        self, path: str, name: str, chunks: Iterable[bytes], size: int | None, what: str
    ) -> Json:
        """Send one file, once.

        Where its size in bytes is known the request tells its length: without, each chunk is
        copied into a frame of its own, which took 4 s of processor time in 4 GiB.
        """
        boundary = uuid.uuid4().hex
        head, tail = _head(boundary, name), f"\r\n--{boundary}--\r\n".encode()
        framed = chain([head], chunks, [tail])
        body: Body = framed if size is None else (framed, len(head) + size + len(tail))
        return self.send("POST", path, what, body, _multipart(boundary))

    def send(
        self, method: str, path: str, what: str, body: Body | None, headers: Mapping[str, str]
    ) -> Json:
        """Send a request once.

        Raises:
            IntegrityError: when the answer is no JSON.
            PermanentError: when it tells of an error under a good status.
        """
        with self.opened(method, path, what, body=body, headers=headers) as answer:
            text = b"".join(answer.chunks(CHUNK))
            detail = said(text[:ERROR_BYTES]) if answer.status >= 400 else ""  # noqa: PLR2004
            self.check(answer, path, what, detail)
        try:
            found = json.loads(text)
        except ValueError as error:
            raise IntegrityError(f"{what}: {self.url} answered what is no JSON") from error
        if not isinstance(found, dict) or found.get("status") == "error":
            raise PermanentError(f"{what}: {self.url} refused: {said(text[:ERROR_BYTES])}")
        return found

    @contextmanager
    def opened(
        self,
        method: str,
        path: str,
        what: str,
        *,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Answer]:
        """Send a request once, and read its answer as it comes."""
        sent = {**self._headers, **(headers or {})}
        url = f"{self.url}{path}"
        with self._http.request(method, url, headers=sent, body=body, what=what) as answer:
            yield answer

    def check(self, answer: Answer, path: str, what: str, detail: str = "") -> None:
        """Raise what a status says, if it is no good one."""
        url = f"{self.url}{path}"
        raise_for_status(what, answer.status, answer.headers, url, detail=detail)


def check_url(url: str) -> str:
    """Return a server's URL without a slash at its end.

    Raises:
        ConfigurationError: when it holds a user, a query or a fragment.
    """
    if any(mark in url for mark in "?#@"):
        raise ConfigurationError(["oxen.url: a server's URL has no user, query or fragment"])
    return url.rstrip("/")


def zipped(lines: Iterable[str]) -> bytes:
    """Lines as the server takes many hashes."""
    return gzip.compress("\n".join(lines).encode(), compresslevel=1)


def unpacked(chunks: Iterator[bytes], what: str) -> Iterator[tuple[str, bytes]]:
    """The files of a zipped archive that comes in chunks: name and piece, piece after piece.

    Raises:
        IntegrityError: when it is none.
    """
    reader = BufferedReader(_Stream(chunks), CHUNK)
    try:
        with tarfile.open(fileobj=reader, mode="r|gz") as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    data = file.read(CHUNK)
                    yield member.name, data
                    while data := file.read(CHUNK):
                        yield member.name, data
    except (tarfile.TarError, EOFError, OSError) as error:
        raise IntegrityError(f"{what}: the answer is no archive") from error


def said(text: bytes) -> str:
    """What the server said about a failure, in one line."""
    try:
        found = json.loads(text)
        error = found.get("error") or {}
        told = [error.get("title"), error.get("detail"), found.get("status_description")]
        parts = [str(part) for part in told if part] or [str(found.get("status_message", ""))]
    except (ValueError, AttributeError):
        return ""
    return " ".join(": ".join(parts).split())[:300]


class _Stream(RawIOBase):
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        """Nothing else."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase.readinto`."""
        data = self._rest or next(self._chunks, b"")
        count = min(len(buffer), len(data))
        buffer[:count], self._rest = data[:count], data[count:]
        return count


def _multipart(boundary: str) -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def _head(boundary: str, name: str) -> bytes:
    r"""The head of one file of a multipart body; `\` and `"` in the name are escaped (RFC 2616)."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file[]"; filename="{escaped}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
