"""Entries: packed, they are the mapping that a dict of them would be."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.entry import Algorithm, Entries, Entry

PATIENT = [HealthCheck.too_slow]
TEXT = st.text(max_size=6)
ENTRIES = st.lists(
    st.builds(
        Entry,
        path=TEXT,
        digest=TEXT,
        size=st.none() | st.integers(min_value=0, max_value=2**70),
        ref=st.none() | TEXT,
        birth_artifact_id=st.none() | TEXT,
        algorithm=st.sampled_from(get_args(Algorithm)),
        extra=st.dictionaries(TEXT, TEXT | st.lists(st.integers() | st.none()), max_size=2),
    ),
    max_size=10,
)


@settings(max_examples=200, deadline=None, suppress_health_check=PATIENT)
@given(ENTRIES)
def test_packed_entries_equal_a_plain_dict(entries: list[Entry]) -> None:
    """In every field, and sorted by path."""
    plain = {entry.path: entry for entry in entries}
    packed = Entries.of(entries)

    assert packed == plain
    assert list(packed) == sorted(plain)
    assert list(packed.values()) == [plain[path] for path in sorted(plain)]
    assert list(packed.items()) == sorted(plain.items())
    assert all(path in packed and packed[path] == entry for path, entry in plain.items())


def test_what_is_not_there_is_a_key_error() -> None:
    """As with a dict; what is no text is not there either."""
    packed = Entries.of([Entry(path="a", digest="d")])
    number: object = 5

    assert "b" not in packed
    assert number not in packed
    assert packed.get("b") is None
    with pytest.raises(KeyError):
        packed["b"]


def test_a_path_may_hold_what_is_no_character() -> None:
    """A lone surrogate, as some file names on disk have."""
    entry = Entry(path="\ud800", digest="d")

    assert list(Entries.of([entry]).values()) == [entry]


@pytest.mark.parametrize("reference", [False, True])
def test_an_entry_takes_few_bytes(reference: bool) -> None:
    """Sixteen or so are its digest; a URL has nearly all in common with the one before."""
    many = 20_000

    def made() -> list[Entry]:
        entries = []
        for number in range(many):
            digest = f"{pow(3, number, 2**127 - 1):032x}"
            entry = Entry(path=f"train/{number:07}.jpeg", digest=digest, size=number * 77_777)
            if reference:
                url = f"https://data.example/api/repos/a/b/file/0123456789/{entry.path}"
                entry = replace(entry, ref=url, extra={"etag": f'"{digest}"'})
            entries.append(entry)
        return entries

    entries = made()
    tracemalloc.start()
    packed = Entries.of(entries)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(packed) == many
    assert held / many < 60
