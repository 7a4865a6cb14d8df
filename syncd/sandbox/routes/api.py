"""The GraphQL endpoint and the file stream of runs."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from syncd.sandbox import access, graphql
from syncd.sandbox.context import Backend, Context
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.routes.service import Service, early, late, service
from syncd.sandbox.state import history, projects, runs
from syncd.sandbox.state.records import User


async def _json(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        posted = json.loads(body)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise SandboxError("the body is not JSON", status=400) from error
    if not isinstance(posted, dict):
        raise SandboxError("the body is not a JSON object", status=400)
    return posted


def _answer(found: Service, request: Request, posted: graphql.Request) -> graphql.Answer:
    return found.engine.answer(Context(found.backend, found.user(request)), posted)


async def execute(request: Request) -> Response:
    """Answer a GraphQL request."""
    found = service(request)
    posted = graphql.Request.from_json(await _json(request))
    name = found.engine.operation(posted)
    found.stats.operation(name)
    fault = found.faults.take("graphql", name)
    if (response := await early(found, fault)) is not None:
        return response
    try:
        status, body = await found.in_thread(_answer, found, request, posted)
    except SandboxError as error:
        status, body = graphql.failure(str(error), error.status)
    return late(found, fault, JSONResponse(body, status_code=status))


def _stream(
    backend: Backend, who: User, path: Mapping[str, str], posted: Mapping[str, Any]
) -> dict[str, Any]:
    db = backend.db
    with db.transaction():
        project = projects.by_name(db, path["entity"], path["project"])
        run = None if project is None else runs.by_name(db, project, path["run"])
        if run is None:
            raise SandboxError("run not found", status=404)
        access.require_writer(db, who, projects.get(db, run.project_id))
        for stream, chunk in (posted.get("files") or {}).items():
            lines = chunk.get("content") or []
            if not all(isinstance(line, str) for line in lines):
                raise SandboxError(f"the lines of {stream!r} are not text", status=400)
            history.append(db, run, stream, int(chunk.get("offset") or 0), lines)
        exit_code = posted.get("exitcode")
        history.beat(
            db,
            run,
            complete=bool(posted.get("complete")),
            exit_code=exit_code,
            preempting=bool(posted.get("preempting")),
        )
        return {"exitcode": exit_code, "limits": {}, "stopped": bool(run.stopped)}


async def file_stream(request: Request) -> Response:
    """Take in what a run streams: lines, summary, heartbeat, end."""
    found = service(request)
    fault = found.faults.take("file_stream", request.path_params["run"])
    if (response := await early(found, fault)) is not None:
        return response
    posted = await _json(request)
    who = await found.in_thread(found.require_user, request)
    reply = await found.in_thread(_stream, found.backend, who, request.path_params, posted)
    return late(found, fault, JSONResponse(reply))
