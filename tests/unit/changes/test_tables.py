"""Tables: rows told apart by a key, by liboxen itself; what is left out is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pytest

from syncd.changes.difference import compare
from syncd.changes.tables import Read, Table, tables
from syncd.clients.oxen_tables import TableDifference
from syncd.errors import PermanentError

HEAD = "id,label\n"


def reader(files: Mapping[str, str | bytes]) -> Read:
    """Reads files."""

    def read(path: str) -> Iterator[bytes]:
        text = files[path]
        yield text if isinstance(text, bytes) else text.encode()

    return read


def compared(
    before: Mapping[str, str | bytes],
    after: Mapping[str, str | bytes],
    *,
    limit: int = 1 << 20,
    key: str = "",
) -> list[Table]:
    """The tables of two sides."""
    sides = [
        [
            (path, text if isinstance(text, str) else text.decode("latin-1"), len(text))
            for path, text in sorted(files.items())
        ]
        for files in (before, after)
    ]
    changes = compare(*sides).changes()
    keys = [key] if key else []
    return list(tables(changes, reader(before), reader(after), key=keys, limit=limit))


def rows(found: list[Table]) -> TableDifference:
    """Of the only one, which was compared."""
    [table] = found
    assert table.difference is not None, table.reason
    return table.difference


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("t.csv", "id,label\n1,a\n2,b\n3,c\n", "id,label\n1,a\n2,B\n4,d\n"),
        ("t.tsv", "id\tlabel\n1\ta\n2\tb\n3\tc\n", "id\tlabel\n1\ta\n2\tB\n4\td\n"),
        (
            "d/t.jsonl",
            '{"id": 1, "label": "a"}\n{"id": 2, "label": "b"}\n{"id": 3, "label": "c"}\n',
            '{"id": 1, "label": "a"}\n{"id": 2, "label": "B"}\n{"id": 4, "label": "d"}\n',
        ),
    ],
)
def test_rows_are_told_apart_by_the_first_column_without_repeats(
    name: str, before: str, after: str
) -> None:
    """One added, one removed, one with another label; in each format."""
    found = rows(compared({name: before}, {name: after}))

    assert found == TableDifference(
        key=("id",), rows=(3, 3), added=1, removed=1, modified=1, columns={"label": 1}
    )


def test_columns_that_came_went_or_are_of_another_type_are_told() -> None:
    """Beside the rows."""
    found = rows(
        compared(
            {"t.csv": "id,label,old\n1,5,x\n2,6,y\n"}, {"t.csv": "id,label,new\n1,5,1\n2,six,2\n"}
        )
    )

    assert (found.added, found.removed, found.modified) == (0, 0, 1)
    assert found.columns == {"label": 1}
    assert found.new_columns == {"new": "Int64"}
    assert found.lost_columns == {"old": "String"}
    assert found.retyped == {"label": ("Int64", "String")}


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        (f"{HEAD}1,a\n2,b\n", f"{HEAD}1,a\n2,c\nx3,d\n", ""),
        (f"{HEAD}1,a\n2,b\n", f"{HEAD}1,a\n2,c\nx3,d\n", "id"),
        (f"{HEAD}1,a\n1,a\n", f"{HEAD}1,a\nx,a\n", ""),
    ],
)
def test_rows_of_which_nothing_is_read_alike_are_left_out(
    before: str, after: str, key: str
) -> None:
    """One id that is a word makes words of all, and each row would have gone and come."""
    [table] = compared({"t.csv": before}, {"t.csv": after}, key=key)

    assert table.difference is None
    assert table.reason.startswith("'id' is Int64 before and String after")


def test_without_a_key_whole_rows_are_compared() -> None:
    """A row that changed went, and another one came."""
    before = {"t.csv": f"{HEAD}1,a\n1,a\n1,b\n"}
    found = rows(compared(before, {"t.csv": f"{HEAD}1,a\n1,a\n1,c\n"}))

    assert (found.key, found.added, found.removed, found.modified) == ((), 1, 1, 0)


@pytest.mark.parametrize(
    ("after", "key", "reason"),
    [
        (f"{HEAD}1,a\n1,b\n", "id", "rows have the same id"),
        (f"{HEAD}1,c\n", "nothing", "no column 'nothing'"),
        ("", "", "cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_compared_is_left_out_with_the_reason(
    after: str, key: str, reason: str
) -> None:
    """The others are compared."""
    good = {"z.csv": f"{HEAD}1,a\n"}
    found = compared(
        {"t.csv": f"{HEAD}1,a\n", **good}, {"t.csv": after, "z.csv": f"{HEAD}1,b\n"}, key=key
    )

    assert reason in found[0].reason
    assert found[0].document() == {"path": "t.csv", "left_out": found[0].reason}
    assert (found[1].difference is None) is (key == "nothing")


def test_no_more_is_fetched_than_the_limit_allows() -> None:
    """What would be too much is left out; other files, and those of one side, are no tables of both."""
    big = f"{HEAD}1,{'a' * 500}\n"
    before = {"a.csv": big, "b.csv": f"{HEAD}1,a\n", "c.txt": "x", "gone.csv": big}
    after = {"a.csv": big.upper(), "b.csv": f"{HEAD}1,b\n", "c.txt": "y", "new.csv": f"{big}\n"}
    first, second = compared(before, after, limit=600)

    assert first.path == "a.csv"
    assert "1,024 bytes, and 600 of 600 are left to fetch" in first.reason
    assert rows([second]).modified == 1


def test_bytes_that_cannot_be_read_are_left_out() -> None:
    """With the cause."""

    def broken(path: str) -> Iterator[bytes]:
        raise PermanentError(f"{path} is gone")

    changes = compare([("t.csv", "1", 1)], [("t.csv", "2", 1)]).changes()
    [found] = tables(changes, broken, broken)

    assert found.reason == "t.csv is gone"


def csv_of(rows: Iterable[str]) -> str:
    """A table with an id and a value."""
    return "\n".join(["id,v", *(f"{number},{row}" for number, row in enumerate(rows))])


def test_values_that_are_not_of_the_first_rows_type_are_not_passed_over() -> None:
    """Liboxen reads them as missing: a change of 1.5 to 2.5 would be none."""
    numbers = [str(number) for number in range(10_001)]
    [found] = compared({"a.csv": csv_of([*numbers, "1.5"])}, {"a.csv": csv_of([*numbers, "2.5"])})
    assert found.difference is None
    assert "not of its first rows' type" in found.reason


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_text_in_another_encoding_is_left_out_and_the_others_are_compared(encoding: str) -> None:
    """What liboxen panics at, or reads with replaced signs."""
    before: dict[str, str | bytes] = {
        "a.csv": "id,v\n1,\u00e9\n".encode(encoding),
        "b.csv": csv_of(["1"]),
    }
    after: dict[str, str | bytes] = {
        "a.csv": "id,v\n1,\u00ea\n".encode(encoding),
        "b.csv": csv_of(["2"]),
    }
    first, second = compared(before, after)
    assert first.reason == "is no text in UTF-8"
    assert second.difference is not None
    assert second.difference.modified == 1


def test_a_key_that_a_row_lacks_is_none() -> None:
    """Rows without it would be told as added."""
    before, after = b"id,v\n,1\n2,2\n", b"id,v\n,1\n2,3\n"
    [found] = compared({"a.csv": before}, {"a.csv": after}, key="id")
    assert found.reason == "rows lack id, so it is no key"
