"""Scalars that GraphQL itself does not know, refused when they are of another kind."""

from __future__ import annotations

from ariadne import ScalarType

json_string = ScalarType("JSONString")
int64 = ScalarType("Int64")

BINDABLES = [json_string, int64]

_LIMIT = 1 << 63


@json_string.value_parser
def parse_json_string(value: object) -> str:
    """A JSON document inside a string."""
    if not isinstance(value, str):
        raise TypeError("JSONString must be a string")
    return value


@int64.value_parser
def parse_int64(value: object) -> int:
    """An integer of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not -_LIMIT <= value < _LIMIT:
        raise TypeError("Int64 must be an integer of 64 bits")
    return value
