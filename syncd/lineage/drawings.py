"""A graph as text for other programs: JSON, Mermaid, Graphviz.

Names come from strangers. In both drawing languages nodes are therefore called n0, n1, ..., and a name
occurs only inside a quoted label, in which nothing ends the quotes or begins markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from syncd.lineage.graph import Graph, Kind, Node

Json = dict[str, Any]
SHOWN = 12  # digits of a commit in a drawing
_SHAPES = {  # Mermaid's brackets, and Graphviz's shapes
    Kind.DATASET: ('[("', '")]', "cylinder"),
    Kind.MODEL: ('(["', '"])', "box"),
    Kind.EVALUATION: ('[/"', '"/]', "note"),
    Kind.ARTIFACT: ('["', '"]', "box"),
    Kind.RUN: ('(("', '"))', "ellipse"),
    Kind.ENDPOINT: ('{{"', '"}}', "hexagon"),
    Kind.FINE_TUNE: ('[["', '"]]', "box3d"),
}
# In Mermaid quotes end a label, `<` begins HTML, a backquote Markdown, `%%{` a directive, `$$` a formula.
_MERMAID = str.maketrans({sign: f"#{ord(sign)};" for sign in '"#&;<>`\\|{}%$'})
_DOT = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})


def document(graph: Graph) -> Json:
    """The graph as JSON: nodes by their numbers, the start first, and edges between the numbers."""
    numbers = {key: number for number, key in enumerate(graph.nodes)}
    return {
        "start": graph.start.name,
        "nodes": [_node(graph, node, number) for number, node in enumerate(graph.nodes.values())],
        "edges": [
            {
                "source": numbers[edge.source],
                "target": numbers[edge.target],
                "role": edge.role.value,
            }
            for edge in graph.edges
        ],
        "notes": list(graph.notes),
        "cut": graph.is_cut,
    }


def _node(graph: Graph, node: Node, number: int) -> Json:
    return {
        "id": number,
        "kind": node.kind.value,
        "name": node.name,
        "type": node.type or None,
        "label": node.label or None,
        "aliases": list(node.aliases),
        "oxen": str(node.commit) if node.commit else None,
        "replacement": node.replacement or None,
        "state": node.state or None,
        "url": node.url or None,
        "created_at": node.created_at or None,
        "whole": node.is_whole,
        "above": graph.above.get(node.key),
        "below": graph.below.get(node.key),
    }


def mermaid(graph: Graph) -> Iterator[str]:
    """The lines of a Mermaid flowchart, data flowing to the right."""
    names = _names(graph)
    yield "flowchart LR"
    for key, node in graph.nodes.items():
        begin, end, _ = _SHAPES[node.kind]
        text = "<br/>".join(printable(line).translate(_MERMAID) for line in _label(node))
        yield f"  {names[key]}{begin}{text}{end}"
    for edge in graph.edges:
        yield f"  {names[edge.source]} -->|{edge.role.value}| {names[edge.target]}"
    yield f"  style {names[graph.start.key]} stroke-width:3px"


def dot(graph: Graph) -> Iterator[str]:
    """The lines of a Graphviz digraph, data flowing to the right."""
    names = _names(graph)
    yield "digraph lineage {"
    yield "  rankdir=LR;"
    for key, node in graph.nodes.items():
        text = "\\n".join(printable(line).translate(_DOT) for line in _label(node))
        bold = ", penwidth=3" if key == graph.start.key else ""
        yield f'  {names[key]} [label="{text}", shape={_SHAPES[node.kind][2]}{bold}];'
    for edge in graph.edges:
        yield f'  {names[edge.source]} -> {names[edge.target]} [label="{edge.role.value}"];'
    yield "}"


def _names(graph: Graph) -> dict[str, str]:
    return {key: f"n{number}" for number, key in enumerate(graph.nodes)}


def _label(node: Node) -> Iterator[str]:
    yield node.name
    if node.kind is Kind.RUN:
        more = " ".join(text for text in (node.label, node.state) if text)
    else:
        more = ", ".join(node.aliases)
    if more:
        yield more
    if node.commit is not None and node.name != str(node.commit):
        yield f"{node.commit.repo}@{node.commit.commit[:SHOWN]}"


def printable(text: str) -> str:
    """The text without what no file of text holds: control characters and lone surrogates."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
