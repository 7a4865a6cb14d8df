"""A lineage graph as two trees for the terminal: what a node comes from, and what came of it.

A graph is no tree: what was shown once is named where it occurs again, without what lies behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from syncd.lineage.drawings import printable
from syncd.lineage.graph import Graph, Kind, Node

UP, DOWN = "comes from", "led to"
STYLES = {Kind.RUN: "cyan", Kind.MODEL: "green", Kind.DATASET: "yellow", Kind.ENDPOINT: "magenta"}


def trees(graph: Graph) -> Iterator[RenderableType]:
    """The start, the trees, and what could not be seen."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.source == graph.start.key or edge.source in graph.below:
            after.setdefault(edge.source, []).append(edge.target)
        if edge.target == graph.start.key or edge.target in graph.above:
            before.setdefault(edge.target, []).append(edge.source)
    yield _line(graph.start)
    for title, next_to in ((UP, before), (DOWN, after)):
        if next_to.get(graph.start.key):
            yield _tree(title, graph, next_to)
    if not graph.edges:
        yield Text("nothing is known to lie around it", style="dim")
    if graph.is_cut:
        yield Text("and more", style="dim")
    for note in graph.notes:
        yield Text(f"note: {printable(note)}", style="dim")


def _tree(title: str, graph: Graph, next_to: Mapping[str, Sequence[str]]) -> Tree:
    root = Tree(Text(title, style="bold"), guide_style="dim")
    shown = {graph.start.key}
    waiting = [(root, key) for key in reversed(next_to[graph.start.key])]
    while waiting:
        parent, key = waiting.pop()
        line = _line(graph.nodes[key])
        further = next_to.get(key, ())
        if key in shown:
            parent.add(line.append(" (see above)" if further else "", style="dim"))
            continue
        shown.add(key)
        branch = parent.add(line)
        waiting += [(branch, other) for other in reversed(further)]
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
