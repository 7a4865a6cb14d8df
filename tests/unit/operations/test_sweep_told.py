"""What a sweep tells in the log: why a version stays once, and each time how many do for which reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moved_project import NOW, PROJECT, MovedProject
from structlog.testing import capture_logs

from syncd.catalog.catalog import Catalog
from syncd.operations import sweep


@pytest.fixture
def catalog(database: str) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(database)
    yield made
    made.close()


def told(moved: MovedProject, *, hours: int = 0) -> tuple[list[tuple[str, str]], Mapping[str, Any]]:
    """The lines of the versions that stay, and the line of the sweep."""
    with capture_logs() as lines:
        moved.reclaim(now=NOW + timedelta(hours=hours))
    [done] = [line for line in lines if line["event"] == "sweep.done"]
    skipped = [line for line in lines if line["event"] == "reclaim.skipped"]
    assert done["told"] == len(skipped)
    return [(line["artifact"], line["reason"]) for line in skipped], done


def test_why_a_version_stays_is_told_when_it_is_news(moved: MovedProject) -> None:
    """And each time how many stay for which reason; the report has all of them, each time."""
    aliased, _ = moved.log_and_move("ds", {"big": b"payload 1"})
    linked, _ = moved.log_and_move("ds", {"big": b"payload 2"})
    moved.source.move_aliases(aliased, ["golden"])
    moved.source.link_to(linked, "team/shelf/best", [])
    both = [
        ("team/proj/ds:v0", "has the alias golden"),
        ("team/proj/ds:v2", "linked in team/shelf/best"),
    ]

    lines, done = told(moved)
    assert sorted(lines) == both
    assert done["reasons"] == {"alias": 1, "link": 1}
    lines, done = told(moved, hours=1)
    assert lines == []
    assert (done["stay"], done["reasons"]) == (2, {"alias": 1, "link": 1})
    assert len(moved.stays()) == 2

    moved.source.move_aliases(aliased, ["golden", "silver"])
    lines, _ = told(moved, hours=2)
    assert lines == [("team/proj/ds:v0", "has the aliases golden, silver")]
    assert told(moved, hours=3)[0] == []


def test_those_that_wait_are_told_of_once_whatever_they_wait_for(
    moved: MovedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the limit, for another limit, or for their turn: that changes for all at a time."""
    moved.terms["max_per_day"] = 1
    for number in range(4):
        moved.log_and_move("ds", {"big": f"payload {number}".encode()}, aliases=[])

    lines, done = told(moved)
    assert [reason for _, reason in lines] == [
        "1 versions a day are removed, and that is reached"
    ] * 3
    assert (done["removed"], done["reasons"]) == (1, {"limit": 3})
    moved.terms["max_per_day"] = 2
    assert told(moved, hours=25)[0] == []
    monkeypatch.setattr("syncd.operations.replaced.MOST_REFUSED", 0)
    lines, done = told(moved, hours=50)
    assert (lines, done["reasons"]) == ([], {"turn": 1})


def test_a_dry_run_tells_nothing_and_takes_no_news_away(moved: MovedProject) -> None:
    """Its report has the reasons; the next sweep still tells them."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    moved.source.move_aliases(old, ["golden"])
    with capture_logs() as lines:
        planned = sweep.plan(moved.runtime, [PROJECT], NOW, everything=True)
        report = sweep.describe(planned, moved.runtime).document()
    assert lines == []
    assert [item["reasons"] for item in report["stays"]] == [["has the alias golden"]]
    assert len(told(moved)[0]) == 1


@pytest.mark.parametrize("loss", ["rebuilt", "lost"])
def test_a_lost_catalog_costs_a_line_for_each_version(
    loss: str, moved: MovedProject, tmp_path: Path
) -> None:
    """Nobody knows any more what was told."""
    old, _ = moved.log_and_move("ds", {"big": b"payload"})
    moved.source.move_aliases(old, ["golden"])
    assert len(told(moved)[0]) == 1
    moved.catalog.close()
    if loss == "rebuilt":
        moved.catalog = Catalog(f"sqlite:///{tmp_path}/moved.db")
        moved.catalog.clear(PROJECT)
    else:
        moved.catalog = Catalog(f"sqlite:///{tmp_path}/other.db")
    assert len(told(moved)[0]) == 1


def test_what_was_told_goes_with_its_version(catalog: Catalog) -> None:
    """Removed by a sweep, or forgotten."""
    texts = {f"id {number:04}": "has the alias golden" for number in range(1200)}
    assert catalog.told.news(texts) == set(texts)
    catalog.told.keep(texts)
    assert catalog.told.news(texts) == set()
    assert catalog.told.news({"id 0007": "something else"}) == {"id 0007"}
    catalog.reclaimed("id 0001", 7)
    catalog.forget("id 0002")
    assert catalog.told.news(texts) == {"id 0001", "id 0002"}
