"""What scripts work with in these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from training_world import TrainingWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TrainingWorld]:
    """An empty project, and no repository."""
    made = TrainingWorld(tmp_path)
    yield made
    made.catalog.close()
