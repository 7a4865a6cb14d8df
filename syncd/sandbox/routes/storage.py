"""Signed uploads and downloads, and the direct download of a manifest entry with an API key."""

from __future__ import annotations

import base64
import re
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response

from syncd.sandbox import blobs, ids
from syncd.sandbox.blobs import Received
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.routes.service import Service, damaged, early, late, service
from syncd.sandbox.state import manifests, multipart, run_files
from syncd.sandbox.state.paging import Clause

_SMALL = 1 << 20
_BLOB = re.compile(r"[0-9a-f]{32}")


_LAYOUT_V2 = ("artifactsV2", "region", "entity", "project", "collection")
_LAYOUTS = (
    ("artifacts", "entity", "digest"),
    (*_LAYOUT_V2, "artifact", "birth", "digest", "name"),
    (*_LAYOUT_V2, "birth", "digest", "name"),
)


class _BigFile(FileResponse):
    chunk_size = 4 << 20


def _is_signed(found: Service, request: Request) -> bool:
    path = request.scope["path"]
    return found.backend.urls.is_valid(request.method, path, dict(request.query_params))


def _refused(message: str, status: int) -> Response:
    return PlainTextResponse(message, status_code=status)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _content(path: Path, *, whole: bool) -> Response:
    media = "application/octet-stream"
    if whole:
        # For a small file one read is cheaper than the thread hops of streaming.
        return Response(path.read_bytes(), media_type=media, headers={"Accept-Ranges": "bytes"})
    return _BigFile(path, media_type=media)


async def _download(request: Request, kind: str, name: str, path: Path) -> Response:
    found = service(request)
    fault = found.faults.take(kind, name)
    if (response := await early(found, fault)) is not None:
        return response
    if not _is_signed(found, request):
        return _refused("the URL has expired or its signature is wrong", HTTPStatus.FORBIDDEN)
    size = _size(path)
    if size is None:
        return _refused("no such file", HTTPStatus.NOT_FOUND)
    response = _content(path, whole=size <= _SMALL and "range" not in request.headers)
    if request.method == "GET":
        found.stats.transfer(kind, _span(request, size))
    return late(found, fault, found.line.over(response))


def _span(request: Request, size: int) -> int:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if match is None:
        return size
    last = int(match[2]) if match[2] else size - 1
    return max(0, min(last, size - 1) - int(match[1]) + 1)


async def _upload(
    request: Request, kind: str, name: str, target: Path, expected: bytes | None
) -> Received | Response:
    """Take a signed upload in; a damaged one is refused and leaves nothing behind."""
    found = service(request)
    fault = found.faults.take(kind, name)
    if (response := await early(found, fault)) is not None:
        return response
    if not _is_signed(found, request):
        return _refused("the URL has expired or its signature is wrong", HTTPStatus.FORBIDDEN)
    received = await found.backend.blobs.receive(damaged(fault, request.stream()))
    claimed = request.headers.get("content-md5")
    actual = base64.b64encode(received.md5).decode()
    if (claimed is not None and claimed != actual) or expected not in {None, received.md5}:
        received.discard()
        return _refused("BadDigest: the bytes do not match their MD5", HTTPStatus.BAD_REQUEST)
    found.backend.blobs.keep(received, target)
    found.stats.transfer(kind, received.size)
    return received


def _done(received: Received | Response) -> Response:
    if isinstance(received, Response):
        return received
    return Response(headers={"ETag": f'"{received.md5.hex()}"'})


async def artifact_file(request: Request) -> Response:
    """A file of a version."""
    blob, name = request.path_params["blob"], request.query_params.get("name", "")
    if not _BLOB.fullmatch(blob):
        return _refused("no such file", HTTPStatus.NOT_FOUND)
    path = service(request).backend.blobs.file(blob)
    if request.method == "PUT":
        return _done(await _upload(request, "upload", name, path, bytes.fromhex(blob)))
    return await _download(request, "download", name, path)


async def part(request: Request) -> Response:
    """A part of a big file; it has to be the one that was announced under its number."""
    found, number = service(request), request.path_params["number"]
    row = request.path_params["upload"]
    upload = await found.in_thread(multipart.get, found.backend.db, row)
    md5s = upload.md5s()
    if not 1 <= number <= len(md5s):
        return _refused("no such part", HTTPStatus.NOT_FOUND)
    name, path = request.query_params.get("name", ""), found.backend.blobs.part(row, number)
    return _done(await _upload(request, "upload", name, path, bytes.fromhex(md5s[number - 1])))


async def manifest_upload(request: Request) -> Response:
    """A manifest on its way in."""
    path = service(request).backend.blobs.manifest_upload(request.path_params["manifest"])
    name = request.path_params["name"]
    return _done(await _upload(request, "manifest-upload", name, path, None))


async def manifest(request: Request) -> Response:
    """The manifest of a committed version."""
    path = service(request).backend.blobs.manifest(request.path_params["artifact"])
    return await _download(request, "manifest-download", path.name, path)


async def run_file(request: Request) -> Response:
    """A file saved with a run."""
    run, name = request.path_params["run"], request.path_params["name"]
    found = service(request)
    path = found.backend.blobs.run_file(run, name)
    if request.method != "PUT":
        return await _download(request, "run-file-download", name, path)
    received = await _upload(request, "run-file-upload", name, path, None)
    if isinstance(received, Received):
        md5 = base64.b64encode(received.md5).decode()
        await found.in_thread(
            run_files.put, found.backend.db, run, name, size=received.size, md5=md5
        )
    return _done(received)


def _entry_path(request: Request) -> dict[str, str]:
    """The named parts of a direct download's path; the id of the birth version may be empty."""
    raw: bytes = request.scope["raw_path"]
    parts = [unquote(part) for part in raw.decode("ascii").split("/")[1:]]
    for layout in _LAYOUTS:
        if len(layout) == len(parts) and layout[0] == parts[0]:
            return dict(zip(layout, parts, strict=True))
    raise SandboxError("no such file", status=HTTPStatus.NOT_FOUND)


def _entry_url(found: Service, path: dict[str, str]) -> str:
    """Which bytes a direct download means: by the entry's digest, whatever hash that is."""
    if not _BLOB.fullmatch(path["digest"]):
        raise SandboxError("no such file", status=HTTPStatus.NOT_FOUND)
    where = [Clause("p.entity_id = (SELECT id FROM entities WHERE name = ?)", (path["entity"],))]
    artifact = 0
    if "artifact" in path:
        # The path may be that of a link, so the version alone decides.
        artifact = ids.decode(path["artifact"], "Artifact")
        where = [Clause("a.id = ?", (artifact,))]
    elif "project" in path:
        where.append(Clause("p.name = ?", (path["project"],)))
    blob = manifests.blob_of(found.backend.db, blobs.base64_digest(path["digest"]), where)
    if blob is None:
        raise SandboxError("no such file", status=HTTPStatus.NOT_FOUND)
    return found.backend.urls.file("GET", artifact, blob, path.get("name", ""))


async def entry(request: Request) -> Response:
    """Send a client with an API key on to the bytes of a manifest entry."""
    found = service(request)
    await found.in_thread(found.require_user, request)
    return RedirectResponse(await found.in_thread(_entry_url, found, _entry_path(request)))
