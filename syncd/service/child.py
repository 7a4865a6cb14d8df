"""A process that is started again when it ends, and never outlives the one that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from syncd import log

FIRST_WAIT = 1.0  # seconds before it is started again, doubled each time
LONGEST_WAIT = 60.0  # seconds
SETTLED = 60.0  # seconds of life after which an end counts as the first one again
STOP_TIMEOUT = 10.0  # seconds it may take to end when it is asked to

# Linux ends the child with SIGTERM when its parent goes, even by kill -9 (prctl(2),
# PR_SET_PDEATHSIG; it holds across execve). A program in between sets it: code between fork and
# exec is not safe in a process with threads.
_LEASH = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


class Child:
    """A supervised process. Used by the main thread: the leash is tied to the thread that starts it.

    Args:
        name: what it is called in the log.
        command: its words.
        clock: seconds, never set back; injected by tests.
    """

    def __init__(
        self, name: str, command: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._command, self._clock = name, tuple(command), clock
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._due = float("-inf")
        self._wait = FIRST_WAIT

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process else None

    def tick(self) -> None:
        """Start it when it is due, and notice its end."""
        now = self._clock()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            if now - self._began >= SETTLED:
                self._wait = FIRST_WAIT
            self._due = now + self._wait
            log.get().warning(
                log.Life.CHILD_LOST, child=self._name, exit_code=code, wait_seconds=self._wait
            )
            self._wait = min(self._wait * 2, LONGEST_WAIT)
        if now >= self._due:
            self._start(now)

    def _start(self, now: float) -> None:
        command = [sys.executable, "-c", _LEASH, str(os.getpid()), *self._command]
        # A session of its own: Ctrl-C is for the parent, which drains while the face still serves.
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 our own words
        self._began = now
        log.get().info(log.Life.CHILD_STARTED, child=self._name, pid=self._process.pid)

    def tell(self, number: int) -> None:
        """Send it a signal, if it is there."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, *, timeout: float = STOP_TIMEOUT) -> None:
        """Ask it to end, and make it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
