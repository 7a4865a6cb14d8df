"""Faults that pass are outlasted; those that stay cost the one version they meet, and only for now."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptance_state import differences, end_state, oxen_state, wandb_state
from acceptance_world import Once, World, world

CALLS = (
    "ProjectArtifactCollections",
    "ProjectArtifacts",
    "ArtifactByID",
    "FetchArtifactManifest",
    "ArtifactMembershipFiles",
    "ArtifactUsedBy",
    "RunArtifacts",
    "Run",
    "CreateArtifact",
    "CreateArtifactManifest",
    "CommitArtifact",
    "AddAliases",
    "UseArtifact",
    "UpdateArtifact",
    "UpsertBucket",
)
LOG = """
with wandb.init(project="p", id="prepare") as run:
    for name, versions in {"flipped": 2, "cut": 1, "busy": 1, "hung-up": 1, "unlisted": 1, "good": 1}.items():
        for number in range(versions):
            artifact = wandb.Artifact(name, "dataset")
            with artifact.new_file(f"{name}-{number}.bin", mode="wb") as file:
                file.write(f"{name} {number}".encode() * 500)
            with artifact.new_file("good.bin", mode="wb") as file:
                file.write(f"good {name} {number}".encode() * 500)
            run.log_artifact(artifact, aliases=["latest", f"alias-{number}"]).wait()
"""
FOR_EVER = {
    "flipped:v0": ("download:flipped-0.bin", "corrupt", "transfer", "manifest says"),
    "cut:v0": ("download:cut-0.bin", "truncate:100", "transfer", "cut short"),
    "busy:v0": ("download:busy-0.bin", "status:503", "transfer", "503"),
    "hung-up:v0": ("download:hung-up-0.bin", "drop", "transfer", "connection off"),
    "unlisted:v0": ("manifest-download:6", "status:503", "plan", "503"),
}


@pytest.fixture
def many(once: Once, tmp_path: Path) -> Iterator[World]:
    """A world with a collection for each fault, and one for none."""

    def fill(folder: Path) -> None:
        with world(folder, folder / "data") as made:
            made.sdk(LOG)

    shutil.copytree(once("many", fill) / "data", tmp_path / "data")
    with world(tmp_path, tmp_path / "data") as made:
        yield made


def test_faults_that_pass_change_nothing_about_the_end(
    small: World, undisturbed: dict[str, Any]
) -> None:
    """Every call is refused, hung up on, and its answer lost; every file comes damaged twice."""
    for operation in CALLS:
        for action in ("status:503", "drop", "truncate:1"):
            small.fault(f"graphql:{operation}", action, times=1)
    for file, action in {
        "train.bin": "corrupt",
        "shared.bin": "truncate:100",
        "weights.bin": "status:503",
        "note": "drop",
    }.items():
        small.fault(f"download:{file}", action, times=2)
    small.fault("manifest-download:*", "status:503", times=2)
    small.fault("manifest-upload:*", "drop", times=2)
    # Below debug a server that comes and goes is told once a minute.
    done = small.syncd("backfill", "--json", "--log-level", "debug", impatient=True)

    assert done.document["versions"]["failed"] == 0
    assert done.err.count('"event": "call.retried"') >= 3 * len(CALLS)
    assert differences(end_state(small, small.folder / "scratch"), undisturbed) == []


def test_faults_that_stay_cost_only_the_versions_they_meet(many: World) -> None:
    """Each is quarantined with stage, cause and hint; the next run heals it, once the fault is gone."""
    before = wandb_state(many)["collections"]
    for match, action, _, _ in FOR_EVER.values():
        many.fault(match, action)
    report = many.backfill(code=3, impatient=True)
    quarantined = many.syncd("status", "--json").document["quarantined"]
    many.heal()
    between = wandb_state(many)["collections"]
    healed = many.backfill()

    assert report["versions"] == {"discovered": 7, "replaced": 2, "skipped": 0, "failed": 5}
    for failures in (report["failures"], quarantined):
        found = {item["version"]: item for item in failures}
        assert found.keys() == {f"{many.target}/{version}" for version in FOR_EVER}
        for version, (_, _, stage, cause) in FOR_EVER.items():
            item = found[f"{many.target}/{version}"]
            assert (item["stage"], cause in item["error"]) == (stage, True), item
            assert item["hint"]
    untouched = {name: before[name] for name in ("cut", "busy", "hung-up", "unlisted")}
    assert {name: between[name] for name in untouched} == untouched
    assert between["flipped"][0] == before["flipped"][0]
    assert len(between["flipped"]) == 3  # the other version was replaced
    assert len(between["good"]) == 2

    assert healed["versions"] == {"discovered": 7, "replaced": 5, "skipped": 2, "failed": 0}
    assert many.syncd("status", "--json").document["quarantined"] == []
    after = wandb_state(many)["collections"]
    assert {name: len(versions) for name, versions in after.items()} == {
        name: 2 * len(versions) for name, versions in before.items()
    }
    for name, versions in before.items():
        holders = {
            alias: found["metadata"]["oxen"]["source_version"]
            for found in after[name]
            for alias in found["aliases"]
        }
        assert holders == {
            alias: f"{many.target}/{name}:v{index}"
            for index, version in enumerate(versions)
            for alias in version["aliases"]
        }
    repo = oxen_state(many.store, many.folder / "scratch")["sandbox/p-flipped"]
    heads = {
        branch: repo["commits"][commit]["lineage"]["artifact"]["ref"].rpartition(":")[2]
        for branch, commit in repo["branches"].items()
    }
    assert heads == {
        "main": "v1",  # though v0 came last
        "wandb/v0": "v0",
        "alias-0": "v0",
        "wandb/v1": "v1",
        "alias-1": "v1",
        "latest": "v1",
    }


def test_expired_signed_url_is_renewed(small: World, undisturbed: dict[str, Any]) -> None:
    """A file whose turn comes late is fetched with a new URL."""
    small.http.post("/sandbox/settings", json={"url_ttl": 3}).raise_for_status()
    small.fault("download:*", "delay:3200", times=1)  # a URL is checked when the wait is over
    done = small.syncd("backfill", "--json", SYNCD_TRANSFER__CONCURRENCY="1")

    assert done.document["versions"]["failed"] == 0
    assert small.asked("ArtifactMembershipFiles") > 3  # one for each version, and one more
    assert differences(end_state(small, small.folder / "scratch"), undisturbed) == []


def test_urls_that_are_never_good_cost_the_version_and_heal(small: World) -> None:
    """A storage that refuses every URL is a failure of the version, with a hint."""
    small.fault("download:weights.bin", "status:403")
    report = small.backfill(code=3, impatient=True)
    small.heal()
    healed = small.backfill()

    (failure,) = report["failures"]
    assert failure["version"] == f"{small.target}/model:v0"
    assert (failure["stage"], "403" in failure["error"]) == ("transfer", True)
    assert failure["hint"]
    assert healed["versions"]["replaced"] == 1


def test_no_secret_is_told_or_kept(many: World) -> None:
    """Neither the API key nor a URL's signature, however much fails and however much is logged."""
    for match, action, _, _ in FOR_EVER.values():
        many.fault(match, action)
    many.syncd("backfill", "--log-level", "debug", code=3, impatient=True)
    many.fault("graphql:ProjectArtifacts", "status:403")
    many.syncd("backfill", "--json", "--log-level", "debug", code=1)
    many.heal()
    many.syncd("backfill", "--log-level", "debug")
    wrong = "canary" * 7
    many.syncd("backfill", "--log-level", "debug", code=1, WANDB_API_KEY=wrong)
    many.syncd("verify", "--log-level", "debug")
    many.syncd("config", "show")

    kept = {
        str(path): path.read_bytes()
        for folder in (many.state, many.store, many.folder / "home")
        for path in folder.rglob("*")
        if path.is_file()
    }
    kept["standard output and error"] = "".join(many.said).encode()
    assert len(kept) > 50
    basic = base64.b64encode(f"api:{many.api_key}".encode())  # the key as it travels
    for secret in (many.api_key.encode(), wrong.encode(), basic):
        assert [name for name, text in kept.items() if secret in text] == []
    signature = re.compile(rb"(?i)signature=(?!\[redacted\])")
    assert [name for name, text in kept.items() if signature.search(text)] == []
