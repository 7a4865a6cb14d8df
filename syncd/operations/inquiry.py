"""One question about lineage, answered by whom it was put to: the catalog, Oxen, or W&B.

The catalog answers at once, and opens neither end unless a name has to be looked up there: an alias in
W&B, a branch in Oxen. What it does not know, W&B is asked, unless the catalog was asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from syncd.catalog.catalog import Catalog
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.lineage.from_catalog import CatalogNeighbours
from syncd.lineage.from_oxen import OxenNeighbours
from syncd.lineage.from_wandb import WandbNeighbours
from syncd.lineage.graph import Graph, Neighbours, Node, walk
from syncd.naming import alias_branch, namespace_name, version_branch
from syncd.refs import FULL_COMMIT, ArtifactRef, CommitRef, OxenURL, RepoRef, RunRef, Target
from syncd.stages.discover import held
from syncd.stages.plan import place
from syncd.versions.deployments import User
from syncd.versions.relatives import place_of

SPELLING = "Check the spelling, and that the API key may read it."
NAMED = (
    "It goes there by the name it was logged under, not by its replacement's; check the spelling."
)


class Teller(StrEnum):
    """Who answers."""

    CATALOG = "catalog"
    OXEN = "oxen"
    WANDB = "wandb"


class Ends(Protocol):
    """What may have to be asked; a part that is not asked need not be there."""

    @property
    def config(self) -> Config:
        """The configuration."""
        ...

    @property
    def catalog(self) -> Catalog:
        """The catalog."""
        ...

    @property
    def source(self) -> ArtifactSource:
        """W&B."""
        ...

    @property
    def store(self) -> VersionStore:
        """Oxen."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Args:
        ref: `entity/project/collection:v3` or an alias, `entity/project/runs/ID`, or
            `oxen://namespace/repo@revision`.
        teller: who is to answer; None for the catalog, and W&B where that does not know the name.
        up: edges to go at most against the flow of data, None for all.
        down: the same with the flow.
        users: what serves versions or learns from them, as the journal has it.
    """

    ref: str
    teller: Teller | None = None
    up: int | None = None
    down: int | None = None
    users: Sequence[User] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A graph, and who told it."""

    graph: Graph
    teller: Teller


def ask(question: Question, ends: Ends) -> Answer:
    """Answer a question about lineage.

    Raises:
        UsageError: when the name is none.
        NotFoundError: when whoever was asked knows nothing of that name.
        ConfigurationError: when W&B has to be asked and there is no API key.
        TransientError: when an end that has to be asked does not answer.
    """
    inquiry = _Inquiry(question, ends)
    if question.teller is Teller.OXEN:
        return inquiry.oxen()
    if question.teller is Teller.WANDB:
        return inquiry.wandb()
    found = inquiry.catalog()
    if found is not None:
        return found
    if question.teller is None:
        return inquiry.wandb()
    raise NotFoundError(
        f"the catalog knows nothing of {question.ref}",
        hint="It knows what was moved and what lies around that. Ask --from wandb, or run "
        "`syncd catalog rebuild` if it was moved.",
    )


class _Inquiry:
    """One question on its way."""

    def __init__(self, question: Question, ends: Ends) -> None:
        self._question, self._ends = question, ends
        self._ref = _parsed(question.ref)
        self._notes: list[str] = []

    def catalog(self) -> Answer | None:
        """What the catalog says; None when it does not know the name."""
        neighbours = CatalogNeighbours(self._ends.catalog.descent)
        ref = self._ref
        start: Node | None = None
        if isinstance(ref, OxenURL):
            commit = self._commit(ref)
            start = neighbours.find(commit) if commit else None
        elif isinstance(ref, RunRef) or ref.index is not None:
            start = neighbours.find(ref)
        if start is None and isinstance(ref, ArtifactRef):
            version = held(self._ends.source, ref)
            start = neighbours.find_content(place_of(version)) if version else None
            start = replace(start, aliases=version.aliases) if start and version else start
        if start is None:
            return None
        answer = self._answer(neighbours, start, Teller.CATALOG)
        if self._question.down == 0 or answer.graph.below:
            return answer
        # A run that used it since the last look is not known yet: nothing is no answer by itself.
        entity, project, *_ = f"{start.name}//".split("/")
        seen = self._ends.catalog.descent.followed(entity, project)
        when = f"heard of after {seen.isoformat(timespec='seconds')}" if seen else "that use it"
        note = f"runs {when} are not known here; --from wandb asks for them"
        graph = replace(answer.graph, notes=[*answer.graph.notes, note])
        return replace(answer, graph=graph)

    def wandb(self) -> Answer:
        """What W&B says."""
        projects = [Target.parse(str(text)) for text in self._ends.config.wandb.projects]
        neighbours = WandbNeighbours(self._ends.source, projects)
        ref = self._ref
        start: Node | None = None
        if isinstance(ref, OxenURL):
            commit = self._commit(ref)
            start = neighbours.find(commit) if commit else None
        elif isinstance(ref, RunRef):
            start = neighbours.find(ref)
        else:
            version = held(self._ends.source, ref)
            start = neighbours.find(version.ref if version else ref)
        return self._answer(neighbours, self._there(start, "W&B", SPELLING), Teller.WANDB)

    def oxen(self) -> Answer:
        """What Oxen says."""
        config = self._ends.config
        neighbours = OxenNeighbours(
            self._ends.store,
            self._repositories,
            main=config.oxen.main_branch,
            folder=(lambda ref, type_: place(ref, type_, config)[1]) if config.oxen.path else None,
        )
        ref = self._ref
        if isinstance(ref, RunRef):
            start = neighbours.find(ref)
        elif isinstance(ref, OxenURL):
            commit = self._commit(ref)
            start = neighbours.find(commit) if commit else None
        else:
            start = self._at_home(neighbours, ref) or neighbours.find(ref)
        there = self._there(start, "Oxen", NAMED)
        # What serves or learns from the later of two commits of one version is drawn at that version.
        users = [
            replace(user, version=node.name, commit=node.commit)
            if (node := neighbours.find(user.commit)) is not None and node.commit is not None
            else user
            for user in self._question.users
        ]
        self._question = replace(self._question, users=users)
        return self._answer(neighbours, there, Teller.OXEN)

    # --- names

    def _commit(self, url: OxenURL) -> CommitRef | None:
        """The commit of a revision; Oxen is asked for what is no full id."""
        if FULL_COMMIT.fullmatch(url.revision):
            return CommitRef(repo=url.repo, commit=url.revision)
        found = self._ends.store.resolve(url.repo, url.revision)
        return found.ref if found else None

    def _at_home(self, neighbours: OxenNeighbours, ref: ArtifactRef) -> Node | None:
        """The version where the configuration puts it, without going through all repositories."""
        config = self._ends.config
        if "{type}" in f"{config.oxen.repo}{config.oxen.path}":
            return None
        repo, folder = place(ref, "", config)
        branch = (
            alias_branch(ref.alias, folder, main=config.oxen.main_branch)
            if ref.index is None
            else version_branch(ref.index, folder)
        )
        found = self._ends.store.resolve(repo, branch)
        node = neighbours.find(found.ref) if found else None
        if node is None:
            return None
        begin = str(ref).removesuffix(ref.alias)
        fits = node.name.startswith(begin) if ref.index is None else node.name == str(ref)
        return node if fits else None

    def _repositories(self) -> Iterator[RepoRef]:
        """All repositories of the namespaces that versions go to, as far as Oxen lists them."""
        config = self._ends.config
        names = {Target.parse(str(text)).entity for text in config.wandb.projects}
        names |= set() if isinstance(self._ref, OxenURL) else {self._ref.entity}
        namespaces = {namespace_name(config.oxen.namespace or name) for name in names}
        if isinstance(self._ref, OxenURL):
            namespaces.add(self._ref.repo.namespace)
        for namespace in sorted(namespaces):
            try:
                yield from self._ends.store.repositories(namespace)
            except PermanentError as error:
                self._notes.append(
                    f"Oxen does not list the repositories of {namespace} ({error}): only those that "
                    "the catalog knows were read"
                )
                known = self._ends.catalog.descent.repositories()
                yield from (repo for repo in known if repo.namespace == namespace)

    def _there(self, start: Node | None, where: str, hint: str) -> Node:
        if start is None and isinstance(self._ref, OxenURL) and self._commit(self._ref) is None:
            raise NotFoundError(
                f"{self._question.ref}: Oxen has no such commit or branch",
                hint="`oxen log` lists commits; a branch's slash is written %2F: candidate%2Fv3.",
            )
        if start is None:
            raise NotFoundError(f"{where} knows nothing of {self._question.ref}", hint=hint)
        return start

    def _answer(self, neighbours: Neighbours, start: Node, teller: Teller) -> Answer:
        question = self._question
        graph = walk(
            neighbours,
            start,
            up=question.up,
            down=question.down,
            users=question.users,
        )
        return Answer(graph=replace(graph, notes=[*graph.notes, *self._notes]), teller=teller)


def _parsed(text: str) -> ArtifactRef | RunRef | OxenURL:
    """Read a name.

    Raises:
        UsageError: when it is none.
    """
    if text.startswith("oxen://"):
        return OxenURL.parse(text)
    for kind in (RunRef, ArtifactRef):
        with suppress(UsageError):
            return kind.parse(text)
    raise UsageError(
        f"{text!r} names neither a version nor a run",
        hint="Write entity/project/collection:v3, entity/project/runs/ID or oxen://ns/repo@rev.",
    )
