"""A model in versions on the doubles."""

from __future__ import annotations

import pytest
from moved_project import MovedProject
from promoted_project import Models


@pytest.fixture
def models(moved: MovedProject) -> Models:
    """Nothing has been logged or promoted yet."""
    return Models(moved)
