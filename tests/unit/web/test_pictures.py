"""Pictures and words: figures end where they should, and nothing lies on something else."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.catalog.panels import Day
from syncd.lineage.graph import Edge, Kind, Node, Ref, Role, Step, walk
from syncd.web import chart, words
from syncd.web.graph import BOX, TALL, Picture, picture
from syncd.web.pages import link, version_path

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()


# --- words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (99.96 * 1024, "100.0 KiB"),
        (100 * 1024, "100 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**6, "3072 PiB"),
    ],
)
def test_bytes_are_told_in_three_digits(count: float, text: str) -> None:
    """In the largest unit of which there is one."""
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [(-5, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"),
     (7_200, "2 h"), (172_800, "2 d")],
)  # fmt: skip
def test_durations_are_told_in_one_unit(duration: float, text: str) -> None:
    """Of which there are at least two."""
    assert words.span(duration) == text


def test_times_are_told_as_people_say_them() -> None:
    """And a time that is none is a dash."""
    assert words.ago("2026-11-26T11:57:00+00:00", NOW) == "3 min ago"
    assert words.ago("2026-11-26T13:00:00+00:00", NOW) == "just now"  # a clock that is ahead
    assert words.ago("", NOW) == words.moment("yesterday") == words.NONE
    assert words.moment("2026-11-26T11:57:00+02:00") == "2026-11-26 09:57 UTC"
    assert [words.plural(n, "version") for n in (0, 1, 2_000)] == [
        "0 versions",
        "1 version",
        "2,000 versions",
    ]


# --- savings


def day(name: str, moved: int, stored: int, freed: int = 0) -> Day:
    """A day."""
    return Day(day=name, moved=moved, stored=stored, freed=freed)


def ends(path: str) -> tuple[float, float]:
    """Where a line ends."""
    x, y = re.findall(r"L([\d.]+),([\d.]+)", path)[-1]
    return float(x), float(y)


def test_lines_end_at_their_sums() -> None:
    """The higher the more; all at the right edge, within the picture."""
    found = chart.savings([day("2026-11-01", 600, 500), day("2026-11-20", 400, 100, 300)])
    assert found is not None
    by_key = {series.key: series for series in found.series}

    assert {key: series.total for key, series in by_key.items()} == {
        "moved": "1000 B",
        "stored": "600 B",
        "freed": "300 B",
    }
    heights = {key: ends(series.path) for key, series in by_key.items()}
    assert {x for x, _ in heights.values()} == {float(found.right)}
    assert heights["moved"][1] < heights["stored"][1] < heights["freed"][1] < found.bottom
    assert heights["moved"][1] >= chart.TOP
    assert (found.columns[0].text, found.columns[-1].text) == ("Oct 31", "Nov 20")


@pytest.mark.parametrize("values", [(1, 1, 1), (10**15, 1, 0), (5, 4, 3), (0, 0, 0)])
def test_names_of_lines_do_not_overlap(values: tuple[int, int, int]) -> None:
    """Also where lines end together; and one day is a picture, too."""
    found = chart.savings([day("2026-11-01", *values)])
    assert found is not None
    places = sorted(series.label_at for series in found.series)

    assert all(b - a >= chart.LABEL_GAP - 0.01 for a, b in itertools.pairwise(places))
    assert all(0 <= place <= chart.HEIGHT for place in places)


def test_nothing_moved_is_no_picture() -> None:
    """Rather than an empty one."""
    assert chart.savings([]) is None


# --- lineage


def node(name: str, kind: Kind = Kind.DATASET, **values: Any) -> Node:
    """A node."""
    return Node(**{"key": name, "kind": kind, "name": name, "type": kind.value, **values})


def run(name: str, **values: Any) -> Node:
    """A run."""
    ref = f"t/p/runs/{name}"
    url = f"https://w/{name}"
    return node(ref, Kind.RUN, **{"label": name, "state": "finished", "url": url, **values})


class Lineage:
    """Neighbours that a test draws: `a > b` by their nodes."""

    def __init__(self, *edges: tuple[Node, Node]) -> None:
        self.edges = edges

    def find(self, ref: Ref) -> Node | None:
        """See `Neighbours.find`."""
        del ref
        return None

    def above(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.above`."""
        for source, target in self.edges:
            if target in nodes:
                yield Edge(source=source.key, target=target.key, role=Role.INPUT), source

    def below(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.below`."""
        for source, target in self.edges:
            if source in nodes:
                yield Edge(source=source.key, target=target.key, role=Role.INPUT), target

    def unseen(self) -> Sequence[str]:
        """See `Neighbours.unseen`."""
        return ()


def drawn(start: Node, *edges: tuple[Node, Node]) -> Picture:
    """The picture of what lies around a node."""
    return picture(walk(Lineage(*edges), start), version_path, link)


def test_what_came_first_stands_left_and_what_came_of_it_right() -> None:
    """A run between what it used and what it logged; nothing lies on something else."""
    data, base, model, tuned = (
        node(f"t/p/{name}") for name in ("data:v3", "base:v0", "model:v1", "tuned:v0")
    )
    pretrain, train, tune = run("pretrain"), run("train"), run("tune", label="")
    made = drawn(
        model,
        (data, pretrain),
        (pretrain, base),
        (base, train),
        (data, train),
        (train, model),
        (model, tune),
        (tune, tuned),
    )
    at = {box.title: box for box in made.boxes}

    assert at["data:v3"].x < at["pretrain"].x < at["base:v0"].x < at["train"].x
    assert at["train"].x < at["model:v1"].x < at["tune"].x < at["tuned:v0"].x
    assert [box.title for box in made.boxes if box.is_own] == ["model:v1"]
    assert len(made.paths) == 7
    for one, other in itertools.combinations(made.boxes, 2):
        assert abs(one.x - other.x) >= BOX or abs(one.y - other.y) >= TALL
    assert all(box.x + BOX <= made.width and box.y + TALL <= made.height for box in made.boxes)
    assert made.sentences[0] == (
        "t/p/model:v1 was logged by run t/p/runs/train from t/p/base:v0, t/p/data:v3."
    )
    assert "t/p/tuned:v0 was logged by run t/p/runs/tune from t/p/model:v1." in made.sentences


def test_a_circle_is_drawn_and_ends() -> None:
    """A run may use what it logged itself."""
    a, b, one, two = node("t/p/a:v1"), node("t/p/b:v0"), run("one"), run("two")
    made = drawn(a, (one, a), (b, one), (two, b), (a, two))

    assert {box.title for box in made.boxes} == {"a:v1", "b:v0", "one", "two"}


def test_a_version_without_a_run_stands_alone() -> None:
    """Somebody logged it by hand; and one that is not in Oxen says so."""
    [box] = drawn(node("t/p/a:v1")).boxes

    assert (box.detail, box.is_own) == ("not in Oxen", True)


def test_long_names_and_strange_urls_are_cut() -> None:
    """The whole name stays for whoever points at it."""
    long = node(f"t/p/{'x' * 80}:v1")
    strange = run("r", label="y" * 80, url="javascript:x")
    own, before = sorted(drawn(long, (strange, long)).boxes, key=lambda box: not box.is_own)

    assert len(own.title) <= 20 < len(own.full)
    assert len(before.title) <= 20
    assert (own.href, before.href) == (f"/projects/t/p/{'x' * 80}/v1", "")


def test_what_a_run_led_to_is_told_also_when_it_logged_nothing() -> None:
    """An evaluation, and an endpoint: in words, too."""
    model, evaluation = node("t/p/m:v0", Kind.MODEL), run("evaluate", is_whole=False)
    served = node("search", Kind.ENDPOINT, type="", label="by ann")
    tuned = node("ft-1", Kind.FINE_TUNE, type="", label="of small by ann")
    made = drawn(model, (model, evaluation), (model, served), (model, tuned))

    assert {box.role: (box.title, box.detail) for box in made.boxes if not box.is_own} == {
        "run": ("evaluate", "not looked at"),
        "endpoint": ("search", "by ann"),
        "fine-tune": ("ft-1", "of small by ann"),
    }
    assert made.sentences == [
        "endpoint search uses t/p/m:v0.",
        "fine-tune ft-1 uses t/p/m:v0.",
        "run t/p/runs/evaluate uses t/p/m:v0.",
    ]
