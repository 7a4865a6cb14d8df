"""Who may read: tokens, given as Bearer or as the password of Basic credentials."""

from __future__ import annotations

import base64
import binascii
import hmac

from syncd.errors import AuthenticationError


def authorize(header: str, tokens: frozenset[str]) -> None:
    """Let a request with this Authorization header pass.

    Raises:
        AuthenticationError: when it holds no token, or none of `tokens`; never quoting it.
    """
    given = _token(header)
    if given is None:
        raise AuthenticationError(
            "this repository needs a token",
            hint="Put it into ~/.netrc as the password of this host, or send it as Bearer token.",
        )
    # every token is compared in full, so the time tells nothing about which one was near
    matches = [hmac.compare_digest(given, token.encode()) for token in tokens]
    if not any(matches):
        raise AuthenticationError(
            "the token is not valid", hint="Ask the operator of this gateway for one."
        )


def _token(header: str) -> bytes | None:
    """The Bearer token, or the password of Basic credentials; None when there is neither."""
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return value.encode()
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return None
        _, colon, password = decoded.partition(b":")
        return password if colon else None
    return None
