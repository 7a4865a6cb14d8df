"""Processes that begin with all that syncd and the SDK import, which takes a second each otherwise.

One process has imported it, before it had a second thread, and forks. What it bears is a process like
any other: its own session, variables, folder and output, its end through the interpreter's, its signals.
Run as a program, this file is that process; its argument is the socket on which it is asked.

`make nightly` starts each process anew (SYNCD_TEST_FRESH), and so do the tests of the command line.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODULES = (
    "wandb",
    "dbos",
    "psycopg",
    "sqlalchemy.dialects.sqlite",
    "syncd.cli.backfill",
    "syncd.cli.run",
    "syncd.cli.face",
    "syncd.cli.serve",
    "syncd.sandbox.server",
    "syncd.service.daemon",
    "syncd.operations.backfill",
    "syncd.operations.sweep",
    "syncd.training",
    "syncd.web.face",
)
_SIZE = 4  # bytes of a request's length
_INT = 8  # bytes of a number in an answer


@dataclass(slots=True)
class Born:
    """A process that the nursery bore; as much of `subprocess.Popen` as tests use.

    Args:
        pid: its id, and that of its session.
        stdout: what it writes.
        stderr: the same of standard error.
    """

    pid: int
    stdout: Any
    stderr: Any
    _report: socket.socket
    returncode: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with self._lock:
            if self.returncode is None and select.select([self._report], [], [], 0)[0]:
                status = int.from_bytes(self._report.recv(_INT, socket.MSG_WAITALL), "big")
                self.returncode = os.waitstatus_to_exitcode(status)
                self._report.close()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait so many seconds for its end.

        Raises:
            subprocess.TimeoutExpired: when it still runs.
        """
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            select.select([self._report], [], [], left)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)


class Nursery:
    """Bears processes; safe from any thread. It ends with whoever made it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._channel, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(other.fileno())],
                env=dict(environ),
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def bear(self, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Born:
        """Begin a program: `python -m MODULE`, `python -c CODE` or `python FILE`, and its words."""
        order = json.dumps([list(command[1:]), str(folder), dict(environ)]).encode()
        ours, report = socket.socketpair()
        out, its_out = os.pipe()
        err, its_err = os.pipe()
        with report, self._lock:
            size = len(order).to_bytes(_SIZE, "big")
            socket.send_fds(self._channel, [size], [report.fileno(), its_out, its_err])
            self._channel.sendall(order)
        os.close(its_out)
        os.close(its_err)
        pid = int.from_bytes(ours.recv(_INT, socket.MSG_WAITALL), "big")
        assert pid, "the nursery has ended"
        return Born(pid, os.fdopen(out, encoding="utf-8"), os.fdopen(err, encoding="utf-8"), ours)


# --- the process that forks


def _asked(channel: socket.socket) -> list[str]:
    """Bear what is asked for; returns in those that were born, with the words of their command."""
    while True:
        size, files, _, _ = socket.recv_fds(channel, _SIZE, 3)
        if not size:
            sys.exit()
        order = channel.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
    channel.close()
    report, out, err = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():  # whose parent is this one, which tells how it ends
        os.close(out)
        os.close(err)
        os.write(report, pid.to_bytes(_INT, "big"))
        _, status = os.waitpid(pid, 0)
        os.write(report, status.to_bytes(_INT, "big"))
        os._exit(0)
    words, folder, environ = json.loads(order)
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    for file in files:
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    return list(words)


def _begin(words: list[str]) -> None:
    """Be the program."""
    match words:
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            sys.path[0] = ""
            exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))
        case [script, *rest]:
            sys.argv = [script, *rest]
            sys.path[0] = str(Path(script).parent)
            runpy.run_path(script, run_name="__main__")


def _main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    for module in MODULES:
        importlib.import_module(module)
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a process with threads must not fork"
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _begin(_asked(channel))


if __name__ == "__main__":
    _main()
