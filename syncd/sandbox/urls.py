"""Signed URLs: good for one method and path until they expire, without any other proof.

They are absolute and made from the server's own public address, so that a client behind a proxy still reaches the
storage. The shapes are a contract with the SDK: a file's URL contains `wandb_artifacts/`, a manifest's contains
`wandb_manifest.json` and not the former.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

DEFAULT_TTL = 3600.0

_EXPIRES = "X-Sandbox-Expires"
_SIGNATURE = "X-Sandbox-Signature"


@dataclass(slots=True)
class SignedUrls:
    """Makes and checks signed URLs."""

    base_url: str
    secret: bytes = field(repr=False)
    ttl: float = DEFAULT_TTL

    def _sign(self, method: str, path: str, query: Mapping[str, str]) -> str:
        parts = [method, path, *(f"{key}={query[key]}" for key in sorted(query))]
        return hmac.new(self.secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()

    def _url(self, method: str, path: str, query: Mapping[str, str] | None = None) -> str:
        given = {**(query or {}), _EXPIRES: f"{time.time() + self.ttl:.3f}"}
        given[_SIGNATURE] = self._sign(method, path, given)
        return f"{self.base_url}{quote(path)}?{urlencode(given)}"

    def is_valid(self, method: str, path: str, query: Mapping[str, str]) -> bool:
        """Whether a request's (decoded) path and query carry a good, unexpired signature."""
        given = dict(query)
        signature = given.pop(_SIGNATURE, "")
        try:
            expires = float(given.get(_EXPIRES, ""))
        except ValueError:
            return False
        expected = self._sign("GET" if method == "HEAD" else method, path, given)
        return time.time() < expires and hmac.compare_digest(signature, expected)

    def file(self, method: str, artifact_id: int, blob: str, name: str) -> str:
        """The URL of a file's bytes; `name` is its path in the artifact."""
        path = f"/storage/wandb_artifacts/{artifact_id}/{blob}"
        return self._url(method, path, {"name": name})

    def part(self, upload_id: int, number: int, name: str) -> str:
        """Where one part of a big file goes."""
        return self._url("PUT", f"/storage/parts/{upload_id}/{number}", {"name": name})

    def manifest_upload(self, manifest_id: int, name: str) -> str:
        """Where a manifest file goes."""
        return self._url("PUT", f"/storage/manifest_uploads/{manifest_id}/{name}")

    def manifest(self, artifact_id: int) -> str:
        """Where the manifest of a committed version is."""
        return self._url("GET", f"/storage/manifests/{artifact_id}/wandb_manifest.json")

    def run_file(self, method: str, run_id: int, name: str) -> str:
        """The URL of a file saved with a run."""
        return self._url(method, f"/storage/run_files/{run_id}/{name}")
