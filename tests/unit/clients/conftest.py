"""A W&B server, a storage server, and the client between them.

Helpers beside the tests are imported by name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from wandb_server import KEY, Server

from syncd.clients.wandb import WandbSource


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The W&B server."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    made = Server()
    yield made
    made.close()


@pytest.fixture
def storage() -> Iterator[Server]:
    """Where signed URLs lead."""
    made = Server()
    yield made
    made.close()


@pytest.fixture
def source(api: Server) -> Iterator[WandbSource]:
    """The client."""
    made = WandbSource(f"{api.url}/", KEY)
    yield made
    made.close()
