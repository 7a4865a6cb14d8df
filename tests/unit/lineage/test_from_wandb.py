"""Lineage from W&B alone: versions by all their names, what configs name, what is gone."""

from __future__ import annotations

from moved_project import PROJECT, MovedProject

from syncd.errors import NotFoundError
from syncd.lineage.from_wandb import WandbNeighbours
from syncd.lineage.graph import Graph, walk
from syncd.refs import ArtifactRef, CommitRef, RunRef
from syncd.testing import Fault


def around(moved: MovedProject, ref: ArtifactRef | RunRef | CommitRef) -> Graph:
    """All that lies around a name."""
    neighbours = WandbNeighbours(moved.source)
    start = neighbours.find(ref)
    assert start is not None
    return walk(neighbours, start)


def names(graph: Graph) -> list[str]:
    """The last parts of names, in their order."""
    return [node.name.rpartition("/")[2] for node in graph.nodes.values()]


def test_a_version_is_found_by_every_name_it_has(moved: MovedProject) -> None:
    """Its own, its replacement's, and that of what was restored from it; it is one version."""
    run = moved.source.add_run("train")
    old, made = moved.log_and_move("ds", {"data": b"payload"})
    moved.source.record_use(run, made)  # somebody who came later
    moved.source.remove(old)
    moved.restore()
    found = [around(moved, ArtifactRef.parse(f"team/proj/ds:v{number}")) for number in range(3)]

    assert {tuple(names(graph)) for graph in found} == {("ds:v0", "train")}
    assert found[0].start.replacement == "team/proj/ds:v2"
    assert found[0].start.aliases == ("latest",)


def test_a_commit_that_only_a_config_names_leads_to_its_version(moved: MovedProject) -> None:
    """Looked for in the run's project; one that W&B has no version of stands for itself."""
    _, made = moved.log_and_move("ds", {"data": b"payload"})
    inputs = {
        "oxen://team/proj-ds": str(moved.link(made).commit),
        "oxen://others/base": "oxen://others/base@abc123",
        "not a commit": "at all",
    }
    config = {"oxen": {"inputs": inputs, "outputs": {}}, "base_model_commit": "abc123"}
    run = moved.source.add_run("train", config=config)
    moved.source.log("model", {"w": b"weights"}, run=run, kind="model")
    graph = around(moved, ArtifactRef.parse("team/proj/model:v0"))
    kinds = {node.name: node.kind.value for node in graph.nodes.values()}

    assert names(graph) == ["model:v0", "train", "ds:v0", "base@abc123"]
    assert kinds["oxen://others/base@abc123"] == "model"


def test_a_version_is_found_by_its_commit(moved: MovedProject) -> None:
    """In the projects that were named."""
    _, made = moved.log_and_move("ds", {"data": b"payload"})
    neighbours = WandbNeighbours(moved.source, [PROJECT])
    node = neighbours.find(moved.link(made).commit)

    assert node is not None
    assert node.name == "team/proj/ds:v0"


def test_a_run_that_is_gone_is_told(moved: MovedProject) -> None:
    """Somebody deleted it; its version remains."""
    run = moved.source.add_run("train")
    moved.source.log("model", {"w": b"weights"}, run=run, kind="model")
    moved.source._call._faults = (Fault(method="run", error=NotFoundError("deleted"), at=1),)
    graph = around(moved, ArtifactRef.parse("team/proj/model:v0"))

    assert names(graph) == ["model:v0", "train"]
    assert graph.notes == ["W&B has no more: team/proj/runs/train"]


def test_who_used_a_version_and_who_used_its_replacement_used_the_same(
    moved: MovedProject,
) -> None:
    """W&B has two lists of users then, which differ from the day after the move on."""
    old, made = moved.log_and_move("ds", {"data": b"payload"})
    moved.source.record_use(moved.source.add_run("pinned"), old)
    moved.source.record_use(moved.source.add_run("new"), made)

    assert names(around(moved, ArtifactRef.parse("team/proj/ds:v0"))) == ["ds:v0", "new", "pinned"]
