"""Every test starts as a user nobody knows: an empty home, no settings, no waiting.

Tests of the server store skip with `oxen_process.MISSING` where there is no server, and the summary
says aloud how many did.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd import log, retry
from syncd.testing import oxen_process

FOREIGN = ("WANDB_", "OXEN_", "SYNCD_", "XDG_", "DBOS_", "CREDENTIALS_DIRECTORY", "NETRC")


def pytest_configure() -> None:
    """Look for the server while the variable that names it is there."""
    oxen_process.find_server()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what a green run without a server, a browser or promtool did not show."""
    skipped = terminalreporter.getreports("skipped")
    count = sum(oxen_process.MISSING in str(report.longrepr) for report in skipped)
    if count:
        line = (
            f"oxen-server not found: {count} tests of the server store did not run; "
            f"set {oxen_process.VARIABLE}"
        )
        terminalreporter.write_sep("!", line, yellow=True, bold=True)
    for program, package in {
        "chromium": "chromium and chromium-driver",
        "promtool": "prometheus",
    }.items():
        count = sum(f"{program} not found" in str(report.longrepr) for report in skipped)
        if count:
            line = f"{program} not found: {count} tests did not run; Debian's package: {package}"
            terminalreporter.write_sep("!", line, yellow=True, bold=True)


@pytest.fixture(scope="session")
def oxen_binary() -> Path:
    """The server's program; whoever asks for it is skipped where there is none."""
    found = oxen_process.find_server()
    if found is None:
        pytest.skip(oxen_process.MISSING)
    return found


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
