"""A real oxen-server on this machine, for tests and measurements.

oxen-server 0.65.2 knows no users and no tokens: whoever reaches its port may read and write. Where a
token is asked for, a gate in this process stands before it and lets nobody pass without.
"""

from __future__ import annotations

import functools
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from syncd.testing.oxen_gate import gate

VARIABLE = "SYNCD_OXEN_SERVER"
MISSING = f"oxen-server not found; set {VARIABLE}"
VERSION_PATH = "/api/version"
_DEADLINE = 60.0  # seconds until it answers, or is gone
_PAUSE = 0.01
_ATTEMPTS = 5
_TAIL = 4000  # characters of its log in an error
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ")


class OxenServerError(RuntimeError):
    """The server did not start, and what it said."""


class _PortTakenError(OxenServerError):
    """Another process has the port."""


@functools.cache
def find_server() -> Path | None:
    """The program, named by the environment or on the path.

    The first answer stays, so that a test sees it in whose environment the variable is gone.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named) if os.access(named, os.X_OK) and Path(named).is_file() else None
    found = shutil.which("oxen-server")
    return Path(found) if found else None


class OxenServer:
    """A running server.

    Args:
        directory: where its data, its home and its log lie.
        port: where it listens.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.sync_dir = directory / "data"
        self.log = directory / "oxen-server.log"
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.token: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start_again(self) -> None:
        """Start it on its data, at the same address.

        Raises:
            OxenServerError: when it does not start.
        """
        assert self._process is None, "it is running"
        binary = find_server()
        if binary is None:
            raise OxenServerError(MISSING)
        home = self.directory / "home"
        for folder in (home, self.sync_dir):
            folder.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(  # noqa: S603  found by find_server
                [binary, "start", "-i", "127.0.0.1", "-p", str(self.port)],
                cwd=self.directory,
                env={**kept, "HOME": str(home), "SYNC_DIR": str(self.sync_dir)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(begin)
        except BaseException:
            self.kill9()
            raise

    def stop(self) -> None:
        """Ask it to end, and wait; kills it when it does not. Open uploads are lost to it."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, number)
        try:
            process.wait(_DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _wait(self, begin: int) -> None:
        assert self._process is not None
        end = time.monotonic() + _DEADLINE
        while time.monotonic() < end:
            if self._process.poll() is not None:
                with self.log.open("rb") as log:
                    log.seek(begin)
                    said = log.read().decode(errors="replace")[-_TAIL:]
                cause = _PortTakenError if "Address already in use" in said else OxenServerError
                raise cause(f"oxen-server ended with {self._process.returncode}:\n{said}")
            if _listens(self._process.pid, self.port) and self._answers():
                return
            time.sleep(_PAUSE)
        said = self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        raise OxenServerError(f"oxen-server did not answer for {_DEADLINE} s:\n{said}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_DEADLINE)
        try:
            connection.request("GET", VERSION_PATH)
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()


@contextmanager
def oxen_server(
    directory: Path, *, authenticated: bool = False, port: int = 0
) -> Iterator[OxenServer]:
    """A server that does not outlive the block.

    Args:
        directory: everything of it lies here; what lies there already is served again.
        authenticated: whether it is reached with `token` alone.
        port: where it listens; 0 for any that is free.

    Raises:
        OxenServerError: when there is none, or it does not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    server = _started(directory, port)
    with ExitStack() as stack:
        stack.callback(server.kill9)
        if authenticated:
            server.url, server.token = stack.enter_context(gate(server.port))
        yield server


def _started(directory: Path, port: int) -> OxenServer:
    for attempt in range(1, _ATTEMPTS + 1):
        server = OxenServer(directory, port or free_port())
        try:
            server.start_again()
        except _PortTakenError:
            if port or attempt == _ATTEMPTS:
                raise
        else:
            return server
    raise AssertionError


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(pid: int, port: int) -> bool:
    """Whether this very process has the port, as far as the system tells.

    Two that start at a time may choose one port, and the loser would take the winner's answer for
    its own.
    """
    try:
        table = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return True
    rows = [line.split() for line in table]
    inodes = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    try:
        held = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False
    return any(f"socket:[{inode}]" in held for inode in inodes)
