"""Whereabouts: what names the state of a collection, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncd.clients.artifacts import Collection
from syncd.versions.whereabouts import Listed

LISTED = Collection(
    id="1",
    entity="team",
    project="proj",
    name="ds",
    type="dataset",
    newest=(("id9", ("latest",)),),
    elsewhere=("best", "production"),
)


@pytest.mark.parametrize(
    "change",
    [
        {"elsewhere": ("best",)},
        {"newest": (("id9", ("latest", "best")),)},
        {"newest": ()},
        {"id": "2"},
        {"type": "model"},
        {"crowded": True},
    ],
)
def test_whatever_is_listed_otherwise_is_another_state(change: dict[str, Any]) -> None:
    """So that the collection is read."""
    assert Listed.of(replace(LISTED, **change)).told != Listed.of(LISTED).told


def test_which_of_very_many_aliases_are_listed_is_no_other_state() -> None:
    """W&B chooses them, and may choose others at each look."""
    some, others = (replace(LISTED, crowded=True, elsewhere=(name,)) for name in ("a", "b"))

    assert Listed.of(some).told == Listed.of(others).told
