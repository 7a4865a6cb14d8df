"""An artifact made by somebody who means harm: its bad names stay in W&B and reach no disk."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from acceptance_project import content, sums
from acceptance_state import manifest, oxen_state, raw
from acceptance_world import World

GOOD = {"good.bin": content("good"), "a/b": content("a/b")}
_CREATE = """
mutation Create($input: CreateArtifactInput!) {
  createArtifact(input: $input) { artifact { id } }
}
"""
_FILES = """
mutation Files($input: CreateArtifactFilesInput!) {
  createArtifactFiles(input: $input) {
    files { edges { node { uploadUrl uploadHeaders } } }
  }
}
"""
_MANIFEST = """
mutation Manifest($input: CreateArtifactManifestInput!) {
  createArtifactManifest(input: $input) {
    artifactManifest { file { uploadUrl uploadHeaders } }
  }
}
"""
_COMMIT = """
mutation Commit($id: ID!) { commitArtifact(input: {artifactID: $id}) { artifact { id } } }
"""
_PROJECT = """
mutation Project($project: String!, $entity: String!) {
  upsertModel(input: {name: $project, entityName: $entity}) { model { id } }
}
"""


def test_names_that_would_leave_the_store_stay_in_wandb(empty: World, tmp_path: Path) -> None:
    """The plan says why, the rest of the version moves, and nothing is written elsewhere."""
    absolute = tmp_path / "evil-absolute"
    hostile = [
        "../evil-parent",
        "../../../evil-parents",
        "folder/../../evil-inner",
        str(absolute),
        "nul\0evil",
        "line\nevil",
        ".oxen/config.toml",
        "folder/.oxen/HEAD",
        ".oxenignore",
        ".syncd/lineage.json",
        "back\\slash",
        "a",  # a file where `a/b` needs a folder
        ".",
        "..",
        "x/",
        "",
        "x" * 300,
    ]
    files = {**GOOD, **{name: content(name) for name in hostile}}
    _log(empty, files)
    before = _outside(empty)

    plan = empty.syncd("plan", "--json").document
    report = empty.backfill()

    stays = {item["path"]: item["reason"] for item in plan["versions"][0]["stays"]}
    assert stays.keys() == set(hostile)
    assert all(stays.values())
    assert [item["entries_moved"] for item in report["replacements"]] == [len(GOOD)]
    was, now = (manifest(version) for version in raw(empty)[0]["ds"])
    assert {path for path, entry in now.items() if "ref" in entry} == GOOD.keys()
    assert {path: now[path] for path in hostile} == {path: was[path] for path in hostile}
    assert _outside(empty) == before
    assert not absolute.exists()
    assert not list(tmp_path.rglob("*evil*"))
    (repo,) = oxen_state(empty.store, tmp_path / "scratch").values()
    (commit,) = repo["commits"].values()
    assert commit["files"] == sums(GOOD)
    assert commit["lineage"]["omitted"].keys() == set(hostile)
    assert empty.syncd("verify", "--json").document["failed"] == 0


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://127.0.0.1:9/x", "/etc/hostname"])
def test_reference_of_a_hostile_artifact_is_never_read(empty: World, url: str) -> None:
    """It stays the reference it was."""
    entry = {"digest": "x", "ref": url, "size": 4096}
    _log(empty, GOOD, {"linked": entry})
    report = empty.backfill()

    assert [item["entries_moved"] for item in report["replacements"]] == [len(GOOD)]
    assert manifest(raw(empty)[0]["ds"][1])["linked"] == entry


def _outside(world: World) -> set[str]:
    """What lies beside the folders that syncd may write to."""
    own = (world.store, world.state, world.folder / "home", world.folder / "data")
    return {
        str(path)
        for path in world.folder.parent.rglob("*")
        if not any(path.is_relative_to(folder) for folder in own)
    }


def _log(
    world: World, files: Mapping[str, bytes], more: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Log a version as no SDK would, with requests of its own."""
    world.gql(_PROJECT, project="p", entity=world.entity)
    names = {"entityName": world.entity, "projectName": "p"}
    kind = {"artifactTypeName": "dataset", "artifactCollectionName": "ds", "digest": "0" * 32}
    made = world.gql(_CREATE, input={**names, **kind})["createArtifact"]["artifact"]["id"]
    specs = [
        {"artifactID": made, "name": f"file-{number}", "md5": _md5(data)}
        for number, data in enumerate(files.values())
    ]
    announced = world.gql(_FILES, input={"artifactFiles": specs})["createArtifactFiles"]["files"]
    for edge, data in zip(announced["edges"], files.values(), strict=True):
        _upload(world, edge["node"], data)
    entries: dict[str, Any] = {
        path: {"digest": _md5(data), "size": len(data), "birthArtifactID": made}
        for path, data in files.items()
    }
    head = {"version": 1, "storagePolicy": "wandb-storage-policy-v1"}
    body = json.dumps(
        {
            **head,
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": {**entries, **(more or {})},
        }
    ).encode()
    target = {"artifactID": made, "name": "wandb_manifest.json", "type": "FULL"}
    answer = world.gql(_MANIFEST, input={**names, **target, "digest": _md5(body)})
    _upload(world, answer["createArtifactManifest"]["artifactManifest"]["file"], body)
    world.gql(_COMMIT, id=made)


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _upload(world: World, node: Mapping[str, Any], data: bytes) -> None:
    headers = dict(header.split(":", 1) for header in node["uploadHeaders"])
    world.http.put(node["uploadUrl"], content=data, headers=headers).raise_for_status()
