"""Every test starts as a user nobody knows: an empty home, no settings, no waiting.

Tests of the server store skip with `oxen_process.MISSING` where there is no server, those of PostgreSQL
with `postgres_process.MISSING`, and the summary says aloud how many did.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd import log, retry
from syncd.testing import oxen_process, postgres_process
from syncd.testing.postgres_process import Postgres

# Modules of tests/acceptance whose tests take half a minute and more, the longest first.
LONGEST = (
    "test_reclaimed",
    "test_promotion",
    "test_complete",
    "test_many_files",
    "test_training",
    "test_migration",
)
MEMORY = Path("/dev/shm")
ROOM = 6 << 30  # bytes; the whole suite had 1.3 GiB at a time
FOREIGN = ("WANDB_", "OXEN_", "SYNCD_", "XDG_", "DBOS_", "CREDENTIALS_DIRECTORY", "NETRC")


def pytest_configure() -> None:
    """Look for the servers while the variables that name them are there, and let Ctrl-C be heard.

    Who was started in the background, as by `nohup` and `&`, ignores SIGINT, and so do all that it starts.

    Temporary folders lie in memory where there is plenty: databases wait for the disk at each commit,
    which is a third of the time of those tests.
    """
    if _roomy(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    oxen_process.find_server()
    postgres_process.find_postgres()


def _roomy(folder: Path) -> bool:
    """Whether it takes all that the tests write, programs too."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    runs = not found.f_flag & os.ST_NOEXEC and os.access(folder, os.W_OK)
    return runs and found.f_bavail * found.f_frsize >= ROOM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: else one worker is left with it when the others have ended."""

    def place(item: pytest.Item) -> int:
        is_long = item.path.parent.name == "acceptance" and item.path.stem in LONGEST
        return LONGEST.index(item.path.stem) if is_long else len(LONGEST)

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what a green run without a server, a browser or promtool did not show."""
    skipped = terminalreporter.getreports("skipped")
    for missing, what in (
        (oxen_process.MISSING, "the server store"),
        (postgres_process.MISSING, "PostgreSQL"),
        ("chromium not found", "the pages in a browser (chromium and chromium-driver of Debian)"),
        (
            "transformers not found",
            "the Hugging Face callback (pip install transformers torch accelerate)",
        ),
        ("lightning not found", "the Lightning callback (pip install lightning torch)"),
        ("promtool not found", "the alert rules (prometheus of Debian)"),
    ):
        count = sum(missing in str(report.longrepr) for report in skipped)
        if count:
            line = f"{count} tests of {what} did not run: {missing}"
            terminalreporter.write_sep("!", line, yellow=True, bold=True)


@pytest.fixture(scope="session")
def oxen_binary() -> Path:
    """The server's program; whoever asks for it is skipped where there is none."""
    found = oxen_process.find_server()
    if found is None:
        pytest.skip(oxen_process.MISSING)
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for all tests of this process; whoever asks is skipped where there is none."""
    if postgres_process.find_postgres() is None:
        pytest.skip(postgres_process.MISSING)
    with postgres_process.postgres() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of the test's own, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/database.db"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.database()


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
    # Its threads outlive a test by a moment, and would write into nobody's output.
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
