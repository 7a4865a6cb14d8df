"""A child: started again when it ends, with growing pauses, and never without its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd.service.child import FIRST_WAIT, SETTLED, Child


class Clock:
    """A time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The child's."""
    return Clock()


@pytest.fixture
def sleeper(clock: Clock) -> Iterator[Child]:
    """A child that lives."""
    made = Child("face", [sys.executable, "-c", "import time; time.sleep(600)"], clock)
    yield made
    made.stop(timeout=0)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens soon."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def lose(child: Child) -> None:
    """Kill it, and let it be noticed."""
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def noticed() -> bool:
        child.tick()
        return child.pid != pid

    until(noticed)


def test_one_that_ends_is_started_again_after_a_pause_that_grows(
    sleeper: Child, clock: Clock
) -> None:
    """It does not spin when the child cannot live."""
    sleeper.tick()
    for wait in (FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT):
        lose(sleeper)
        clock.now += wait - 0.01
        sleeper.tick()
        assert sleeper.pid is None
        clock.now += 0.02
        sleeper.tick()
        assert sleeper.pid is not None


def test_one_that_lived_for_long_is_started_again_at_once(sleeper: Child, clock: Clock) -> None:
    """Well, after the first pause."""
    sleeper.tick()
    lose(sleeper)
    clock.now += FIRST_WAIT
    sleeper.tick()
    clock.now += SETTLED
    lose(sleeper)
    clock.now += FIRST_WAIT
    sleeper.tick()

    assert sleeper.pid is not None


def test_one_that_is_stopped_is_gone(sleeper: Child) -> None:
    """Also one that was never started."""
    sleeper.stop()
    sleeper.tick()
    pid = sleeper.pid
    assert pid is not None
    until(lambda: alive(pid))
    sleeper.stop()

    assert sleeper.pid is None
    assert not alive(pid)


def test_one_that_does_not_listen_is_killed(clock: Clock, tmp_path: Path) -> None:
    """After the time it was given."""
    deaf = f"""
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open({str(tmp_path / "deaf")!r}, "w").close()
time.sleep(600)
"""
    child = Child("face", [sys.executable, "-c", deaf], clock)
    child.tick()
    pid = child.pid
    assert pid is not None
    until((tmp_path / "deaf").exists)
    child.stop(timeout=0.05)

    assert not alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is Linux's")
def test_a_parent_that_is_killed_takes_its_child_along(tmp_path: Path) -> None:
    """An orphan would hold the port for ever."""
    parent = f"""
import sys, time
from syncd.service.child import Child
child = Child("face", [sys.executable, "-c",
    "import os, time; open({str(tmp_path / "pid")!r}, 'w').write(str(os.getpid())); time.sleep(600)"])
child.tick()
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stderr=subprocess.DEVNULL) as process:
        until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
        process.kill()

    until(lambda: not alive(pid))
