"""Lineage from Oxen alone: what commits say, read with care for what they may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from syncd.clients.commits import Author, TreeEntry
from syncd.lineage.from_oxen import OxenNeighbours
from syncd.lineage.graph import Graph, walk
from syncd.refs import ArtifactRef, CommitRef, RepoRef, RunRef
from syncd.testing import MemoryVersionStore
from syncd.versions.plans import LINEAGE_PATH

ANN = Author(name="ann", email="ann@wandb.invalid")


class Repositories:
    """A store in which a test writes lineage files."""

    def __init__(self) -> None:
        self.store = MemoryVersionStore()

    def commit(
        self, name: str, document: object, *branches: str, folder: str = "", message: str = "x"
    ) -> CommitRef:
        """Commit a lineage file to a repository of the name, and point branches at it."""
        repo = RepoRef(namespace="team", repo=name)
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        stored = self.store.put(repo, [data])
        path = f"{folder}/{LINEAGE_PATH}" if folder else LINEAGE_PATH
        tree = [TreeEntry(path=path, hash=stored.hash, size=stored.size)]
        made = self.store.commit(repo, branch="main", tree=tree, message=message, author=ANN)
        for branch in branches:
            self.store.set_branch(made, branch)
        return made

    def asked(self, **values: Any) -> OxenNeighbours:
        """Who answers from there."""
        return OxenNeighbours(self.store, lambda: self.store.repositories("team"), **values)


def told(ref: str, *inputs: dict[str, Any], run: str = "", **values: Any) -> dict[str, Any]:
    """A lineage file."""
    artifact = {"ref": ref, "id": f"id of {ref}", "type": "dataset", **values}
    logged_by = {"ref": f"team/proj/runs/{run}", "name": run, "url": f"https://w/{run}"}
    return {
        "artifact": artifact,
        "files": {},
        "inputs": list(inputs),
        "omitted": {},
        "references": {},
        "run": logged_by if run else None,
    }


def used(name: str, oxen: object, **values: Any) -> dict[str, Any]:
    """An input."""
    return {"artifact": name, "type": "dataset", "oxen": str(oxen) if oxen else None, **values}


def around(neighbours: OxenNeighbours, ref: ArtifactRef | RunRef | CommitRef) -> Graph:
    """All that lies around a name."""
    start = neighbours.find(ref)
    assert start is not None
    return walk(neighbours, start)


def edges(graph: Graph) -> set[tuple[str, str]]:
    """Between the last parts of names."""
    names = {key: node.name.rpartition("/")[2] for key, node in graph.nodes.items()}
    return {(names[edge.source], names[edge.target]) for edge in graph.edges}


@pytest.fixture
def oxen() -> Repositories:
    """An empty one."""
    return Repositories()


def test_up_from_a_commit_no_other_repository_is_asked_for(oxen: Repositories) -> None:
    """Each commit names the next; only the way down needs all of them."""
    data = oxen.commit("ds", told("team/proj/ds:v0"), "wandb/v0")
    model = oxen.commit(
        "model", told("team/proj/model:v0", used("team/proj/ds:v0", data), run="train"), "wandb/v0"
    )
    neighbours = oxen.asked()
    start = neighbours.find(model)
    assert start is not None
    graph = walk(neighbours, start, down=0)

    assert edges(graph) == {("ds:v0", "train"), ("train", "model:v0")}
    assert graph.notes == []
    assert oxen.store.calls["repositories"] == 0


def test_an_input_that_had_no_commit_yet_is_found_when_it_has_one(oxen: Repositories) -> None:
    """By its GraphQL id, or its name."""
    for number, item in enumerate(({"id": "id of team/proj/ds:v0"}, {})):
        name = "team/proj/ds:v0" if not item else "renamed since"
        oxen.commit(
            f"model{number}",
            told(f"team/proj/model{number}:v0", used(name, None, **item), run=f"r{number}"),
            "wandb/v0",
        )
    oxen.commit("ds", told("team/proj/ds:v0"), "wandb/v0")

    assert edges(around(oxen.asked(), ArtifactRef.parse("team/proj/ds:v0"))) == {
        ("ds:v0", "r0"),
        ("r0", "model0:v0"),
        ("ds:v0", "r1"),
        ("r1", "model1:v0"),
    }


def test_a_version_that_was_born_in_oxen_has_its_branchs_number(oxen: Repositories) -> None:
    """W&B numbered it after the commit was made; its aliases are the branches at its commit."""
    made = oxen.commit(
        "model", told("team/proj/model", run="train", id=""), "wandb/v7", "production", "latest"
    )
    node = oxen.asked().find(made)
    assert node is not None

    assert (node.name, node.aliases) == ("team/proj/model:v7", ("latest", "production"))
    for alias in ("v7", "production"):
        assert oxen.asked().find(ArtifactRef.parse(f"team/proj/model:{alias}")) == node
    assert oxen.asked().find(ArtifactRef.parse("team/proj/model:staging")) is None


def test_what_is_no_lineage_file_is_told_and_leads_no_further(oxen: Repositories) -> None:
    """Somebody's own commit is no fault; a broken file is one."""
    broken = oxen.commit("broken", b"[]", "wandb/v0")
    repo = RepoRef(namespace="team", repo="own")
    own = oxen.store.commit(repo, branch="main", tree=[], message="mine", author=ANN)
    inputs = (used("team/proj/a:v0", broken), used("", own), used("team/proj/c:v0", "no name"))
    model = oxen.commit("model", told("team/proj/model:v0", *inputs, run="train"), "wandb/v0")
    graph = around(oxen.asked(), model)
    names = {node.name for node in graph.nodes.values() if not node.is_whole}

    assert names == {"team/proj/a:v0", str(own), "team/proj/c:v0"}
    assert any(str(broken) in note for note in graph.notes)
    assert not any(str(own) in note and "cannot be read" in note for note in graph.notes)


def test_runs_that_logged_nothing_which_moved_are_missed_aloud(oxen: Repositories) -> None:
    """An evaluation leaves no commit."""
    data = oxen.commit("ds", told("team/proj/ds:v0", run="prepare"), "wandb/v0")
    graph = around(oxen.asked(), data)

    assert edges(graph) == {("prepare", "ds:v0")}
    assert graph.notes == [
        "runs that logged nothing which was moved to Oxen are not seen from there"
    ]
    assert oxen.asked().find(RunRef.parse("team/proj/runs/prepare")) is not None
    assert oxen.asked().find(RunRef.parse("team/proj/runs/evaluate")) is None


def test_versions_in_folders_of_one_repository_are_told_apart(oxen: Repositories) -> None:
    """A commit's trailers say whose it is, and so where its file lies."""

    def message(ref: str) -> str:
        return f"x\n\nWandb-Artifact: {ref}\nWandb-Artifact-Type: dataset"

    folder: Callable[[ArtifactRef, str], str] = lambda ref, _type: ref.collection  # noqa: E731
    data = oxen.commit(
        "all",
        told("team/proj/ds:v0"),
        "ds/wandb/v0",
        "ds/gold",
        folder="ds",
        message=message("team/proj/ds:v0"),
    )
    oxen.commit(
        "all",
        told("team/proj/model:v0", used("team/proj/ds:v0", data), run="train"),
        "model/wandb/v0",
        folder="model",
        message=message("team/proj/model:v0"),
    )
    graph = around(oxen.asked(folder=folder), ArtifactRef.parse("team/proj/ds:gold"))

    assert edges(graph) == {("ds:v0", "train"), ("train", "model:v0")}
    assert graph.start.aliases == ("gold",)
