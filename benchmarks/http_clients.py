"""What HTTP clients for Python cost: one big GET, thousands of small ones, PUTs of ten MiB.

`python -m benchmarks.http_clients [--quick] [--publish]` starts nginx on a temporary folder and runs
each client in processes of its own, in turn. The table's figures are medians; CPU seconds are those of
the client's process without its start. Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.http_libraries import LIBRARIES
from benchmarks.tables import publish, table
from syncd.testing.oxen_process import free_port

_MIB = 1 << 20
_FLIGHT = 8
_BODY = 10 * _MIB
_SMALL = 10 << 10
_JOBS = ("big", "small", "put")
_CONFIG = """
daemon off; worker_processes 1; {user} pid {root}/pid; error_log {root}/error.log crit;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; keepalive_requests 10000000; client_max_body_size 0;
  client_body_temp_path {root}/body; proxy_temp_path {root}/a; fastcgi_temp_path {root}/b;
  uwsgi_temp_path {root}/c; scgi_temp_path {root}/d;
  server {{ listen 127.0.0.1:{port}; root {root}/files; location /put/ {{ dav_methods PUT; }} }}
}}
"""


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextmanager
def _nginx(root: Path) -> Iterator[str]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("nginx is missing; on Debian: apt-get install nginx-light")
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = root / "nginx.conf"
    config.write_text(_CONFIG.format(root=root, port=port, user=user), encoding="utf-8")
    with subprocess.Popen([program, "-c", str(config), "-p", str(root)]) as process:  # noqa: S603
        try:
            for _ in range(500):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ready").close()
                    break
                except OSError:
                    time.sleep(0.01)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _child(name: str, job: str, base: str, count: int) -> None:
    """Do one job with one client, and say what it took."""
    client = LIBRARIES[name][1]()
    body = os.urandom(_BODY) if job == "put" else None
    names = {"big": ["big"], "small": [f"small/{number % 1000}" for number in range(count)]}
    puts = [f"put/{number % 8}" for number in range(count)]
    jobs = [(f"{base}/{path}", body) for path in names.get(job, puts)]
    flight = 1 if job == "big" else _FLIGHT
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    got = client.run(jobs, flight)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    _say(json.dumps({"seconds": seconds, "cpu": cpu, "got": got, "peak": after.ru_maxrss / 1024}))
    os._exit(0)  # a client's threads are no matter of ours


def _measure(name: str, job: str, base: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.http_clients", "--child", name, job, base]
    done = subprocess.run(  # noqa: S603  ourselves
        [*command, str(count)], capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode != 0:
        raise SystemExit(f"{name}, {job}:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _fill(root: Path, big: int) -> None:
    (root / "files" / "small").mkdir(parents=True)
    (root / "files" / "put").mkdir()
    (root / "files" / "ready").touch()
    content = os.urandom(_SMALL)
    for number in range(1000):
        (root / "files" / "small" / str(number)).write_bytes(content)
    piece = os.urandom(_MIB)
    with (root / "files" / "big").open("wb") as file:
        for _ in range(big):
            file.write(piece)


def _row(
    name: str, runs: dict[str, list[dict[str, float]]], counts: dict[str, int]
) -> list[object]:
    def median(job: str, key: str) -> float:
        return statistics.median(run[key] for run in runs[job])

    big, small = counts["big"] * _MIB / 1e9, counts["small"]
    put = counts["put"] * _BODY / 1e9
    return [
        name,
        big * 1e3 / median("big", "seconds"),
        median("big", "cpu") / big,
        small / median("small", "seconds"),
        median("small", "cpu") / small * 1e6,
        put * 1e3 / median("put", "seconds"),
        median("put", "cpu") / put,
        max(run["peak"] for job in _JOBS for run in runs[job]),
    ]


_HEAD = (
    "client", "GET MB/s", "CPU s per GB", "small GET/s", "CPU µs each", "PUT MB/s",
    "CPU s per GB", "peak MiB",
)  # fmt: skip


def _run(counts: dict[str, int], rounds: int) -> str:
    names = []
    for name, (module, _) in LIBRARIES.items():
        if importlib.util.find_spec(module) is None:
            _say(f"{name}: not installed, left out")
        else:
            names.append(name)
    runs: dict[str, dict[str, list[dict[str, float]]]] = {
        name: {job: [] for job in _JOBS} for name in names
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _fill(root, counts["big"])
        with _nginx(root) as base:
            for number in range(rounds):
                for job in _JOBS:
                    for name in names[number % len(names) :] + names[: number % len(names)]:
                        figures = _measure(name, job, base, counts[job])
                        assert job == "put" or figures["got"] == (
                            counts[job] * (_MIB if job == "big" else _SMALL)
                        )
                        runs[name][job].append(figures)
    return table(_HEAD, [_row(name, runs[name], counts) for name in names])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show, and write into the documentation when asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument("--publish", action="store_true", help="write the table into the docs")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.child:
        name, job, base, count = chosen.child
        _child(name, job, base, int(count))
    counts = {"big": 1024, "small": 5000, "put": 26}
    rounds = 5
    if chosen.quick:
        counts, rounds = {"big": 64, "small": 500, "put": 4}, 1
    found = _run(counts, rounds)
    _say(found)
    if chosen.publish:
        publish("http clients", found)


if __name__ == "__main__":
    main()
