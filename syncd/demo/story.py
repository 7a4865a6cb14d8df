"""The demo's story: a server, a project, the move, a plain client that sees no difference.

Every part is a process of its own, as it would be in earnest: sandbox, gateway, the script that
logs, `syncd backfill`, `syncd verify`, and a client with an empty cache before and after.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from syncd.errors import PermanentError

PROJECT = "digits"
TEAM, ORGANIZATION = "vision", "museum"
REGISTERED = "wandb-registry-models/digit-readers:production"
MODEL = "digits-classifier"
READY_TIMEOUT = 60  # seconds for a server to say that it listens
MIN_FILE_SIZE = "16KiB"  # the demo's files are small; in earnest the default is 1 MiB
Json = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where the story plays.

    Args:
        folder: holds everything: the sandbox's state, the Oxen repositories, syncd's state.
        tell: prints one line for people.
        environ: what every process gets.
    """

    folder: Path
    tell: Tell
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A person's own W&B, Oxen and syncd settings must not reach the demo, nor be touched by it.
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WANDB_", "OXEN_", "SYNCD_"))
        }
        self.environ |= {
            "HOME": str(self.folder / "home"),
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_DIR": str(self.folder),
            "SYNCD_OXEN__URL": (self.folder / "oxen").as_uri(),
            "SYNCD_ENGINE__STATE_DIR": str(self.folder / "state"),
            "SYNCD_SELECT__MIN_FILE_SIZE": MIN_FILE_SIZE,
            "SYNCD_WEB__BIND": "127.0.0.1:0",
            "SYNCD_LOG__LEVEL": "warning",
        }
        (self.folder / "home").mkdir(parents=True, exist_ok=True)

    def run(self, *words: str, module: str = "syncd", cache: str = "cache") -> str:
        """Run a Python module to its end and return what it prints.

        Raises:
            PermanentError: when it fails, with the end of what it said.
        """
        done = subprocess.run(  # noqa: S603 our own modules
            [sys.executable, "-m", module, *words],
            env={**self.environ, "WANDB_CACHE_DIR": str(self.folder / cache)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PermanentError(
                f"{module} {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}"
            )
        return done.stdout

    @contextmanager
    def serving(self, *words: str) -> Iterator[Json]:
        """Run a server of syncd's for the block; what it says when it is ready."""
        log = (self.folder / f"{words[0]}.log").open("wb")
        with (
            log,
            subprocess.Popen(  # noqa: S603 our own program
                [sys.executable, "-m", "syncd", *words],
                env=self.environ,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=log,
            ) as process,
        ):
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    text = (self.folder / f"{words[0]}.log").read_text()[-2000:]
                    raise PermanentError(f"syncd {' '.join(words)} did not start: {text}")
                yield json.loads(line)
            finally:
                process.terminate()


def play(folder: Path, tell: Tell, stay: Callable[[Json, dict[str, str]], None]) -> Json:
    """Play the whole story in an empty folder and return what it showed.

    Args:
        folder: an empty folder; everything is below it.
        tell: prints one line for people.
        stay: called at the end, while the servers still run, with what was shown and with their
            addresses.

    Raises:
        PermanentError: when a part fails.
    """
    began = time.monotonic()
    stage = Stage(folder=folder, tell=tell)
    with stage.serving("sandbox", "serve", "--data", str(folder / "wandb")) as wandb:
        stage.environ |= {
            "WANDB_BASE_URL": wandb["base_url"],
            "WANDB_API_KEY": wandb["api_key"],
            "SYNCD_WANDB__BASE_URL": wandb["base_url"],
        }
        registered = f"{_organize(wandb)}/{REGISTERED}"
        stage.environ["WANDB_ENTITY"] = TEAM
        project = f"{TEAM}/{PROJECT}"
        with stage.serving("gateway") as gateway:
            stage.environ["SYNCD_REFERENCES__BASE_URL"] = gateway["url"]
            tell(
                f"1. a W&B-compatible server runs at {wandb['base_url']}, the gateway at "
                f"{gateway['url']}"
            )
            stage.run(str(folder / "files"), ORGANIZATION, module="syncd.demo.project")
            before = _download(stage, "before", project, registered)
            versions = {name for name in before if _is_version(name)}
            tell(
                f"2. a project was logged with the plain wandb SDK: {len(versions)} versions in "
                f"{len({name.partition(':')[0] for name in versions})} collections"
            )
            moved = json.loads(stage.run("backfill", project, "--json"))
            tell(
                f"3. syncd backfill moved {moved['versions']['replaced']} versions into Oxen "
                f"repositories, and skipped {moved['versions']['skipped']}:"
            )
            for item in moved["skipped"]:
                tell(f"   {item['version']}: {item['reason']}")
            proved = json.loads(stage.run("verify", project, "--json"))
            tell(
                f"4. syncd verify read {_size(proved['bytes'])} back from Oxen: "
                f"{proved['verified']} versions right, {proved['failed']} wrong"
            )
            again = json.loads(stage.run("backfill", project, "--json"))
            tell(
                f"5. a second backfill moved {again['versions']['replaced']} versions and "
                f"{again['bytes']['downloaded']} bytes"
            )
            after = _download(stage, "after", project, registered)
            compared = compare(before, after, moved["replacements"])
            lineage = _lineage(stage, f"{project}/{MODEL}:production")
            document = {
                "project": project,
                "versions_moved": moved["versions"]["replaced"],
                "bytes_moved": moved["bytes"]["planned"],
                "bytes_kept": moved["bytes"]["kept"],
                "bytes_downloaded": moved["bytes"]["downloaded"],
                "bytes_deduplicated": moved["bytes"]["deduplicated"],
                "second_backfill": {
                    "versions": again["versions"]["replaced"],
                    "bytes": again["bytes"]["downloaded"],
                },
                "verified": proved["verified"],
                "entries_compared": compared["entries"],
                "all_equal": not compared["different"],
                "different": compared["different"],
                "registry_link": registered,
                "lineage": lineage,
                "seconds": round(time.monotonic() - began, 1),
            }
            addresses = {
                "project": project,
                "model": f"{project}/{MODEL}:production",
                "oxen": stage.environ["SYNCD_OXEN__URL"],
                "state": stage.environ["SYNCD_ENGINE__STATE_DIR"],
            }
            stay(document, {**wandb, **addresses, "gateway": gateway["url"]})
            return document


def compare(
    before: Mapping[str, Mapping[str, str]],
    after: Mapping[str, Mapping[str, str]],
    replacements: Sequence[Mapping[str, Any]],
) -> Json:
    """Hold every version and every alias after the move against the same before it.

    Args:
        before: name -> path -> sha256, as downloaded before.
        after: the same, downloaded after.
        replacements: which version stands for which, from `backfill --json`.
    """
    pairs = [(name, name) for name in before]  # old versions, and aliases wherever they point now
    pairs += [(item["source"], item["replacement"]) for item in replacements]
    entries = 0
    different: list[str] = []
    for old, new in pairs:
        found = after.get(new, {})
        for path in sorted({*before[old], *found}):
            entries += 1
            if before[old].get(path) != found.get(path):
                different.append(f"{new}: {path}")
    return {"entries": entries, "different": different}


def _organize(wandb: Json) -> str:
    """Make the organization, whose registry links models, and its team; the organization's entity."""

    def post(path: str, **body: str) -> Json:
        answer = httpx.post(f"{wandb['base_url']}/sandbox/{path}", json=body, timeout=READY_TIMEOUT)
        found: Json = answer.raise_for_status().json()
        return found

    made = post("organizations", name=ORGANIZATION, username=wandb["entity"])
    post("teams", name=TEAM, organization=ORGANIZATION, username=wandb["entity"])
    return str(made["entity"])


def _download(stage: Stage, when: str, *names: str) -> dict[str, dict[str, str]]:
    """What a fresh process with an empty cache of its own downloads of a project, and what else."""
    found: dict[str, dict[str, str]] = json.loads(
        stage.run(*names, module="syncd.demo.client", cache=f"cache-{when}")
    )
    return found


def _lineage(stage: Stage, model: str) -> Json:
    """The model's commit and its data's, read from the lineage file in Oxen without asking W&B."""
    named = json.loads(stage.run("resolve", model, "--json"))
    document = httpx.get(named["oxen"]["lineage_url"], timeout=READY_TIMEOUT).json()
    return {
        "model": model,
        "model_commit": named["oxen"]["commit"],
        "run": document["run"]["ref"],
        "config": {
            key: value
            for key, value in document["run"]["config"].items()
            if not key.endswith(("_repo", "_commit"))  # syncd's own keys; they stand below
        },
        "datasets": [
            {"artifact": item["artifact"], "commit": item["oxen"]} for item in document["inputs"]
        ],
    }


def _is_version(name: str) -> bool:
    alias = name.rpartition(":")[2]
    return alias[:1] == "v" and alias[1:].isdecimal()


def _size(count: int) -> str:
    return f"{count / (1 << 20):.2f} MiB"
