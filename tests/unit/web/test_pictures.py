"""Pictures and words: figures end where they should, and nothing lies on something else."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.catalog.panels import Day
from syncd.refs import CommitRef
from syncd.web import chart, words
from syncd.web.ancestry import Ancestor, Story
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


def ancestor(name: str, *inputs: str, run: str = "", **values: Any) -> Ancestor:
    """A version with its run and what that used."""
    story = Story(
        artifact={},
        run={"ref": f"t/p/runs/{run}", "name": run, "url": f"https://w/{run}", "config": {}}
        if run
        else None,
        inputs=[{"artifact": item} for item in inputs],
    )
    commit = CommitRef.parse("oxen://t/r@abc123")
    return Ancestor(**{"name": name, "kind": "dataset", "commit": commit, "story": story, **values})


def drawn(*ancestors: Ancestor) -> Picture:
    """Their picture."""
    return picture(ancestors, version_path, link)


def test_what_came_first_stands_left() -> None:
    """A run between what it used and what it logged; nothing lies on something else."""
    made = drawn(
        ancestor("t/p/model:v1", "t/p/base:v0", "t/p/data:v3", run="train"),
        ancestor("t/p/base:v0", "t/p/data:v3", run="pretrain"),
        ancestor("t/p/data:v3"),
    )
    at = {box.title: box for box in made.boxes}

    assert at["data:v3"].x < at["pretrain"].x < at["base:v0"].x < at["train"].x
    assert at["train"].x < at["model:v1"].x
    assert [box.title for box in made.boxes if box.is_own] == ["model:v1"]
    assert len(made.paths) == 5
    for one, other in itertools.combinations(made.boxes, 2):
        assert abs(one.x - other.x) >= BOX or abs(one.y - other.y) >= TALL
    assert all(box.x + BOX <= made.width and box.y + TALL <= made.height for box in made.boxes)
    assert made.sentences[0] == (
        "t/p/model:v1 was logged by run t/p/runs/train from t/p/base:v0, t/p/data:v3."
    )


def test_a_circle_is_drawn_and_ends() -> None:
    """A run may use what it logged itself."""
    made = drawn(
        ancestor("t/p/a:v1", "t/p/b:v0", run="one"), ancestor("t/p/b:v0", "t/p/a:v1", run="two")
    )

    assert {box.title for box in made.boxes} == {"a:v1", "b:v0", "one", "two"}


def test_a_version_without_a_run_stands_alone() -> None:
    """Somebody logged it by hand; and one that is not in Oxen says so."""
    [box] = drawn(ancestor("t/p/a:v1", commit=None, story=None)).boxes

    assert (box.detail, box.is_own) == ("not in Oxen", True)


def test_long_names_and_strange_urls_are_cut() -> None:
    """The whole name stays for whoever points at it."""
    long = "x" * 80
    [box, run] = drawn(ancestor(f"t/p/{long}:v1", run=long)).boxes
    strange = ancestor("t/p/a:v0", run="r")
    assert strange.story is not None
    assert strange.story.run is not None
    found = picture(
        [
            Ancestor(
                name=strange.name,
                kind="",
                commit=None,
                story=Story(
                    artifact={}, run={**strange.story.run, "url": "javascript:x"}, inputs=()
                ),
            )
        ],
        version_path,
        link,
    )

    assert len(box.title) <= 20 < len(box.full)
    assert run.href == f"https://w/{long}"
    assert [item.href for item in found.boxes] == ["/projects/t/p/a/v0", ""]
