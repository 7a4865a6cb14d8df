"""What was restored, and moved again, is still one version: for W&B, for Oxen, for the catalog."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lineage_world import Lived
from moved_project import NOW, MovedProject

from syncd.clients.artifacts import Version
from syncd.lineage.graph import Graph, Neighbours, walk
from syncd.operations.inquiry import Question, Teller, ask
from syncd.operations.restoration import restore_commit
from syncd.refs import ArtifactRef, OxenURL, RunRef, Target
from syncd.versions.deployments import Served
from syncd.versions.relatives import relatives

NAME = "team/proj/ds:v0"
WANTED = {("prepare", "ds:v0"), ("ds:v0", "train"), ("train", "model:v0")}


@pytest.fixture
def old(moved: MovedProject) -> Version:
    """A dataset that was moved, and of which a model was trained that was moved, too."""
    source, descent = moved.source, moved.catalog.descent
    old = source.log("ds", {"data": b"payload"}, run=source.add_run("prepare"))
    train = source.add_run("train")
    source.record_use(train, old)
    model = source.log("model", {"w": b"weights"}, run=train, kind="model")
    for version in (old, model):
        descent.keep_versions(relatives([version, moved.move(version)]))
    for run in ("prepare", "train"):
        keep(moved, run)
    return old


def keep(moved: MovedProject, run: str) -> None:
    """Let the catalog see a run."""
    moved.catalog.descent.keep(moved.source.run(RunRef.parse(f"team/proj/runs/{run}")))


def in_place(_moved: MovedProject, _old: Version) -> None:
    """Nothing is taken out of W&B."""


def reclaimed(moved: MovedProject, old: Version) -> None:
    """W&B has the replacement alone."""
    moved.source.remove(moved.source.version(old.id))


def restored(moved: MovedProject, old: Version) -> None:
    """The files are in W&B again."""
    del old
    assert moved.restore("team/proj/ds")["failures"] == []


def moved_again(moved: MovedProject, old: Version) -> None:
    """What came back was named, and moved."""
    del old
    *_, back = (v for v in moved.source.versions(Target.parse("team/proj/ds")) if v.aliases)
    made = moved.move(back)
    moved.catalog.descent.keep_versions(relatives([moved.source.version(back.id), made]))


def lost(moved: MovedProject, old: Version) -> None:
    """W&B has lost all of it, and gets it from the commit."""
    made = next(moved.source.versions(Target.parse("team/proj/ds:v1")))
    commit = moved.link(made).commit
    for version in (made, old):
        moved.source.expire(version)
    done = restore_commit(moved.runtime, OxenURL.parse(str(commit)), lambda: NOW).document()
    assert [item["restored"] for item in done["restored"]] == ["team/proj/ds:v2"]


Step = Callable[[MovedProject, Version], None]


@pytest.mark.parametrize(
    ("steps", "now"),
    [
        ([in_place], "v1"),
        ([restored], ""),
        ([restored, moved_again], "v1"),
        ([reclaimed, restored], "v2"),
        ([reclaimed, restored, moved_again], "v1"),
        ([reclaimed, restored, moved_again, restored], "v2"),
    ],
    ids=lambda value: "-".join(step.__name__ for step in value) if isinstance(value, list) else "",
)
def test_all_three_tell_the_same_of_what_came_back(
    moved: MovedProject, old: Version, steps: list[Step], now: str
) -> None:
    """Its name, its commit, what was made of it; the catalog and W&B also what W&B has of it now."""
    commit = moved.link(next(moved.source.versions(Target.parse("team/proj/ds:v1")))).commit
    for step in steps:
        step(moved, old)
    lived = Lived(moved=moved)
    graphs = [around(end) for end in (lived.catalog(), lived.wandb(), lived.oxen())]

    assert [named(graph) for graph in graphs] == [WANTED] * 3
    assert [graph.start.commit for graph in graphs] == [commit] * 3
    expected = f"team/proj/ds:{now}" if now else ""
    assert [graph.start.replacement for graph in graphs[:2]] == [expected] * 2


@pytest.mark.parametrize(("steps", "now"), [([lost], "v2"), ([lost, moved_again], "v3")])
def test_what_was_made_again_from_its_commit_says_what_it_was(
    moved: MovedProject, old: Version, steps: list[Step], now: str
) -> None:
    """W&B has forgotten who used it; that it is the version of that commit it knows."""
    for step in steps:
        step(moved, old)
    lived = Lived(moved=moved)
    starts = [around(end).start for end in (lived.catalog(), lived.wandb())]

    assert {(start.name, start.replacement) for start in starts} == {(NAME, f"team/proj/ds:{now}")}
    [commit] = {start.commit for start in starts}
    assert commit is not None
    there = lived.oxen().find(commit)
    assert there is not None
    assert there.name == NAME


def test_what_came_back_from_its_commit_and_moved_again_is_one_node_in_oxen(
    moved: MovedProject, old: Version
) -> None:
    """Whoever used the one used the same data as whoever used the other; both commits are named."""
    first = moved.link(next(moved.source.versions(Target.parse("team/proj/ds:v1")))).commit
    lost(moved, old)
    moved_again(moved, old)
    made = next(moved.source.versions(Target.parse("team/proj/ds:v3")))
    again = moved.link(made).commit
    later = moved.source.add_run("later")
    moved.source.record_use(later, made)
    moved.move(moved.source.log("model", {"w": b"more weights"}, run=later, kind="model"))
    neighbours = Lived(moved=moved).oxen()
    graph = around(neighbours)

    assert again != first
    assert named(graph) == {*WANTED, ("ds:v0", "later"), ("later", "model:v2")}
    assert [node.commit for node in graph.nodes.values() if node.name == NAME] == [first]
    assert any(str(first) in note and str(again) in note for note in graph.notes)
    for ref in (again, first, ArtifactRef.parse("team/proj/ds:v2")):
        there = Lived(moved=moved).oxen().find(ref)
        assert there is not None
        assert (there.name, there.commit) == (NAME, first)
    upwards = Lived(moved=moved).oxen()
    model = upwards.find(ArtifactRef.parse("team/proj/model:v2"))
    assert model is not None
    assert ("ds:v0", "later") in named(walk(upwards, model, down=0))
    newest = Lived(moved=moved).oxen().find(ArtifactRef.parse("team/proj/ds:latest"))
    assert newest is not None
    assert (newest.name, newest.aliases) == (NAME, ("latest",))


def test_what_serves_the_later_commit_serves_that_version(
    moved: MovedProject, old: Version
) -> None:
    """An endpoint names the commit that was the version's when it was deployed."""
    lost(moved, old)
    moved_again(moved, old)
    again = moved.link(next(moved.source.versions(Target.parse("team/proj/ds:v3")))).commit
    served = Served(endpoint="live", version="team/proj/ds:v2", commit=again, since="", by="")
    question = Question(ref=NAME, teller=Teller.OXEN, users=[served])
    graph = ask(question, moved.runtime).graph

    assert ("ds:v0", "live") in named(graph)


def test_who_uses_what_came_back_uses_the_same_data(moved: MovedProject, old: Version) -> None:
    """W&B tells such a run of nothing but ordinary files under another number."""
    reclaimed(moved, old)
    restored(moved, old)
    back = next(moved.source.versions(Target.parse("team/proj/ds:latest")))
    run = moved.source.add_run("later")
    moved.source.record_use(run, back)
    moved.catalog.descent.keep(moved.source.run(run))
    lived = Lived(moved=moved)
    graphs = [around(end) for end in (lived.catalog(), lived.wandb())]

    assert back.ref.alias == "v2"
    assert [named(graph) for graph in graphs] == [{*WANTED, ("ds:v0", "later")}] * 2
    found = lived.catalog().find(back.ref)
    assert found is not None
    assert found.name == NAME


def around(neighbours: Neighbours) -> Graph:
    """All that lies around the dataset."""
    start = neighbours.find(ArtifactRef.parse(NAME))
    assert start is not None
    return walk(neighbours, start)


def named(graph: Graph) -> set[tuple[str, str]]:
    """The edges between the last parts of names."""
    names = {key: node.name.rpartition("/")[2] for key, node in graph.nodes.items()}
    return {(names[edge.source], names[edge.target]) for edge in graph.edges}
