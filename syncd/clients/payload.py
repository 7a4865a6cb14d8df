"""HTTP for payload bytes and for Oxen: urllib3, which costs the least of a core per byte.

`clients.http` is for W&B's GraphQL. Measured beside others in `benchmarks/http_clients.py`. As
there, no message ever holds a header or a query string, and ~/.netrc is not read.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, ProtocolError

from syncd.clients.http import (
    CONNECT_TIMEOUT,
    MAX_CONNECTIONS,
    READ_TIMEOUT,
    broken_off,
    check_url,
    garbled,
    place,
    unanswered,
)
from syncd.errors import PermanentError, SyncdError

REDIRECTS = 5
REDIRECTED = frozenset({301, 302, 303, 307, 308})
# Bytes, chunks whose number of bytes is unknown, or chunks with that number.
Body = bytes | Iterable[bytes] | tuple[Iterable[bytes], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer whose body has not been read.

    Args:
        status: the status code.
        headers: by name, in any case.
    """

    status: int
    headers: Mapping[str, str]
    _response: urllib3.BaseHTTPResponse
    _what: str
    _url: str

    def chunks(self, size: int) -> Iterator[bytes]:
        """The body as it was sent, in pieces of at most so many bytes.

        Raises:
            IntegrityError: when it ends before its announced length.
            ServiceUnavailableError: when nothing comes any more.
        """
        with translated(self._what, self._url):
            while data := self._response.read(size, decode_content=False):
                yield data


class Payload:
    """A session whose connections are kept and shared by threads."""

    def __init__(self) -> None:
        self._context = ssl.create_default_context()
        self._managers: dict[tuple[str, str], urllib3.PoolManager] = {}  # by scheme and host
        self._direct = urllib3.PoolManager(maxsize=MAX_CONNECTIONS, ssl_context=self._context)
        self._proxies: dict[str, urllib3.ProxyManager] = {}

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Iterator[Answer]:
        """Send a request and give its answer; redirects are followed when there is no body.

        Args:
            method: the method.
            url: an http(s) URL.
            what: what is being done, for messages.
            headers: what to send beside the usual; `Authorization` only goes to this host.
            body: what to send.

        Raises:
            PermanentError: when the URL is none, or leads away from the web or in a circle.
            ServiceUnavailableError: when nobody answers.
            SyncdError: what making the body raises passes through.
        """
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        data: bytes | Iterable[bytes] | None
        if isinstance(body, tuple):
            data, sent["Content-Length"] = body[0], str(body[1])
        else:
            data = body
        response = self._follow(method, url, sent, data, what)
        whole = False
        try:
            yield Answer(
                status=response.status,
                headers=response.headers,
                _response=response,
                _what=what,
                _url=url,
            )
            whole = True
        finally:
            # A connection with unread bytes cannot be used again.
            if not whole or response.length_remaining or not response.closed:
                response.close()
            response.release_conn()

    def close(self) -> None:
        """Close all connections."""
        for manager in (self._direct, *self._proxies.values()):
            manager.clear()

    def _follow(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | Iterable[bytes] | None,
        what: str,
    ) -> urllib3.BaseHTTPResponse:
        for _ in range(REDIRECTS + 1):
            check_url(url)
            with translated(what, url):
                response = self._manager(url).urlopen(
                    method,
                    url,
                    body=cast("bytes | None", body),
                    headers=headers,
                    timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
            location = response.headers.get("location")
            if body is not None or response.status not in REDIRECTED or location is None:
                return response
            response.drain_conn()
            response.release_conn()
            target = _target(url, location, what)
            if urlsplit(target)[:2] != urlsplit(url)[:2]:  # another host, or in clear text
                headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
            url = target
        raise PermanentError(f"{what}: {place(url)} leads in a circle, or away from the web")

    def _manager(self, url: str) -> urllib3.PoolManager:
        """The connections for a URL, through the environment's proxy where it names one.

        The environment is asked once for each host: that takes as long as a small file.
        """
        parts = urlsplit(url)
        host = parts.scheme, parts.hostname or ""
        if host not in self._managers:
            self._managers[host] = self._made(*host)
        return self._managers[host]

    def _made(self, scheme: str, host: str) -> urllib3.PoolManager:
        proxy = proxy_of(scheme, host)
        if proxy is None:
            return self._direct
        if proxy not in self._proxies:
            parts = urlsplit(proxy)
            user = (
                f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                if parts.username
                else ""
            )
            self._proxies[proxy] = urllib3.ProxyManager(
                proxy,
                proxy_headers=urllib3.make_headers(proxy_basic_auth=user) if user else None,
                maxsize=MAX_CONNECTIONS,
                ssl_context=self._context,
            )
        return self._proxies[proxy]


def _target(url: str, location: str, what: str) -> str:
    try:
        target = urljoin(url, location)
        urlsplit(target)
    except ValueError as error:
        raise PermanentError(f"{what}: {place(url)} leads to what is no URL") from error
    return target


def proxy_of(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a host; None when it is asked directly."""
    proxy = getproxies().get(scheme)
    return proxy if proxy and not proxy_bypass(host) else None


@contextmanager
def translated(what: str, url: str) -> Iterator[None]:
    """Turn urllib3's exceptions into ours; what a body's own chunks raise passes through.

    Args:
        what: what was being done, for the message.
        url: where; shown without its query.
    """
    try:
        yield
    except SyncdError:
        raise
    except LocationValueError as error:
        raise PermanentError(f"{what}: {place(url)} is not a usable URL") from error
    except ProtocolError as error:
        text = str(error)
        if "IncompleteRead" in text or "InvalidChunkLength" in text:
            raise garbled(what, url) from error
        raise broken_off(what, url, error) from error
    except (HTTPError, OSError) as error:
        raise unanswered(what, url, error) from error
