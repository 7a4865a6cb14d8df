"""Parts of pages: tables by pages of 100, chips, JSON, and the paths of what they link to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlencode

from syncd.sandbox.pages.html import Html, Node, element, join, link
from syncd.sandbox.state import collections, entities, memberships, projects, runs
from syncd.sandbox.state.database import Database
from syncd.sandbox.state.paging import Connection, Window
from syncd.sandbox.state.records import Artifact, Collection, Project, Run

PAGE = 100
_LONGEST_JSON = 100_000
_KILO = 1024

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks: the parts of its path and its query."""

    db: Database
    parts: Sequence[str]
    query: Mapping[str, str]

    def window(self, name: str) -> Window:
        """The page of one of the lists."""
        return Window(first=PAGE, after=self.query.get(name))


def path(*parts: str) -> str:
    """The path of a page; a part's own slashes do not divide it."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def table(headings: Sequence[str], rows: Iterable[Sequence[Node]]) -> Html:
    """A table; headings that start with # stand above numbers."""
    numbers = [heading.startswith("#") for heading in headings]
    head = (
        element("th", heading.lstrip("#"), scope="col", class_="n" if number else "")
        for heading, number in zip(headings, numbers, strict=True)
    )
    body = (
        join(
            element("td", cell, class_="n") if number else element("td", cell)
            for cell, number in zip(row, numbers, strict=True)
        )
        for row in rows
    )
    inside = [element("thead", element("tr", *head)), element("tbody", *map(_row, body))]
    return element("div", element("table", *inside), class_="wide")


def _row(cells: Html) -> Html:
    return element("tr", cells)


def listing(
    asked: Asked,
    name: str,
    headings: Sequence[str],
    found: Connection[Row],
    row: Callable[[Row], Sequence[Node]],
) -> Html:
    """One page of a list with the ways to the first and the next; `name` is the list's place in the query."""
    if not found.edges:
        return element("p", "None.", class_="dim")
    here = path(*asked.parts)
    others = {key: value for key, value in asked.query.items() if key != name}
    ways = []
    if asked.query.get(name):
        ways.append(link(f"{here}?{urlencode(others)}", "First page"))
    if found.page_info.has_next_page:
        after = urlencode({**others, name: found.page_info.end_cursor or ""})
        ways.append(link(f"{here}?{after}", "Next page"))
    rows = table(headings, (row(edge.node) for edge in found.edges))
    return join([rows, element("p", join(ways, " · "))]) if ways else rows


def facts(pairs: Iterable[tuple[str, Node]]) -> Html:
    """A table of names and values."""
    rows = (
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in pairs
    )
    return element("table", element("tbody", *rows))


def section(title: str, *content: Node) -> Html:
    """A part of a page under its heading."""
    return element("section", element("h2", title), *content)


def chips(names: Iterable[str]) -> Html:
    """Short labels."""
    return join((element("span", name, class_="chip") for name in names), " ")


def prose(text: str | None) -> Html:
    """Text as somebody wrote it."""
    return element("p", text, class_="text") if text else Html("")


def document_of(text: str | None) -> Html:
    """A JSON document, laid out; whatever is not one, or is too deep, as it stands."""
    try:
        shown = _laid_out(json.loads(text or "{}"))
    except (ValueError, RecursionError):
        shown = text or ""
    cut = element("p", "The rest is not shown.") if len(shown) > _LONGEST_JSON else Html("")
    return join([element("pre", shown[:_LONGEST_JSON]), cut])


def _laid_out(value: object) -> str:
    """JSON for people, no more of it than is shown: laid out, a small document can be very large."""
    parts, length = [], 0
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        parts.append(part)
        length += len(part)
        if length > _LONGEST_JSON:
            break
    return "".join(parts)


def size(number: int) -> str:
    """Bytes for people."""
    amount, unit = float(number), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < _KILO:
            break
        amount, unit = amount / _KILO, bigger
    return f"{number} B" if unit == "B" else f"{amount:.1f} {unit}"


def project_path(db: Database, project: Project) -> tuple[str, str]:
    """The names that lead to a project."""
    return entities.entity(db, project.entity_id).name, project.name


def collection_path(db: Database, collection: Collection) -> tuple[str, ...]:
    """The names that lead to a collection's page."""
    owner = project_path(db, projects.get(db, collection.project_id))
    return *owner, "artifacts", projects.artifact_type(db, collection.type_id).name, collection.name


def run_link(db: Database, run: Run) -> Html:
    """A link to a run."""
    owner = project_path(db, projects.get(db, run.project_id))
    return link(path(*owner, "runs", run.name), run.display_name or run.name)


def run_link_of(db: Database, row: int | None) -> Node:
    """A link to the run of a row id, if there is one."""
    found = None if row is None else runs.find(db, row)
    return "" if found is None else run_link(db, found)


def version_links(db: Database, artifact: Artifact) -> list[Html]:
    """Links to a version in each collection that has it, its own first."""
    found = []
    for membership in memberships.of_artifact(db, artifact):
        names = collection_path(db, collections.get(db, membership.collection_id))
        version = f"v{membership.version_index}"
        shown = f"{names[0]}/{names[1]}/{names[-1]}:{version}"
        found.append(link(path(*names, version), shown))
    return found


def version_link(db: Database, artifact: Artifact) -> Node:
    """A link to a version where it is at home; its name alone if it is nowhere any more."""
    found = version_links(db, artifact)
    return found[0] if found else f"version {artifact.id}, in no collection"
