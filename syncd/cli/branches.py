"""A lineage graph as two trees for the terminal: what a node comes from, and what came of it.

A graph is no tree: what was shown once is named where it occurs again, without what lies behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from syncd.lineage.drawings import printable
from syncd.lineage.graph import Graph, Kind, Node

MOST = 200  # nodes that are shown in each direction, the nearest first
STYLES = {
    Kind.RUN: "cyan",
    Kind.MODEL: "green",
    Kind.DATASET: "yellow",
    Kind.ENDPOINT: "magenta",
    Kind.FINE_TUNE: "cyan",
}


def trees(graph: Graph) -> Iterator[RenderableType]:
    """The start, the trees, and what could not be seen."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for edge in graph.edges:
        after.setdefault(edge.source, []).append(edge.target)
        before.setdefault(edge.target, []).append(edge.source)
    yield _line(graph.start)
    if graph.above:
        yield _tree("comes from", graph, before, graph.above)
    if graph.below:
        yield _tree("led to", graph, after, graph.below)
    if not graph.edges:
        yield Text("nothing is known to lie around it", style="dim")
    for note in graph.notes:
        yield Text(f"note: {printable(note)}", style="dim")


def _tree(
    title: str, graph: Graph, next_to: Mapping[str, Sequence[str]], reached: Mapping[str, int]
) -> Tree:
    """What lies in one direction."""
    root = Tree(Text(title, style="bold"), guide_style="dim")
    near = set(islice(reached, MOST))  # they come by distance
    shown: set[str] = set()
    waiting = [(root, key) for key in reversed(next_to[graph.start.key]) if key in near]
    while waiting:
        parent, key = waiting.pop()
        line = _line(graph.nodes[key])
        further = [other for other in next_to.get(key, ()) if other in near]
        if key in shown:
            parent.add(line.append(" (see above)" if further else "", style="dim"))
            continue
        shown.add(key)
        branch = parent.add(line)
        waiting += [(branch, other) for other in reversed(further)]
    if len(reached) > MOST:
        more = f"and {len(reached) - MOST:,} more; --format json has all"
        root.add(Text(more, style="dim"))
    return root


def _line(node: Node) -> Text:
    """A node on one line; its texts are strangers'."""
    line = Text(f"{node.kind.value} ", style="dim")
    line.append(printable(node.name), style=STYLES.get(node.kind, ""))
    details = [node.label, node.state, *node.aliases]
    if node.replacement:
        details.append(f"now {node.replacement.rpartition(':')[2]}")
    if shown := ", ".join(printable(detail) for detail in details if detail):
        line.append(f"  {shown}", style="dim")
    if node.commit is not None and node.name != str(node.commit):
        line.append(f"  {printable(str(node.commit))}")
    return line
