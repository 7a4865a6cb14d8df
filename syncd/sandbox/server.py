"""Running a sandbox: in the foreground (`serve`) or in a thread of a test (`Sandbox`).

A data directory holds the SQLite file, the bytes and a secret. The secret signs URLs and makes the default user's
API key, so both survive a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from syncd.sandbox.app import application
from syncd.sandbox.blobs import Blobs
from syncd.sandbox.context import Backend
from syncd.sandbox.routes.line import Line
from syncd.sandbox.routes.service import Service
from syncd.sandbox.state import entities
from syncd.sandbox.state.database import Database
from syncd.sandbox.urls import SignedUrls
from syncd.sandbox.webhooks import Webhooks

DEFAULT_USER = "sandbox"
_WORKERS = 8
_STOP_SECONDS = 2


def _secret(data: Path) -> bytes:
    path = data / "secret"
    if not path.exists():
        aside = data / "secret.new"
        aside.write_text(secrets.token_hex(32), encoding="ascii")
        aside.replace(path)
    return bytes.fromhex(path.read_text(encoding="ascii"))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The event loop switches Nagle's delays off only for sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(256)
    return listener


def _public_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """A server that says when it listens and leaves signals to its owner."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def cut(self, scope: Scope) -> None:
        """Close the connection a request came by, at once."""
        client = scope["client"] or ()
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpToolsProtocol) and connection.client == tuple(client):
                connection.transport.abort()


class _Instance:
    """One server on one data directory."""

    def __init__(
        self, host: str, port: int, data: Path, ready: Callable[[dict[str, str]], None]
    ) -> None:
        data.mkdir(parents=True, exist_ok=True)
        secret = _secret(data)
        key = hmac.new(secret, b"api key", "sha256").hexdigest()[:40]
        self._listener = _listen(host, port)
        base_url = _public_url(self._listener)
        self.info = {"base_url": base_url, "api_key": key, "entity": DEFAULT_USER}
        self._db = Database(data / "sandbox.sqlite3")
        entities.put_user(self._db, DEFAULT_USER, api_key=key, admin=True)
        backend = Backend(self._db, Blobs(data / "blobs"), SignedUrls(base_url, secret))
        self._executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="sandbox")
        service = Service(
            backend=backend,
            executor=self._executor,
            cut=self._cut,
            line=Line(backend.settings),
        )
        self._webhooks = Webhooks(backend, service.faults, service.stats)
        config = uvicorn.Config(
            application(service),
            http=HttpToolsProtocol,  # a third of the processor time of a small file less than h11
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            date_header=False,  # the application tells the time, right or wrong
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        self._server = _Server(config, lambda: ready(self.info))

    def _cut(self, scope: Scope) -> None:
        self._server.cut(scope)

    def run(self) -> None:
        """Serve until stopped."""
        self._webhooks.start()
        try:
            asyncio.run(self._server.serve([self._listener]))
        finally:
            self._listener.close()
            self._executor.shutdown()
            self._webhooks.stop()
            self._db.close()

    def stop(self) -> None:
        """Ask `run` to return."""
        self._server.should_exit = True


@contextlib.contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    folder = Path(tempfile.mkdtemp(prefix="syncd-sandbox-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def serve(
    *, host: str, port: int, data: Path | None, ready: Callable[[dict[str, str]], None]
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; without `data` everything is gone afterwards."""
    with _directory(data) as folder:
        instance = _Instance(host, port, folder, ready)

        def handle(_number: int, _frame: FrameType | None) -> None:
            instance.stop()

        previous = {
            number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            instance.run()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class Sandbox:
    """A server in a thread: `with Sandbox() as sandbox: ... sandbox.base_url`."""

    def __init__(self, data: Path | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._data = data
        self._host = host
        self._port = port
        self._stack = contextlib.ExitStack()
        self.base_url = ""
        self.api_key = ""
        self.entity = DEFAULT_USER

    def __enter__(self) -> Self:
        listening = threading.Event()
        folder = self._stack.enter_context(_directory(self._data))
        instance = _Instance(self._host, self._port, folder, lambda _info: listening.set())
        thread = threading.Thread(target=instance.run, name="sandbox", daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(instance.stop)
        while not listening.wait(timeout=0.1):
            if not thread.is_alive():
                self._stack.close()
                raise RuntimeError("the sandbox did not start")
        self.base_url = instance.info["base_url"]
        self.api_key = instance.info["api_key"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
