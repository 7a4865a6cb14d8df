"""Which path is which page. The routes come last in the application, so they take nothing from the API's."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.pages import views
from syncd.sandbox.pages.parts import Asked
from syncd.sandbox.routes.service import service

_ARTIFACTS = {3: views.project_page, 5: views.collection_page, 6: views.version_page}


def _parts(request: Request) -> list[str]:
    """The parts of the path as they were sent, so that an escaped slash stays inside its part."""
    raw: bytes = request.scope["raw_path"]
    return [unquote(part) for part in raw.decode("ascii").split("/")[1:] if part]


def _answer(view: Callable[[Asked], Response], asked: Asked) -> Response:
    with asked.db.snapshot():
        try:
            return view(asked)
        except (SandboxError, OverflowError, RecursionError):
            # A name or a cursor that leads nowhere; numbers can be too big to look for, a cursor too deep to read.
            return views.missing()


async def _show(request: Request, view: Callable[[Asked], Response]) -> Response:
    found = service(request)
    asked = Asked(found.backend.db, _parts(request), dict(request.query_params))
    return await found.in_thread(_answer, view, asked)


async def _everything(request: Request) -> Response:
    return await _show(request, views.everything)


async def _artifacts(request: Request) -> Response:
    view = _ARTIFACTS.get(len(_parts(request)))
    return views.missing() if view is None else await _show(request, view)


async def _run(request: Request) -> Response:
    return await _show(request, views.run_page)


ROUTES = [
    Route("/", _everything),
    Route("/{entity}/{project}/artifacts", _artifacts),
    Route("/{entity}/{project}/artifacts/{rest:path}", _artifacts),
    Route("/{entity}/{project}/runs/{run}", _run),
]
