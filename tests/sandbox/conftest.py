"""A server per test. Helpers beside the tests are imported by name, so their folder has to be on the path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.sandbox import Sandbox

sys.path.insert(0, str(Path(__file__).parent))

from sandbox_client import Client
from sandbox_hooks import Receiver


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client of a fresh server."""
    home = tmp_path / "clients"
    home.mkdir()
    with (
        Sandbox(tmp_path / "data") as sandbox,
        Client(sandbox.base_url, sandbox.api_key, home) as made,
    ):
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where the webhooks of a test arrive."""
    with Receiver() as made:
        yield made
