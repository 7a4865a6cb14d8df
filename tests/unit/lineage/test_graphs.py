"""Generated projects: whoever is asked, the graph is the one that networkx finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_world import Job, asked, expected, jobs, live, move, named, reclaim
from moved_project import MovedProject

from syncd.catalog.catalog import Catalog
from syncd.lineage.graph import Edge, Kind, Node, Ref, Role, Step, walk

LIMITS = st.none() | st.integers(0, 5)
QUICK = settings(max_examples=12, deadline=None)


class Given:
    """Neighbours out of any digraph, circles and all."""

    def __init__(self, graph: nx.DiGraph[str]) -> None:
        self.graph = graph

    def find(self, ref: Ref) -> Node | None:
        """See `Neighbours.find`."""
        return self.node(str(ref))

    def node(self, name: str) -> Node:
        """A node."""
        return Node(key=name, kind=Kind.ARTIFACT, name=name)

    def above(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.above`."""
        for node in nodes:
            for name in self.graph.predecessors(node.key):
                yield Edge(source=name, target=node.key, role=Role.INPUT), self.node(name)

    def below(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.below`."""
        for node in nodes:
            for name in self.graph.successors(node.key):
                yield Edge(source=node.key, target=name, role=Role.INPUT), self.node(name)

    def unseen(self) -> Sequence[str]:
        """See `Neighbours.unseen`."""
        return ()


@contextmanager
def project() -> Iterator[MovedProject]:
    """An empty one; hypothesis wants one for each example."""
    with TemporaryDirectory() as folder:
        catalog = Catalog(f"sqlite:///{Path(folder)}/catalog.db")
        try:
            yield MovedProject(catalog)
        finally:
            catalog.close()


@given(
    pairs=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))),
    up=LIMITS,
    down=LIMITS,
)
def test_a_walk_finds_what_networkx_finds(
    pairs: list[tuple[str, str]], up: int | None, down: int | None
) -> None:
    """In any digraph, circles and loops included: the same nodes, as far away, the same edges."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node("a")
    graph.add_edges_from(pairs)
    given_ = Given(graph)
    found = walk(given_, given_.node("a"), up=up, down=down)

    assert named(found) == expected(graph, "a", up, down)


@QUICK
@given(done=jobs(), data=st.data(), up=LIMITS, down=LIMITS)
def test_all_three_tell_of_what_was_moved_what_networkx_finds(
    done: list[Job], data: st.DataObject, up: int | None, down: int | None
) -> None:
    """Also when some versions have been taken out of W&B since."""
    with project() as moved:
        lived = live(moved, done)
        move(lived, lived.versions)
        lived.keep(lived.runs)
        reclaim(lived, [version for version in lived.versions if data.draw(st.booleans())])
        start = data.draw(st.sampled_from(sorted(lived.graph)))
        wanted = expected(lived.graph, start, up, down)

        assert named(asked(lived.catalog(), start, up, down)) == wanted
        assert named(asked(lived.wandb(), start, up, down)) == wanted

        # Oxen knows the runs that logged something.
        seen = [name for name in lived.graph if "/runs/" not in name or lived.graph[name]]
        if start in seen:
            there = lived.graph.subgraph(seen)
            assert named(asked(lived.oxen(), start, up, down)) == expected(there, start, up, down)


@QUICK
@given(done=jobs(), data=st.data(), up=LIMITS, down=LIMITS)
def test_the_catalog_knows_what_lies_around_what_was_moved(
    done: list[Job], data: st.DataObject, up: int | None, down: int | None
) -> None:
    """And nothing that is not so: the runs next to moved versions, with all they used and logged."""
    with project() as moved:
        lived = live(moved, done)
        some = [version for version in lived.versions if data.draw(st.booleans())]
        move(lived, some)
        names = {str(version.ref) for version in some}
        read = {
            name
            for name in lived.graph
            if "/runs/" in name
            and names & {*lived.graph.predecessors(name), *lived.graph.successors(name)}
        }
        known: nx.DiGraph[str] = nx.DiGraph()
        known.add_nodes_from(names)
        known.add_edges_from(edge for edge in lived.graph.edges if read & {*edge})
        # What a run used names the run that logged it, which was not read itself.
        known.add_edges_from(
            (str(version.run), str(version.ref))
            for version in lived.versions
            if version.run and str(version.ref) in known
        )
        if not known:
            return
        start = data.draw(st.sampled_from(sorted(known)))
        found = asked(lived.catalog(), start, up, down)

        assert named(found) == expected(known, start, up, down)
        torn = {node.name for node in found.nodes.values() if not node.is_whole}
        assert torn <= {name for name in known if "/runs/" in name} - read
