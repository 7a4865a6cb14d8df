"""What lies around a version as a picture: what it came from on its left, what came of it on its right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from syncd.lineage.graph import Graph, Kind, Node

BOX, TALL = 180, 62  # a box, in pixels
GAP_X, GAP_Y = 30, 18
MARGIN = 8
LETTERS = 20  # of a name that a box has room for
COMMIT = 12  # digits of a commit that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A version, a run, an endpoint or a fine-tune, where it is drawn.

    Args:
        kind: how it looks: `version` or `run`.
        role: the artifact's type, `run`, `endpoint` or `fine-tune`.
        title: what stands in the box.
        detail: below it: the commit, or the run's state.
        full: all of the name.
        href: where it leads; empty when nowhere.
        is_own: whether the page is about it.
        x: of its left edge.
        y: of its upper edge.
    """

    kind: str
    role: str
    title: str
    detail: str
    full: str
    href: str
    is_own: bool
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All boxes, the paths between them, the size, and the same in words."""

    boxes: Sequence[Box]
    paths: Sequence[str]
    width: float
    height: float
    sentences: Sequence[str]
    box: int = BOX
    tall: int = TALL


def picture(graph: Graph, page_of: Callable[[str], str], safe: Callable[[object], str]) -> Picture:
    """Lay out what lies around a version.

    Args:
        graph: around it.
        page_of: the page of a version by its name.
        safe: a URL of a run when a page may lead there, else empty.
    """
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for edge in graph.edges:
        before.setdefault(edge.target, []).append(edge.source)
        after.setdefault(edge.source, []).append(edge.target)
    boxes = {
        key: _box(node, page_of, safe, is_own=node is graph.start)
        for key, node in graph.nodes.items()
    }
    columns = {key: -steps for key, steps in _columns(graph.start.key, before, graph.above).items()}
    later = _columns(graph.start.key, after, graph.below)
    columns = {**later, **columns}
    placed = _placed(boxes, columns)
    return Picture(
        boxes=list(placed.values()),
        paths=[
            _path(placed[edge.source], placed[edge.target])
            for edge in graph.edges
            if placed[edge.source].x < placed[edge.target].x
        ],
        width=max(box.x for box in placed.values()) + BOX + MARGIN,
        height=max(box.y for box in placed.values()) + TALL + MARGIN,
        sentences=list(_sentences(graph, before, after)),
    )


def _box(
    node: Node, page_of: Callable[[str], str], safe: Callable[[object], str], *, is_own: bool
) -> Box:
    if node.is_version:
        commit = node.commit.commit[:COMMIT] if node.commit else ""
        return Box(
            kind="version",
            role=node.type or "artifact",
            title=_short(node.name.rpartition("/")[2]),
            detail=f"commit {commit}" if commit else "not in Oxen",
            full=f"{node.name}{f' · {node.commit}' if node.commit else ''}",
            href=page_of(node.name),
            is_own=is_own,
        )
    name = node.name.rpartition("/")[2]
    is_run = node.kind is Kind.RUN
    title, detail = (node.label or name, node.state) if is_run else (name, node.label)
    return Box(
        kind="run" if is_run else "version",
        role=node.kind.value,
        title=_short(title),
        detail=_short(detail) if node.is_whole else "not looked at",
        full=node.name,
        href=safe(node.url),
        is_own=is_own,
    )


def _sentences(
    graph: Graph, before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """The same in words."""
    for key, node in graph.nodes.items():
        if node.is_version:
            for run in before.get(key, ()):
                names = ", ".join(graph.nodes[used].name for used in before.get(run, ()))
                used = f" from {names}" if names else ""
                yield f"{node.name} was logged by run {graph.nodes[run].name}{used}."
        elif not after.get(key):
            names = ", ".join(graph.nodes[used].name for used in before.get(key, ()))
            yield f"{node.kind.value} {node.name} uses {names}."


def _columns(
    own: str, next_to: Mapping[str, Sequence[str]], reached: Mapping[str, int]
) -> dict[str, int]:
    """How many steps each box lies away from the version, the longest way counting."""
    found = {own: 0}
    row = [own]
    while row and max(found.values()) <= len(reached) * 2:  # a circle ends, too
        following: dict[str, None] = {}
        for name in row:
            for other in next_to.get(name, ()):
                if other in reached and found.get(other, -1) < found[name] + 1:
                    found[other] = found[name] + 1
                    following[other] = None
        row = list(following)
    return found


def _placed(boxes: dict[str, Box], columns: dict[str, int]) -> dict[str, Box]:
    first = min(columns.values())
    rows: dict[int, list[str]] = {}
    for name in boxes:
        if name in columns:
            rows.setdefault(columns[name], []).append(name)
    tallest = max(len(names) for names in rows.values())
    placed: dict[str, Box] = {}
    for column in sorted(rows):
        names = rows[column]
        above = (tallest - len(names)) * (TALL + GAP_Y) / 2
        for row, name in enumerate(names):
            box = boxes[name]
            placed[name] = Box(
                **{key: getattr(box, key) for key in Box.__slots__ if key not in {"x", "y"}},
                x=MARGIN + (column - first) * (BOX + GAP_X),
                y=MARGIN + above + row * (TALL + GAP_Y),
            )
    return placed


def _path(source: Box, target: Box) -> str:
    x1, y1 = source.x + BOX, source.y + TALL / 2
    x2, y2 = target.x, target.y + TALL / 2
    middle = (x1 + x2) / 2
    return f"M{x1:.1f},{y1:.1f} C{middle:.1f},{y1:.1f} {middle:.1f},{y2:.1f} {x2 - 6:.1f},{y2:.1f}"


def _short(text: str) -> str:
    """The text, or its beginning and its end."""
    if len(text) <= LETTERS:
        return text
    tail = LETTERS // 3
    return f"{text[: LETTERS - tail - 1]}…{text[-tail:]}"
