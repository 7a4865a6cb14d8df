"""Every test starts as a user nobody knows: an empty home, no settings, no waiting."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from syncd import log, retry

FOREIGN = ("WANDB_", "OXEN_", "SYNCD_", "XDG_", "DBOS_", "CREDENTIALS_DIRECTORY", "NETRC")


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the person who runs the tests reaches them, nor their subprocesses."""
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    """Retries do not wait; they still count their attempts."""
    with retry.fast():
        yield


@pytest.fixture(autouse=True)
def _strict_log() -> None:
    """An event outside the vocabulary is a failure."""
    log.configure("debug", "json", strict=True)
