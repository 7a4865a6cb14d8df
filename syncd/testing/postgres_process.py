"""A real PostgreSQL on this machine, for tests and measurements: one cluster, many databases.

It listens on a Unix socket in a folder of its own and nowhere else, and writes nothing through to
the disk: what it holds is thrown away. PostgreSQL refuses to run as root, so root lends it another
user.
"""

from __future__ import annotations

import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

VARIABLE = "SYNCD_POSTGRES"
MISSING = (
    f"PostgreSQL not found; install it (Debian: postgresql), or name its bin folder in {VARIABLE}"
)
OWNER = "syncd"
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
_LENDERS = ("postgres", "nobody")  # whose name root takes
_DEADLINE = 60.0  # seconds until it answers, or is gone
_PAUSE = 0.02
_TAIL = 4000  # characters of its log in an error
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # in its own folder: a server that is killed leaves nothing
}


class PostgresError(RuntimeError):
    """The server did not start, and what it said."""


@functools.cache
def find_postgres() -> Path | None:
    """The folder of the server's programs: named by the environment, on the path, or a usual place.

    The first answer stays, so that a test sees it in whose environment the variable is gone.
    """
    named = os.environ.get(VARIABLE)
    on_path = shutil.which("initdb")
    found = [Path(named)] if named else [Path(on_path).resolve().parent] if on_path else []
    if not named:
        for place in _PLACES:
            found += sorted(Path("/").glob(place[1:]), reverse=True)
    return next((folder for folder in found if (folder / "initdb").is_file()), None)


class Postgres:
    """A running cluster.

    Args:
        directory: everything of it lies here.
        binaries: where its programs are.
    """

    def __init__(self, directory: Path, binaries: Path) -> None:
        self.directory = directory
        self.log = directory / "postgres.log"
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"d{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql://{OWNER}@/{name}?host={self.directory}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the cluster's owner; its rows."""
        with psycopg.connect(
            host=str(self.directory), user=OWNER, dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def initialise(self) -> None:
        """Make the cluster's files."""
        words = [
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            f"--username={OWNER}",
        ]
        done = subprocess.run(  # noqa: S603  found by find_postgres
            [self._binaries / "initdb", "-D", self.directory / "data", *words],
            cwd=self.directory,
            env=_environ(),
            capture_output=True,
            text=True,
            check=False,
            **_lent(),
        )
        if done.returncode:
            raise PostgresError(f"initdb ended with {done.returncode}:\n{done.stderr[-_TAIL:]}")

    def start(self) -> None:
        """Start it on its data.

        Raises:
            PostgresError: when it does not start.
        """
        assert self._process is None, "it is running"
        settings = {**_SETTINGS, "unix_socket_directories": str(self.directory)}
        words = [word for item in settings.items() for word in ("-c", "{}={}".format(*item))]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  found by find_postgres
                [self._binaries / "postgres", "-D", self.directory / "data", *words],
                cwd=self.directory,
                env=_environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **_lent(),
            )
        end = time.monotonic() + _DEADLINE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                said = self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
                self.stop()
                raise PostgresError(f"PostgreSQL did not start:\n{said}")
            time.sleep(_PAUSE)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: every connection breaks, and what was committed stays.

        Args:
            how: SIGQUIT for at once, as `pg_ctl stop -m immediate`.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(_DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        try:
            return self.sql("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A cluster that does not outlive the block.

    Raises:
        PostgresError: when there is none, or it does not start.
    """
    binaries = find_postgres()
    if binaries is None:
        raise PostgresError(MISSING)
    # Not below pytest's folders: the name of a socket may have 107 bytes, and its user must get in.
    directory = Path(tempfile.mkdtemp(prefix="syncd-pg-"))
    try:
        if lent := _lent():
            os.chown(directory, lent["user"], lent["group"])
        cluster = Postgres(directory, binaries)
        cluster.initialise()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@functools.cache
def _lent() -> dict[str, Any]:
    """Whose name its processes take, as arguments of `subprocess`: nobody else's but for root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = next((known[name] for name in _LENDERS if name in known), None)
    if user is None:
        raise PostgresError(f"PostgreSQL refuses root, and there is no user of {_LENDERS}")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _environ() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
