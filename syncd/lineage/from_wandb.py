"""Lineage from W&B alone: what runs used and logged, without the catalog and without Oxen.

A version that syncd replaced, and W&B has no more, is known by what replaces it; so the collection of
each version that is met is listed, once. A run that read from Oxen by itself names the commit in its
config; W&B tells that of the run, but not of the version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncd.clients.artifacts import Run, Version
from syncd.clients.protocols import ArtifactSource
from syncd.errors import NotFoundError
from syncd.lineage.graph import Edge, Kind, Node, Ref, Role, Step, kind_of
from syncd.refs import ArtifactRef, CommitRef, RunRef, Target
from syncd.versions.relatives import NamedInput, Relative, named_inputs, place_of, relatives

Collection = tuple[str, str, str]  # entity, project, name


class WandbNeighbours:
    """`Neighbours` as W&B knows them, asked as they are needed and kept for the answer.

    Args:
        source: W&B.
        projects: where the version of a commit may be, when a run names only that.
    """

    def __init__(self, source: ArtifactSource, projects: Sequence[Target] = ()) -> None:
        self._source = source
        self._projects = projects
        self._runs: dict[RunRef, Run | None] = {}
        self._collections: dict[Collection, list[Relative]] = {}
        self._searched: dict[Target, dict[CommitRef, Relative]] = {}
        self._known: dict[str, Relative] = {}  # by node key
        self._gone: set[str] = set()

    def find(self, ref: Ref) -> Node | None:
        """See `Neighbours.find`."""
        if isinstance(ref, RunRef):
            return self._run_node(ref) if self._run(ref) else None
        found = self._of_commit(ref, None) if isinstance(ref, CommitRef) else self._numbered(ref)
        return self._version_node(found) if found else None

    def above(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.above`."""
        for node in nodes:
            if node.kind is Kind.RUN:
                for other in self._side(node, Role.INPUT):
                    yield Edge(source=other.key, target=node.key, role=Role.INPUT), other
            elif node.is_version:
                for ref in self._known[node.key].runs if node.key in self._known else ():
                    run = self._run_node(ref)
                    yield Edge(source=run.key, target=node.key, role=Role.OUTPUT), run

    def below(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.below`."""
        for node in nodes:
            if node.kind is Kind.RUN:
                for other in self._side(node, Role.OUTPUT):
                    yield Edge(source=node.key, target=other.key, role=Role.OUTPUT), other
            elif node.is_version:
                members = self._known[node.key].members if node.key in self._known else ()
                users = {ref for version in members for ref in self._source.consumers(version)}
                for ref in sorted(users, key=str):
                    run = self._run_node(ref)
                    yield Edge(source=node.key, target=run.key, role=Role.INPUT), run

    def unseen(self) -> Sequence[str]:
        """See `Neighbours.unseen`."""
        return [f"W&B has no more: {name}" for name in sorted(self._gone)]

    # --- versions

    def _numbered(self, ref: ArtifactRef) -> Relative | None:
        """The version of a name, or what it stands for when it is a replacement."""
        for item in self._collection(ref.place):
            names = {item.ref.alias, *(version.ref.alias for version in item.members)}
            if ref.alias in names:
                return item
        return None

    def _of_commit(self, commit: CommitRef, near: RunRef | None) -> Relative | None:
        """The version that a commit holds, looked for in the projects and in that of a run."""
        own = [Target(entity=near.entity, project=near.project)] if near else []
        for target in dict.fromkeys([*own, *self._projects]):
            if target not in self._searched:
                self._searched[target] = {
                    item.commit: item for item in self._listed(target) if item.commit
                }
            if commit in self._searched[target]:
                return self._searched[target][commit]
        return None

    def _collection(self, name: Collection) -> list[Relative]:
        if name not in self._collections:
            entity, project, collection = name
            target = Target(entity=entity, project=project, collection=collection)
            self._collections[name] = self._listed(target)
        return self._collections[name]

    def _listed(self, target: Target) -> list[Relative]:
        try:
            return relatives(self._source.versions(target))
        except NotFoundError:
            return []  # the collection is gone, or was never visible

    def _whole(self, item: Relative) -> Relative:
        """A version with all that stands for it, also where only a part was met."""
        place = place_of(item.members[0])
        listed = self._collection((place[0], place[1], place[2]))
        return next((each for each in listed if place_of(each.members[0]) == place), item)

    def _version_node(self, item: Relative) -> Node:
        self._known[item.id] = item
        return Node(
            key=item.id,
            kind=kind_of(item.type),
            name=str(item.ref),
            type=item.type,
            aliases=item.aliases,
            commit=item.commit,
            replacement=str(item.replacement) if item.replacement else "",
            created_at=item.created_at,
        )

    # --- runs

    def _run(self, ref: RunRef) -> Run | None:
        """A run, None when it is gone."""
        if ref not in self._runs:
            try:
                self._runs[ref] = self._source.run(ref)
            except NotFoundError:
                self._runs[ref] = None
                self._gone.add(str(ref))
        return self._runs[ref]

    def _run_node(self, ref: RunRef) -> Node:
        run = self._run(ref)
        return Node(
            key=str(ref),
            kind=Kind.RUN,
            name=str(ref),
            label=run.name if run else "",
            state=run.state if run else "",
            url=run.url if run else "",
            created_at=run.created_at if run else "",
        )

    def _side(self, node: Node, role: Role) -> Iterator[Node]:
        run = self._run(RunRef.parse(node.name))
        if run is None:
            return
        versions: Sequence[Version] = run.inputs if role is Role.INPUT else run.outputs
        for item in relatives(versions):
            yield self._version_node(self._whole(item))
        for named in named_inputs(run) if role is Role.INPUT else ():
            yield self._named_node(named, run.ref)

    def _named_node(self, named: NamedInput, run: RunRef) -> Node:
        """What a run's config names, as the version that stands for it where there is one."""
        item = self._numbered(named.ref) if named.ref else None
        item = item or self._of_commit(named.commit, run)
        if item is not None:
            return self._version_node(item)
        return Node(
            key=str(named.commit),
            kind=kind_of(named.type),
            name=str(named.ref or named.commit),
            type=named.type,
            commit=named.commit,
        )
