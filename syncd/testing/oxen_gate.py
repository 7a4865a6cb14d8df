"""A gate before a server that asks nobody who he is: it wants a bearer token, and says 401 without.

It stands in for a server with users: each request has to bring the token, also on a connection where
an earlier one brought it.
"""

from __future__ import annotations

import hmac
import http.client
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase

from syncd.testing.served import served

_CHUNK = 1 << 18
_TIMEOUT = 600.0
_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "expect", "content-length"}
_REFUSED = b'{"status":"error","status_message":"unauthorized"}'


@contextmanager
def gate(port: int) -> Iterator[tuple[str, str]]:
    """Guard a port of this machine.

    Yields:
        The URL to come in by, and the token to bring.
    """
    token = secrets.token_hex(16)

    class Guarded(_Handler):
        expected = f"Bearer {token}"
        target = port

    with served(Guarded) as url:
        yield url, token


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    expected = ""
    target = 0

    def parse_request(self) -> bool:
        """Take every method there is, `QUERY` too."""
        if not super().parse_request():
            return False
        self._relay()
        return False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name above
        """Say nothing."""

    def _relay(self) -> None:
        body = self._body()
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), self.expected.encode()):
            for _ in body:
                pass
            self._answer(http.HTTPStatus.UNAUTHORIZED, {}, len(_REFUSED))
            self.wfile.write(_REFUSED)
            return
        server = http.client.HTTPConnection("127.0.0.1", self.target, timeout=_TIMEOUT)
        try:
            server.putrequest(self.command, self.path, skip_host=False, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    server.putheader(name, value)
            length = self.headers.get("Content-Length")
            chunked = length is None and "Transfer-Encoding" in self.headers
            if length is not None:
                server.putheader("Content-Length", length)
            elif chunked:
                server.putheader("Transfer-Encoding", "chunked")
            server.endheaders(body, encode_chunked=chunked)
            self._pass(server.getresponse())
        except OSError:
            self.close_connection = True
        finally:
            server.close()

    def _pass(self, response: http.client.HTTPResponse) -> None:
        headers = {n: v for n, v in response.getheaders() if n.lower() not in _HOP}
        length = response.getheader("Content-Length")
        self._answer(response.status, headers, None if length is None else int(length))
        if self.command == "HEAD":
            return
        count = 0
        while data := response.read1(_CHUNK):
            count += len(data)
            if length is None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            else:
                self.wfile.write(data)
        if length is None:
            self.wfile.write(b"0\r\n\r\n")
        elif count < int(length):
            self.close_connection = True  # as the server did

    def _answer(self, status: int, headers: dict[str, str], length: int | None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.flush()

    def _body(self) -> Iterator[bytes]:
        if "Transfer-Encoding" in self.headers:
            return _chunks(self.rfile)
        return _exactly(self.rfile, int(self.headers.get("Content-Length", "0")))


def _exactly(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size > 0:
        data = stream.read(min(size, _CHUNK))
        if not data:
            raise ConnectionError("the request ended early")
        size -= len(data)
        yield data


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    while size := int(stream.readline().split(b";")[0], 16):
        yield from _exactly(stream, size)
        stream.readline()
    while stream.readline().strip():
        pass
