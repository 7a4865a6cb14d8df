"""The graph of versions, runs, endpoints and fine-tunes, and the walk through it from a node.

An edge leads as data flows: from a version to a run that used it, from a run to a version it logged,
from a version to an endpoint that serves it or a fine-tune that learns from it. A version, what replaces
it in W&B, and what was restored from that are one node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import chain
from typing import Protocol

from syncd.refs import ArtifactRef, CommitRef, RunRef
from syncd.versions.deployments import Served, User


class Kind(StrEnum):
    """What a node is."""

    DATASET = "dataset"
    MODEL = "model"
    EVALUATION = "evaluation"
    ARTIFACT = "artifact"  # a version of any other type
    RUN = "run"
    ENDPOINT = "endpoint"
    FINE_TUNE = "fine-tune"  # of the hub's


class Role(StrEnum):
    """What an edge says of its source and its target."""

    INPUT = "input"
    OUTPUT = "output"
    SERVED = "served"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A version, a run, an endpoint or a fine-tune.

    Args:
        key: tells it from the others of one answer, and means nothing else.
        kind: what it is.
        name: `entity/project/collection:vN` as it was logged, `entity/project/runs/ID`, or the
            endpoint's or the fine-tune's name.
        type: the artifact type; empty for what is no version.
        label: what people call it, where that is not its name.
        aliases: of a version, where whoever was asked knows them.
        commit: the Oxen commit that holds it, None where there is none, or none is known.
        replacement: the name of what W&B has in its place: the version of references, or the files that
            came back; empty where that is the version itself.
        state: of a run, as W&B had it last.
        url: where people look at it.
        created_at: ISO 8601, UTC; empty when unknown.
        is_whole: whether all that is next to it is known.
    """

    key: str
    kind: Kind
    name: str
    type: str = ""
    label: str = ""
    aliases: tuple[str, ...] = ()
    commit: CommitRef | None = None
    replacement: str = ""
    state: str = ""
    url: str = ""
    created_at: str = ""
    is_whole: bool = True

    @property
    def is_version(self) -> bool:
        """Whether it is a version."""
        return self.kind not in {Kind.RUN, Kind.ENDPOINT, Kind.FINE_TUNE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """That data went from one node to another; both by their keys."""

    source: str
    target: str
    role: Role


Step = tuple[Edge, Node]  # an edge, and the node at its other end
Ref = ArtifactRef | RunRef | CommitRef


class Neighbours(Protocol):
    """Who is next to whom, as one of the three that know tells it.

    Raises:
        SyncdError: from every method, when it cannot be asked.
    """

    def find(self, ref: Ref) -> Node | None:
        """The node of a name: a version's by its number, a run's, or a commit's by its id."""
        ...

    def above(self, nodes: Sequence[Node]) -> Iterable[Step]:
        """The edges that lead to these nodes, each with the node it comes from."""
        ...

    def below(self, nodes: Sequence[Node]) -> Iterable[Step]:
        """The edges that lead away from these nodes, each with the node it goes to."""
        ...

    def unseen(self) -> Sequence[str]:
        """What of the questions so far could not be answered, and what else is to be known: sentences."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What lies around a node.

    Args:
        start: the node it was asked for.
        nodes: all nodes by their keys, the start first, then by distance and name.
        edges: between them, by the names of their ends.
        above: how many edges lead at least from a node to the start, by its key.
        below: how many edges lead at least from the start to a node, by its key.
        notes: what could not be seen, and which commits hold the same version: sentences.
        is_cut: whether there was more than was wanted.
    """

    start: Node
    nodes: Mapping[str, Node]
    edges: Sequence[Edge]
    above: Mapping[str, int]
    below: Mapping[str, int]
    notes: Sequence[str] = ()
    is_cut: bool = False


@cache
def kind_of(type_: str) -> Kind:
    """What a version of an artifact type is: types are free text in W&B."""
    lowered = type_.lower()
    named = (
        ("dataset", Kind.DATASET),
        ("model", Kind.MODEL),
        ("eval", Kind.EVALUATION),
    )
    return next((kind for text, kind in named if text in lowered), Kind.ARTIFACT)


def walk(
    neighbours: Neighbours,
    start: Node,
    *,
    up: int | None = None,
    down: int | None = None,
    most: int | None = None,
    users: Iterable[User] = (),
) -> Graph:
    """Walk from a node along the edges, breadth first, each node once.

    Args:
        neighbours: who knows.
        start: where.
        up: edges to go at most against the flow of data; a run and what it used are two. None for
            all there are.
        down: the same with the flow.
        most: nodes at which it stops in each direction, None for all.
        users: what serves versions or learns from them; drawn where the version is.
    """
    used = _Users(users)
    walked = _Walk(start, most)
    above = walked.spread(neighbours.above, up, lambda edge: edge.source)
    below = walked.spread(
        lambda nodes: chain(neighbours.below(nodes), used.below(nodes)),
        down,
        lambda edge: edge.target,
    )
    nodes = walked.nodes
    edges = sorted(
        walked.edges, key=lambda edge: (nodes[edge.source].name, nodes[edge.target].name, edge.role)
    )
    torn = sorted(
        node.name for key, node in nodes.items() if not node.is_whole and key in walked.left
    )
    notes = list(neighbours.unseen())
    if torn:
        shown = ", ".join(torn[:3]) + (f" and {len(torn) - 3} more" if len(torn) > 3 else "")  # noqa: PLR2004
        notes.append(f"what else was next to {shown} is not known here")
    return Graph(
        start=start,
        nodes=nodes,
        edges=edges,
        above=above,
        below=below,
        notes=notes,
        is_cut=walked.is_cut,
    )


class _Walk:
    """One walk on its way."""

    def __init__(self, start: Node, most: int | None) -> None:
        self._start, self._most = start, most
        self.nodes = {start.key: start}
        self.edges: set[Edge] = set()
        self.left: set[str] = set()  # the nodes from which edges were followed
        self.is_cut = False

    def spread(
        self,
        look: Callable[[Sequence[Node]], Iterable[Step]],
        limit: int | None,
        end_of: Callable[[Edge], str],
    ) -> dict[str, int]:
        """Go in one direction; how far each node is."""
        found = {self._start.key: 0}
        before = len(self.nodes)
        row: list[Node] = [self._start]
        distance = 0
        while row and (limit is None or distance < limit):
            distance += 1
            self.left.update(node.key for node in row)
            edges: list[Edge] = []
            ends: dict[str, Node] = {}
            for edge, node in look(row):
                edges.append(edge)
                ends.setdefault(end_of(edge), node)
            row = []
            for key, node in sorted(ends.items(), key=lambda item: _rank(item[1])):
                if key not in self.nodes:
                    if self._most is not None and len(self.nodes) - before >= self._most:
                        self.is_cut = True
                        continue
                    self.nodes[key] = node
                if key not in found:
                    found[key] = distance
                    row.append(self.nodes[key])
            self.edges.update(edge for edge in edges if end_of(edge) in self.nodes)
        del found[self._start.key]
        return found


def _rank(node: Node) -> tuple[str, str, int, str]:
    """By name, and the versions of a collection by their number."""
    name, _, alias = node.name.rpartition(":")
    number = int(alias[1:]) if alias[:1] == "v" and alias[1:].isdecimal() else 0
    return node.kind, name, number, node.name


class _Users:
    """What the journal knows to use versions, by the names and commits these have."""

    def __init__(self, users: Iterable[User]) -> None:
        self._by_name: dict[str, list[User]] = {}
        self._by_commit: dict[CommitRef, list[User]] = {}
        for user in users:
            self._by_name.setdefault(user.version, []).append(user)
            self._by_commit.setdefault(user.commit, []).append(user)

    def below(self, nodes: Sequence[Node]) -> Iterable[Step]:
        """What uses these nodes."""
        for node in nodes if self._by_name else ():
            names = {node.name, node.replacement} - {""} if node.is_version else set()
            using = [user for name in sorted(names) for user in self._by_name.get(name, ())]
            if node.is_version and node.commit is not None:
                using += self._by_commit.get(node.commit, ())
            ends = {end.key: (role, end) for role, end in map(_end, using)}
            for key, (role, end) in ends.items():
                yield Edge(source=node.key, target=key, role=role), end


def _end(user: User) -> tuple[Role, Node]:
    """What uses a version, as a node, and what the edge to it says."""
    by = f"by {user.by}" if user.by else ""
    if isinstance(user, Served):
        role, kind, name, label = Role.SERVED, Kind.ENDPOINT, user.endpoint, by
    else:
        role, kind, name = Role.INPUT, Kind.FINE_TUNE, user.id
        label = f"of {user.recipe.base_model} {by}".rstrip()
    key = f"{kind} {name}"
    return role, Node(key=key, kind=kind, name=name, label=label, created_at=user.since)
