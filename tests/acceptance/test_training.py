"""A training script begins from Oxen commits and ends in one; W&B shows both and holds no byte of it."""

from __future__ import annotations

import json
from pathlib import Path

from acceptance_project import tree
from acceptance_world import World

MARK = b"weights that wandb never saw\n" * 2
REFUSED = """
from syncd import training
training.pinned()
"""
TRAIN = """
import pathlib
os.environ.update(json.loads(sys.argv[1]))
from syncd import training

pins = training.pinned()
with training.start_run(pins, project="p", id="tuned", config={"rate": 0.1}) as run:
    data = training.fetch(pins.dataset, paths="*.bin")
    begin = training.fetch(pins.model, to="begin")
    out = pathlib.Path("out")
    out.mkdir()
    seen = len((data / "train.bin").read_bytes()) + len((begin / "weights.bin").read_bytes())
    (out / "weights.bin").write_bytes(b"weights that wandb never saw\\n" * 200_000)
    (out / "notes.json").write_text(json.dumps({"bytes seen": seen}))
    run.log({"loss": 0.5})
    made, again = [
        training.publish(out, collection="tuned", run=run, inputs=pins, aliases=["best"])
        for _ in range(2)
    ]
emit({"version": made.version, "commit": str(made.commit), "same": made == again,
      "data": sorted(path.name for path in data.rglob("*")), "seen": seen})
"""
LOOK = """
api = wandb.Api()
made = api.artifact("p/tuned:best")
made.download(root=sys.argv[1])
run = made.logged_by()
emit({"run": run.id, "config": run.config, "names": [a.name for a in run.used_artifacts()],
      "logged": [a.name for a in run.logged_artifacts()]})
"""


def test_training_from_commits_to_a_commit(small: World, tmp_path: Path) -> None:
    """Refused without pins; with them: fetched, trained, published, downloaded by a plain client.

    Published twice it is one commit and one version, and backfill leaves it alone.
    """
    refused = small.sdk(REFUSED, fails=True)
    pins = small.pins({"DATASET": "ds:best", "MODEL": "model:production"})
    small.reset_stats()
    made = small.sdk(TRAIN, json.dumps(pins))
    uploaded = small.stats()["bytes_uploaded"]
    held = [path for path in small.folder.rglob("*") if path.is_file() and _holds_mark(path)]
    seen = small.sdk(LOOK, str(tmp_path / "plain"))
    again = small.backfill()
    verified = small.syncd("verify", "--json", f"{small.target}/tuned").document
    back = small.syncd("resolve", "--json", made["commit"]).document

    assert "OXEN_DATASET_COMMIT is not set" in refused
    assert "OXEN_MODEL_COMMIT is not set" in refused
    assert (made["same"], made["seen"]) == (True, 6000 + 9000)
    assert made["data"] == ["shared.bin", "train.bin"]
    assert uploaded < len(MARK) * 1000  # run files and a manifest
    assert {path.relative_to(small.folder).parts[0] for path in held} == {"oxen", "sdk-1"}
    assert (
        tree(tmp_path / "plain")["weights.bin"] == tree(small.folder / "sdk-1/out")["weights.bin"]
    )
    assert set(tree(tmp_path / "plain")) == {"weights.bin", "notes.json"}
    assert (seen["run"], seen["logged"]) == ("tuned", ["tuned:v0"])
    assert {name.partition(":")[0] for name in seen["names"]} == {"ds", "model"}
    config = seen["config"]
    assert config["dataset_commit"] == pins["OXEN_DATASET_COMMIT"]
    assert config["base_model_commit"] == pins["OXEN_MODEL_COMMIT"]
    assert f"{config['output_model_repo']}@{config['output_model_commit']}" == made["commit"]
    assert again["versions"]["replaced"] == 0
    reasons = {item["version"]: item["reason"] for item in again["skipped"]}
    assert reasons[made["version"]] == f"born in Oxen as {made['commit']}"
    assert (verified["verified"], verified["failed"]) == (1, 0)
    assert back["wandb"]["source"] == made["version"]


def _holds_mark(path: Path) -> bool:
    return MARK in path.read_bytes()
