"""HTML that cannot be got wrong: elements escape their content and attributes, only `Html` passes as it is."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from starlette.responses import Response

_STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_WEB = re.compile(r"https?://[^\s\x00-\x1f\x7f]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Html:
    """Text that is HTML already."""

    text: str


Node: TypeAlias = Html | str


def _text(node: Node) -> str:
    return node.text if isinstance(node, Html) else html.escape(node)


def join(nodes: Iterable[Node], between: Node = "") -> Html:
    """Nodes one after the other."""
    return Html(_text(between).join(_text(node) for node in nodes))


def element(name: str, *children: Node, **attributes: str) -> Html:
    """An element; an attribute that is a word of Python has an underscore behind it."""
    given = "".join(
        f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{given}>{join(children).text}</{name}>")


def link(target: str, *children: Node) -> Html:
    """A link to a page of ours."""
    return element("a", *children, href=target)


def reference(url: str) -> Html:
    """A reference: a link if it leads into the web, plain text if it does anything else."""
    shown = element("code", url)
    if not _WEB.fullmatch(url):
        return shown
    return element("a", shown, href=url, rel="noopener noreferrer nofollow")


def document(title: str, trail: Iterable[Node], *content: Node, status: int = 200) -> Response:
    """A whole page below the trail of links that leads to it."""
    head = join(
        [
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            element("title", f"{title} · sandbox"),
            Html(f"<style>{_STYLE}</style>"),
        ]
    )
    body = element(
        "body",
        element("a", "Skip to content", href="#content", class_="skip"),
        element("nav", join([link("/", "Projects"), *trail], " / "), **{"aria-label": "Trail"}),
        element("main", element("h1", title), *content, id="content"),
    )
    page = f'<!doctype html><html lang="en"><head>{head.text}</head>{body.text}</html>'
    # JSON can spell lone surrogates, which no encoding can.
    raw = page.encode("utf-8", "replace")
    return Response(raw, status, _HEADERS, "text/html; charset=utf-8")
