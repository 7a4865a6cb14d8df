"""The ASGI application: which path does what, and how errors are told."""

from __future__ import annotations

import time
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.pages import ROUTES as PAGES
from syncd.sandbox.routes import admin, api, storage
from syncd.sandbox.routes.service import Service
from syncd.sandbox.settings import Settings

_ROUTES = [
    Route("/graphql", api.execute, methods=["POST"]),
    Route("/files/{entity}/{project}/{run}/file_stream", api.file_stream, methods=["POST"]),
    Route(
        "/storage/wandb_artifacts/{artifact:int}/{blob}",
        storage.artifact_file,
        methods=["GET", "PUT"],
    ),
    Route("/storage/parts/{upload:int}/{number:int}", storage.part, methods=["PUT"]),
    Route(
        "/storage/manifest_uploads/{manifest:int}/{name}", storage.manifest_upload, methods=["PUT"]
    ),
    Route("/storage/manifests/{artifact:int}/wandb_manifest.json", storage.manifest),
    Route("/storage/run_files/{run:int}/{name:path}", storage.run_file, methods=["GET", "PUT"]),
    Route("/artifacts/{rest:path}", storage.entry),
    Route("/artifactsV2/{rest:path}", storage.entry),
    Route("/sandbox/users", admin.create_user, methods=["POST"]),
    Route("/sandbox/users/{name}", admin.delete_user, methods=["DELETE"]),
    Route("/sandbox/organizations", admin.create_organization, methods=["POST"]),
    Route("/sandbox/organizations/{name}", admin.delete_organization, methods=["DELETE"]),
    Route("/sandbox/organizations/{name}/members", admin.add_member, methods=["POST"]),
    Route("/sandbox/teams", admin.create_team, methods=["POST"]),
    Route("/sandbox/gc", admin.collect_garbage, methods=["POST"]),
    Route("/sandbox/secrets", admin.set_secret, methods=["POST"]),
    Route("/sandbox/stats", admin.stats),
    Route("/sandbox/stats/reset", admin.reset_stats, methods=["POST"]),
    Route("/sandbox/faults", admin.arm_faults, methods=["POST"]),
    Route("/sandbox/faults", admin.clear_faults, methods=["DELETE"]),
    Route("/sandbox/settings", admin.change_settings, methods=["POST"]),
]


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok")


async def _tell(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SandboxError)
    # Outside GraphQL an error needs a status of its own to be seen as one.
    status = max(error.status, 400)
    return JSONResponse({"error": str(error)}, status_code=status)


class _Dated:
    """Says in each answer what time it is, as far off as the settings want; or says nothing."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def dated(message: Message) -> None:
            offset = self._settings.date_offset
            if message["type"] == "http.response.start" and offset is not None:
                date = formatdate(time.time() + offset, usegmt=True).encode()
                message["headers"] = [*message.get("headers", ()), (b"date", date)]
            await send(message)

        await self._app(scope, receive, dated)


def application(service: Service) -> Starlette:
    """The application of one sandbox."""
    app = Starlette(
        routes=[*_ROUTES, Route("/healthz", _health), *PAGES],
        exception_handlers={SandboxError: _tell},
    )
    app.state.service = service
    app.add_middleware(_Dated, settings=service.backend.settings)
    return app
