"""What the acceptance tests share. The helpers in `support` are imported by name.

Logging a project with the SDK takes seconds, so each is logged once for all processes of the test
session, and each test starts a server of its own on a copy.
"""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from acceptance_project import LOG_SMALL
from acceptance_state import end_state
from acceptance_world import Once, World, world


@pytest.fixture(autouse=True)
def _quiet_polling(_strict_log: None) -> None:
    """What the test itself asks the server, many times a second, is nothing to tell."""
    for library in ("httpx", "httpcore"):
        logging.getLogger(library).setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """Make a folder under a name unless a process of this session has made it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def make(name: str, fill: Callable[[Path], Any]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def small_data(once: Once) -> Path:
    """The data directory of a server with the small project."""

    def fill(folder: Path) -> None:
        with world(folder, folder / "data") as made:
            made.sdk(LOG_SMALL)

    return once("small", fill) / "data"


@pytest.fixture(scope="session")
def undisturbed(once: Once, small_data: Path) -> dict[str, Any]:
    """The end state of a `syncd backfill` of the small project that nothing happened to."""

    def fill(folder: Path) -> None:
        shutil.copytree(small_data, folder / "data")
        with world(folder, folder / "data") as made:
            made.backfill()
            state = end_state(made, folder / "scratch")
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")

    found = once("undisturbed", fill) / "state.json"
    state: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return state


@pytest.fixture
def small(tmp_path: Path, small_data: Path) -> Iterator[World]:
    """A world of one test with the small project."""
    shutil.copytree(small_data, tmp_path / "data")
    with world(tmp_path, tmp_path / "data") as made:
        yield made


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[World]:
    """A world of one test with an empty server."""
    with world(tmp_path, tmp_path / "data") as made:
        yield made
