"""What the sandbox says when a request makes no sense.

A client retries most 4xx and 5xx answers for a long time, so a mistake of the caller is told with one of the
few statuses it takes as final, and by default as HTTP 200 with a GraphQL `errors` list.
"""

from __future__ import annotations

from http import HTTPStatus


class SandboxError(Exception):
    """A logical error: the caller asked for something that cannot be."""

    def __init__(self, message: str, *, status: int = HTTPStatus.OK) -> None:
        super().__init__(message)
        self.status = int(status)


def not_found(what: str) -> SandboxError:
    """The error for a named thing that does not exist, as a GraphQL answer."""
    return SandboxError(f"{what} not found")
