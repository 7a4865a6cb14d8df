"""Lineage from the catalog: at once, and of what syncd has come across.

A statement or two answer for all nodes of a distance, however many they are; from some distance on
the database goes the rest of the way by itself, so that a chain of thousands of runs is no journey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from syncd.catalog.descent import INPUT, OUTPUT, Descent, KnownRun, KnownVersion, Use
from syncd.lineage.graph import Edge, Kind, Node, Ref, Role, Step, kind_of
from syncd.refs import ArtifactRef, CommitRef
from syncd.versions.relatives import Place

FEW = 12  # steps that are asked for one by one


class CatalogNeighbours:
    """`Neighbours` as the catalog knows them, for one walk.

    Args:
        descent: the catalog's tables of them.
        most: edges that are read of each distance, for whoever draws a few of them; None for all.
    """

    def __init__(self, descent: Descent, most: int | None = None) -> None:
        self._descent = descent
        self._nodes: dict[str, Node] = {}
        self._above = _Way(descent, near=OUTPUT, far=INPUT, most=most)
        self._below = _Way(descent, near=INPUT, far=OUTPUT, most=most)

    def find(self, ref: Ref) -> Node | None:
        """See `Neighbours.find`."""
        if isinstance(ref, ArtifactRef):
            return _found(self._descent.version(ref))
        if isinstance(ref, CommitRef):
            return _found(self._descent.commit(ref))
        return next(map(run_node, self._descent.runs([str(ref)])), None)

    def find_content(self, place: Place) -> Node | None:
        """The node of what a version of W&B stands for, see `relatives.place_of`."""
        return _found(self._descent.content(place))

    def above(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.above`."""
        logged, used = self._above.next(nodes, self._learn)
        for version, run in used:
            if version in self._nodes:
                yield Edge(source=version, target=run, role=Role.INPUT), self._nodes[version]
        for version, run in logged:
            if run in self._nodes:
                yield Edge(source=run, target=version, role=Role.OUTPUT), self._nodes[run]

    def below(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.below`."""
        used, logged = self._below.next(nodes, self._learn)
        for version, run in logged:
            if version in self._nodes:
                yield Edge(source=run, target=version, role=Role.OUTPUT), self._nodes[version]
        for version, run in used:
            if run in self._nodes:
                yield Edge(source=version, target=run, role=Role.INPUT), self._nodes[run]

    def unseen(self) -> Sequence[str]:
        """See `Neighbours.unseen`; runs that were never read say so themselves."""
        return ()

    def _learn(self, runs: Sequence[Use], versions: Sequence[Use]) -> None:
        """Get to know the runs of some uses and the versions of others, as far as they are new."""
        if new := {version for version, _ in versions} - self._nodes.keys():
            found = map(version_node, self._descent.versions(sorted(new)))
            self._nodes |= {node.key: node for node in found}
        if new := {run for _, run in runs} - self._nodes.keys():
            self._nodes |= {
                node.key: node for node in map(run_node, self._descent.runs(sorted(new)))
            }


class _Way:
    """One direction of a walk: a statement for each step, and two for all that is left of a long one.

    Args:
        descent: the catalog's tables.
        near: the role in which runs have the version that one comes from.
        far: the role in which they have those that one goes on to.
        most: uses that are read at a step, None for all.
    """

    def __init__(self, descent: Descent, *, near: str, far: str, most: int | None) -> None:
        self._descent, self._near, self._far, self._most = descent, near, far, most
        self._steps = 0
        self._runs: dict[str, list[Use]] | None = None  # by version, once all is known
        self._versions: dict[str, list[Use]] = {}  # by run

    def next(
        self, nodes: Sequence[Node], learn: Callable[[Sequence[Use], Sequence[Use]], None]
    ) -> tuple[list[Use], list[Use]]:
        """The uses that lead on from these nodes: from versions to runs, and from runs to versions.

        Args:
            nodes: where the walk stands.
            learn: told of the runs and of the versions of all uses that were read.
        """
        self._steps += 1
        runs = [node.key for node in nodes if node.kind is Kind.RUN]
        versions = [node.key for node in nodes if node.is_version]
        if self._runs is None and self._steps > FEW and not runs:
            on, beyond = self._descent.all_beyond(versions, near=self._near, far=self._far)
            self._runs = _grouped(on, by=0)
            self._versions = _grouped(beyond, by=1)
            learn(on, beyond)
        if self._runs is not None:
            return (
                [use for version in versions for use in self._runs.get(version, ())],
                [use for run in runs for use in self._versions.get(run, ())],
            )
        on = list(self._descent.runs_of(versions, self._near, self._most))
        beyond = list(self._descent.versions_of(runs, self._far, self._most))
        learn(on, beyond)
        return on, beyond


def _grouped(uses: Sequence[Use], *, by: int) -> dict[str, list[Use]]:
    found: dict[str, list[Use]] = {}
    for use in uses:
        found.setdefault(use[by], []).append(use)
    return found


def version_node(version: KnownVersion) -> Node:
    """A version as a node."""
    return Node(
        key=version.id,
        kind=kind_of(version.type),
        name=version.name or str(version.commit),
        type=version.type,
        commit=version.commit,
        replacement=version.replacement,
        created_at=version.created_at,
    )


def run_node(run: KnownRun) -> Node:
    """A run as a node."""
    return Node(
        key=str(run.ref),
        kind=Kind.RUN,
        name=str(run.ref),
        label=run.label,
        state=run.state,
        url=run.url,
        created_at=run.created_at,
        is_whole=run.seen,
    )


def _found(version: KnownVersion | None) -> Node | None:
    return version_node(version) if version else None
