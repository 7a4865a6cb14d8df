"""What a migration leaves behind, read without syncd, in words that two runs can be compared by.

Commit ids, ports and times differ from run to run; in their place stands the version they belong to.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import oxen  # type: ignore[import-untyped]  # ships no types
from acceptance_project import tree
from acceptance_world import PROJECT, World

LINEAGE = ".syncd/lineage.json"
_FOLDERS = "Make folders\n"
_STATE = """
query State($entity: String!, $project: String!) {
  project(entityName: $entity, name: $project) {
    artifactCollections(first: 100) { edges { node {
      __typename
      name
      artifacts(first: 1000, order: "+version_index") { edges { node {
        id versionIndex state digest size description metadata ttlDurationSeconds ttlIsInherited
        historyStep
        tags { name }
        aliases { alias }
        createdBy { ... on Run { name } }
        usedBy { edges { node { name } } }
        currentManifest { file { directUrl } }
      } } }
    } } }
    runs(first: 100) { edges { node {
      name displayName state config summaryMetrics historyLineCount createdAt heartbeatAt jobType
      tags group host
      inputArtifacts(first: 100) { edges { node { id } } }
      outputArtifacts(first: 100) { edges { node { id } } }
    } } }
  }
}
"""


def _nodes(connection: dict[str, Any]) -> list[dict[str, Any]]:
    return [edge["node"] for edge in connection["edges"]]


def manifest(version: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a version of `wandb_state`'s query."""
    answer = httpx.get(version["currentManifest"]["file"]["directUrl"], timeout=30)
    contents: dict[str, Any] = answer.raise_for_status().json()["contents"]
    return contents


def raw(world: World) -> tuple[dict[str, list[dict[str, Any]]], dict[str, dict[str, Any]]]:
    """Versions by collection, and runs by id, as the server tells them."""
    project = world.gql(_STATE, entity=world.entity, project=PROJECT)["project"]
    collections = {
        node["name"]: _nodes(node["artifacts"])
        for node in _nodes(project["artifactCollections"])
        if node["__typename"] == "ArtifactSequence"
    }
    return collections, {node["name"]: node for node in _nodes(project["runs"])}


def runs_but_config(world: World) -> dict[str, dict[str, Any]]:
    """All that W&B shows of runs, without their config and their lineage."""
    hidden = {"config", "inputArtifacts", "outputArtifacts"}
    return {
        name: {key: value for key, value in run.items() if key not in hidden}
        for name, run in raw(world)[1].items()
    }


def wandb_state(world: World) -> dict[str, Any]:
    """Everything of W&B that a migration may change."""
    collections, runs = raw(world)
    names = {
        version["id"]: f"{name}:v{version['versionIndex']}"
        for name, versions in collections.items()
        for version in versions
    }
    found: dict[str, Any] = {"collections": {}, "runs": {}}
    for name, versions in collections.items():
        found["collections"][name] = [
            {
                **{key: version[key] for key in ("state", "digest", "size", "description")},
                "metadata": _metadata(version),
                "ttl": (version["ttlDurationSeconds"], version["ttlIsInherited"]),
                "step": version["historyStep"],
                "tags": sorted(tag["name"] for tag in version["tags"]),
                "aliases": sorted(alias["alias"] for alias in version["aliases"]),
                "logged_by": (version["createdBy"] or {}).get("name"),
                "used_by": sorted(run["name"] for run in _nodes(version["usedBy"])),
                "manifest": manifest(version),
            }
            for version in versions
        ]
    for run_id, run in runs.items():
        found["runs"][run_id] = {
            **{key: run[key] for key in ("state", "summaryMetrics", "createdAt", "heartbeatAt")},
            "config": json.loads(run["config"] or "{}"),
            "inputs": sorted(names[item["id"]] for item in _nodes(run["inputArtifacts"])),
            "outputs": sorted(names[item["id"]] for item in _nodes(run["outputArtifacts"])),
        }
    return found


def _metadata(version: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads(version["metadata"] or "{}")
    if "oxen" in metadata:  # sums and times of a file that names commits and ports
        metadata["oxen"]["receipt"] = sorted(metadata["oxen"]["receipt"])
    return metadata


def oxen_state(store: Path, scratch: Path) -> dict[str, Any]:
    """Each repository's commits with their files, and its branches, as liboxen itself reads them.

    A commit that only makes folders holds no version and is on no branch: whether one is needed
    depends on what a process that was killed had left (`oxen_local.EmbeddedVersionStore.commit`).

    Args:
        store: the folder of the repositories; it is not touched.
        scratch: a folder for copies to read from.
    """
    found: dict[str, Any] = {}
    for config in sorted(store.glob("*/*/.oxen/config.toml")):
        folder = config.parents[1]
        name = folder.relative_to(store).as_posix()
        copy = scratch / name
        shutil.copytree(folder, copy)
        repo = oxen.Repo(str(copy))
        branches = {branch.name: branch.commit_id for branch in repo.branches()}
        commits: dict[str, Any] = {}
        messages = {commit.id: commit.message for commit in repo.log()}
        for commit in branches.values():  # a version that came late lies outside main's history
            messages.setdefault(commit, "")
        for commit, message in messages.items():
            if message.startswith(_FOLDERS) and commit not in branches.values():
                continue
            for path in copy.iterdir():
                if path.name != ".oxen":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            repo.restore(".", False, commit)
            files = {
                path: digest
                for path, digest in tree(copy).items()
                if not path.startswith(".oxen/") and path != LINEAGE
            }
            lineage = json.loads((copy / LINEAGE).read_bytes())
            commits[commit] = {"message": message, "files": files, "lineage": lineage}
        found[name] = {"commits": commits, "branches": branches}
        shutil.rmtree(copy)
    return found


def end_state(world: World, scratch: Path) -> dict[str, Any]:
    """W&B and Oxen together, in words that are the same for each run of the same migration."""
    repos = oxen_state(world.store, scratch)
    listed = {  # a list: two commits of one version must not fall into one
        name: {"branches": repo["branches"], "commits": list(repo["commits"].items())}
        for name, repo in repos.items()
    }
    state = {"wandb": wandb_state(world), "oxen": listed}
    text = json.dumps(state, sort_keys=True).replace(world.base_url, "http://wandb")
    for repo in repos.values():
        for commit, found in repo["commits"].items():
            version = found["lineage"]["artifact"]["ref"]
            text = text.replace(commit, f"commit of {version}")
    unnamed = re.findall(r"\b[0-9a-f]{31,32}\b(?=[@/])", text)
    assert not unnamed, f"commits that no branch leads to are named: {unnamed}"
    normal: dict[str, Any] = json.loads(text)
    return normal


def differences(left: Any, right: Any, where: str = "") -> list[str]:
    """Where two states differ, a line each."""
    if isinstance(left, dict) and isinstance(right, dict):
        return [
            line
            for key in sorted(left.keys() | right.keys())
            for line in differences(left.get(key), right.get(key), f"{where}/{key}")
        ]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [
            line
            for position, pair in enumerate(zip(left, right, strict=True))
            for line in differences(*pair, f"{where}/{position}")
        ]
    return [] if left == right else [f"{where}: {left!r} instead of {right!r}"]
