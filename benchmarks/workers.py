"""What more workers bring: versions in different repositories, moved by one, two and three processes.

    python -m benchmarks.workers [--quick] [--publish]

One process looks for versions and moves them, the others are `syncd worker`s on the same PostgreSQL;
all share one Oxen server and one sandbox. Each round is done anew on a copy of the same project. Two
cases: `waiting`, where W&B's storage takes a second for each answer, as one far away does, so that
a process waits more than it works; and `working`, where it answers at once, so that the processor is
the limit. What counts are the ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.machine import Sandbox, Started, environment, linked, sandbox, say
from benchmarks.tables import publish, table
from syncd.testing.oxen_process import OxenServer, oxen_server
from syncd.testing.postgres_process import Postgres, postgres

PROJECT = "sandbox/p"
CONCURRENCY = 2  # versions and large files at a time, in each process
DEADLINE = 300.0  # seconds
LOG = """
import os, sys
import wandb
with wandb.init(project="p") as run:
    for name in range(int(sys.argv[1])):
        artifact = wandb.Artifact(f"c{name}", "dataset")
        for part in range(4):
            with artifact.new_file(f"{part}.bin", mode="wb") as file:
                file.write(os.urandom(int(sys.argv[2])))
        run.log_artifact(artifact)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is moved.

    Args:
        name: in the table.
        delay: milliseconds before W&B's storage answers.
        size: bytes of a file.
    """

    name: str
    delay: int
    size: int


CASES = (
    Case(name="waiting", delay=1000, size=20_000),
    Case(name="working", delay=0, size=2_000_000),
)


class Bench:
    """Everything that the rounds share.

    Args:
        folder: all of it lies here.
        oxen: the server.
        database: the server of databases.
        count: versions, each in a repository of its own.
    """

    def __init__(self, folder: Path, oxen: OxenServer, database: Postgres, count: int) -> None:
        self._folder, self._oxen, self._database, self._count = folder, oxen, database, count
        self._round = 0

    def prepare(self, case: Case) -> None:
        """Log the project with the SDK."""
        home = self._folder / "logging"
        with sandbox(self._folder / case.name, home) as wandb:
            words = [str(self._count), str(case.size)]
            variables = {"WANDB_BASE_URL": wandb.url, "WANDB_API_KEY": wandb.key}
            Started(
                [sys.executable, "-c", LOG, *words], home, environment(home, **variables)
            ).wait()
        shutil.rmtree(home)

    def seconds(self, case: Case, processes: int) -> float:
        """How long so many processes need, from the end of the look to the last replacement."""
        self._round += 1
        folder = self._folder / f"round-{self._round}"
        linked(self._folder / case.name, folder / "wandb")
        with sandbox(folder / "wandb", folder / "home") as wandb, ExitStack() as stack:
            if case.delay:
                fault = {"match": "download:*", "action": f"delay:{case.delay}", "times": None}
                wandb.call("POST", "/sandbox/faults", [fault])
            database, workers = self._database.database(), []
            for number in range(1, processes):
                environ = self._environ(folder, f"worker-{number}", wandb, database)
                started = Started(_syncd("worker"), folder / f"worker-{number}", environ)
                stack.callback(started.kill)
                workers.append(folder / f"worker-{number}")
            _until_ready(workers)
            environ = self._environ(folder, "backfill", wandb, database)
            ran = Started(_syncd("backfill", "--json", PROJECT), folder, environ).wait()
            logs = [ran.err, *(_err(worker) for worker in workers)]
        report = json.loads(ran.out)["versions"]
        if report["replaced"] != self._count:
            raise RuntimeError(f"{self._count} versions were to be moved: {report}")
        shutil.rmtree(folder)
        began = min(_times(ran.err, "discover.done"))
        ended = max(moment for log in logs for moment in _times(log, "replace.done"))
        return ended - began

    def _environ(self, folder: Path, name: str, wandb: Sandbox, database: str) -> Mapping[str, str]:
        return environment(
            folder / name / "home",
            WANDB_API_KEY=wandb.key,
            SYNCD_WANDB__BASE_URL=wandb.url,
            SYNCD_OXEN__URL=self._oxen.url,
            SYNCD_OXEN__NAMESPACE=f"round{self._round}",
            SYNCD_SELECT__MIN_FILE_SIZE="64B",
            SYNCD_TRANSFER__CONCURRENCY=str(CONCURRENCY),
            SYNCD_ENGINE__DATABASE=database,
            SYNCD_ENGINE__STATE_DIR=str(folder / name / "state"),
            SYNCD_LOG__FORMAT="json",
        )


def _syncd(*words: str) -> list[str]:
    return [sys.executable, "-m", "syncd", *words]


def _err(folder: Path) -> str:
    [file] = folder.glob("*.err")
    return file.read_text(encoding="utf-8")


def _until_ready(folders: list[Path]) -> None:
    end = time.monotonic() + DEADLINE
    while not all(any(out.stat().st_size for out in each.glob("*.out")) for each in folders):
        if time.monotonic() > end:
            raise RuntimeError(f"no worker was ready: {[_err(folder) for folder in folders]}")
        time.sleep(0.05)


def _times(log: str, event: str) -> list[float]:
    lines = [json.loads(line) for line in log.splitlines() if f'"event": "{event}"' in line]
    return [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines]


def main() -> None:
    """Measure, and print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.workers")
    parser.add_argument("--quick", action="store_true", help="one round of each, of fewer versions")
    parser.add_argument("--publish", action="store_true", help="into docs/benchmarks.md, too")
    arguments = parser.parse_args()
    count, rounds = (12, 1) if arguments.quick else (36, 3)
    found: dict[str, dict[int, float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="syncd-workers-") as name,
        oxen_server(Path(name) / "oxen") as oxen,
        postgres() as database,
    ):
        bench = Bench(Path(name), oxen, database, count)
        for case in CASES:
            bench.prepare(case)
            taken: dict[int, list[float]] = {number: [] for number in (1, 2, 3)}
            for _ in range(rounds):
                for processes, seconds in taken.items():
                    seconds.append(bench.seconds(case, processes))
                    say(f"{case.name}: {processes} processes: {seconds[-1]:.1f} s")
            found[case.name] = {number: statistics.median(each) for number, each in taken.items()}
    rows = [
        [case, *seconds.values(), *(seconds[1] / seconds[number] for number in (2, 3))]
        for case, seconds in found.items()
    ]
    head = ["case", "1 process, s", "2, s", "3, s", "2 over 1", "3 over 1"]
    shape = f"{count} versions in {count} repositories, {os.cpu_count()} cores"
    text = f"{shape}; medians of {rounds} rounds in turn.\n\n{table(head, rows)}"
    say(text)
    say(json.dumps(found))
    if arguments.publish:
        publish("workers", text)


if __name__ == "__main__":
    main()
