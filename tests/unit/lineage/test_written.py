"""A graph written down: JSON, Mermaid, Graphviz, OpenLineage; whatever names hold."""

from __future__ import annotations

import json
import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openlineage.client.event_v2 import RunState

from syncd.lineage import drawings
from syncd.lineage.events import UNKNOWN_TIME, Places, events
from syncd.lineage.graph import Edge, Graph, Kind, Node, Role, walk
from syncd.refs import CommitRef
from syncd.versions.deployments import Served

DATA = CommitRef.parse("oxen://team/proj-ds@0123456789abcdef0123")
WEIGHTS = CommitRef.parse("oxen://team/proj-model@fedcba9876543210fedc")
PLACES = Places(wandb="https://api.wandb.ai", oxen="https://hub.oxen.ai")
SERVED = Served(
    endpoint="search",
    version="team/proj/model:v0",
    commit=WEIGHTS,
    since="2026-03-01T00:00:00Z",
    by="ann",
)
# What begins or ends something in one of the two languages, or in a terminal.
HOSTILE = (
    '"',
    "`",
    "%%{init: {'theme': 'dark'}}%%",
    "<script>alert(1)</script>",
    "a\\",
    "\n  evil --> n0",
    "];\n  evil -> n0;",
    "#quot;",
    "&quot;",
    "\x1b[2J",
    "\u202egnp",
    "\ud800",
    "[bold]x[/bold]",
)


class Fixed:
    """Neighbours that are given."""

    def __init__(self, *edges: tuple[Node, Node, Role]) -> None:
        self.edges = edges

    def find(self, ref: object) -> Node | None:
        """See `Neighbours.find`."""
        del ref
        return None

    def above(self, nodes: object) -> list[tuple[Edge, Node]]:
        """See `Neighbours.above`."""
        return [(self._edge(*item), item[0]) for item in self.edges if item[1] in nodes]  # type: ignore[operator]

    def below(self, nodes: object) -> list[tuple[Edge, Node]]:
        """See `Neighbours.below`."""
        return [(self._edge(*item), item[1]) for item in self.edges if item[0] in nodes]  # type: ignore[operator]

    def unseen(self) -> list[str]:
        """See `Neighbours.unseen`."""
        return []

    @staticmethod
    def _edge(source: Node, target: Node, role: Role) -> Edge:
        return Edge(source=source.key, target=target.key, role=role)


def node(name: str, kind: Kind, **values: object) -> Node:
    """A node."""
    return Node(**{"key": name, "kind": kind, "name": name, **values})  # type: ignore[arg-type]


def story(name: str = "ds", **run: object) -> Graph:
    """Data, a run, a model, and the endpoint that serves it."""
    data = node(f"team/proj/{name}:v1", Kind.DATASET, type="dataset", commit=DATA)
    raw = node("team/proj/raw:v0", Kind.ARTIFACT, type=name)
    job = node(
        "team/proj/runs/r1",
        Kind.RUN,
        **{"label": name, "state": "finished", "created_at": "2026-02-01T00:00:00", **run},
    )
    model = node(
        "team/proj/model:v0", Kind.MODEL, type="model", aliases=(name,), commit=WEIGHTS,
        created_at="2026-02-02T00:00:00Z",
    )  # fmt: skip
    edges = ((data, job, Role.INPUT), (raw, job, Role.INPUT), (job, model, Role.OUTPUT))
    return walk(Fixed(*edges), model, users=[SERVED])


def test_json_names_nodes_by_numbers_and_how_far_they_are() -> None:
    """The start is number 0."""
    found = json.loads(json.dumps(drawings.document(story())))

    assert found["start"] == found["nodes"][0]["name"] == "team/proj/model:v0"
    assert [(item["name"], item["above"], item["below"]) for item in found["nodes"]] == [
        ("team/proj/model:v0", None, None),
        ("team/proj/runs/r1", 1, None),
        ("team/proj/raw:v0", 2, None),
        ("team/proj/ds:v1", 2, None),
        ("search", None, 1),
    ]
    assert {(item["source"], item["target"], item["role"]) for item in found["edges"]} == {
        (1, 0, "output"),
        (2, 1, "input"),
        (3, 1, "input"),
        (0, 4, "served"),
    }
    assert found["nodes"][0]["oxen"] == str(WEIGHTS)


# What a line of a drawing may be; a label has nothing in it that ends it.
MERMAID = re.compile(
    r"flowchart LR"
    r"|  n\d+(?:\[\(|\(\[|\[/|\[|\(\(|\{\{)\"(?:[^\"`<%{}$&]|<br/>)*\"(?:\)\]|\]\)|/\]|\]|\)\)|\}\})"
    r"|  n\d+ -->\|(?:input|output|served)\| n\d+"
    r"|  style n0 stroke-width:3px"
)
DOT = re.compile(
    r"digraph lineage \{|  rankdir=LR;|\}"
    r"|  n\d+ \[label=\"(?:[^\"\\&]|&amp;|\\[\\\"n])*\", shape=[a-z]+(?:, penwidth=3)?\];"
    r"|  n\d+ -> n\d+ \[label=\"(?:input|output|served)\"\];"
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_do_not_get_out_of_their_labels(name: str) -> None:
    """A drawing of hostile names has as many lines as one of tame names, each as it should be."""
    for draw, line_of in ((drawings.mermaid, MERMAID), (drawings.dot, DOT)):
        lines = list(draw(story(name)))
        assert len(lines) == len(list(draw(story())))
        assert [line for line in lines if not line_of.fullmatch(line)] == []
        assert all(sign.isprintable() for line in lines for sign in line)


@given(name=st.text(min_size=1))
def test_every_name_can_be_written_down(name: str) -> None:
    """Each in every language, one line a node, in UTF-8."""
    graph = story(name.replace(":", ""))
    for lines in (list(drawings.mermaid(graph)), list(drawings.dot(graph))):
        text = "\n".join(lines)
        assert len(text.encode().splitlines()) == len(lines)


def test_events_tell_each_run_with_what_it_read_and_wrote() -> None:
    """A version in Oxen is its repository at a commit; another is its collection in W&B."""
    run, endpoint = events(story(), PLACES)
    read = {item["name"]: item for item in run["inputs"]}
    [written] = run["outputs"]

    assert (run["eventType"], run["eventTime"]) == ("COMPLETE", "2026-02-01T00:00:00+00:00")
    assert (run["job"]["namespace"], run["job"]["name"]) == ("wandb://api.wandb.ai", "team/proj")
    assert run["run"]["facets"]["externalQuery"]["externalQueryId"] == "team/proj/runs/r1"
    assert {(item["namespace"], item["name"]) for item in run["inputs"]} == {
        ("oxen://hub.oxen.ai", "team/proj-ds"),
        ("wandb://api.wandb.ai", "team/proj/raw"),
    }
    assert read["team/proj-ds"]["facets"]["version"]["datasetVersion"] == DATA.commit
    assert read["team/proj/raw"]["facets"]["version"]["datasetVersion"] == "v0"
    [link] = written["facets"]["symlinks"]["identifiers"]
    assert (link["namespace"], link["name"]) == ("wandb://api.wandb.ai", "team/proj/model")
    assert (endpoint["job"]["name"], endpoint["inputs"][0]["name"]) == ("search", "team/proj-model")
    assert endpoint["eventTime"] == "2026-03-01T00:00:00+00:00"


def test_the_same_run_has_the_same_uuid_for_everybody() -> None:
    """Catalogs of lineage join what several tell by it."""
    ids = [events(story(name), PLACES)[0]["run"]["runId"] for name in ("ds", "other")]

    assert ids[0] == ids[1]
    assert UUID(ids[0]).version == 5


@pytest.mark.parametrize(
    ("state", "told"),
    [("failed", RunState.FAIL), ("running", RunState.RUNNING), ("killed", RunState.ABORT),
     ("something new", RunState.OTHER), ("", RunState.COMPLETE)],
)  # fmt: skip
def test_events_tell_how_a_run_ended(state: str, told: RunState) -> None:
    """In OpenLineage's words."""
    assert events(story(state=state), PLACES)[0]["eventType"] == told.value


def test_a_run_of_unknown_time_has_that_of_what_it_logged() -> None:
    """Or none, rather than this moment, which would be another one each time."""
    graph = story(created_at="")
    assert events(graph, PLACES)[0]["eventTime"] == "2026-02-02T00:00:00+00:00"
    assert events(story(created_at="yesterday"), PLACES)[0]["eventTime"] == UNKNOWN_TIME


def test_repositories_in_a_folder_are_files_and_folders_of_one_repository_are_datasets() -> None:
    """As OpenLineage names what lies in a file system."""
    places = Places(
        wandb="http://127.0.0.1:8080",
        oxen="file:///srv/oxen",
        folder=lambda ref, type_: f"{type_}/{ref.collection}",
    )
    [written] = events(story(), places)[0]["outputs"]

    assert (written["namespace"], written["name"]) == (
        "file",
        "/srv/oxen/team/proj-model/model/model",
    )
