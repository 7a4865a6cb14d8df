"""What is in production: one answer from every side, a promotion cut off, an endpoint rolled back."""

from __future__ import annotations

import json
import shutil
import sys

from acceptance_world import World

LOG_CANDIDATE = """
with wandb.init(project="p", id="retrain", config={"lr": 0.1}) as run:
    run.use_artifact("ds:best")
    artifact = wandb.Artifact("model", "model")
    with artifact.new_file("weights.bin", mode="wb") as file:
        file.write(b"v" * 9000)
    run.log_artifact(artifact).wait()
"""
# What a serving system is: it says what it serves, and keeps that in a file.
SERVE = "import os; open('serving', 'w').write(os.environ['SYNCD_VERSION']); print('live')"
ASKED = ("version", "commit", "run", "data")


def test_what_is_in_production_and_which_data_trained_it(small: World) -> None:
    """From W&B alone, Oxen alone, and a catalog that was made anew; through a cut off promotion."""
    endpoint = {"SYNCD_ENDPOINTS__SEARCH__COMMAND": json.dumps([sys.executable, "-c", SERVE])}
    model = f"{small.target}/model"
    small.sdk(LOG_CANDIDATE)
    small.backfill()
    small.syncd("deploy", f"{model}:production", "search", env=endpoint)
    former = (small.folder / "serving").read_text(encoding="utf-8")

    small.fault("graphql:AddAliases", "status:503")
    small.syncd("promote", f"{model}:latest", "production", "--by", "ann", code=5, impatient=True)
    small.heal()
    [both] = small.each(("production", model))[0]["production"]  # finishes what was cut off
    assert (both["by"], both["run"], both["problems"]) == (
        "ann",
        f"{small.target}/runs/retrain",
        [],
    )
    [data] = both["data"]
    assert (data["artifact"], data["type"]) == (f"{small.target}/ds:v1", "dataset")

    small.syncd("deploy", f"{model}:production", "search", env=endpoint)
    served = (small.folder / "serving").read_text(encoding="utf-8")
    small.syncd("endpoint", "rollback", "search", env=endpoint)
    assert (small.folder / "serving").read_text(encoding="utf-8") == former != served

    shutil.rmtree(small.state)
    small.syncd("catalog", "rebuild")
    asked = [("production", model, "--from", side) for side in ("wandb", "oxen", "catalog")]
    answers = [document["production"][0] for document in small.each(*asked)]
    for answer in answers:
        assert {key: answer[key] for key in ASKED} == {key: both[key] for key in ASKED}
    assert [answer["since"] for answer in answers[1:]] == [both["since"]] * 2
