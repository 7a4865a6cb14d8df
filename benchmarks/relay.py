"""A relay before a server: counts what passes, and makes something happen at a certain byte.

The server's own address in what it says (signed URLs are absolute) becomes the relay's, which has as
many digits.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from syncd.testing.oxen_process import free_port

Direction = Literal["down", "up"]
_CHUNK = 1 << 18
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Bytes to a server and back.

    Args:
        url: the server's.
    """

    def __init__(self, url: str) -> None:
        self._target = int(url.rpartition(":")[2])
        port = next(port for port in iter(free_port, 0) if len(f"{port}") == len(f"{self._target}"))
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{port}"
        self._old = f"127.0.0.1:{self._target}/".encode()
        self._new = f"127.0.0.1:{port}/".encode()
        self._lock = threading.Lock()
        self.down = 0
        self.up = 0
        self._at: int | None = None
        self._action: Callable[[], None] | None = None

    def arm(self, at: int, action: Callable[[], None] | None = None) -> None:
        """Once so many bytes came down, do it; without an action the connection is cut."""
        self._at, self._action = at, action

    def serve(self) -> None:
        """Take connections until closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for side in (client, server):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for source, sink, way in ((client, server, "up"), (server, client, "down")):
                    arguments = (source, sink, way)
                    threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pump(self, source: socket.socket, sink: socket.socket, way: Direction) -> None:
        held = b""
        try:
            while data := source.recv(_CHUNK):
                passed = self._count(way, len(data))
                if passed < len(data):
                    sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    break
                data = (held + data).replace(self._old, self._new) if way == "down" else data
                held = self._begun(data) if way == "down" else b""
                sink.sendall(data[: len(data) - len(held)])
            else:
                sink.sendall(held)
        except OSError:
            pass
        for side in (sink, source):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        sink.close()

    def _begun(self, data: bytes) -> bytes:
        """What at its end may be the beginning of the server's address.

        A few bytes are none: those of a file end in them by chance, and nothing may follow.
        """
        for length in range(len(self._old) - 1, 3, -1):
            if data.endswith(self._old[:length]):
                return self._old[:length]
        return b""

    def _count(self, way: Direction, size: int) -> int:
        with self._lock:
            if way == "up":
                self.up += size
                return size
            self.down += size
            if self._at is None or self.down < self._at:
                return size
            self._at, action = None, self._action
        if action is None:
            return 0
        action()
        return size


@contextmanager
def relay(url: str) -> Iterator[Relay]:
    """A relay before the server at this URL."""
    made = Relay(url)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()
