"""The daemon's thread that tells triggers."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from unit_world import World

from syncd.catalog.firings import DONE, DUE
from syncd.config import Config
from syncd.deployment import triggers
from syncd.errors import ServiceUnavailableError
from syncd.service.firing import Firer


def test_what_waits_is_told_soon_until_the_thread_is_stopped(tmp_path: Path) -> None:
    """Under the configuration of that moment; what comes after the end waits for the next process."""
    world = World(tmp_path)
    names = ("trigger", "version", "reference", "type", "repo", "commit", "oxen", "folder", "files")
    world.catalog.firings.enlist("retrain:1", "retrain", "e/p/ds:v1", dict.fromkeys(names, ""))
    config = Config.model_validate(
        {"triggers": {"retrain": {"command": [sys.executable, "-c", ""]}}}
    )
    died: list[BaseException] = []
    firer = Firer(replace(world.runtime, config=config), died.append, look=0.01)
    firer.start()
    for _ in range(2000):
        if world.catalog.firings.all([DONE]):
            break
        threading.Event().wait(0.01)
    firer.stop()
    firer._thread.join(20)
    world.catalog.firings.enlist("retrain:2", "retrain", "e/p/ds:v2", dict.fromkeys(names, ""))

    assert [item.key for item in world.catalog.firings.all([DONE])] == ["retrain:1"]
    assert [item.key for item in world.catalog.firings.all([DUE])] == ["retrain:2"]
    assert died == []
    assert not firer._thread.is_alive()
    world.catalog.close()


def test_a_catalog_that_is_away_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything else that nobody expected ends the process, which goes on after its next start."""
    world = World(tmp_path)
    failures: list[BaseException] = [ValueError("a bug"), ServiceUnavailableError("away")]

    def fail(*_: object, **__: object) -> None:
        raise failures.pop()

    monkeypatch.setattr(triggers, "fire", fail)
    died: list[BaseException] = []
    firer = Firer(world.runtime, died.append, look=0.01)
    firer.start()
    firer._thread.join(20)

    assert [str(error) for error in died] == ["a bug"]
    assert failures == []
    world.catalog.close()
