"""Lineage from Oxen alone: the files that commits carry, without the catalog and without W&B.

Each version's commit names the run that logged it and the commits of what that run used. Upwards those
lead from one to the next. Downwards nobody leads: the branches of all repositories are gone through,
once, and each commit is read. That is also done for an input that had no commit yet when it was used.

A version that W&B lost, that was made again from its commit and moved once more has two commits. The
later one's lineage file names the earlier one: both are one node, that of the earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from syncd.clients.protocols import VersionStore
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.lineage.graph import Edge, Kind, Node, Ref, Role, Step, kind_of
from syncd.refs import ArtifactRef, CommitRef, RepoRef, RunRef
from syncd.replacements import Returned, returned_of
from syncd.versions.lineages import MALFORMED, story
from syncd.versions.plans import lineage_in

WANDB = "wandb/"  # begins, behind the folder, the branches that are no alias
Folder = Callable[[ArtifactRef, str], str]  # where in a commit's tree a version of a type lies


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What one commit says of its version.

    Args:
        node: the version; where it was made again from an earlier commit, what that tells.
        name: what the commit itself calls it.
        former: the commit that it was made again from.
        run: who logged it.
        inputs: what the run used, as far as it was known then.
        id: the version's GraphQL id; empty when W&B had not given it one.
    """

    node: Node
    name: str
    former: CommitRef | None
    run: Node | None
    inputs: Sequence[Mapping[str, Any]]
    id: str


class OxenNeighbours:
    """`Neighbours` as the commits of Oxen tell them, read as they are needed and kept for the answer.

    Args:
        store: Oxen.
        repositories: all there are, or as many as can be told.
        main: the branch that versions are committed to.
        folder: where in a commit's tree a version lies; None where it is always the root.
    """

    def __init__(
        self,
        store: VersionStore,
        repositories: Callable[[], Iterable[RepoRef]],
        *,
        main: str = "main",
        folder: Folder | None = None,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._main = main
        self._folder = folder
        self._branches: dict[RepoRef, dict[str, list[str]]] = {}  # by commit
        self._told: dict[CommitRef, _Told | None] = {}
        self._runs: dict[str, dict[CommitRef, _Told]] = {}  # what each is known to have logged
        self._names: dict[str, CommitRef] | None = None  # by name and by GraphQL id
        self._after: dict[str, list[Step]] | None = None
        self._problems: dict[str, str] = {}
        self._again: dict[str, str] = {}  # by the later commit: that it is the same version

    def find(self, ref: Ref) -> Node | None:
        """See `Neighbours.find`; a version's by the name it was logged under, not by a replacement's."""
        if isinstance(ref, RunRef):
            self._index()
            logged = self._runs.get(str(ref), {})
            return next((told.run for told in logged.values()), None)
        if isinstance(ref, ArtifactRef) and ref.index is None:
            return self._aliased(ref)
        commit = ref if isinstance(ref, CommitRef) else self._index().get(str(ref))
        told = self._read(commit) if commit else None
        return told.node if told else None

    def above(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.above`."""
        for node in nodes:
            if node.kind is Kind.RUN:
                for told in list(self._runs.get(node.key, {}).values()):
                    for other in map(self._input, told.inputs):
                        yield Edge(source=other.key, target=node.key, role=Role.INPUT), other
            elif node.commit is not None:
                held = self._read(node.commit)
                if held is not None and held.run is not None:
                    run = held.run
                    yield Edge(source=run.key, target=node.key, role=Role.OUTPUT), run

    def below(self, nodes: Sequence[Node]) -> Iterator[Step]:
        """See `Neighbours.below`."""
        after = self._followers()
        for node in nodes:
            yield from after.get(node.key, ())

    def unseen(self) -> Sequence[str]:
        """See `Neighbours.unseen`."""
        found = [
            f"{commit} cannot be read: {why}" for commit, why in sorted(self._problems.items())
        ]
        found += [note for _, note in sorted(self._again.items())]
        if self._names is not None:
            found.append("runs that logged nothing which was moved to Oxen are not seen from there")
        return found

    # --- nodes

    def _aliased(self, ref: ArtifactRef) -> Node | None:
        """The version that an alias names now: a branch of that name points at its commit."""
        begin = str(ref).removesuffix(ref.alias)
        for commit in self._index().values():
            told = self._read(commit)
            if told and told.node.name.startswith(begin) and ref.alias in told.node.aliases:
                return told.node
        return None

    def _followers(self) -> Mapping[str, Sequence[Step]]:
        """What lies below each node, by its key: found out once, from all commits there are."""
        if self._after is None:
            self._index()
            after: dict[str, list[Step]] = {}
            for logged in list(self._runs.values()):
                for told in logged.values():
                    run = told.run
                    assert run is not None, "only what a run logged is kept by its run"
                    made = Edge(source=run.key, target=told.node.key, role=Role.OUTPUT)
                    after.setdefault(run.key, []).append((made, told.node))
                    for key in {self._input(item).key for item in told.inputs}:
                        used = Edge(source=key, target=run.key, role=Role.INPUT)
                        after.setdefault(key, []).append((used, run))
            self._after = after
        return self._after

    def _input(self, item: Mapping[str, Any]) -> Node:
        """An input as a lineage file names it; one that has a commit as that tells it."""
        name = str(item.get("artifact") or "")
        commit = _commit(item.get("oxen"))
        if commit is None:
            index = self._index()
            commit = index.get(str(item.get("id"))) or index.get(name)
        told = self._read(commit) if commit is not None else None
        if told is not None:
            return told.node
        type_ = str(item.get("type") or "")
        return Node(
            key=str(commit) if commit else name,
            kind=kind_of(type_),
            name=name if commit is None or _is_version(name) else str(commit),
            type=type_,
            commit=commit,
            is_whole=False,
        )

    # --- commits

    def _read(self, commit: CommitRef) -> _Told | None:
        """What a commit says, None when it is not one of syncd's or cannot be read."""
        if commit not in self._told:
            told = None
            try:
                told = self._tell(commit)
            except NotFoundError:
                pass  # somebody's own commit, or one that is gone: it tells nothing
            except (PermanentError, *MALFORMED) as error:
                self._problems[str(commit)] = str(error)
            # Also before the earlier one is read, which may name this one.
            self._told[commit] = told
            if told is not None and told.former is not None:
                told = self._told[commit] = self._one_with(commit, told, told.former)
            if told is not None and told.run is not None:
                self._runs.setdefault(told.run.key, {})[commit] = told
        return self._told[commit]

    def _one_with(self, commit: CommitRef, told: _Told, former: CommitRef) -> _Told:
        """The same as the version of an earlier commit; itself where that cannot be read."""
        first = self._read(former)
        if first is None or first.node.key == told.node.key:
            return told
        self._again[str(commit)] = (
            f"{first.node.name} was made again from {former} and moved as {told.name}: it is also "
            f"{commit}"
        )
        # The aliases are where the later one is.
        aliases = tuple(sorted({*first.node.aliases, *told.node.aliases}))
        node = replace(first.node, aliases=aliases)
        for other, known in self._told.items():
            if known is not None and known.node.key == node.key:
                again = self._told[other] = replace(known, node=node)
                if again.run is not None:
                    self._runs.setdefault(again.run.key, {})[other] = again
        return replace(told, node=node)

    def _tell(self, commit: CommitRef) -> _Told | None:
        folder = self._folder_of(commit)
        if folder is None:
            return None
        path = lineage_in(folder)
        said = story(self._store.read(commit, path))
        artifact, run = said.artifact, said.run
        type_ = str(artifact.get("type") or "")
        branches = self._branches_of(commit.repo).get(commit.commit, ())
        node = Node(
            key=str(commit),
            kind=kind_of(type_),
            name=_name(str(artifact.get("ref") or ""), _numbers(branches, folder)) or str(commit),
            type=type_,
            aliases=tuple(_aliases(branches, folder, self._main)),
            commit=commit,
            created_at=str(artifact.get("created_at") or ""),
        )
        return _Told(
            node=node,
            name=node.name,
            former=back.commit if (back := _returned(artifact)) else None,
            run=_run_node(run) if run else None,
            inputs=said.inputs,
            id=str(artifact.get("id") or ""),
        )

    def _folder_of(self, commit: CommitRef) -> str | None:
        """Where a commit's lineage file lies, None when it is not one of syncd's."""
        if self._folder is None:
            return ""
        found = self._store.resolve(commit.repo, commit.commit)
        named = found.trailers if found else {}
        with suppress(UsageError):
            ref = ArtifactRef.parse(named.get("Wandb-Artifact", ""))
            return self._folder(ref, named.get("Wandb-Artifact-Type", ""))
        return None

    def _branches_of(self, repo: RepoRef) -> dict[str, list[str]]:
        if repo not in self._branches:
            found: dict[str, list[str]] = {}
            for name, commit in self._store.branches(repo).items():
                found.setdefault(commit, []).append(name)
            self._branches[repo] = found
        return self._branches[repo]

    def _index(self) -> dict[str, CommitRef]:
        """All versions that Oxen has, by name and by GraphQL id; read at the first need."""
        if self._names is None:
            names: dict[str, CommitRef] = {}
            for repo in self._repositories():
                for name, branches in sorted(self._branches_of(repo).items()):
                    if not _numbers(branches):
                        continue
                    commit = CommitRef(repo=repo, commit=name)
                    told = self._read(commit)
                    if told is not None:
                        names |= dict.fromkeys({told.name, told.id} - {""}, commit)
            self._names = names
        return self._names


def _returned(artifact: Mapping[str, Any]) -> Returned | None:
    """What a version's metadata said, when it was moved, of where it had come back from."""
    metadata = artifact.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    return returned_of(metadata, str(artifact.get("digest") or ""))


def _commit(text: object) -> CommitRef | None:
    with suppress(UsageError):
        return CommitRef.parse(text) if isinstance(text, str) else None
    return None


def _is_version(name: str) -> bool:
    with suppress(UsageError):
        return ArtifactRef.parse(name).index is not None
    return False


def _run_node(run: Mapping[str, Any]) -> Node:
    name = str(run.get("ref") or "")
    return Node(
        key=name,
        kind=Kind.RUN,
        name=name,
        label=str(run.get("name") or ""),
        url=str(run.get("url") or ""),
    )


def _numbers(branches: Iterable[str], folder: str | None = None) -> list[str]:
    """The versions, `vN`, that some branches stand for; in any folder when None."""
    found = []
    for branch in branches:
        head, _, number = branch.rpartition("/")
        begin, _, word = head.rpartition("/")
        is_number = number[:1] == "v" and number[1:].isdecimal()
        if f"{word}/" == WANDB and is_number and folder in {None, begin}:
            found.append(number)
    return sorted(found)


def _name(ref: str, numbers: Sequence[str]) -> str:
    """A version's name; one that was born in Oxen got its number after the commit was made."""
    if _is_version(ref):
        return ref
    return f"{ref.partition(':')[0]}:{numbers[0]}" if ref and numbers else ""


def _aliases(branches: Iterable[str], folder: str, main: str) -> list[str]:
    """The aliases among some branches, as far as Oxen can carry their names."""
    begin = f"{folder}/" if folder else ""
    names = (name.removeprefix(begin) for name in branches if name.startswith(begin))
    return sorted(name for name in names if "/" not in name and name != main)
