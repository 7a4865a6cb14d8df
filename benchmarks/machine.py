"""Processes of a measurement, and what each of them cost.

Every step runs in a fresh process. Of one that ended the kernel tells seconds of processor, the most
memory it had at a time, and the bytes it caused to be written to disk, those of the processes that it
started and waited for included.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
_BLOCK = 512
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
_MARK = "=RESULT="
_LEFT = 1 << 30  # bytes of memory that stay free
_BUFFER = bytearray(8 << 20)


def say(line: str) -> None:
    """Tell whoever waits."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def environment(home: Path, **more: str) -> dict[str, str]:
    """The variables of a process that belongs to nobody."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    quiet = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    folders = {f"WANDB_{name}": str(home) for name in ("DIR", "CACHE_DIR", "CONFIG_DIR")}
    staged = {"WANDB_DATA_DIR": str(home)}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        **quiet,
        **folders,
        **staged,
        **more,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A process that has ended."""

    code: int
    seconds: float
    cpu: float
    peak_mib: float
    written_mib: float
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """What a step of `benchmarks.steps` found out."""
        lines = [line for line in self.out.splitlines() if line.startswith(_MARK)]
        result: dict[str, Any] = json.loads(lines[-1].removeprefix(_MARK))
        return result

    @property
    def cost(self) -> dict[str, float]:
        """What it cost the machine."""
        return {
            "seconds": self.seconds,
            "cpu": self.cpu,
            "peak_mib": self.peak_mib,
            "written_mib": self.written_mib,
        }


def emit(result: Mapping[str, Any]) -> None:
    """Hand over what a step found out."""
    say(_MARK + json.dumps(result))


class Started:
    """A process that runs."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stamp = f"{time.time_ns()}"
        self._out, self._err = folder / f"{stamp}.out", folder / f"{stamp}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._begin = time.perf_counter()
            self._process = subprocess.Popen(  # noqa: S603  our own
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it, and whatever it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def ended(self) -> bool:
        """Whether it is over; it still has to be waited for."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def wait(self, *, fails: bool = False) -> Ran:
        """Wait for its end.

        Raises:
            RuntimeError: when it failed and was not expected to.
        """
        _, status, used = os.wait4(self._process.pid, 0)
        seconds = time.perf_counter() - self._begin
        self._process.returncode = code = os.waitstatus_to_exitcode(status)
        ran = Ran(
            code=code,
            seconds=seconds,
            cpu=used.ru_utime + used.ru_stime,
            peak_mib=used.ru_maxrss / 1024,
            written_mib=used.ru_oublock * _BLOCK / (1 << 20),
            out=self._out.read_text(encoding="utf-8", errors="replace"),
            err=self._err.read_text(encoding="utf-8", errors="replace"),
        )
        self._out.unlink()
        self._err.unlink()
        if bool(code) != fails:
            raise RuntimeError(f"ended with {code}:\n{ran.out[-2000:]}\n{ran.err[-4000:]}")
        return ran


def step(name: str, folder: Path, environ: Mapping[str, str], **arguments: Any) -> Started:
    """Start a step of `benchmarks.steps`."""
    command = [sys.executable, "-m", "benchmarks.steps", name, json.dumps(arguments)]
    return Started(command, folder, environ)


class Sandbox:
    """A running W&B sandbox."""

    def __init__(self, info: Mapping[str, str]) -> None:
        self.url = info["base_url"]
        self.key = info["api_key"]

    def call(self, method: str, path: str, body: object = None) -> Any:
        """An administrative call."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self.url + path, data, headers, method=method)  # noqa: S310  our own
        with urlopen(request, timeout=60) as response:  # noqa: S310
            text = response.read()
        return json.loads(text) if text else None

    def stats(self) -> dict[str, Any]:
        """What it was asked for since the last reset."""
        counters: dict[str, Any] = self.call("GET", "/sandbox/stats")
        return counters

    def reset_stats(self) -> None:
        """Count from nothing again."""
        self.call("POST", "/sandbox/stats/reset", {})


@contextmanager
def sandbox(data: Path, home: Path) -> Iterator[Sandbox]:
    """A sandbox on this data directory."""
    words = ["-m", "syncd", "sandbox", "serve", "--port", "0", "--data", str(data)]
    with subprocess.Popen(  # noqa: S603  our own
        [sys.executable, *words],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield Sandbox(json.loads(process.stdout.readline()))
        finally:
            process.terminate()


def linked(source: Path, target: Path) -> None:
    """A copy of a sandbox's data directory in which the artifacts' bytes take no room."""
    blobs = source / "blobs" / "files"

    def copy(one: str, other: str) -> None:
        if blobs in Path(one).parents:
            os.link(one, other)
        else:
            shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=copy)


def settled(folder: Path, action: Callable[[], Any], *, served: Path) -> Any:
    """Do it when nothing of what was done before is still on its way to the disk, in warm memory.

    Args:
        folder: where a sparse file may lie that looks as large as the memory.
        action: what is measured.
        served: the files that W&B has; all of them will be in memory, for its disk is not ours.
    """
    os.sync()
    ballast = folder / "ballast"
    with ballast.open("ab") as file:
        file.truncate(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    _read(ballast, lambda: _free() > _LEFT)
    for path in 2 * [path for path in served.rglob("*") if path.is_file()]:
        _read(path)  # what is read twice the kernel keeps
    return action()


def _read(path: Path, more: Callable[[], bool] = lambda: True) -> None:
    """Get a file into memory.

    With the ballast, which is no file anybody wants, this fills memory that is free. A virtual
    machine gives such memory back to its host and has to ask for each page again: then a GiB of new
    pages took 2.7 s of processor time here, and 0.1 s otherwise, and what a step cost depended on
    what had run before it. A machine that works has its memory full of files anyway.
    """
    with path.open("rb", buffering=0) as file:
        while more() and file.readinto(_BUFFER):
            pass


def _free() -> int:
    """Bytes of memory that nobody uses for anything."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
