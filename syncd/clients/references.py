"""Whether the place that references point at sends ETags: a plain client's check depends on it.

The wandb client takes the ETag of an http(s) reference for its digest, and the request's URL where
there is none (wandb 0.31.0, `storage_handlers/http_handler.py`). The gateway sends the content's
hash; a bare oxen-server sends nothing.
"""

from __future__ import annotations

import threading

from syncd import retry
from syncd.clients.payload import Payload
from syncd.errors import SyncdError

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
                try:
                    self._known = retry.call(lambda: self._asked(url), what="look for an ETag")
                except SyncdError:
                    return not self._bare
            return not self._bare if self._known is None else self._known

    def _asked(self, url: str) -> bool | None:
        with self._http.request("HEAD", url, what="look for an ETag") as answer:
            return "etag" in answer.headers if answer.status == _OK else None
