"""Blocks: rows in any order come back sorted, each key once, whatever way they are asked for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd import blocks
from syncd.blocks import Blocks, Builder, Marks, Row, batches, paired

PATIENT = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
ROWS = st.lists(
    st.tuples(
        st.text(max_size=3),
        st.integers() | st.none() | st.text(st.characters(), max_size=3),
        st.none() | st.dictionaries(st.text(max_size=2), st.booleans() | st.floats(0, 1)),
    ),
    max_size=30,
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of three rows, sorted four at a time: every boundary is crossed."""
    monkeypatch.setattr(blocks, "BLOCK", 3)
    monkeypatch.setattr(blocks, "SORTED_AT_ONCE", 4)
    monkeypatch.setattr(blocks, "MOST_RUNS", 2)


def built(rows: list[Row]) -> Blocks:
    """The rows, packed."""
    builder = Builder()
    builder.extend(rows)
    return builder.build()


@pytest.mark.usefixtures("tiny")
@settings(max_examples=200, deadline=None, suppress_health_check=PATIENT)
@given(ROWS)
def test_packed_rows_equal_a_plain_dict(rows: list[Row]) -> None:
    """Of rows with the same key the last one counts."""
    plain = {row[0]: row for row in rows}
    expected = [plain[key] for key in sorted(plain)]
    found = built(rows)

    assert (list(found), len(found)) == (expected, len(expected))
    assert [found.at(index) for index in range(len(found))] == expected
    assert all(found.find(key) == row for key, row in plain.items())
    assert found.find("absent") is None
    assert [row for _, some in found.blocks() for row in some] == expected
    assert [
        index for index, some in found.blocks() for index in range(index, index + len(some))
    ] == list(range(len(expected)))


@pytest.mark.usefixtures("tiny")
@settings(max_examples=100, deadline=None, suppress_health_check=PATIENT)
@given(st.lists(st.sampled_from("abcdef"), max_size=40))
def test_of_few_keys_that_come_again_and_again_the_last_rows_count(keys: list[str]) -> None:
    """However little is left to be packed of what has gathered."""
    rows = [(key, number) for number, key in enumerate(keys)]
    plain = {row[0]: row for row in rows}

    assert list(built(rows)) == [plain[key] for key in sorted(plain)]


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_two_sequences_side_by_side_are_each_there_once(left: set[str], right: set[str]) -> None:
    """With what the other one has under the same key."""
    found = list(paired(sorted(left), sorted(right), str, str))

    assert found == [
        (key if key in left else None, key if key in right else None)
        for key in sorted(left | right)
    ]


@pytest.mark.usefixtures("tiny")
@settings(max_examples=50, deadline=None, suppress_health_check=PATIENT)
@given(st.lists(st.sampled_from(b"abc"), max_size=30))
def test_chosen_rows_are_those_with_the_codes(codes: list[int]) -> None:
    """With the index of each."""
    found = built([(f"{number:02}",) for number in range(len(codes))])
    expected = [(n, (f"{n:02}",)) for n, code in enumerate(codes) if code in b"ac"]

    assert list(found.chosen(b"ac", bytes(codes))) == expected


@pytest.mark.usefixtures("tiny")
def test_blocks_without_a_chosen_row_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An increment of one per cent costs about one per cent."""
    found = built([(f"{number:04}",) for number in range(3000)])
    unpacked: list[bytes] = []
    original = blocks._unpacked

    def counted(packed: bytes) -> list[Row]:
        unpacked.append(packed)
        return original(packed)

    monkeypatch.setattr(blocks, "_unpacked", counted)
    codes = bytearray(3000)
    codes[300:330] = b"\1" * 30

    assert len(list(found.chosen(b"\1", codes))) == 30
    assert len(unpacked) == 10


def test_an_index_that_is_not_there_is_an_error() -> None:
    """As with a list."""
    for index in (-1, 1):
        with pytest.raises(IndexError):
            built([("a",)]).at(index)


def test_batches_hold_everything_once() -> None:
    """The last one may be shorter."""
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_marks_are_a_set_of_numbers(given_: list[int], others: list[int]) -> None:
    """Of 64 bits each."""
    marks = Marks(given_)

    assert len(marks) == len(set(given_))
    assert all(number in marks for number in given_)
    assert [number in marks for number in others] == [number in set(given_) for number in others]
