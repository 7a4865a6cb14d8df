"""Appearance: every difference that W&B would show is found, under its field's name, and no other."""

from __future__ import annotations

from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.clients.artifacts import TTL_INHERIT, Membership, Standing, Version
from syncd.entry import Entry
from syncd.refs import ArtifactRef, CommitRef, RunRef
from syncd.replacements import CONTENT_KEY
from syncd.versions.appearance import (
    Appearance,
    appearance,
    differences,
    expected,
    file_differences,
)

RUN = RunRef(entity="team", project="proj", run_id="r1")
OTHER = RunRef(entity="team", project="proj", run_id="r2")
END = datetime(2026, 1, 2, tzinfo=UTC)
SAME = Appearance(
    type="dataset",
    description="what it is",
    metadata={"rows": 5, "nested": {"a": [1, None]}},
    tags=frozenset({"gold"}),
    ttl=END,
    history_step=3,
    run=RUN,
    consumers=frozenset({OTHER}),
    places={"team/proj/ds": frozenset({"latest"}), "team/proj/shelf": frozenset({"best"})},
)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"type": "model"}, ["type: 'dataset' became 'model'"]),
        ({"description": ""}, ["description: 'what it is' became ''"]),
        ({"metadata": {"rows": 5}}, ["metadata: 'nested' differs"]),
        ({"metadata": {**SAME.metadata, "rows": 5.5}}, ["metadata: 'rows' differs"]),
        ({"metadata": {**SAME.metadata, "more": None}}, ["metadata: 'more' differs"]),
        ({"tags": frozenset()}, ["tags: 'gold' is missing"]),
        ({"tags": frozenset({"gold", "x"})}, ["tags: 'x' is new"]),
        ({"ttl": END + timedelta(seconds=60)}, []),  # a clock may be off
        (
            {"ttl": END + timedelta(seconds=61)},
            [
                "ttl: expires at 2026-01-02T00:00:00+00:00 became expires at 2026-01-02T00:01:01+00:00"
            ],
        ),
        ({"ttl": None}, ["ttl: expires at 2026-01-02T00:00:00+00:00 became never expires"]),
        (
            {"ttl": TTL_INHERIT},
            ["ttl: expires at 2026-01-02T00:00:00+00:00 became expires as its team decides"],
        ),
        ({"history_step": 4}, ["history_step: 3 became 4"]),
        ({"run": None}, ["run: team/proj/runs/r1 became None"]),
        ({"consumers": frozenset()}, ["consumers: team/proj/runs/r2 is missing"]),
        ({"consumers": frozenset({RUN, OTHER})}, []),  # it may be used more
        ({"consumers": None}, []),  # not known
        ({"places": {**(SAME.places or {}), "team/proj/new": frozenset({"x"})}}, []),
        (
            {"places": {"team/proj/ds": frozenset({"latest", "more"})}},
            ["links: team/proj/shelf is missing", "aliases: 'best' of team/proj/shelf is missing"],
        ),
        (
            {"places": {**(SAME.places or {}), "team/proj/ds": frozenset({"best"})}},
            ["aliases: 'latest' of team/proj/ds is missing"],
        ),
    ],
)
def test_each_difference_is_found_and_named(change: dict[str, Any], found: list[str]) -> None:
    """One field after the other."""
    assert [str(item) for item in differences(SAME, changed(SAME, **change))] == found


def test_only_what_people_can_edit_may_be_their_doing() -> None:
    """Nobody changes the type, the run or the files of a version."""
    other = Appearance(type="model", history_step=9, places={})
    found = {item.field: item.editable for item in differences(SAME, other)}

    assert {name for name, editable in found.items() if not editable} == {
        *("type", "history_step", "run"),
    }
    assert {name for name, editable in found.items() if editable} == {
        *("description", "metadata", "tags", "ttl", "links", "aliases"),
    }


def version(**changes: Any) -> Version:
    """A version."""
    return changed(
        Version(
            id="id0",
            ref=ArtifactRef(entity="team", project="proj", collection="ds", alias="v0"),
            type="dataset",
            digest="d",
            size=1,
            file_count=1,
            created_at="2026-01-01T00:00:00",
        ),
        **changes,
    )


def standing(*places: Membership, **changes: Any) -> Standing:
    """A version with nothing but this."""
    return Standing(version=version(**changes), memberships=places)


def test_a_versions_own_key_and_its_number_are_no_part_of_how_it_looks() -> None:
    """They are what differs by design."""
    one = appearance(standing(metadata={"rows": 5, "oxen": {"repo": "r"}}))
    two = appearance(standing(metadata={"rows": 5}, id="id1", created_at="2026-01-05T00:00:00Z"))

    assert one == two


@pytest.mark.parametrize(
    ("base", "theirs", "ours", "wanted"),
    [
        # Nothing happened.
        ({"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}),
        # On the version only: added, changed, taken away.
        ({}, {"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),
        ({"a": 1}, {}, {"a": 1}, {}),
        # On the replacement only: added, changed. What it lacks, it was not given.
        ({}, {}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": 1}, {}, {"a": 1}),
        # On both: who has the aliases has the last word.
        ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}),
    ],
)
def test_edits_on_both_sides_come_together(
    base: dict[str, int], theirs: dict[str, int], ours: dict[str, int], wanted: dict[str, int]
) -> None:
    """Of the version while it is replaced, and of its replacement before it is complete."""
    found = expected(
        version(metadata=base), standing(metadata=theirs), standing(metadata={**ours, "oxen": {}})
    )

    assert found.metadata == wanted


@pytest.mark.parametrize(
    ("base", "theirs", "ours", "wanted"),
    [
        ("a", "a", "a", "a"),
        ("a", "b", "a", "b"),
        ("a", "", "a", ""),
        ("a", "a", "b", "b"),
        ("a", "a", None, "a"),
        (None, "b", None, "b"),
        ("a", "b", "c", "c"),
    ],
)
def test_a_description_is_the_one_that_was_written_last(
    base: str | None, theirs: str | None, ours: str | None, wanted: str
) -> None:
    """As with a key of the metadata."""
    found = expected(
        version(description=base), standing(description=theirs), standing(description=ours)
    )

    assert found.description == wanted


def test_tags_of_both_sides_stay_and_a_registry_ends_the_time_to_live() -> None:
    """W&B keeps what a registry links."""
    best = Membership(
        collection_id="1",
        kind="portfolio",
        entity="org",
        project="wandb-registry-models",
        collection="best",
    )
    old = standing(tags=("a",), ttl_seconds=60)

    assert expected(version(), old, standing(tags=("b",))).tags == {"a", "b"}
    assert expected(version(), old, standing()).ttl == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert expected(version(), old, standing(best)).ttl is None


COMMIT = CommitRef.parse("oxen://ns/repo@" + "c" * 32)
URL = "https://data.example/api/repos/ns/repo/file/" + "c" * 32 + "/"
HELLO = "tenBrQcbPn/Hec+qXlI4GA=="  # "hello", by XXH128
HELLO_HASH = "b5e9c1ad071b3e7fc779cfaa5e523818"


def moved(path: str = "a", **changes: Any) -> Entry:
    """A reference into the commit."""
    return changed(Entry(path=path, digest=HELLO_HASH, size=5, ref=URL + path), **changes)


@pytest.mark.parametrize(
    ("old", "new", "folder", "found"),
    [
        (Entry(path="a", digest="md5", size=5), moved(), "", ""),
        (Entry(path="a", digest="md5", size=5), moved(ref=URL + "f/a"), "f", ""),
        (Entry(path="a", digest="md5"), moved(), "", ""),  # the size was not known
        (Entry(path="a", digest="md5", size=5), moved(size=6), "", "a had 5 bytes and has 6"),
        (Entry(path="a", digest="md5", size=5), moved(ref=URL + "b"), "", "a refers to"),
        (Entry(path="a", digest="md5", size=5), moved(ref=URL + "a"), "f", "a refers to"),
        (Entry(path="a", digest="md5", size=5), moved(ref="s3://b/a"), "", "a refers to s3://b/a"),
        (Entry(path="a", digest="md5", size=5), moved(path="b", ref=URL + "b"), "", "a is missing"),
        # Kept.
        (Entry(path="a", digest="x", size=5), Entry(path="a", digest="x", size=5), "", ""),
        (Entry(path="a", digest="x", size=5), Entry(path="a", digest="y", size=5), "", "a has an"),
        (
            Entry(path="a", digest="x", size=5),
            Entry(path="a", digest="x", size=5, algorithm="XXH128"),
            "",
            "a has another content",
        ),
        # References of others.
        (
            Entry(path="a", digest="e", ref="s3://b/a"),
            Entry(path="a", digest="e", ref="s3://b/a"),
            "",
            "",
        ),
        (Entry(path="a", digest="e", ref="s3://b/a"), moved(), "", "a has another content"),
        # The content is known by its hash.
        (Entry(path="a", digest=HELLO, size=5, algorithm="XXH128"), moved(), "", ""),
        (  # which Oxen writes without zeros before it
            Entry(path="a", digest="AAECAwQFBgcICQoLDA0ODw==", size=5, algorithm="XXH128"),
            moved(digest="102030405060708090a0b0c0d0e0f"),
            "",
            "",
        ),
        (
            Entry(path="a", digest=HELLO, size=5, algorithm="XXH128"),
            moved(digest="1" * 32),
            "",
            f"a names content {'1' * 32}, not {HELLO_HASH}",
        ),
        (
            Entry(path="a", digest="md5", size=5, extra={CONTENT_KEY: "2" * 32}),
            moved(),
            "",
            f"a names content {HELLO_HASH}, not {'2' * 32}",
        ),
    ],
)
def test_each_file_is_what_it_was(old: Entry, new: Entry, folder: str, found: str) -> None:
    """The same, or a reference to the same content in the right commit."""
    [*texts] = [item.text for item in file_differences([old], [new], COMMIT, folder)]

    assert texts[0].startswith(found) if found else not texts, texts


def test_of_many_differing_files_a_few_are_named() -> None:
    """Millions would be no help."""
    old = [Entry(path=f"{number:04}", digest="x", size=1) for number in range(1000)]
    found = file_differences(old, [changed(entry, size=2) for entry in old], COMMIT, "")
    new = file_differences([], old, COMMIT, "")

    assert [item.text for item in found][:2] == [
        "0000 had 1 bytes and has 2",
        "0001 had 1 bytes and has 2",
    ]
    assert len(found) == len(new) == 5
    assert new[0].text == "0000 is new"
