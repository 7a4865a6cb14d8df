"""Processes as a user starts them: with a home of their own, and nothing of whoever runs the tests."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from acceptance_nursery import Born, Nursery

ROOT = Path(__file__).parents[3]
SYNCD = [sys.executable, "-m", "syncd"]
IMPATIENT = [sys.executable, str(Path(__file__).with_name("impatient.py"))]
# Seconds for anything a test waits for; what runs at night has more to do at a time.
DEADLINE = float(os.environ.get("SYNCD_TEST_DEADLINE", "100"))
FRESH = "SYNCD_TEST_FRESH" in os.environ or not sys.platform.startswith("linux")
Result = TypeVar("Result")


def environment(home: Path, **more: str) -> dict[str, str]:
    """The variables of a process that belongs to nobody."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        **more,
    }


def until(condition: Callable[[], Result], what: str) -> Result:
    """The first answer of the condition that is true; fails at the deadline."""
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a process ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output, which has to be one JSON document and nothing else."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def _fresh(
    command: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


@functools.cache
def _nursery() -> Nursery:
    # A library of numpy's begins a thread for each core, unless told not to.
    return Nursery({**environment(Path(os.environ["HOME"])), "OPENBLAS_NUM_THREADS": "1"})


class Process:
    """A process whose output is read while it runs."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        self._lines: dict[str, list[str]] = {"out": [], "err": []}
        begin = _fresh if FRESH or command[0] != sys.executable else _nursery().bear
        self.popen: subprocess.Popen[str] | Born = begin(command, folder, environ)
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self.popen.stdout), ("err", self.popen.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Any) -> None:
        with stream:
            for line in stream:
                self._lines[name].append(line)

    @property
    def out(self) -> str:
        """What it wrote to standard output so far."""
        return "".join(list(self._lines["out"]))

    @property
    def err(self) -> str:
        """What it wrote to standard error so far."""
        return "".join(list(self._lines["err"]))

    def first_line(self) -> dict[str, Any]:
        """The line of JSON by which a server says that it is ready."""

        def ready() -> bool:
            assert self.popen.poll() is None, f"the server ended: {self.out}{self.err}"
            return self.out.endswith("\n")

        until(ready, "a server was ready")
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    def alive_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that this process does; fails when it ends before."""

        def met() -> bool:
            if condition():
                return True
            assert self.popen.poll() is None, f"ended before {what}: {self.out}{self.err}"
            return False

        until(met, what)

    def told(self, event: str) -> bool:
        """Whether the log on standard error has an event."""
        return f'"event": "{event}"' in self.err

    def kill(self) -> None:
        """End it, and whatever it started, with SIGKILL; it must still be running."""
        assert self.popen.poll() is None, "it ended before it was killed"
        os.killpg(self.popen.pid, signal.SIGKILL)
        assert self.wait().code == -signal.SIGKILL

    def wait(self) -> Done:
        """Wait for its end."""
        code = self.popen.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return Done(code=code, out=self.out, err=self.err)


@contextmanager
def started(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Iterator[Process]:
    """A process that does not outlive the block."""
    process = Process(command, folder, environ)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            os.killpg(process.popen.pid, signal.SIGKILL)
        process.wait()
