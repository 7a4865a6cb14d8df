"""A version's ancestry as a picture: data on the left, runs between, the version itself on the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syncd.web.ancestry import Ancestor

BOX, TALL = 180, 62  # a box, in pixels
GAP_X, GAP_Y = 30, 18
MARGIN = 8
LETTERS = 20  # of a name that a box has room for
COMMIT = 12  # digits of a commit that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A version or a run, where it is drawn.

    Args:
        kind: `version` or `run`.
        role: the artifact's type, or `run`.
        title: what stands in the box.
        detail: below it: the commit, or the run's settings.
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


def picture(
    ancestors: Sequence[Ancestor], page_of: Callable[[str], str], safe: Callable[[object], str]
) -> Picture:
    """Lay an ancestry out, its first member being the version that is shown.

    Args:
        ancestors: as `Ancestry.ancestors` gives them.
        page_of: the page of a version by its name.
        safe: a URL of a run when a page may lead there, else empty.
    """
    boxes: dict[str, Box] = {}
    into: dict[str, list[str]] = {}  # box -> the boxes it came from
    sentences: list[str] = []
    for item in ancestors:
        boxes[item.name] = Box(
            kind="version",
            role=item.kind or "artifact",
            title=_short(item.name.rpartition("/")[2]),
            detail=f"commit {item.commit.commit[:COMMIT]}" if item.commit else "not in Oxen",
            full=f"{item.name}{f' · {item.commit}' if item.commit else ''}",
            href=page_of(item.name),
            is_own=item is ancestors[0],
        )
        run = item.story.run if item.story else None
        if item.story is None or run is None:
            continue
        name = str(run.get("ref"))
        uses = [str(use.get("artifact")) for use in item.story.inputs]
        boxes.setdefault(
            name,
            Box(
                kind="run",
                role="run",
                title=_short(str(run.get("name") or name.rpartition("/")[2])),
                detail=_settings(run.get("config")),
                full=name,
                href=safe(run.get("url")),
                is_own=False,
            ),
        )
        into[item.name] = [name]
        into.setdefault(name, uses)
        used = f" from {', '.join(uses)}" if uses else ""
        sentences.append(f"{item.name} was logged by run {name}{used}.")
    into = {name: [one for one in before if one in boxes] for name, before in into.items()}
    columns = _columns(ancestors[0].name, into)
    placed = _placed(boxes, columns)
    return Picture(
        boxes=list(placed.values()),
        paths=[
            _path(placed[source], placed[name])
            for name, before in into.items()
            for source in before
            if placed[source].x < placed[name].x
        ],
        width=max(box.x for box in placed.values()) + BOX + MARGIN,
        height=max(box.y for box in placed.values()) + TALL + MARGIN,
        sentences=sentences,
    )


def _columns(own: str, into: dict[str, list[str]]) -> dict[str, int]:
    """How many steps each box lies before the version, the longest way counting."""
    found = {own: 0}
    row = [own]
    while row and max(found.values()) <= len(into) * 2:  # a circle ends, too
        following: dict[str, None] = {}
        for name in row:
            for source in into.get(name, ()):
                if found.get(source, -1) < found[name] + 1:
                    found[source] = found[name] + 1
                    following[source] = None
        row = list(following)
    return found


def _placed(boxes: dict[str, Box], columns: dict[str, int]) -> dict[str, Box]:
    last = max(columns.values())
    rows: dict[int, list[str]] = {}
    for name in boxes:
        if name in columns:
            rows.setdefault(columns[name], []).append(name)
    tallest = max(len(names) for names in rows.values())
    placed: dict[str, Box] = {}
    # From the version leftwards, and again in the order of who was used by whom.
    for column in sorted(rows):
        names = rows[column]
        above = (tallest - len(names)) * (TALL + GAP_Y) / 2
        for row, name in enumerate(names):
            box = boxes[name]
            placed[name] = Box(
                **{key: getattr(box, key) for key in Box.__slots__ if key not in {"x", "y"}},
                x=MARGIN + (last - column) * (BOX + GAP_X),
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


def _settings(config: object) -> str:
    """A few settings of a run: what is short and simple, as far as there is room."""
    if not isinstance(config, dict):
        return ""
    shown = (
        f"{key} {value}"
        for key, value in config.items()
        if isinstance(value, int | float | str)
        and len(str(value)) <= 12  # noqa: PLR2004
        and not key.startswith("_")
        and not key.endswith(("_commit", "_repo"))
    )
    text = ""
    for setting in shown:
        more = f"{text}, {setting}" if text else setting
        if len(more) > LETTERS:
            break
        text = more
    return text
