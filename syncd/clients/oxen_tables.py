"""What two tables differ in, by liboxen's comparison of data frames (oxenai 0.65, `oxen.diff`).

liboxen joins the tables by key columns, and then tells of rows that were added, removed or modified.
Without a key it compares whole rows: a row that changed was removed and another one added, rows that
occur several times count once, and what is "modified" has only columns more or less.
"""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncd.errors import PermanentError

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
_STATUS = "_oxen_diff_status"
_LEFT, _RIGHT = ".left", ".right"
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDifference:
    """What the rows and columns of a table differ in from another one's.

    Args:
        key: the columns that tell rows apart; empty where whole rows were compared.
        rows: of both tables, before and after.
        added: rows.
        removed: rows.
        modified: rows.
        columns: how many of the modified rows differ in each column; only those that differ.
        new_columns: names, with their types.
        lost_columns: names, with their types.
        retyped: names, with the types before and after.
    """

    key: tuple[str, ...]
    rows: tuple[int, int]
    added: int
    removed: int
    modified: int
    columns: Mapping[str, int] = field(default_factory=dict)
    new_columns: Mapping[str, str] = field(default_factory=dict)
    lost_columns: Mapping[str, str] = field(default_factory=dict)
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def compare_tables(before: Path, after: Path, key: Sequence[str] = ()) -> TableDifference:
    """Compare two files of the same format; both are read into memory.

    Args:
        before: the one; its suffix says the format.
        after: the other.
        key: the columns that tell rows apart; by default the first one that both have and in which
            no value occurs twice.

    Raises:
        PermanentError: when a file cannot be read as a table, or the key is none; when columns that rows
            are told apart by are of another type in each.
    """
    import oxen  # type: ignore[import-untyped]  # noqa: PLC0415 costs 0.9 s; ships no types
    from oxen import df_utils  # noqa: PLC0415

    for file in (before, after):
        _check_text(file)
    try:
        left, right = df_utils.load(str(before)), df_utils.load(str(after))
        names = [name for name in left.columns if name in right.columns]
        _check_key(left, right, key, names)
        for file, table in ((before, left), (after, right)):
            _check_missing(file, table)
        other = [name for name in names if left[name].dtype != right[name].dtype]
        keys = list(key) or next(
            ([name] for name in names if _identifies(left, name) and _identifies(right, name)), []
        )
        if wrong := [name for name in keys or names if name in other and len(left) and len(right)]:
            _refuse_types(left, right, wrong[0], is_key=bool(keys))
        schemas: tuple[dict[str, str], dict[str, str]] = (_schema(left), _schema(right))
        rows = (len(left), len(right))
        del left, right  # liboxen reads the files itself
        columns: dict[str, int] = {}
        if not names:
            found = {"added": rows[1], "removed": rows[0]}
        else:
            table = oxen.diff(str(before), to=str(after), keys=keys).tabular.data
            found = dict(table[_STATUS].value_counts().iter_rows())
            if keys:
                columns, found["modified"] = _columns(table)
    except ValueError as error:  # what liboxen's bindings raise, of whatever cause
        raise PermanentError(f"cannot be read as a table ({str(error).splitlines()[0]})") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, which is no Exception
            raise
        raise PermanentError("cannot be read as a table (liboxen gave up on it)") from error
    was, now = schemas
    return TableDifference(
        key=tuple(keys),
        rows=rows,
        added=found.get("added", 0),
        removed=found.get("removed", 0),
        modified=found.get("modified", 0),
        columns=columns,
        new_columns={name: kind for name, kind in now.items() if name not in was},
        lost_columns={name: kind for name, kind in was.items() if name not in now},
        retyped={
            name: (kind, now[name])
            for name, kind in was.items()
            if name in now and now[name] != kind
        },
    )


def _check_text(file: Path) -> None:
    """See that a file of text is UTF-8: liboxen reads others with replaced signs, or gives up.

    Raises:
        PermanentError: when it is not.
    """
    if file.suffix == ".parquet":
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as opened:
        try:
            while chunk := opened.read(_CHUNK):
                if "\0" in decoder.decode(chunk):
                    raise PermanentError("is no text in UTF-8")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise PermanentError("is no text in UTF-8") from error


def _check_key(left: Any, right: Any, key: Sequence[str], names: Sequence[str]) -> None:
    """See that the rows of both tables can be told apart by a key.

    Raises:
        PermanentError: when they cannot.
    """
    if missing := [name for name in key if name not in names]:
        raise PermanentError(f"there is no column {missing[0]!r} in both")
    if key and (_repeated(left, key) or _repeated(right, key)):
        raise PermanentError(f"rows have the same {', '.join(key)}, so it is no key")
    if any(table[name].null_count() for table in (left, right) for name in key):
        raise PermanentError(f"rows lack {', '.join(key)}, so it is no key")


def _refuse_types(left: Any, right: Any, name: str, *, is_key: bool) -> None:
    """Rows of which something was read as another type have nothing in common for liboxen.

    Raises:
        PermanentError: always.
    """
    kinds = f"{name!r} is {left[name].dtype} before and {right[name].dtype} after"
    rows = (
        "so it is no key"
        if is_key
        else "so no two rows are alike; name a key that tells them apart"
    )
    raise PermanentError(f"{kinds}, {rows}")


def _check_missing(file: Path, table: Any) -> None:
    """See that what liboxen reads as missing is: it guesses a column's type by its first rows.

    A text, or 1.5, behind ten thousand whole numbers is missing then (oxenai 0.65.1, tried).

    Raises:
        PermanentError: when it is not.
    """
    lacking = {name: count for name in table.columns if (count := table[name].null_count())}
    if not lacking or file.suffix not in _SEPARATORS:
        return
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.DictReader(opened, delimiter=_SEPARATORS[file.suffix])
        empty = Counter(name for row in rows for name in lacking if not row.get(name))
    for name, count in lacking.items():
        if count > empty[name]:
            raise PermanentError(f"has values in {name!r} that are not of its first rows' type")


def _schema(table: Any) -> dict[str, str]:
    return {name: str(kind) for name, kind in table.schema.items()}


def _repeated(table: Any, key: Sequence[str]) -> bool:
    return bool(table.select(list(key)).is_duplicated().any())


def _identifies(table: Any, name: str) -> bool:
    """Whether a column could be a key: whole numbers or texts, none missing, none twice."""
    column = table[name]
    plain = column.dtype.is_integer() or str(column.dtype) == "String"
    return bool(plain and not column.null_count() and not column.is_duplicated().any())


def _columns(table: Any) -> tuple[dict[str, int], int]:
    """In how many of the modified rows each column differs, and in how many any does.

    What was read as another type is compared as text: 5 is the text 5.
    """
    modified = table.filter(table[_STATUS] == "modified")
    found, anywhere = {}, None
    for left in table.columns:
        name = left.removesuffix(_LEFT)
        if left != name and f"{name}{_RIGHT}" in table.columns:
            before, after = modified[left], modified[f"{name}{_RIGHT}"]
            if before.dtype != after.dtype:
                before, after = before.cast(str, strict=False), after.cast(str, strict=False)
            differs = before.ne_missing(after)
            anywhere = differs if anywhere is None else anywhere | differs
            if count := int(differs.sum()):
                found[name] = count
    return found, 0 if anywhere is None else int(anywhere.sum())
