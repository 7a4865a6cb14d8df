"""Metadata is what a training has at hand, and a publication does not fail on it after three days."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncd.errors import UsageError
from syncd.training.plain import plain


class Tensor:
    """A number of torch's."""

    def tolist(self) -> float:
        """The number."""
        return 0.25


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (Tensor(), 0.25),
        ({"shoes": np.float64(0.91), 3: (1, 2)}, {"shoes": 0.91, "3": [1, 2]}),
        ({"b", "a"}, ["a", "b"]),
        (Path("out/best"), "out/best"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00+00:00"),
        (None, None),
        ("text", "text"),
    ],
)
def test_what_counts_becomes_a_number(value: Any, expected: Any) -> None:
    """As the wandb client does it, so that both sides say the same."""
    found = plain({"value": value})

    assert found == {"value": expected}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("value", [object(), {"deep": [object()]}, {(1, 2): 3}])
def test_what_is_no_value_is_told_by_its_key(value: Any) -> None:
    """Before a file is hashed."""
    with pytest.raises(UsageError, match="metadata 'odd'"):
        plain({"fine": 1, "odd": value})
