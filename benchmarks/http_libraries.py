"""The HTTP clients that are compared, each used in the cheapest way it offers.

Libraries that syncd does not install are imported by name, so that their absence skips them alone.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

CHUNK = 1 << 20
_TIMEOUT = 300.0


class Client:
    """A client of threads: one request at a time each."""

    def get(self, url: str) -> int:
        """Read what is there in pieces, and throw it away; the number of bytes."""
        raise NotImplementedError

    def put(self, url: str, body: bytes) -> None:
        """Send it."""
        raise NotImplementedError

    def run(self, jobs: Sequence[tuple[str, bytes | None]], flight: int) -> int:
        """Get, or put where there is a body, so many at a time; the bytes that came."""

        def one(job: tuple[str, bytes | None]) -> int:
            url, body = job
            if body is None:
                return self.get(url)
            self.put(url, body)
            return 0

        with ThreadPoolExecutor(flight) as pool:
            return sum(pool.map(one, jobs))


class Standard(Client):
    """`http.client` into one buffer a thread."""

    def __init__(self) -> None:
        self._here = threading.local()

    def _connection(self, url: str) -> tuple[http.client.HTTPConnection, bytearray, str]:
        address = urlsplit(url)
        if not hasattr(self._here, "connection"):
            self._here.connection = http.client.HTTPConnection(
                address.hostname or "", address.port, timeout=_TIMEOUT
            )
            self._here.buffer = bytearray(CHUNK)
        target = f"{address.path}?{address.query}" if address.query else address.path
        return self._here.connection, self._here.buffer, target

    def get(self, url: str) -> int:
        """See `Client.get`."""
        connection, buffer, target = self._connection(url)
        connection.request("GET", target)
        response = connection.getresponse()
        total = 0
        while count := response.readinto(buffer):
            total += count
        return total

    def put(self, url: str, body: bytes) -> None:
        """See `Client.put`."""
        connection, _, target = self._connection(url)
        connection.request("PUT", target, body)
        connection.getresponse().read()


class Httpx(Client):
    """httpx, the raw pieces as they come."""

    def __init__(self) -> None:
        library = importlib.import_module("httpx")
        limits = library.Limits(max_keepalive_connections=None)
        self._client: Any = library.Client(timeout=_TIMEOUT, limits=limits, trust_env=False)

    def get(self, url: str) -> int:
        """See `Client.get`."""
        with self._client.stream("GET", url) as response:
            return sum(len(piece) for piece in response.iter_raw())

    def put(self, url: str, body: bytes) -> None:
        """See `Client.put`."""
        self._client.put(url, content=body).raise_for_status()


class Urllib3(Client):
    """urllib3's pool."""

    def __init__(self) -> None:
        library = importlib.import_module("urllib3")
        self._pool: Any = library.PoolManager(maxsize=64, timeout=_TIMEOUT, retries=False)

    def get(self, url: str) -> int:
        """See `Client.get`."""
        response = self._pool.request("GET", url, preload_content=False)
        total = sum(len(piece) for piece in response.stream(CHUNK, decode_content=False))
        response.release_conn()
        return total

    def put(self, url: str, body: bytes) -> None:
        """See `Client.put`."""
        self._pool.request("PUT", url, body=body)


class Urllib3Buffer(Urllib3):
    """urllib3's pool, reading below it into one buffer a thread."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()

    def get(self, url: str) -> int:
        """See `Client.get`."""
        if not hasattr(self._here, "buffer"):
            self._here.buffer = bytearray(CHUNK)
        response = self._pool.request("GET", url, preload_content=False)
        total = 0
        while count := response._fp.readinto(self._here.buffer):  # noqa: SLF001  that is the idea
            total += count
        response.release_conn()
        return total


class Requests(Client):
    """requests, a session a thread."""

    def __init__(self) -> None:
        self._library = importlib.import_module("requests")
        self._here = threading.local()

    def _session(self) -> Any:
        if not hasattr(self._here, "session"):
            self._here.session = self._library.Session()
            self._here.session.trust_env = False
        return self._here.session

    def get(self, url: str) -> int:
        """See `Client.get`."""
        with self._session().get(url, stream=True, timeout=_TIMEOUT) as response:
            return sum(len(piece) for piece in response.iter_content(CHUNK))

    def put(self, url: str, body: bytes) -> None:
        """See `Client.put`."""
        self._session().put(url, data=body, timeout=_TIMEOUT).raise_for_status()


class Pyreqwest(Client):
    """Rust's reqwest, bodies streamed both ways."""

    def __init__(self) -> None:
        library: Any = importlib.import_module("pyreqwest.client")
        builder = library.SyncClientBuilder().http1_only().no_proxy().error_for_status()
        self._client: Any = builder.build()

    def get(self, url: str) -> int:
        """See `Client.get`."""
        total = 0
        request = self._client.get(url).streamed_read_buffer_limit(CHUNK).build_streamed()
        with request as response:
            while piece := response.body_reader.read_chunk():
                total += len(piece)
        return total

    def put(self, url: str, body: bytes) -> None:
        """See `Client.put`."""
        self._client.put(url).body_bytes(body).build().send()


class Primp(Client):
    """Another of reqwest's kin; sends whole bodies only."""

    def __init__(self) -> None:
        self._client: Any = importlib.import_module("primp").Client(timeout=_TIMEOUT)

    def get(self, url: str) -> int:
        """See `Client.get`."""
        with self._client.get(url, stream=True) as response:
            return sum(len(piece) for piece in response.iter_bytes(CHUNK))

    def put(self, url: str, body: bytes) -> None:
        """See `Client.put`."""
        self._client.put(url, content=body).raise_for_status()


class Rnet(Client):
    """wreq, a browser-like fork of reqwest."""

    def __init__(self) -> None:
        self._client: Any = importlib.import_module("rnet").BlockingClient(no_proxy=True)

    def get(self, url: str) -> int:
        """See `Client.get`."""
        response = self._client.get(url)
        return sum(len(piece) for piece in response.stream())

    def put(self, url: str, body: bytes) -> None:
        """See `Client.put`."""
        self._client.put(url, body=body).close()


class Aiohttp(Client):
    """aiohttp: one thread, so many at a time on its loop."""

    def run(self, jobs: Sequence[tuple[str, bytes | None]], flight: int) -> int:
        """See `Client.run`."""
        return asyncio.run(self._run(jobs, flight))

    async def _run(self, jobs: Sequence[tuple[str, bytes | None]], flight: int) -> int:
        library: Any = importlib.import_module("aiohttp")
        connector = library.TCPConnector(limit=flight)
        waiting = iter(jobs)
        timeout = library.ClientTimeout(total=_TIMEOUT)
        async with library.ClientSession(connector=connector, timeout=timeout) as session:

            async def work() -> int:
                total = 0
                for url, body in waiting:
                    if body is not None:
                        async with session.put(url, data=body) as response:
                            await response.read()
                        continue
                    async with session.get(url) as response:
                        async for piece in response.content.iter_any():
                            total += len(piece)
                return total

            return sum(await asyncio.gather(*(work() for _ in range(flight))))


LIBRARIES: dict[str, tuple[str, Callable[[], Client]]] = {
    "http.client": ("http.client", Standard),
    "httpx": ("httpx", Httpx),
    "urllib3": ("urllib3", Urllib3),
    "urllib3, own buffer": ("urllib3", Urllib3Buffer),
    "requests": ("requests", Requests),
    "aiohttp": ("aiohttp", Aiohttp),
    "pyreqwest (Rust)": ("pyreqwest", Pyreqwest),
    "primp (Rust)": ("primp", Primp),
    "rnet (Rust)": ("rnet", Rnet),
}
