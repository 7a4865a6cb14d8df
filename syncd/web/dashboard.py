"""The pages for people: routes, and what every page shares.

Pages are made on the server and work without a script; the script that there is refreshes what
happens now and loads what has to be read from Oxen. Nothing is fetched from anywhere else, which the
content security policy also says to the browser.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from syncd import log
from syncd.catalog.catalog import Catalog, Record
from syncd.errors import AuthenticationError
from syncd.web import words
from syncd.web.answers import RefusedError
from syncd.web.bodies import whole
from syncd.web.door import COOKIE, COOKIE_AGE, Door, Visitor
from syncd.web.pages import Pages, link, project_path, version_path
from syncd.web.release import release

LIVE = frozenset({"status", "transfers"})  # parts that are refreshed
MAX_FORM = 8_192  # bytes
MAX_PAGE = 100_000
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_FOLDER = Path(__file__).parent
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,8})")
Show = Callable[[Request, Visitor], Response]


class Dashboard:
    """The pages.

    Args:
        pages: their contents.
        catalog: what a retry changes.
        door: who may look.
        clock: Unix seconds.
    """

    def __init__(
        self, pages: Pages, catalog: Catalog, door: Door, clock: Callable[[], float] = time.time
    ) -> None:
        self._pages = pages
        self._catalog = catalog
        self._door = door
        self._clock = clock
        self._static = {
            file.name: (file.read_bytes(), mimetypes.guess_type(file.name)[0] or "text/plain")
            for file in sorted((_FOLDER / "static").iterdir())
        }
        self._templates = self._environment()

    def routes(self) -> list[BaseRoute]:
        """All routes."""
        collection = "/projects/{entity}/{project}/{collection}"
        version = f"{collection}/{{version}}"
        return [
            Route("/", self._open(self._overview)),
            Route("/live/{part}", self._open(self._live)),
            Route("/failures", self._open(self._failures)),
            Route("/search", self._open(self._search)),
            Route("/projects/{entity}/{project}", self._open(self._project)),
            Route(collection, self._open(self._collection)),
            Route(version, self._open(self._version)),
            Route(f"{version}/story", self._open(self._story)),
            Route(f"{version}/files", self._open(self._files)),
            Route("/retry", self._retry, methods=["POST"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/static/{name}", self._asset),
        ]

    def refusal(self, request: Request, refused: RefusedError, back: str = "/") -> Response:
        """What a person sees instead of a page.

        Args:
            request: what was asked for.
            refused: why it is not given.
            back: where a token leads after a form; after a page, to the page.
        """
        asks = refused.status == 401  # noqa: PLR2004
        template = "login.html" if asks else "message.html"
        if request.method != "POST":
            back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        values = {"title": str(refused), "hint": refused.hint, "back": back if asks else "/"}
        answer = self._page(template, values, status=refused.status)
        if asks:
            answer.headers["www-authenticate"] = 'Bearer realm="syncd"'
        return answer

    # --- pages

    def _overview(self, request: Request, visitor: Visitor) -> Response:
        del request
        return self._page("overview.html", self._pages.overview(self._clock()), visitor)

    def _live(self, request: Request, visitor: Visitor) -> Response:
        part = request.path_params["part"]
        if part not in LIVE:
            raise RefusedError(404, "there is no such page", "The first page is at /.")
        return self._page(f"_{part}.html", self._pages.live(self._clock()), visitor)

    def _project(self, request: Request, visitor: Visitor) -> Response:
        entity, project, *_ = _names(request)
        values = self._pages.project(entity, project, _page_number(request), self._clock())
        return self._page("project.html", values, visitor)

    def _collection(self, request: Request, visitor: Visitor) -> Response:
        entity, project, collection, *_ = _names(request)
        values = self._pages.collection(
            entity, project, collection, _page_number(request), self._clock()
        )
        return self._page("collection.html", values, visitor)

    def _version(self, request: Request, visitor: Visitor) -> Response:
        values = self._pages.version(self._record(request))
        values["asked"] = request.query_params.get("asked") == "1"
        return self._page("version.html", values, visitor)

    def _story(self, request: Request, visitor: Visitor) -> Response:
        record = self._record(request)
        values = {"record": record, **self._pages.story(record)}
        return self._part("_story.html", "Lineage", values, request, visitor)

    def _files(self, request: Request, visitor: Visitor) -> Response:
        record = self._record(request)
        values = {"record": record, **self._pages.files(record, _page_number(request))}
        return self._part("_files.html", "Files", values, request, visitor)

    def _failures(self, request: Request, visitor: Visitor) -> Response:
        values = self._pages.failures(_page_number(request))
        values["asked"] = request.query_params.get("asked", "")
        return self._page("failures.html", values, visitor)

    def _search(self, request: Request, visitor: Visitor) -> Response:
        values = self._pages.search(request.query_params.get("q", "")[:512])
        if values["exact"] is not None:
            return RedirectResponse(version_path(values["exact"].name), 303, headers=HEADERS)
        return self._page("search.html", values, visitor)

    # --- what changes something

    async def _retry(self, request: Request) -> Response:
        return await self._posted(request, self._retried)

    def _retried(self, request: Request, form: Mapping[str, str]) -> Response:
        visitor = self._door.enter(request.headers)
        self._door.check_form(visitor, request.headers, form.get("form_token", ""))
        record = release(self._catalog, form.get("artifact_id", ""), at=self._clock())
        return RedirectResponse(f"{version_path(str(record.ref))}?asked=1", 303, headers=HEADERS)

    async def _login(self, request: Request) -> Response:
        return await self._posted(request, self._logged_in)

    def _logged_in(self, request: Request, form: Mapping[str, str]) -> Response:
        del request
        try:
            session = self._door.session(form.get("token", ""))
        except AuthenticationError as error:
            raise RefusedError(
                401, "the token is not valid", "Ask the operator of this server for one."
            ) from error
        answer = RedirectResponse(_own_path(form.get("back", "/")), 303, headers=HEADERS)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=COOKIE_AGE,
            httponly=True,
            samesite="strict",
            secure=self._door.is_secure,
        )
        return answer

    async def _posted(
        self, request: Request, act: Callable[[Request, Mapping[str, str]], Response]
    ) -> Response:
        """Read a form and act on it in a thread."""
        try:
            body = await whole(request, MAX_FORM, "Shorten it.")
        except RefusedError as refused:
            return self.refusal(request, refused)
        try:
            fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
        except ValueError:
            return self.refusal(request, RefusedError(400, "this is no form of ours", "Go back."))
        form = {name: values[-1] for name, values in fields.items()}
        back = _own_path(form.get("back", "/"))
        return await run_in_threadpool(self._guarded, request, lambda: act(request, form), back)

    # --- what all share

    def _open(self, show: Show) -> Callable[[Request], Response]:
        """A page for whoever may look; a plain function, which Starlette calls in a thread."""

        def endpoint(request: Request) -> Response:
            return self._guarded(request, lambda: show(request, self._door.enter(request.headers)))

        return endpoint

    def _guarded(self, request: Request, act: Callable[[], Response], back: str = "/") -> Response:
        try:
            return act()
        except RefusedError as refused:
            return self.refusal(request, refused, back)
        except Exception as error:  # noqa: BLE001 a person gets a page, the log gets the cause
            log.get().error(log.Life.PAGE_FAILED, path=request.url.path, error=repr(error))
            failed = RefusedError(
                500, "this page cannot be made now", "The log of `syncd face` says why."
            )
            return self.refusal(request, failed)

    def _record(self, request: Request) -> Record:
        entity, project, collection, version = _names(request)
        match = _VERSION.fullmatch(version)
        if match is None:
            raise RefusedError(
                404, "no such version", "A version's page ends in /v and its number."
            )
        return self._pages.record(entity, project, collection, int(match[1]))

    def _part(
        self,
        template: str,
        title: str,
        values: Mapping[str, object],
        request: Request,
        visitor: Visitor,
    ) -> Response:
        """A part of a page for the script that asks for it, a page of its own for everybody else."""
        if request.headers.get("x-part") == "1":
            return self._page(template, values, visitor)
        return self._page("part.html", {"part": template, "title": title, **values}, visitor)

    def _page(
        self,
        template: str,
        values: Mapping[str, object],
        visitor: Visitor | None = None,
        *,
        status: int = 200,
    ) -> Response:
        shared = {
            "form_token": visitor.form_token if visitor and visitor.may_change else "",
            "inside": visitor is not None,
            "now": self._clock(),
        }
        text = self._templates.get_template(template).render({**shared, **values})
        return HTMLResponse(text, status_code=status, headers=HEADERS)

    def _asset(self, request: Request) -> Response:
        found = self._static.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404, headers=HEADERS)
        keep = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(found[0], media_type=found[1], headers=HEADERS | keep)

    def _environment(self) -> Environment:
        made = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        hashes = {
            name: hashlib.sha256(body).hexdigest()[:12] for name, (body, _) in self._static.items()
        }
        made.filters |= {
            "ago": lambda text: words.ago(text, self._clock()),
            "count": words.count,
            "moment": words.moment,
            "rate": words.rate,
            "size": words.size,
            "span": words.span,
        }
        made.globals |= {
            "asset": lambda name: f"/static/{name}?v={hashes[name]}",
            "link": link,
            "plural": words.plural,
            "project_path": project_path,
            "version_path": version_path,
        }
        return made


def _names(request: Request) -> tuple[str, str, str, str]:
    found = request.path_params
    return (
        found.get("entity", ""),
        found.get("project", ""),
        found.get("collection", ""),
        found.get("version", ""),
    )


def _page_number(request: Request) -> int:
    text = request.query_params.get("page", "0")
    return min(int(text), MAX_PAGE) if text.isdecimal() and len(text) <= 6 else 0  # noqa: PLR2004


def _own_path(text: str) -> str:
    """A path on this server: a form must not lead anywhere else."""
    parts = urlsplit(text)
    is_own = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.netloc
    return text if is_own and text.isprintable() else "/"
