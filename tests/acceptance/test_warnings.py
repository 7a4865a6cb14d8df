"""`syncd plan` warns of what a replacement would set off, as the unmodified SDK made it."""

from __future__ import annotations

from acceptance_world import World

CHANGING = {"CreateArtifact", "AddAliases", "UseArtifact", "UpdateArtifact", "UpsertBucket"}
SURROUND = """
from wandb.automations import DoNothing, OnAddArtifactAlias, OnCreateArtifact, ArtifactEvent
api = wandb.Api()
ds, project = api.artifact_collection("dataset", "p/ds"), api.project("p")
api.create_automation(OnCreateArtifact(scope=ds) >> DoNothing(), name="retrain")
api.create_automation(
    OnAddArtifactAlias(scope=project, filter=ArtifactEvent.alias.eq("production")) >> DoNothing(),
    name="deploy")
api.create_automation(
    OnAddArtifactAlias(scope=project, filter=ArtifactEvent.alias.eq("never")) >> DoNothing(),
    name="unrelated")
api.artifact("p/model:v0").link("q/shelf", aliases=["good"])
artifact = api.artifact("p/ds:v1")
import datetime
artifact.ttl = datetime.timedelta(days=2)
artifact.save()
"""


def test_a_plan_warns_of_automations_consumers_links_and_lives_that_end(small: World) -> None:
    """In `--json` as data, and in words; for a request a collection and one an entity."""
    small.sdk(SURROUND)
    small.reset_stats()
    document = small.syncd("plan", "--json").document
    asked = small.stats()["graphql"]
    words = small.syncd("plan").out
    ds, model = f"{small.target}/ds", f"{small.target}/model"
    found = {(item["version"], item["kind"]): item["text"] for item in document["warnings"]}

    assert found.keys() == {
        (f"{ds}:v0", "automation"),
        (f"{ds}:v0", "consumers"),
        (f"{ds}:v1", "automation"),
        (f"{ds}:v1", "ttl"),
        (f"{model}:v0", "automation"),
        (f"{model}:v0", "consumers"),
        (f"{model}:v0", "link"),
    }
    assert "'retrain'" in found[f"{ds}:v0", "automation"]
    assert "'deploy'" in found[f"{model}:v0", "automation"]
    assert f"{small.target}/runs/train" in found[f"{ds}:v0", "consumers"]
    assert "sandbox/q/shelf as good, latest" in found[f"{model}:v0", "link"]
    assert all(text in words for text in found.values())
    assert asked["GetEntityAutomations"] == 1
    assert (
        asked["ProjectArtifacts"] == 4
    )  # twice a collection: its versions, and what is around them
    assert not CHANGING & asked.keys()
