"""A long life of `syncd run` in a short time: versions keep coming, and nothing goes as it should.

A tenth of all requests fails on both ways of failing, a tenth of the hints never comes and a tenth
comes twice, and the daemon is stopped and killed again and again; then it is left alone for longer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from acceptance_process import SYNCD, Process, environment, started, until
from acceptance_state import raw
from acceptance_world import World

from syncd.catalog.catalog import Catalog, State

RATE = 0.05  # of requests that meet each of two kinds of fault
FAULTS = (
    ("graphql:*", "status:503"),
    ("graphql:*", "drop"),
    ("download:*", "status:503"),
    ("download:*", "truncate:1000"),
    ("manifest-download:*", "status:503"),
    ("upload:*", "status:503"),
)
DROPPED = DOUBLED = 0.1  # of hints
COLLECTIONS = 6
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024

# Logs a version every `sys.argv[1]` seconds into one of `sys.argv[2]` collections, and tells when.
# Half of each version's bytes are those of the one before.
LOG = """
import hashlib, os, sys, time
import wandb
def content(name):
    return hashlib.shake_128(name.encode()).digest(50_000)
every, collections = float(sys.argv[1]), int(sys.argv[2])
due = time.monotonic()
with wandb.init(project="p", id="source") as run:
    number = 0
    while not os.path.exists(sys.argv[3]):
        name = f"c{number % collections}"
        artifact = wandb.Artifact(name, "dataset")
        for part in (number, number + collections):
            with artifact.new_file(f"{part % 2}.bin", mode="wb") as file:
                file.write(content(f"{name} {part // collections}"))
        run.log_artifact(artifact).wait()
        sys.__stdout__.write(f"=LOGGED={name}:{artifact.version} {time.time()}\\n")
        sys.__stdout__.flush()
        number += 1
        due += every
        time.sleep(max(0.0, due - time.monotonic()))
"""


@dataclass(slots=True, kw_only=True)
class Life:
    """One process from its start to its end.

    Args:
        end: how it ended.
        rss: resident memory in KiB, one figure a second.
        files: open files, likewise.
    """

    end: str
    rss: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)


class Soak:
    """A soak in a world with an empty server.

    Args:
        world: where.
        seconds: how long versions keep coming.
        every: seconds between two versions.
        poll: seconds between two polls.
        restarts: stops and kills, in turn, in the first part of the time.
        seed: of what happens to hints.
    """

    def __init__(
        self,
        world: World,
        *,
        seconds: float,
        every: float,
        poll: int,
        restarts: int,
        seed: int = 1,
    ) -> None:
        self.world, self._seconds, self._every, self._poll = world, seconds, every, poll
        self._restarts, self._random = restarts, random.Random(seed)
        self.logged: dict[str, float] = {}  # when, by name
        self.hints = {"sent": 0, "dropped": 0, "doubled": 0}
        self.lives: list[Life] = []
        self.errors: list[str] = []
        self._again: list[float] = []

    def run(self) -> dict[str, Any]:
        """Let it happen; the figures."""
        world, stop = self.world, self.world.folder / "enough"
        for match, action in FAULTS:
            fault = {"match": match, "action": action, "rate": RATE}
            world.http.post("/sandbox/faults", json=[fault]).raise_for_status()
        home = world.folder / "source"
        variables = {"WANDB_BASE_URL": world.base_url, "WANDB_API_KEY": world.api_key}
        words = [SYNCD[0], "-c", LOG, str(self._every), str(COLLECTIONS), str(stop)]
        began = time.monotonic()
        with started(words, home_of(home), environment(home, **variables)) as source:
            for number in range(self._restarts):
                share = (number + 1) / (2 * self._restarts)  # of the time, the first half of it
                self._live(source, began + self._seconds * share, "term" if number % 2 else "kill")
            self._live(source, began + self._seconds, "", stop=stop)
            assert source.wait().code == 0, source.err
        world.heal()  # what is looked at now is the end, and this process has no patience
        return self._figures(time.monotonic() - began)

    def _live(self, source: Process, until_: float, end: str, stop: Path | None = None) -> None:
        life = Life(end=end or "term")
        self.lives.append(life)
        env = {"SYNCD_SCHEDULE__POLL": f"{self._poll}s", "SYNCD_SCHEDULE__VERIFY": "70s"}
        with self.world.running("run", "--no-face", **env) as process:
            process.alive_until(lambda: process.told("daemon.started"), "it had started")
            with closing(Catalog(f"sqlite:///{self.world.state}/syncd.db")) as catalog:
                while time.monotonic() < until_:
                    self._second(source, process, catalog, life)
                if stop is not None:
                    stop.touch()
                    until(lambda: source.popen.poll() is not None, "the source had ended")
                    self._hint(source, catalog)
                    until(lambda: self._moved(catalog), "all was moved")
                    now = time.time()
                    until(lambda: self._at_rest(catalog, now), "nothing was on its way")
            if end == "kill":
                process.kill()
            else:
                process.popen.send_signal(signal.SIGTERM)
                assert process.wait().code == 0
        self.errors += [line for line in process.err.splitlines() if '"level": "error"' in line]

    def _second(self, source: Process, process: Process, catalog: Catalog, life: Life) -> None:
        for _ in range(10):
            self._hint(source, catalog)
            time.sleep(0.1)
        place = Path(f"/proc/{process.popen.pid}")
        life.rss.append(int((place / "statm").read_text().split()[1]) * PAGE_KIB)
        life.files.append(len(list((place / "fd").iterdir())))

    def _hint(self, source: Process, catalog: Catalog) -> None:
        """Do what webhooks do, with what happens to webhooks."""
        lines = [line for line in source.out.splitlines() if line.startswith("=LOGGED=")]
        for line in lines[len(self.logged) :]:
            name, at = line.removeprefix("=LOGGED=").split()
            self.logged[name] = float(at)
            fate = self._random.random()
            if fate < DROPPED:
                self.hints["dropped"] += 1
                continue
            self.hints["sent"] += 1
            self._say(catalog, name)
            if fate > 1 - DOUBLED:
                self.hints["doubled"] += 1
                self._again.append(time.monotonic() + 1.0)
        now = time.monotonic()
        for _ in [at for at in self._again if at <= now]:
            self._say(catalog, "again")
        self._again = [at for at in self._again if at > now]

    def _say(self, catalog: Catalog, name: str) -> None:
        catalog.pulse.hint(self.world.target, name.partition(":")[0], at=time.time())

    def _moved(self, catalog: Catalog) -> bool:
        states = [record.state for record in catalog.records()]
        return states.count(State.REPLACED) >= len(self.logged)

    def _at_rest(self, catalog: Catalog, since: float) -> bool:
        """Whether the engine has said since then that nothing is on its way."""
        return any(
            beat.at > since and not beat.detail["queue"]
            for beat in catalog.pulse.beats()
            if beat.name == "engine:local"
        )

    def _figures(self, seconds: float) -> dict[str, Any]:
        with closing(Catalog(f"sqlite:///{self.world.state}/syncd.db")) as catalog:
            moved = {
                f"{record.collection}:v{record.version_index}": record
                for record in catalog.records()
                if record.state is State.REPLACED
            }
            quarantined = len(list(catalog.quarantined()))
        lags = sorted(
            datetime.fromisoformat(moved[name].updated_at).timestamp() - at
            for name, at in self.logged.items()
            if name in moved
        )
        sources = [
            json.loads(version["metadata"])["oxen"]["source_artifact_id"]
            for versions in raw(self.world)[0].values()
            for version in versions
            if "oxen" in json.loads(version["metadata"] or "{}")
        ]
        longest = max(self.lives, key=lambda life: len(life.rss))
        return {
            "seconds": round(seconds, 1),
            "poll_seconds": self._poll,
            "polls": round(seconds / self._poll),
            "starts": len(self.lives),
            "ends": {end: [life.end for life in self.lives].count(end) for end in ("kill", "term")},
            "versions": {
                "logged": len(self.logged),
                "moved": len(moved),
                "quarantined": quarantined,
                "replacements": len(sources),
                "replaced_twice": len(sources) - len(set(sources)),
            },
            "hints": self.hints,
            "requests": sum(self.world.stats()["graphql"].values()),
            "lag_seconds": {
                "median": round(statistics.median(lags), 2),
                "p95": round(lags[int(len(lags) * 0.95)], 2),
                "max": round(lags[-1], 2),
            },
            "longest_life": {
                "seconds": len(longest.rss),
                "rss_mib": _course([kib // 1024 for kib in longest.rss]),
                "open_files": _course(longest.files),
            },
            "errors_told": len(self.errors),
        }


def _course(values: Sequence[int]) -> list[int]:
    """How a figure went: the median of each tenth of the time."""
    tenth = max(1, len(values) // 10)
    pieces = [values[begin : begin + tenth] for begin in range(0, tenth * 10, tenth)]
    return [round(statistics.median(piece)) for piece in pieces if piece]


def home_of(folder: Path) -> Path:
    """The folder, made."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
