"""Lineage from the catalog: at once, and of what syncd has come across.

One statement answers for all nodes of a distance, however many they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncd.catalog.descent import INPUT, OUTPUT, Descent, KnownRun, KnownVersion
from syncd.lineage.graph import Edge, Kind, Node, Ref, Role, Step, kind_of
from syncd.refs import ArtifactRef, CommitRef
from syncd.relatives import Place


class CatalogNeighbours:
    """`Neighbours` as the catalog knows them.

    Args:
        descent: the catalog's tables of them.
    """

    def __init__(self, descent: Descent) -> None:
        self._descent = descent

    def find(self, ref: Ref) -> Node | None:
        """See `Neighbours.find`."""
        if isinstance(ref, ArtifactRef):
            return _found(self._descent.version(ref))
        if isinstance(ref, CommitRef):
            return _found(self._descent.commit(ref))
        run = self._descent.run(ref)
        return run_node(run) if run else None

    def find_content(self, place: Place) -> Node | None:
        """The node of what a version of W&B stands for, see `relatives.place_of`."""
        return _found(self._descent.content(place))

    def above(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.above`."""
        runs, versions = _keys(nodes)
        for run, version in self._descent.versions_of(runs, INPUT) if runs else ():
            yield Edge(source=version.id, target=run, role=Role.INPUT), version_node(version)
        for version_id, logger in self._descent.runs_of(versions, OUTPUT) if versions else ():
            node = run_node(logger)
            yield Edge(source=node.key, target=version_id, role=Role.OUTPUT), node

    def below(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.below`."""
        runs, versions = _keys(nodes)
        for run, version in self._descent.versions_of(runs, OUTPUT) if runs else ():
            yield Edge(source=run, target=version.id, role=Role.OUTPUT), version_node(version)
        for version_id, user in self._descent.runs_of(versions, INPUT) if versions else ():
            node = run_node(user)
            yield Edge(source=version_id, target=node.key, role=Role.INPUT), node

    def unseen(self) -> Sequence[str]:
        """See `Neighbours.unseen`; runs that were never read say so themselves."""
        return ()


def version_node(version: KnownVersion) -> Node:
    """A version as a node."""
    return Node(
        key=version.id,
        kind=kind_of(version.type),
        name=str(version.ref or version.commit),
        type=version.type,
        commit=version.commit,
        replacement=str(version.replacement) if version.replacement else "",
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


def _keys(nodes: Sequence[Node]) -> tuple[list[str], list[str]]:
    """The runs' names, and the versions' ids."""
    runs = [node.key for node in nodes if node.kind is Kind.RUN]
    return runs, [node.key for node in nodes if node.is_version]
