"""The story of docs/story.md: what trained what is in production, and back to the model before.

The scripts are those of examples/product_search, as a team would have them. The suite trains a few
runs, `make nightly` fifty.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from acceptance_process import ROOT, Done, environment, started
from acceptance_world import World

RUNS = int(os.environ.get("SYNCD_TEST_RUNS", "4"))  # of each training; `make nightly` takes 50
SCRIPTS = ROOT / "examples" / "product_search"
ENDPOINT = """
import json, sys
told = json.load(sys.stdin)
open(sys.argv[1], "w").write(told["commit"])
"""


class Team:
    """People with the example's scripts, a W&B project, and syncd.

    Args:
        world: where they work.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.project = f"{world.entity}/product-search"
        self.dataset = f"{self.project}/product-search-dataset"
        self.model = f"{self.project}/clip-product-search"
        self.serving = world.folder / "search-api.json"
        hook = world.folder / "deploy.py"
        hook.write_text(ENDPOINT, encoding="utf-8")
        world.configure(references=world.gateway())
        command = json.dumps([sys.executable, str(hook), str(self.serving)])
        with world.config.open("a", encoding="utf-8") as config:
            config.write(f"\n[endpoints.search-api]\ncommand = {command}\n")

    def script(
        self, name: str, *words: str, code: int = 0, env: Mapping[str, str] | None = None
    ) -> Done:
        """Run one of the example's scripts to its end."""
        folder = self.world.folder / "script"
        folder.mkdir(exist_ok=True)
        variables = {
            "WANDB_BASE_URL": self.world.base_url,
            "WANDB_API_KEY": self.world.api_key,
            "WANDB_SILENT": "true",
            "SYNCD_CONFIG": str(self.world.config),
            **(env or {}),
        }
        command = [sys.executable, str(SCRIPTS / name), *words]
        with started(command, folder, environment(folder, **variables)) as process:
            done = process.wait()
        assert done.code == code, done.out + done.err
        return done

    def syncd(self, *words: str, code: int = 0) -> Any:
        """The document of a command of syncd's."""
        return self.world.syncd(*words, "--json", code=code).document

    def move(self) -> None:
        """What the daemon does all day."""
        self.syncd("backfill", self.project)

    def commit(self, ref: str) -> str:
        """The Oxen commit of a version, `oxen://namespace/repo@commit`."""
        return str(self.syncd("resolve", ref)["oxen"]["commit"])

    def pins(self, dataset: str) -> dict[str, str]:
        """The variables that pin a training to a version of the dataset and to the base model."""
        pins = {}
        for name, ref in (
            ("DATASET", f"{self.dataset}:{dataset}"),
            ("MODEL", f"{self.project}/clip-base:base"),
        ):
            pins[f"OXEN_{name}_REPO"], _, pins[f"OXEN_{name}_COMMIT"] = self.commit(ref).rpartition(
                "@"
            )
        return pins

    def train(self, name: str, dataset: str, alias: str) -> None:
        """Train some times on a version of the dataset; the best weights are published as `alias`."""
        self.script(
            "train.py", name, "--runs", str(RUNS), "--publish", alias, env=self.pins(dataset)
        )

    def production(self, *words: str) -> dict[str, Any]:
        """What is in production, as somebody tells it."""
        [told] = self.syncd("production", self.model, *words)["production"]
        return dict(told)


@pytest.fixture
def team(empty: World) -> Team:
    """A team on an empty server."""
    return Team(empty)
