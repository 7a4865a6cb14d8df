"""The story of docs/story.md: what trained what is in production, and back to the model before.

The scripts are those of examples/product_search, as a team would have them. The suite trains a few
runs, `make nightly` fifty.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from acceptance_process import ROOT, Done, environment, started
from acceptance_world import World

RUNS = int(os.environ.get("SYNCD_TEST_RUNS", "2"))  # of each training; `make nightly` takes 50
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
        world.target = self.project
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

    def commits(self, *refs: str) -> list[str]:
        """The Oxen commits of versions, `oxen://namespace/repo@commit` each."""
        found = self.world.each(*(("resolve", ref) for ref in refs))
        return [str(document["oxen"]["commit"]) for document in found]

    def pins(self, dataset: str) -> dict[str, str]:
        """The variables that pin a training to a version of the dataset and to the base model."""
        pins = {}
        found = self.commits(f"{self.dataset}:{dataset}", f"{self.project}/clip-base:base")
        for name, commit in zip(("DATASET", "MODEL"), found, strict=True):
            pins[f"OXEN_{name}_REPO"], _, pins[f"OXEN_{name}_COMMIT"] = commit.rpartition("@")
        return pins

    def train(self, name: str, dataset: str, alias: str) -> None:
        """Train some times on a version of the dataset; the best weights are published as `alias`."""
        self.script(
            "train.py", name, "--runs", str(RUNS), "--publish", alias, env=self.pins(dataset)
        )

    def configs(self) -> dict[str, dict[str, Any]]:
        """The configs of all runs by their ids, as W&B has them."""
        code = "emit({run.id: dict(run.config) for run in wandb.Api().runs(sys.argv[1])})"
        return dict(self.world.sdk(code, self.project))

    def production(self, *sides: str) -> list[dict[str, Any]]:
        """What is in production, as each side tells it."""
        asked = [("production", self.model, "--from", side) for side in sides]
        return [dict(document["production"][0]) for document in self.world.each(*asked)]

    def puts(self, alias: str, who: str) -> dict[str, Any]:
        """Somebody takes the version of an alias into production, and deploys it; what is told then."""
        *_, told = self.world.each(
            ("promote", f"{self.model}:{alias}", "production", "--by", who),
            ("deploy", f"{self.model}:production", "search-api", "--by", who),
            ("production", self.model),
        )
        return dict(told["production"][0])


def what(answer: dict[str, Any]) -> dict[str, Any]:
    """Which model it is, and which data trained it."""
    return {key: answer[key] for key in ("version", "commit", "run", "data")}


def changed_to(answer: dict[str, Any]) -> str:
    """The commit of the dataset in an answer."""
    return next(str(item["commit"]) for item in answer["data"] if item["type"] == "dataset")


@pytest.fixture
def team(empty: World) -> Team:
    """A team on an empty server."""
    return Team(empty)


@pytest.mark.timeout(400 + 10 * RUNS)
@pytest.mark.nightly
def test_what_trained_what_is_in_production_and_back(team: Team) -> None:
    """Two data versions and two models; the worse one is found out, explained, and rolled back."""
    # In March: a cleaned dataset, some runs, the best one's weights in production.
    for version in ("base", "v1.0", "v1.1-cleaned"):
        team.script("data.py", version)
    team.move()
    team.train("march", "v1.1-cleaned", "v1.0")
    team.move()
    march = team.puts("v1.0", "ann")

    cleaned, base = team.commits(f"{team.dataset}:v1.1-cleaned", f"{team.project}/clip-base:base")
    assert [(item["artifact"], item["commit"]) for item in march["data"]] == [
        (f"{team.dataset}:v1", cleaned),
        (f"{team.project}/clip-base:v0", base),
    ]
    assert team.serving.read_text() == march["commit"].rpartition("@")[2]

    # In May: synthetic shots, and a candidate that is put into production too early.
    team.script("data.py", "v1.2-synthetic-aug")
    team.move()
    team.train("may", "v1.2-synthetic-aug", "v1.1")
    team.move()
    may = team.puts("v1.1", "bob")
    assert [may["data"][0]["commit"]] == team.commits(f"{team.dataset}:v1.2-synthetic-aug")
    assert team.serving.read_text() == may["commit"].rpartition("@")[2]

    # Some categories are worse. What differs: weights, metrics, config, data.
    compared = team.syncd("compare", f"{team.model}:v1.0", f"{team.model}:v1.1", "--check", code=1)
    assert "test/accuracy/lamps" in compared["worse"]
    changed = {item["collection"]: item["files"] for item in compared["data"] if not item["same"]}
    assert changed.keys() == {team.dataset}
    first, second, third = (
        f"{team.dataset}:{alias}" for alias in ("v1.0", "v1.1-cleaned", "v1.2-synthetic-aug")
    )
    data, labels, trained, *graphs = team.world.each(
        ("diff", second, third, "--files", "all"),
        ("diff", first, second, "--rows"),
        ("lineage", second, "--up", "0"),
        *(("lineage", model["version"], "--down", "0") for model in (march, may)),
    )
    assert [item["path"] for item in data["files"]] == ["synthetic/shots.csv"]
    assert [item["path"] for item in labels["rows"]] == ["train.csv"]

    # All runs say what they stood on, and lineage leads from both models to their data.
    configs = team.configs()
    for name, model, commit, graph in (
        ("march", march, cleaned, graphs[0]),
        ("may", may, changed_to(may), graphs[1]),
    ):
        mine = [config for run, config in configs.items() if run.startswith(f"{name}-")]
        assert len(mine) == RUNS
        for config in mine:
            assert f"{config['dataset_repo']}@{config['dataset_commit']}" == commit
            assert f"{config['base_model_repo']}@{config['base_model_commit']}" == base
        best = configs[model["run"].rpartition("/")[2]]
        assert f"{best['output_model_repo']}@{best['output_model_commit']}" == model["commit"]
        assert commit in {node["oxen"] for node in graph["nodes"] if node["kind"] == "dataset"}
    assert len([node for node in trained["nodes"] if node["kind"] == "run"]) >= RUNS

    # Back, in one command each.
    team.syncd("endpoint", "rollback", "search-api", "--by", "ann")
    team.syncd("rollback", team.model, "production", "--by", "ann")
    [back] = team.production("both")
    assert what(back) == what(march)
    assert team.serving.read_text() == march["commit"].rpartition("@")[2]

    # Everybody gives the same answer: W&B alone, Oxen alone, and a state made anew.
    shutil.rmtree(team.world.state)
    team.syncd("catalog", "rebuild")
    answers = team.production("wandb", "oxen", "catalog")
    assert [what(answer) for answer in answers] == [what(march)] * 3
    assert [item["endpoint"] for item in answers[-1]["endpoints"]] == ["search-api"]

    # Who names no data does not train.
    refused = team.script("train.py", "june", "--publish", "v1.2", code=1)
    for name in ("OXEN_DATASET_COMMIT", "OXEN_MODEL_COMMIT"):
        assert f"{name} is not set" in refused.err
