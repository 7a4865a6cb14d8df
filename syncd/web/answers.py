"""What the gateway answers: a file or a part of it, or a reason and a hint.

A whole file is hashed on its way, and its last piece goes out only when the hash is the tag's: who
takes the tag for the bytes, as W&B's client does, gets them or a broken transfer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from urllib.parse import quote

import xxhash
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from syncd import log
from syncd.clients.origins import Found, Origin
from syncd.errors import (
    AuthenticationError,
    IntegrityError,
    InvalidNameError,
    NotFoundError,
    SyncdError,
    TransientError,
    VerificationError,
)
from syncd.refs import RepoRef
from syncd.web.ranges import Span, span, unchanged

ASK_AGAIN = 5.0  # seconds, where the origin names no other time


class RefusedError(SyncdError):
    """A request that cannot be answered.

    Args:
        status: the HTTP status.
        message: what is wrong.
        hint: what to do.
    """

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status


def answer(
    request: Request,
    origin: Origin,
    repo: RepoRef,
    names: list[str],
    *,
    private: bool,
    threads: CapacityLimiter,
) -> Response:
    """The response with exactly the bytes that were asked for, the first of them at hand.

    Args:
        request: GET or HEAD.
        origin: where the file lies.
        repo: the repository.
        names: the segments behind `/file/`.
        private: whether only this client may keep the answer.
        threads: those that may read the rest.

    Raises:
        SyncdError: when the origin cannot give them.
    """
    found = origin.find(repo, names)
    etag = f'"{found.hash}"'
    scope = "private" if private else "public"
    # A proxy that compressed it would change the tag, which is a digest to the wandb client.
    kept = f"{scope}, max-age=31536000, immutable" if found.permanent else "no-cache"
    headers = {
        "etag": etag,
        "accept-ranges": "bytes",
        "cache-control": f"{kept}, no-transform",
        "oxen-revision-id": found.commit,
        "content-disposition": f"attachment; filename*=UTF-8''{_file_name(found.path)}",
        "x-content-type-options": "nosniff",
    }
    if unchanged(request.headers, etag):
        return Response(status_code=304, headers=headers)
    # Only GET knows ranges (RFC 9110, 14.2).
    asked = request.headers if request.method == "GET" else {}
    wanted = span(asked, etag, found.size)
    if wanted is None:
        headers["content-range"] = f"bytes */{found.size}"
        refused = RefusedError(416, f"the file has {found.size} bytes", "Ask for bytes inside it.")
        return reason(refused, headers)
    if wanted.partial:
        headers["content-range"] = f"bytes {wanted.begin}-{wanted.end - 1}/{found.size}"
    headers["content-type"] = "application/octet-stream"
    headers["content-length"] = str(wanted.end - wanted.begin)
    status = 206 if wanted.partial else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    pieces = _proven(origin.read(found, wanted.begin, wanted.end), found, wanted)
    first = next(pieces, b"")
    if len(first) == wanted.end - wanted.begin:
        pieces.close()
        return Response(first, status_code=status, headers=headers)
    return _Transfer(first, pieces, status, headers, threads)


def _file_name(path: str) -> str:
    return quote(path.rpartition("/")[2], safe="-._~")


def _proven(pieces: Iterator[bytes], found: Found, wanted: Span) -> Generator[bytes]:
    """The same pieces; of a whole file each is held back until the next one or the proof is there.

    Raises:
        VerificationError: at the end, when they are not what was promised.
    """
    digest, count, held = xxhash.xxh3_128(), 0, b""
    for piece in pieces:
        count += len(piece)
        if wanted.partial:
            yield piece
            continue
        digest.update(piece)
        if held:
            yield held
        held = piece
    right = wanted.partial or f"{digest.intdigest():x}" == found.hash
    if count != wanted.end - wanted.begin or not right:
        raise VerificationError(
            f"the stored bytes of {found.path!r} in {found.repo}@{found.commit} are damaged",
            hint="Run `syncd verify` on this commit.",
        )
    if held:
        yield held


class _Transfer(StreamingResponse):
    """Bytes on their way; when they end early the connection is broken off.

    Args:
        first: what goes out at once.
        rest: what follows; closed at the end, however it comes.
        status: the HTTP status.
        headers: with the length of all.
        threads: those that may read what follows.
    """

    def __init__(
        self,
        first: bytes,
        rest: Generator[bytes],
        status: int,
        headers: dict[str, str],
        threads: CapacityLimiter,
    ) -> None:
        self._rest = rest
        pieces = self._pieces(first, rest, threads)
        super().__init__(pieces, status_code=status, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; an answer that is left without its end makes the server break the connection off."""
        try:
            await super().__call__(scope, receive, send)
        except SyncdError as error:
            log.get().warning(log.Life.GATEWAY_FAILED, error=str(error))
        finally:
            self._rest.close()

    @staticmethod
    async def _pieces(
        first: bytes, rest: Iterator[bytes], threads: CapacityLimiter
    ) -> AsyncIterator[bytes]:
        yield first
        del first  # a client may be slow, and there may be many
        while piece := await to_thread.run_sync(next, rest, b"", limiter=threads):
            yield piece


def failure(error: SyncdError) -> Response:
    """What a client is told of an origin's failure; all of it, with places, is for the log.

    A refusal of the gateway's own token is 403: W&B's client, which tries 5xx again for 20 minutes,
    then ends at once.
    """
    if isinstance(error, (NotFoundError, InvalidNameError)):
        return reason(RefusedError(404, str(error), error.hint))
    log.get().warning(log.Life.GATEWAY_FAILED, error=str(error))
    if isinstance(error, VerificationError):
        return reason(RefusedError(500, str(error), error.hint))
    if isinstance(error, AuthenticationError):
        refused = RefusedError(
            403, "Oxen does not let this gateway read that", "Ask its operator; its log says why."
        )
        return reason(refused)
    if not isinstance(error, TransientError):
        refused = RefusedError(
            502, "Oxen answered what is not understood", "Ask the operator; the log says why."
        )
        return reason(refused)
    garbled = isinstance(error, IntegrityError)
    refused = RefusedError(
        502 if garbled else 503,
        "Oxen's answer arrived damaged" if garbled else "Oxen cannot be reached",
        "Ask again in a moment.",
    )
    wait = ASK_AGAIN if error.retry_after is None else error.retry_after
    return reason(refused, retry_after=wait)


def reason(
    refused: RefusedError,
    headers: dict[str, str] | None = None,
    *,
    retry_after: float | None = None,
) -> Response:
    """A refusal as a document.

    Args:
        refused: status, what is wrong, and what to do.
        headers: of the file, where there is one.
        retry_after: seconds.
    """
    extra = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if headers is not None:
        extra |= {name: headers[name] for name in ("accept-ranges", "content-range", "etag")}
    if refused.status == 401:  # noqa: PLR2004
        extra["www-authenticate"] = 'Basic realm="syncd", charset="UTF-8", Bearer realm="syncd"'
    if retry_after is not None:
        extra["retry-after"] = str(round(retry_after))
    return JSONResponse(
        {"error": str(refused), "hint": refused.hint}, status_code=refused.status, headers=extra
    )
