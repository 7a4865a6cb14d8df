"""The gateway in a thread of a process that does something else, for as long as that takes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from syncd.clients.origin_folder import FolderOrigin
from syncd.web.gateway import gateway_app
from syncd.web.server import BACKLOG, settings


@contextmanager
def alongside(root: Path, tokens: frozenset[str]) -> Iterator[str]:
    """Serve a store to this machine during the block; the URL.

    Args:
        root: the directory of the embedded store.
        tokens: who may read.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        server = uvicorn.Server(settings(gateway_app(FolderOrigin(root), tokens=tokens)))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="gateway", daemon=True
        )
        thread.start()  # who comes before it is ready waits in the listener's queue
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
