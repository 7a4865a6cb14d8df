"""A real browser before the real pages; skipped loudly where there is none.

Debian has it in the packages chromium and chromium-driver. The helpers in `support`, and those of
the unit tests, are imported by name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "support"))
sys.path.insert(0, str(Path(__file__).parent / "support"))

from browser import MISSING, Browser, chromium, opened


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser of one test, which has complained about nothing in the end."""
    if chromium() is None:
        pytest.skip(MISSING)
    with opened() as made:
        yield made
        assert made.complaints() == []
