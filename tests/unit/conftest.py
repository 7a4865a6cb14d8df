"""What unit tests share. The helpers in `support` are imported by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from moved_project import MovedProject

from syncd.catalog.catalog import Catalog


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[MovedProject]:
    """A project on the doubles of which nothing has been moved yet."""
    catalog = Catalog(f"sqlite:///{tmp_path}/moved.db")
    yield MovedProject(catalog)
    catalog.close()
