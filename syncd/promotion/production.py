"""What is in production: which version and commit, since when, by whom, trained on which data.

The question has an answer on each side alone, and in the catalog:

    wandb    alias -> version -> what it says of its commit -> its run -> versions the run used -> theirs
    oxen     journal, branch -> commit -> its lineage file
    catalog  the mirror of the journal, and of those lineage files

Since when and by whom the journal knows; W&B tells neither. Where two sides disagree, that is a
problem with a next step. A version is called as it was logged: its commit knows no other name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace as changed
from typing import Any

from syncd.catalog.mirror import Mirror
from syncd.clients.artifacts import Run, Version
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.naming import index_at
from syncd.promotion import located
from syncd.promotion.answers import Answer, Data, Endpoint, Problem
from syncd.refs import ArtifactRef, CommitRef
from syncd.replacements import published_of
from syncd.stages.annotate import pinned_in
from syncd.stages.discover import held
from syncd.stages.plan import place
from syncd.versions.commit_texts import inputs
from syncd.versions.deployments import served, serving
from syncd.versions.events import Event, Point, of, standing, trail
from syncd.versions.lineages import MALFORMED, story
from syncd.versions.plans import lineage_in

ALIAS = "production"
GUESSED_TYPE = "model"  # where [oxen] repo asks for a type that nobody has told


def from_wandb(source: ArtifactSource, subject: str) -> Answer:
    """What W&B alone says.

    Raises:
        NotFoundError: when it has no such alias.
    """
    return in_wandb(source, subject)[0]


def in_wandb(source: ArtifactSource, subject: str) -> tuple[Answer, Point, bool]:
    """What W&B alone says, where that lies, and whether it has no run of it, maybe no more.

    Raises:
        NotFoundError: when it has no such alias.
    """
    version = held(source, ArtifactRef.parse(subject))
    if version is None:
        raise _nothing(subject)
    found = located.of(source, version)
    ref, run = found.version.run, None
    with suppress(NotFoundError):  # it was deleted, and what it logged was not
        run = source.run(ref) if ref else None
    answer = Answer(
        subject=subject,
        version=found.point.logged,
        reference=str(found.version.ref),
        commit=found.point.commit,
        run=str(ref) if ref else None,
        data=used(run),
    )
    return answer, found.point, run is None


def used(run: Run | None) -> tuple[Data, ...]:
    """What a run was given, as W&B knows it: its inputs, and what its config alone names.

    A commit that no version of W&B stands for is pinned in the config.
    """
    if run is None:
        return ()
    born = {item.id: item for item in run.inputs}
    found = [_data(item, born.get(str(item["id"]))) for item in inputs(run)]
    pinned = pinned_in(run.config)
    for short in ("dataset", "base_model"):
        repo, commit = (run.config.get(f"{short}_{part}") for part in ("repo", "commit"))
        with suppress(UsageError):  # whatever a person has written there
            pinned[short] = CommitRef.parse(f"{repo}@{commit}")
    known = {item.commit for item in found}
    for short, at in pinned.items():
        if at not in known:
            kind = "model" if short == "base_model" else "dataset"
            found.append(Data(artifact="", type=kind, commit=at))
    return tuple(found)


def from_oxen(
    store: VersionStore,
    events: Sequence[Event],
    config: Config,
    subject: str,
    *,
    at: Point | None = None,
) -> Answer:
    """What Oxen alone says.

    Args:
        store: Oxen.
        events: the journal's.
        config: where a collection lies that was never promoted.
        subject: `entity/project/collection:alias`.
        at: where such a one lies, if that is known: it may have had another name.

    Raises:
        NotFoundError: when there is no such branch.
    """
    ref = ArtifactRef.parse(subject)
    mine = of(events, subject)
    stood = trail(mine)
    last = stood[-1] if stood else at
    if last is not None and last.commit is not None:
        repo, folder = last.commit.repo, last.folder
    else:
        repo, folder = place(ref, GUESSED_TYPE, config)
    branch = located.branch_of(config, ref.alias, folder)
    found = store.resolve(repo, branch)
    if found is None:
        raise _nothing(subject)
    answer = _answer(subject, found.ref, told_by(store, found.ref, folder))
    if ":" not in answer.version:  # born in Oxen, before W&B had numbered it
        index = index_at(store.branches(repo), found.ref.commit, folder)
        if index is not None:
            answer = changed(answer, version=f"{answer.version}:v{index}")
    return with_since(answer, mine)


def from_catalog(mirror: Mirror, subject: str) -> Answer:
    """What the local state says, without asking either side.

    Raises:
        NotFoundError: when it knows of no promotion.
    """
    mine = of(mirror.events(), subject)
    stood = trail(mine)
    if not stood:
        raise NotFoundError(
            f"{subject}: the local state knows of no promotion",
            hint="Ask the other sides: --from wandb or --from oxen; `syncd catalog rebuild` makes "
            "the local state anew.",
        )
    last = stood[-1]
    told = mirror.story(last.commit) if last.commit else None
    answer = _answer(subject, last.commit, told or {})
    if ":" not in answer.version:  # not known, or born in Oxen before W&B had numbered it
        answer = changed(answer, version=last.logged)
    return with_since(changed(answer, reference=last.version), mine)


def with_endpoints(answer: Answer, events: Sequence[Event]) -> Answer:
    """The answer with the endpoints that serve the version."""
    found = [item for item in served(events) if item.commit == answer.commit]
    return changed(answer, endpoints=tuple(found))


def endpoints(
    events: Sequence[Event], tell: Callable[[Point], Mapping[str, Any]]
) -> list[Endpoint]:
    """What every endpoint serves, and which data trained it.

    Args:
        events: of all journals, by time.
        tell: gives what the lineage file of a version says, see `told_by`.
    """
    found: list[Endpoint] = []
    for item in served(events):
        point = serving(of(events, item.endpoint))
        assert point is not None, "it serves something"
        answer = _answer(item.endpoint, item.commit, tell(point))
        found.append(Endpoint(served=item, run=answer.run, data=answer.data))
    return found


def told_by(store: VersionStore, commit: CommitRef, folder: str) -> dict[str, Any]:
    """What a commit's lineage file says of its version, as the mirror keeps it.

    Raises:
        PermanentError: when it has none that can be read.
    """
    path = lineage_in(folder)
    try:
        told = story(store.read(commit, path))
        return {
            "artifact": {key: told.artifact.get(key) for key in ("ref", "type")},
            "run": {key: told.run.get(key) for key in ("ref", "name", "url", "config")}
            if told.run
            else None,
            "inputs": [dict(item) for item in told.inputs],
        }
    except MALFORMED as error:
        raise PermanentError(f"{path} of {commit} is no lineage file ({error!r})") from error


def told_at(store: VersionStore, point: Point) -> dict[str, Any]:
    """The same of where a version lies; nothing where it cannot be read."""
    try:
        return told_by(store, point.commit, point.folder) if point.commit else {}
    except PermanentError:
        return {}  # `syncd verify` tells of it


def remember(store: VersionStore, mirror: Mirror, events: Sequence[Event]) -> list[str]:
    """Mirror events and the lineage files of their commits; what of these could not be read."""
    mirror.keep(events)
    problems: list[str] = []
    points = {str(p.commit): p for e in events for p in (e.before, e.after) if p and p.commit}
    for point in points.values():
        assert point.commit is not None, "only such were chosen"
        if mirror.story(point.commit) is not None:
            continue
        try:
            mirror.keep_story(point.commit, told_by(store, point.commit, point.folder))
        except PermanentError as error:
            problems.append(f"{point.version}: {error}")
    return problems


def subjects(events: Sequence[Event], alias: str) -> list[str]:
    """The collections' aliases of one name that were ever promoted, sorted."""
    named = {event.subject for event in events if event.kind.of_alias}
    return sorted(name for name in named if ArtifactRef.parse(name).alias == alias)


def _answer(subject: str, commit: CommitRef | None, told: Mapping[str, Any]) -> Answer:
    run = told.get("run") or {}
    return Answer(
        subject=subject,
        version=str((told.get("artifact") or {}).get("ref", "")),
        reference="",
        commit=commit,
        run=str(run["ref"]) if run else None,
        data=tuple(_data(item, None) for item in told.get("inputs") or ()),
    )


def with_since(answer: Answer, mine: Sequence[Event]) -> Answer:
    """The answer with what the journal knows of it."""
    stood = trail(mine)
    point = Point(version="", logged="", artifact_id="", commit=answer.commit)
    event = standing(mine, point) if answer.commit else None
    if event is not None:
        known = event.after.version
        return changed(answer, since=event.at, by=event.by, reference=answer.reference or known)
    if not stood:
        return answer
    moved = Problem(
        problem=f"the alias was moved by hand: the journal knows it at {stood[-1].version}",
        hint=f"{how_to_promote(answer)} writes it down, and makes both sides say the same",
    )
    return changed(answer, problems=(*answer.problems, moved))


def how_to_promote(answer: Answer) -> str:
    """The command that gives the alias to the version."""
    alias = ArtifactRef.parse(answer.subject).alias
    return f"syncd promote {answer.reference or answer.version} {alias}"


def _data(item: Mapping[str, Any], version: Version | None) -> Data:
    named = item.get("oxen")
    commit = CommitRef.parse(str(named)) if named else None
    if commit is None and version is not None:
        born = published_of(version.metadata, version.digest)
        commit = born.commit if born else None
    return Data(artifact=str(item["artifact"] or ""), type=str(item["type"]), commit=commit)


def _nothing(subject: str) -> NotFoundError:
    ref = ArtifactRef.parse(subject)
    return NotFoundError(
        f"nothing has the alias {ref.alias!r} in {located.collection_of(subject)}",
        hint=f"syncd promote REF {ref.alias}",
    )
