"""Small HTTP servers on a free port of this machine, for whoever has to be played."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_POLL = 0.02  # seconds until a server notices that it is to end


@contextmanager
def served(handler: type[BaseHTTPRequestHandler], *, wait: bool = False) -> Iterator[str]:
    """Answer as a handler does, for the block; the server's URL.

    Args:
        handler: answers each request.
        wait: whether the end waits for what is still answered.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = not wait
        thread = threading.Thread(target=server.serve_forever, args=(_POLL,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
