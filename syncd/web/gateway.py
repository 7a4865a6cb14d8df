"""The gateway: files of Oxen repositories over HTTP, as a reference URL names them.

    GET|HEAD /api/repos/{namespace}/{repo}/file/{commit or branch}/{path}
    GET      /healthz

It answers the path an oxen-server answers and adds what W&B's client builds on: a strong ETag that
is the content's xxh3-128 and so the same for ever and in every repository, Range, HEAD, and Basic
beside Bearer credentials (the `wandb` client sends ~/.netrc as Basic). Where the bytes lie, in a
folder or on a server, only the origin knows (`clients.origins`); it serves while syncd is down.

Paths are split before they are percent-decoded: a name may hold `?`, `#`, `%` or text that looks
encoded; a segment that decodes to a slash names no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from urllib.parse import unquote_to_bytes

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from syncd.clients.origins import Origin
from syncd.errors import AuthenticationError, SyncdError
from syncd.refs import RepoRef
from syncd.web.answers import RefusedError, answer, failure, reason
from syncd.web.hosts import is_foreign_page
from syncd.web.server import Server, listening
from syncd.web.tokens import authorize

MAX_URL_BYTES = 16_384  # a path of 4,096 bytes with every byte encoded fits
THREADS = 64  # that read files; pages and figures have others, and answer while Oxen hangs
_PREFIX = b"/api/repos/"
_BARE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def gateway_routes(
    origin: Origin, *, tokens: frozenset[str] | None, hosts: Collection[str] = ()
) -> list[BaseRoute]:
    """The file route, to mount at the root of another application.

    Args:
        origin: where the files lie.
        tokens: who may read; None lets everybody, but for pages of other sites.
        hosts: names that we are known by, where there are no tokens; see `hosts`.
    """
    threads = CapacityLimiter(THREADS)
    private = tokens is not None

    async def file(request: Request) -> Response:
        try:
            if tokens is None and is_foreign_page(request.headers, hosts):
                return reason(_another_site())
            if tokens is not None:
                authorize(request.headers.get("authorization", ""), tokens)
        except AuthenticationError as error:
            return reason(RefusedError(401, str(error), error.hint))
        try:
            repo, names = _file(_segments(request))
            answered = partial(
                answer, request, origin, repo, names, private=private, threads=threads
            )
            return await to_thread.run_sync(answered, limiter=threads)
        except RefusedError as refused:
            return reason(refused)
        except SyncdError as error:
            return failure(error)

    return [Route("/api/repos/{rest:path}", file, methods=["GET", "HEAD"])]


def gateway_app(
    origin: Origin, *, tokens: frozenset[str] | None, hosts: Collection[str] = ()
) -> Starlette:
    """The gateway alone; see `gateway_routes`."""

    async def healthz(request: Request) -> Response:
        del request
        return JSONResponse({"status": "ok"})

    async def unknown(request: Request, error: Exception) -> Response:
        del request, error
        return reason(_no_page())

    routes = [Route("/healthz", healthz), *gateway_routes(origin, tokens=tokens, hosts=hosts)]
    app = Starlette(routes=routes, exception_handlers={404: unknown})
    app.router.redirect_slashes = False
    return app


def serve(
    origin: Origin,
    host: str,
    port: int,
    tokens: frozenset[str] | None,
    ready: Callable[[str], None],
    *,
    hosts: Collection[str] = (),
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        origin: where the files lie.
        host: the address to listen at.
        port: the port; 0 takes a free one.
        tokens: who may read; None lets everybody, but for pages of other sites.
        hosts: names that we are known by; see `hosts`.
        ready: called once with the base URL when requests are answered.

    Raises:
        ConfigurationError: when the address cannot be listened at.
    """
    with listening(host, port, "web.bind") as (listener, url):
        app = gateway_app(origin, tokens=tokens, hosts=hosts)
        Server(app, lambda: ready(url)).run(sockets=[listener])


# --- which file


def _segments(request: Request) -> list[str]:
    """The decoded segments behind `/api/repos/`."""
    raw: bytes = request.scope["raw_path"].partition(b"?")[0]
    if len(raw) > MAX_URL_BYTES:
        raise RefusedError(400, "the URL is too long", f"At most {MAX_URL_BYTES} bytes.")
    prefix = request.scope.get("root_path", "").encode() + _PREFIX
    if not raw.startswith(prefix):
        raise RefusedError(404, "no such page", "The path begins with /api/repos/, not encoded.")
    segments = []
    for segment in raw[len(prefix) :].split(b"/"):
        if _BARE_PERCENT.search(segment):
            raise RefusedError(400, "the URL has a bare '%'", "Write %25 for a percent sign.")
        try:
            segments.append(unquote_to_bytes(segment).decode())
        except UnicodeDecodeError as error:
            raise RefusedError(
                400, "the URL is not UTF-8", "Encode names as UTF-8 and then with percent signs."
            ) from error
    return segments


def _file(segments: list[str]) -> tuple[RepoRef, list[str]]:
    """The repository, and the segments behind `/file/`.

    Raises:
        RefusedError: when the segments name something else.
    """
    if len(segments) < 5 or segments[2] != "file":  # noqa: PLR2004 ns, repo, file, revision, path
        raise _no_page()
    return RepoRef(namespace=segments[0], repo=segments[1]), segments[3:]


def _another_site() -> RefusedError:
    return RefusedError(
        403,
        "a browser asks under a name that this gateway does not know as its own",
        "Open it under the name in [web] public_url or [references] base_url, or name read tokens.",
    )


def _no_page() -> RefusedError:
    return RefusedError(
        404, "no such page", "Files are at /api/repos/{ns}/{repo}/file/{commit}/{path}."
    )
