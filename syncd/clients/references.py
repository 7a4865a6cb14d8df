"""Whether the place that references point at sends ETags: a plain client's check depends on it.

The wandb client takes the ETag of an http(s) reference for its digest, and the request's URL where
there is none (wandb 0.31.0, `storage_handlers/http_handler.py`). The gateway sends the content's
hash; a bare oxen-server sends nothing. A proxy that compresses changes the ETag, and with it what
the client takes for the digest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from syncd.clients.http import place
from syncd.clients.payload import Payload
from syncd.errors import PermanentError, SyncdError

ASK_AGAIN = 60.0  # seconds after nobody answered; a gateway need not run while files move
AS_WANDB = {"Accept-Encoding": "gzip, deflate"}  # what the client's library asks for
_OK = 200


class CompressedError(PermanentError):
    """Something between clients and the gateway changes what it serves."""

    default_hint = (
        "Turn compression off there for /api/repos/ (nginx: gzip off), or let [references] base_url "
        "lead past it; then run again."
    )


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

        Raises:
            CompressedError: when clients would not get it under its own ETag.
        """
        with self._lock:
            if self._known is None:
                if time.monotonic() < self._silent_until:
                    return not self._bare
                try:
                    self._known = self._asked(url)
                except CompressedError:
                    raise
                except SyncdError:
                    self._known = None
                if self._known is None:
                    self._silent_until = time.monotonic() + ASK_AGAIN
            return not self._bare if self._known is None else self._known

    def _asked(self, url: str) -> bool | None:
        tag, encoded = self._tag(url, AS_WANDB)
        if tag and (tag.startswith("W/") or (encoded and self._tag(url, {})[0] != tag)):
            raise CompressedError(
                f"a proxy at {place(url)} compresses files, and the ETag that the wandb client compares "
                "is no longer the file's"
            )
        return None if tag is None else bool(tag)

    def _tag(self, url: str, headers: Mapping[str, str]) -> tuple[str | None, bool]:
        """The ETag, None when the file is not given, and whether it comes compressed."""
        with self._http.request("HEAD", url, what="look for an ETag", headers=headers) as answer:
            if answer.status != _OK:
                return None, False
            return answer.headers.get("etag", ""), "content-encoding" in answer.headers
