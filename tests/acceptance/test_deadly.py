"""A version with which the process dies: it is set aside, and all others reach their end."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from acceptance_process import Done
from acceptance_world import World

from syncd.durable.deaths import EXPLAINED, TOGETHER, UNEXPLAINED

MORTAL = [sys.executable, str(Path(__file__).with_name("support") / "mortal.py")]


def _outlived(world: World, how: signal.Signals, most: int) -> tuple[int, Done]:
    """Start a backfill again and again until one lives; how many died, and what that one said."""
    env = {"MORTAL_VERSION": "/ds:v0", "MORTAL_SIGNAL": str(int(how))}
    said = ""
    for deaths in range(most + 1):
        with world.running("backfill", "--json", command=MORTAL, **env) as process:
            done = process.wait()
        if done.code != -how:
            return deaths, done
        said = done.err
    raise AssertionError(f"it died {most + 1} times: {said}")


@pytest.mark.parametrize(
    ("how", "deaths", "cause"),
    [
        pytest.param(signal.SIGSEGV, 1 + EXPLAINED, "a crash in native code", id="crashed"),
        pytest.param(
            signal.SIGKILL,
            TOGETHER + UNEXPLAINED,
            "nothing tells why",
            id="killed",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_a_version_that_ends_the_process_is_set_aside_and_the_others_move(
    small: World, how: signal.Signals, deaths: int, cause: str
) -> None:
    """After a few deaths where their cause is known; a person's retry is a whole new chance."""
    died, done = _outlived(small, how, deaths)
    document = done.document
    [failure] = document["failures"]

    assert (died, done.code) == (deaths, 3)
    assert failure["version"].endswith("/ds:v0")
    assert failure["stage"] == "commit"
    assert f"ended {deaths} times while it was moving this version" in failure["error"]
    assert cause in failure["error"]
    assert "journalctl -k" in failure["hint"]
    # All the others were moved, by this process or by one that died.
    [aside] = small.syncd("quarantine", "list", "--json").document["quarantined"]
    assert aside["version"] == failure["version"]
    assert len(small.syncd("quarantine", "retry", "--all", "--json").document["replacements"]) == 1
    # It lies behind its successor in the repository by now, so the end is another than an undisturbed one.
    assert small.backfill()["versions"]["skipped"] == 3
    small.syncd("verify")
