"""Whether the place that references point at sends ETags: a plain client's check depends on it.

The wandb client takes the ETag of an http(s) reference for its digest, and the request's URL where
there is none (wandb 0.31.0, `storage_handlers/http_handler.py`). The gateway sends the content's
hash; a bare oxen-server sends nothing.
"""

from __future__ import annotations

import threading
import time

from syncd.clients.payload import Payload
from syncd.errors import SyncdError

ASK_AGAIN = 60.0  # seconds after nobody answered; a gateway need not run while files move
_OK = 200


class References:
    """Asks once, at the first reference that is about to be written.

    Args:
        http: keeps the connections.
        base_url: what references begin with.
        server_url: the Oxen server, empty for an embedded store.
    """

    def __init__(self, http: Payload, base_url: str, server_url: str) -> None:
        self._http = http
        self._bare = bool(server_url) and base_url == server_url
        self._known: bool | None = None
        self._silent_until = 0.0
        self._lock = threading.Lock()

    def etagged(self, url: str) -> bool:
        """Whether answers carry an ETag.

        While nobody answers, or only those who are let in, the configuration decides: what is not
        the Oxen server itself is a gateway.

        Args:
            url: of a file that is there.
        """
        with self._lock:
            if self._known is None:
                if time.monotonic() < self._silent_until:
                    return not self._bare
                try:
                    self._known = self._asked(url)
                except SyncdError:
                    self._known = None
                if self._known is None:
                    self._silent_until = time.monotonic() + ASK_AGAIN
            return not self._bare if self._known is None else self._known

    def _asked(self, url: str) -> bool | None:
        with self._http.request("HEAD", url, what="look for an ETag") as answer:
            return "etag" in answer.headers if answer.status == _OK else None
