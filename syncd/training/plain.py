"""Metadata as scripts have it, as values of JSON: what numpy and torch count is a number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from enum import Enum
from os import PathLike, fspath
from typing import Any

from syncd.errors import UsageError


def plain(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same as JSON knows it.

    Scalars and arrays of numpy and torch become numbers and lists, paths and times text.

    Raises:
        UsageError: when something in it is none of these; it names the key.
    """
    found: dict[str, Any] = {}
    for key, value in (metadata or {}).items():
        try:
            found[str(key)] = json.loads(json.dumps(value, default=_plain))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"metadata {key!r} cannot be written down: {error}",
                hint="Write numbers, texts, lists and dictionaries.",
            ) from error
    return found


def _plain(value: Any) -> Any:
    """What JSON does not know, in its terms.

    Raises:
        TypeError: when that cannot be.
    """
    if callable(getattr(value, "tolist", None)):  # an array or a tensor, also of one number
        return value.tolist()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PathLike):
        return fspath(value)
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is no value of JSON")
