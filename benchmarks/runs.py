"""One case, once: what the machine allows, what a user's script takes, what syncd takes.

Each gets a W&B server of its own on a copy of the prepared data, and repositories of its own.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import COLLECTION, ENTITY, GIB, LINE, MIB, PART, Case, Scale
from benchmarks.machine import (
    Ran,
    Sandbox,
    Started,
    environment,
    linked,
    sandbox,
    settled,
    step,
)
from benchmarks.oxen_http import OxenHttp
from benchmarks.relay import relay
from syncd.testing.oxen_process import OxenServer

Figures = dict[str, Any]
_SMALL = MIB
_MUCH = GIB  # bytes of a case; above, its disk is given back at once
_NOWHERE = "http://gateway.invalid"
_CUT_AT = 0.9
# The steps that run at a time; without an Oxen server the first alone.
_LIMITS = (("get",), ("put",), ("get", "put"), ("get", "put", "digest"))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Both ends of one run, which nobody used before."""

    folder: Path
    wandb: Sandbox
    namespace: str

    def environ(self, name: str) -> dict[str, str]:
        """The variables of a process with a home of its own."""
        variables = {"WANDB_BASE_URL": self.wandb.url, "WANDB_API_KEY": self.wandb.key}
        return environment(self.folder / name, **variables)


class Bench:
    """Everything that the runs share.

    Args:
        folder: all of it lies here.
        scale: what is moved.
        oxen: the server; None when only the embedded store is measured.
    """

    def __init__(self, folder: Path, scale: Scale, oxen: OxenServer | None) -> None:
        self._folder = folder
        self._scale = scale
        self._oxen = oxen
        self._count = 0
        self._source = folder / "source"

    def prepare(self) -> Ran:
        """Log all projects with the SDK."""
        home, cases = self._folder / "logging", [asdict(case) for case in self._scale.cases]
        with sandbox(self._folder / "prepared", home) as wandb:
            variables = {"WANDB_BASE_URL": wandb.url, "WANDB_API_KEY": wandb.key}
            environ = environment(home, **variables)
            ran = step("log", home, environ, source=str(self._source), cases=cases).wait()
        shutil.rmtree(home)
        return ran

    @contextmanager
    def world(self, case: Case, *, line: bool = False) -> Iterator[World]:
        """Fresh copies of both ends; when told so, W&B's storage gives `LINE` in all.

        They are deleted afterwards when they hold much. When they hold many files they stay until
        all is measured: for minutes ext4 without a journal looks at each inode that was deleted
        before it takes a free one (`recently_deleted`), which made whatever came next a third slower.
        """
        self._count += 1
        name = f"run{self._count}"
        folder = self._folder / name
        linked(self._folder / "prepared", folder / "wandb")
        try:
            with sandbox(folder / "wandb", folder / "home") as wandb:
                if line:
                    wandb.call("POST", "/sandbox/settings", {"bandwidth": LINE})
                yield World(folder=folder, wandb=wandb, namespace=name)
        finally:
            if case.total >= _MUCH:
                self._delete(folder)

    def _delete(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        limits = ("-".join(names) for names in _LIMITS)
        for repo in ("plain", *limits, *map(_repo, self._scale.cases)):
            if self._oxen is not None:
                OxenHttp(self._oxen.url, f"{folder.name}/{repo}").delete()

    # --- what the machine allows

    def limits(self, case: Case, *, line: bool = False) -> Figures:
        """Seconds of all GETs, of all PUTs, and of both at a time, without and with hashing.

        Over a line each alone: they do not share it.
        """
        figures: Figures = {}
        measured = _LIMITS[:2] if line else _LIMITS
        with self.world(case, line=line) as world:
            for names in measured if self._oxen is not None else _LIMITS[:1]:
                together = partial(self._together, world, case, *names)
                figures[" and ".join(names)] = self._settled(world, together)
        return figures

    def _together(self, world: World, case: Case, *names: str) -> float:
        folder = world.folder / "-".join(names)
        folder.mkdir()
        started = []
        for name in names:
            arguments: dict[str, Any] = {"ready": str(folder / name), "go": str(folder / "go")}
            if name == "get":
                arguments["project"] = case.name
            elif name == "digest":
                arguments |= {"algorithm": case.digest, "files": case.files, "size": case.size}
            else:
                assert self._oxen is not None
                arguments["repo"] = f"{world.namespace}/{folder.name}"
                arguments |= {"url": self._oxen.url, "small": case.size <= _SMALL}
                arguments["source"] = str(self._source / case.folder)
            started.append(step(name, folder, world.environ(name), **arguments))
        while not all((folder / name).exists() for name in names):
            time.sleep(0.01)
            if any(process.ended for process in started):
                break
        (folder / "go").touch()
        results = [process.wait().result for process in started]
        assert all(result["bytes"] == case.files * case.size for result in results)
        begin, end = min(r["begin"] for r in results), max(r["end"] for r in results)
        return float(end - begin)

    # --- what a user would write

    def baseline(self, case: Case, *, embedded: bool) -> Figures:
        """The script, and what it cost."""
        with self.world(case) as world:
            url = "" if embedded or self._oxen is None else self._oxen.url
            arguments = {"project": case.name, "versions": case.versions, "url": url}
            arguments |= {"work": str(world.folder / "plain"), "repo": f"{world.namespace}/plain"}
            environ = world.environ("user")
            before = self._served()
            ran = self._settled(
                world, lambda: step("baseline", world.folder, environ, **arguments).wait()
            )
            moved = world.wandb.stats()["bytes_downloaded"]
            served = {} if embedded else self._served(before)
            return {**ran.cost, **served, "stages": ran.result, "downloaded": moved}

    # --- syncd

    def syncd(
        self, case: Case, *, embedded: bool, twice: bool = False, line: bool = False
    ) -> Figures:
        """A backfill and what it cost; a second one when asked for."""
        with self.world(case, line=line) as world:
            config = self._configured(world, case, embedded=embedded)
            before = self._served()
            ran = self._settled(world, lambda: _backfill(world, case, config).wait())
            stats = world.wandb.stats()
            served = {} if embedded else self._served(before)
            document = json.loads(ran.out)
            if document["versions"]["replaced"] != case.versions:
                raise RuntimeError(f"{case.name}: {document}\n{ran.err[-2000:]}")
            figures = {**ran.cost, **served, "stages": _stages(ran.err), "bytes": document["bytes"]}
            figures |= {"downloaded": stats["bytes_downloaded"], "requests": _requests(stats)}
            if twice:
                world.wandb.reset_stats()
                again = _backfill(world, case, config).wait()
                stats = world.wandb.stats()
                found = json.loads(again.out)["versions"]["discovered"]
                figures["again"] = {
                    "seconds": again.seconds,
                    "versions": found,
                    "bytes": stats["bytes_downloaded"] + stats["bytes_uploaded"],
                    "requests": _requests(stats),
                    "requests_per_100": 100 * _requests(stats) / max(found, 1),
                }
            return figures

    def interrupted(self, case: Case, *, embedded: bool, kill: bool) -> Figures:
        """Something happens at nine tenths of the only file; the bytes that travelled again."""
        with self.world(case) as world, relay(world.wandb.url) as down:
            at = int(case.size * _CUT_AT)
            if embedded or self._oxen is None:
                config = self._configured(world, case, embedded=embedded, source=down.url)
                self._until_moved(world, case, config, down, at if kill else -at)
                return {"downloaded_again": (down.down - case.size) / PART}
            with relay(self._oxen.url) as up:
                config = self._configured(
                    world, case, embedded=False, source=down.url, target=up.url
                )
                self._until_moved(world, case, config, down, at if kill else -at)
                return {
                    "downloaded_again": (down.down - case.size) / PART,
                    "uploaded_again": (up.up - case.size) / PART,
                }

    def _until_moved(self, world: World, case: Case, config: Path, down: Any, at: int) -> None:
        if at < 0:
            down.arm(-at)
            _backfill(world, case, config).wait()
            return
        process = _backfill(world, case, config)
        down.arm(at, process.kill)
        process.wait(fails=True)
        _backfill(world, case, config).wait()

    def _settled(self, world: World, action: Callable[[], Any]) -> Any:
        return settled(self._folder, action, served=world.folder / "wandb" / "blobs")

    def _configured(
        self, world: World, case: Case, *, embedded: bool, source: str = "", target: str = ""
    ) -> Path:
        if embedded or self._oxen is None:
            target = (world.folder / "oxen").as_uri()
        else:
            target = target or self._oxen.url
        sections: dict[str, dict[str, str | list[str]]] = {
            "wandb": {
                "base_url": source or world.wandb.url,
                "projects": [f"{ENTITY}/{case.name}"],
            },
            "oxen": {"url": target, "namespace": world.namespace},
            "select": {"min_file_size": "1KiB"},
            "engine": {"state_dir": str(world.folder / "state")},
            "log": {"format": "json"},
        }
        if embedded:
            sections["references"] = {"base_url": _NOWHERE}
        lines = [
            f"{key} = {json.dumps(value)}" if key else f"[{name}]"
            for name, keys in sections.items()
            for key, value in [("", None), *keys.items()]
        ]
        path = world.folder / "config.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def _served(self, before: Mapping[str, float] | None = None) -> dict[str, float]:
        """What the Oxen server cost so far, or since then."""
        if self._oxen is None:
            return {}
        proc = Path(f"/proc/{self._oxen.pid}")
        io = dict(line.split(": ") for line in (proc / "io").read_text("ascii").splitlines())
        fields = (proc / "stat").read_text("ascii").rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        now = {"server_written_mib": int(io["write_bytes"]) / MIB, "server_cpu": ticks / 100}
        return {name: value - (before or {}).get(name, 0.0) for name, value in now.items()}


def _repo(case: Case) -> str:
    return f"{case.name}-{COLLECTION}"


def _backfill(world: World, case: Case, config: Path) -> Started:
    command = [sys.executable, "-m", "syncd", "backfill", "--json", f"{ENTITY}/{case.name}"]
    environ = {**world.environ("syncd"), "SYNCD_CONFIG": str(config)}
    return Started(command, world.folder, environ)


def _requests(stats: Mapping[str, Any]) -> int:
    return int(sum(stats["graphql"].values()) + stats["downloads"] + stats["uploads"])


def _stages(log: str) -> dict[str, float]:
    """Seconds by stage, added up over the versions, from what syncd logs.

    A stage begins where it says so, or where the version's stage before it ended.
    """
    took: dict[str, float] = {}
    since: dict[str, float] = {}
    for line in log.splitlines():
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        stage, _, outcome = event["event"].partition(".")
        artifact = str(event.get("artifact", ""))
        if outcome not in {"started", "done"} or not artifact:
            continue
        at = datetime.fromisoformat(event["timestamp"]).timestamp()
        if outcome == "done" and artifact in since:
            took[stage] = took.get(stage, 0.0) + at - since[artifact]
        since[artifact] = at
    return took
