"""The gateway: files of embedded Oxen repositories over HTTP, as a reference URL names them.

    GET|HEAD /api/repos/{namespace}/{repo}/file/{commit or branch}/{path}
    GET      /healthz

It answers the path an oxen-server answers and adds what W&B's client builds on: a strong ETag that
is the content's xxh3-128 and so the same for ever and in every repository, Range, HEAD, and Basic
beside Bearer credentials (the `wandb` client sends ~/.netrc as Basic). It finds the stored bytes
through the index files (`clients.oxen_index`) and never opens a repository, so it works while
another process writes and while syncd is down.

Paths are split before they are percent-decoded: a name may hold `?`, `#`, `%` or text that looks
encoded; a segment that decodes to a slash names no file.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from syncd.clients.oxen_index import Branches, IndexEntry, RepoIndex
from syncd.errors import AuthenticationError, ConfigurationError, InvalidNameError, SyncdError
from syncd.refs import RepoRef
from syncd.web.ranges import span, unchanged
from syncd.web.tokens import authorize

CHUNK = 1 << 20  # bytes read and sent at once
BACKLOG = 512  # connections that may wait to be taken
MAX_URL_BYTES = 16_384  # a path of 4,096 bytes with every byte encoded fits
_PREFIX = b"/api/repos/"
_BARE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class _RefusedError(SyncdError):
    """A request that cannot be answered.

    Args:
        status: the HTTP status.
        message: what is wrong.
        hint: what to do.
    """

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file to send: its entry, its open bytes, its commit, and whether the URL names that."""

    entry: IndexEntry
    file: BinaryIO
    commit: str
    permanent: bool


def gateway_routes(root: Path, *, tokens: frozenset[str] | None) -> list[BaseRoute]:
    """The file route, to mount at the root of another application.

    Args:
        root: the directory of the embedded store.
        tokens: who may read; None lets everybody.
    """

    async def file(request: Request) -> Response:
        try:
            if tokens is not None:
                authorize(request.headers.get("authorization", ""), tokens)
            found = await run_in_threadpool(_find, root, _segments(request))
        except AuthenticationError as error:
            return _reason(_RefusedError(401, str(error), error.hint))
        except _RefusedError as refused:
            return _reason(refused)
        return _answer(request, found, private=tokens is not None)

    return [Route("/api/repos/{rest:path}", file, methods=["GET", "HEAD"])]


def gateway_app(root: Path, *, tokens: frozenset[str] | None) -> Starlette:
    """The gateway alone.

    Args:
        root: the directory of the embedded store.
        tokens: who may read; None lets everybody.
    """

    async def healthz(request: Request) -> Response:
        del request
        return JSONResponse({"status": "ok"})

    async def unknown(request: Request, error: Exception) -> Response:
        del request, error
        return _reason(
            _RefusedError(
                404, "no such page", "Files are at /api/repos/{ns}/{repo}/file/{commit}/{path}."
            )
        )

    routes = [Route("/healthz", healthz), *gateway_routes(root, tokens=tokens)]
    app = Starlette(routes=routes, exception_handlers={404: unknown})
    app.router.redirect_slashes = False
    return app


def serve(
    root: Path,
    host: str,
    port: int,
    tokens: frozenset[str] | None,
    ready: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        root: the directory of the embedded store.
        host: the address to listen at.
        port: the port; 0 takes a free one.
        tokens: who may read; None lets everybody.
        ready: called once with the base URL when requests are answered.

    Raises:
        ConfigurationError: when the address cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # The protocol is named because asyncio turns Nagle's delay off for named ones only.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        raise ConfigurationError([f"gateway {host}:{port}: {error.strerror}"]) from error
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    url = f"http://{shown}:{listener.getsockname()[1]}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(url)

    config = uvicorn.Config(
        gateway_app(root, tokens=tokens), access_log=False, log_config=None, lifespan="off"
    )
    with listener:
        Server(config).run(sockets=[listener])


# --- which file


def _segments(request: Request) -> list[str]:
    """The decoded segments behind `/api/repos/`."""
    raw: bytes = request.scope["raw_path"].partition(b"?")[0]
    if len(raw) > MAX_URL_BYTES:
        raise _RefusedError(400, "the URL is too long", f"At most {MAX_URL_BYTES} bytes.")
    prefix = request.scope.get("root_path", "").encode() + _PREFIX
    if not raw.startswith(prefix):
        raise _RefusedError(404, "no such page", "The path begins with /api/repos/, not encoded.")
    segments = []
    for segment in raw[len(prefix) :].split(b"/"):
        if _BARE_PERCENT.search(segment):
            raise _RefusedError(400, "the URL has a bare '%'", "Write %25 for a percent sign.")
        try:
            segments.append(unquote_to_bytes(segment).decode())
        except UnicodeDecodeError as error:
            raise _RefusedError(
                400, "the URL is not UTF-8", "Encode names as UTF-8 and then with percent signs."
            ) from error
    return segments


def _find(root: Path, segments: list[str]) -> _Found:
    """The file that the segments name.

    Raises:
        _RefusedError: saying which part of the name leads nowhere.
    """
    if len(segments) < 5 or segments[2] != "file":  # noqa: PLR2004 ns, repo, file, revision, path
        raise _RefusedError(
            404, "no such page", "Files are at /api/repos/{ns}/{repo}/file/{commit}/{path}."
        )
    repo = RepoRef(namespace=segments[0], repo=segments[1])
    try:
        index = RepoIndex(root, repo)
    except InvalidNameError as error:
        raise _RefusedError(404, str(error), error.hint) from error
    if not index.directory.parent.is_dir():
        raise _RefusedError(404, f"no namespace {repo.namespace!r} here", "Check the spelling.")
    if not index.exists():
        raise _RefusedError(404, f"no repository {str(repo)!r} here", "Check the spelling.")
    commit, path, permanent = _revision(index, segments[3:])
    opened = index.open(commit)
    if opened is None:
        raise _RefusedError(
            404, f"no index of commit {commit} in {repo}", "Run `syncd verify` on this commit."
        )
    with opened:
        safe = all(part not in {"", ".", ".."} and "/" not in part for part in path)
        entry = opened.find("/".join(path)) if safe else None
    if entry is None:
        raise _RefusedError(
            404,
            f"no file {'/'.join(path)[:300]!r} in {repo}@{commit}",
            "Check the path; names are percent-encoded segment by segment.",
        )
    return _Found(entry=entry, file=_open(index, entry, commit), commit=commit, permanent=permanent)


def _revision(index: RepoIndex, segments: list[str]) -> tuple[str, list[str], bool]:
    """The commit, the path's segments behind it, and whether it is named by its id.

    A branch name may hold slashes, encoded or not; the shortest that exists is meant.
    """
    if index.holds(segments[0]):
        return segments[0], segments[1:], True
    heads = (index.branches() or Branches()).heads
    for count in range(1, len(segments)):
        branch = "/".join(segments[:count])
        if branch in heads:
            return heads[branch], segments[count:], False
    raise _RefusedError(
        404,
        f"no commit or branch {segments[0][:100]!r} in {index.repo}",
        "Check the spelling; a slash in a branch name is written %2F.",
    )


def _open(index: RepoIndex, entry: IndexEntry, commit: str) -> BinaryIO:
    """The stored bytes, of the length the index promises."""
    what = f"the stored bytes of {entry.path!r} in {index.repo}@{commit}"
    try:
        file = index.content(entry.hash).open("rb")
    except OSError as error:
        raise _RefusedError(
            500, f"{what} cannot be read", "Run `syncd verify` on the host."
        ) from error
    if os.fstat(file.fileno()).st_size != entry.size:
        file.close()
        raise _RefusedError(500, f"{what} have another length", "Run `syncd verify` on the host.")
    return file


# --- the answer


def _answer(request: Request, found: _Found, *, private: bool) -> Response:
    """The response with exactly the bytes that were asked for; closes the file."""
    entry = found.entry
    etag = f'"{entry.hash}"'
    scope = "private" if private else "public"
    headers = {
        "etag": etag,
        "accept-ranges": "bytes",
        "cache-control": f"{scope}, max-age=31536000, immutable" if found.permanent else "no-cache",
        "oxen-revision-id": found.commit,
        "content-disposition": f"attachment; filename*=UTF-8''{_file_name(entry.path)}",
        "x-content-type-options": "nosniff",
    }
    if unchanged(request.headers, etag):
        found.file.close()
        return Response(status_code=304, headers=headers)
    wanted = span(request.headers, etag, entry.size)
    if wanted is None:
        found.file.close()
        headers["content-range"] = f"bytes */{entry.size}"
        refused = _RefusedError(416, f"the file has {entry.size} bytes", "Ask for bytes inside it.")
        return _reason(refused, headers)
    if wanted.partial:
        headers["content-range"] = f"bytes {wanted.begin}-{wanted.end - 1}/{entry.size}"
    headers["content-type"] = "application/octet-stream"
    headers["content-length"] = str(wanted.end - wanted.begin)
    status = 206 if wanted.partial else 200
    if request.method == "HEAD":
        found.file.close()
        return Response(status_code=status, headers=headers)
    return StreamingResponse(
        _bytes(found.file, wanted.begin, wanted.end), status_code=status, headers=headers
    )


def _file_name(path: str) -> str:
    return quote(path.rpartition("/")[2], safe="-._~")


def _bytes(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(begin)
        while begin < end:
            chunk = file.read(min(CHUNK, end - begin))
            if not chunk:
                raise OSError("stored bytes ended early")  # the client sees a broken transfer
            begin += len(chunk)
            yield chunk


def _reason(refused: _RefusedError, headers: dict[str, str] | None = None) -> Response:
    extra = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if headers is not None:
        extra |= {name: headers[name] for name in ("accept-ranges", "content-range", "etag")}
    if refused.status == 401:  # noqa: PLR2004
        extra["www-authenticate"] = 'Basic realm="syncd", charset="UTF-8", Bearer realm="syncd"'
    return JSONResponse(
        {"error": str(refused), "hint": refused.hint}, status_code=refused.status, headers=extra
    )
