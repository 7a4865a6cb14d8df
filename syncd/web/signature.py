"""Whether a request is W&B's: the signature of its body, or the access token, both the one secret.

W&B signs the raw body with HMAC-SHA256. Its documentation prints the signature as base64, working
receivers read hex, one with `sha256=` before it: all three are taken.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping

from syncd.operations.webhooks import SIGNATURE

_HEX = re.compile(r"[0-9A-Fa-f]{64}")


def attempted(headers: Mapping[str, str]) -> bool:
    """Whether a request shows a signature or a token at all."""
    return SIGNATURE in headers or bool(_bearer(headers))


def proven(secret: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the body's signature holds or, where there is none, the token is the secret.

    Args:
        secret: what both sides know.
        headers: of the request, names in lower case.
        body: of the request, as it came.
    """
    given = headers.get(SIGNATURE)
    if given is not None:
        return hmac.compare_digest(_decoded(given), hmac.digest(secret, body, "sha256"))
    return hmac.compare_digest(_bearer(headers), secret)


def _decoded(given: str) -> bytes:
    """The bytes of a signature; none when it is written in no known way."""
    text = given.strip().removeprefix("sha256=")
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bearer(headers: Mapping[str, str]) -> bytes:
    scheme, _, value = headers.get("authorization", "").strip().partition(" ")
    return value.strip().encode() if scheme.lower() == "bearer" else b""
