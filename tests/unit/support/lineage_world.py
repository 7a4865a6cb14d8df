"""Projects whose lineage is known, in W&B, in Oxen and in the catalog, and a reference to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import networkx as nx
from hypothesis import strategies as st
from moved_project import MovedProject

from syncd.clients.artifacts import Version
from syncd.lineage.from_catalog import CatalogNeighbours
from syncd.lineage.from_oxen import OxenNeighbours
from syncd.lineage.from_wandb import WandbNeighbours
from syncd.lineage.graph import Graph, Neighbours, walk
from syncd.refs import ArtifactRef, RunRef
from syncd.stages.annotate import annotate
from syncd.versions.relatives import relatives

KINDS = ("dataset", "model", "evaluation", "other")
Edges = set[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a run does.

    Args:
        uses: of the versions that there are, by their numbers modulo their count.
        logs: the collection of each version that it logs, by number.
    """

    uses: tuple[int, ...] = ()
    logs: tuple[int, ...] = ()


@st.composite
def jobs(draw: st.DrawFn) -> list[Job]:
    """Runs in their order."""
    few = st.lists(st.integers(0, 40), max_size=3).map(tuple)
    made = st.lists(st.integers(0, 3), max_size=2).map(tuple)
    return draw(st.lists(st.builds(Job, uses=few, logs=made), min_size=1, max_size=6))


@dataclass(slots=True, kw_only=True)
class Lived:
    """What came of some jobs.

    Args:
        moved: both ends and the catalog.
        graph: names of versions and runs, edges as data flows.
        versions: as they were logged.
        runs: in their order.
    """

    moved: MovedProject
    graph: nx.DiGraph[str] = field(default_factory=nx.DiGraph)
    versions: list[Version] = field(default_factory=list)
    runs: list[RunRef] = field(default_factory=list)

    def keep(self, runs: Iterable[RunRef]) -> None:
        """Let the catalog see runs, as the workflow does when it writes their config."""
        for run in runs:
            annotate(self.moved.source, run, self.moved.catalog.descent.keep)

    def catalog(self) -> Neighbours:
        """The catalog's answer."""
        return CatalogNeighbours(self.moved.catalog.descent)

    def wandb(self) -> Neighbours:
        """W&B's answer."""
        return WandbNeighbours(self.moved.source)

    def oxen(self) -> Neighbours:
        """Oxen's answer."""
        return OxenNeighbours(self.moved.store, lambda: self.moved.store.repositories("team"))


def live(moved: MovedProject, done: Sequence[Job]) -> Lived:
    """Log what some runs do, and one version by hand before them."""
    lived = Lived(moved=moved)
    source = moved.source
    first = source.log("by-hand", {"data": b"by hand"})
    lived.versions.append(first)
    lived.graph.add_node(str(first.ref))
    for number, job in enumerate(done):
        run = source.add_run(f"r{number}")
        lived.runs.append(run)
        lived.graph.add_node(str(run))
        for index in job.uses:
            used = lived.versions[index % len(lived.versions)]
            source.record_use(run, used)
            lived.graph.add_edge(str(used.ref), str(run))
        for place, collection in enumerate(job.logs):
            files = {"data": f"of {number} {place}".encode()}
            name = KINDS[collection]
            made = source.log(name, files, kind=name, run=run)
            lived.versions.append(made)
            lived.graph.add_edge(str(run), str(made.ref))
    return lived


def move(lived: Lived, versions: Iterable[Version]) -> None:
    """Move versions as the path does, with what the catalog is told on the way."""
    moved = lived.moved
    for version in versions:
        made = moved.move(version)
        moved.catalog.descent.keep_versions(relatives([version, made]))
        around = {*moved.source.consumers(made), *([version.run] if version.run else [])}
        lived.keep(sorted(around, key=str))


def reclaim(lived: Lived, versions: Iterable[Version]) -> None:
    """Take versions out of W&B, whose replacements stay."""
    for version in versions:
        lived.moved.source.remove(lived.moved.source.version(version.id))


def asked(neighbours: Neighbours, name: str, up: int | None, down: int | None) -> Graph:
    """The graph around a name."""
    ref = RunRef.parse(name) if "/runs/" in name else ArtifactRef.parse(name)
    start = neighbours.find(ref)
    assert start is not None, f"{name} is not known"
    return walk(neighbours, start, up=up, down=down)


def named(graph: Graph) -> tuple[dict[str, int], dict[str, int], Edges]:
    """How far up and down each name is, and the edges between names."""
    names = {key: node.name for key, node in graph.nodes.items()}
    assert len(set(names.values())) == len(names), "two nodes have one name"
    return (
        {names[key]: distance for key, distance in graph.above.items()},
        {names[key]: distance for key, distance in graph.below.items()},
        {(names[edge.source], names[edge.target]) for edge in graph.edges},
    )


def expected(
    graph: nx.DiGraph[str], start: str, up: int | None, down: int | None
) -> tuple[dict[str, int], dict[str, int], Edges]:
    """The same of the reference."""
    edges: Edges = set()
    sides: list[dict[str, int]] = []
    for limit, way in ((up, graph.reverse()), (down, graph)):
        found = dict(nx.single_source_shortest_path_length(way, start, cutoff=limit))
        left = [name for name, distance in found.items() if limit is None or distance < limit]
        pairs = {(name, other) for name in left for other in way.successors(name)}
        edges |= {(b, a) for a, b in pairs} if way is not graph else pairs
        sides.append({name: distance for name, distance in found.items() if name != start})
    return sides[0], sides[1], edges
