"""Mongo-like filters and `order` strings of listings, turned into SQL over the columns a listing offers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state.database import Value
from syncd.sandbox.state.paging import Clause


@dataclass(frozen=True, slots=True)
class Many:
    """A field with many values (tags): `{}` in the template takes the condition on one of them."""

    template: str
    value: str


Column: TypeAlias = Clause | Many
Columns: TypeAlias = Callable[[str], Column | None]

_COMPARISONS = {"$eq": "IS", "$ne": "IS NOT", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def named(**columns: str | Many) -> Columns:
    """Columns by fixed names."""
    known = {
        name: column if isinstance(column, Many) else Clause(column)
        for name, column in columns.items()
    }
    return known.get


def _plain(value: object) -> Value:
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise SandboxError(f"invalid filter value: {value!r}")


def _join(clauses: list[Clause], word: str, nothing: str) -> Clause:
    sql = f" {word} ".join(f"({clause.sql})" for clause in clauses) or nothing
    return Clause(sql, tuple(value for clause in clauses for value in clause.parameters))


def _operation(expression: str, operator: str, value: object) -> Clause:
    if operator in _COMPARISONS:
        return Clause(f"{expression} {_COMPARISONS[operator]} ?", (_plain(value),))
    if operator in {"$in", "$nin"} and isinstance(value, list):
        marks = ", ".join("?" * len(value))
        word = "IN" if operator == "$in" else "NOT IN"
        return Clause(f"{expression} {word} ({marks})", tuple(map(_plain, value)))
    if operator == "$regex":
        return Clause(f"{expression} REGEXP ?", (_plain(value),))
    if operator == "$contains":
        return Clause(f"instr({expression}, ?) > 0", (_plain(value),))
    if operator == "$exists":
        return Clause(f"{expression} IS {'NOT ' if value else ''}NULL")
    raise SandboxError(f"unknown filter operator: {operator}")


def _field(columns: Columns, name: str, wanted: object) -> Clause:
    column = columns(name)
    if column is None:
        raise SandboxError(f"unknown filter field: {name}")
    operations = wanted if isinstance(wanted, dict) else {"$eq": wanted}
    clauses = []
    for operator, value in operations.items():
        if operator == "$not":
            inner = _field(columns, name, value)
            clauses.append(Clause(f"NOT ({inner.sql})", inner.parameters))
        elif isinstance(column, Many):
            # "is not" speaks of all the values, everything else of any of them.
            positive = {"$ne": "$eq", "$nin": "$in"}.get(operator, operator)
            one = _operation(column.value, positive, value)
            negation = "NOT " if positive != operator else ""
            clauses.append(Clause(negation + column.template.format(one.sql), one.parameters))
        else:
            one = _operation(column.sql, operator, value)
            clauses.append(Clause(one.sql, (*column.parameters, *one.parameters)))
    return _join(clauses, "AND", "1")


def _document(columns: Columns, document: object) -> Clause:
    if not isinstance(document, dict):
        raise SandboxError(f"invalid filter: {document!r}")
    clauses = []
    for name, wanted in document.items():
        if name in {"$and", "$or", "$nor"}:
            parts = [_document(columns, part) for part in wanted]
            if name == "$and":
                clauses.append(_join(parts, "AND", "1"))
            else:
                either = _join(parts, "OR", "0")
                negation = "NOT " if name == "$nor" else ""
                clauses.append(Clause(f"{negation}({either.sql})", either.parameters))
        else:
            clauses.append(_field(columns, name, wanted))
    return _join(clauses, "AND", "1")


def parse(columns: Columns, text: str | None) -> list[Clause]:
    """The conditions of a filter document, given as JSON."""
    if not text:
        return []
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise SandboxError(f"invalid filter: {text!r}") from error
    return [_document(columns, document)] if document else []


def order(columns: Columns, text: str | None) -> tuple[Clause | None, bool]:
    """The sort expression of `[+-]field`, and whether it descends."""
    if not text:
        return None, False
    name = text.lstrip("+-")
    column = columns(name)
    if not isinstance(column, Clause):
        raise SandboxError(f"cannot order by {name!r}")
    return column, text.startswith("-")
