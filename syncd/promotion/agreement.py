"""What both sides say of an alias together, and what they disagree about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as changed

from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.errors import NotFoundError, PermanentError
from syncd.promotion import located
from syncd.promotion.answers import Answer, Problem
from syncd.promotion.production import (
    GUESSED_TYPE,
    from_oxen,
    how_to_promote,
    in_wandb,
    with_since,
)
from syncd.refs import ArtifactRef
from syncd.stages.plan import place
from syncd.versions.events import Event, State, of, trail


def from_both(
    source: ArtifactSource,
    store: VersionStore,
    events: Sequence[Event],
    config: Config,
    subject: str,
) -> Answer:
    """What both sides say, with what they disagree about.

    Raises:
        NotFoundError: when neither has such an alias, or the collection is called otherwise by now.
    """
    try:
        answer, point, run_is_gone = in_wandb(source, subject)
    except NotFoundError:
        return _left_in_oxen(source, store, events, config, subject)
    mine = of(events, subject)
    answer = with_since(answer, mine)
    problems = [*answer.problems, *_open(mine)]
    if answer.commit is None:
        collection = located.collection_of(answer.reference)
        problems.append(
            Problem(
                problem=f"{answer.reference} is not in Oxen, so no commit says what it is made of",
                hint=f"syncd backfill {collection}",
            )
        )
        return changed(answer, problems=tuple(problems))
    try:
        other = from_oxen(store, events, config, subject, at=point)
    except (NotFoundError, PermanentError) as error:
        problems.append(Problem(problem=str(error), hint=_repair(answer)))
        return changed(answer, problems=tuple(problems))
    if other.commit != answer.commit:
        problems.append(
            Problem(
                problem=f"the two sides disagree: W&B's alias is at {answer.commit}, Oxen's branch at "
                f"{other.commit} ({other.version})",
                hint=_repair(answer),
            )
        )
    elif run_is_gone and other.run:
        answer = changed(answer, run=other.run, data=other.data)
    elif set(other.data) != set(answer.data):
        problems.append(
            Problem(
                problem="W&B says that the run used other versions than the commit says: "
                + ", ".join(
                    sorted(
                        {i.artifact or str(i.commit) for i in set(other.data) ^ set(answer.data)}
                    )
                ),
                hint="What was recorded after the commit stands in W&B alone; nothing is to be done "
                "unless the run's inputs were changed by mistake.",
            )
        )
    return changed(answer, problems=tuple(problems))


def with_ends(answer: Answer, ended: Sequence[Event]) -> Answer:
    """The answer with what became of events that were left half done, where they came to nothing.

    Args:
        answer: about an alias.
        ended: events that were finished just now.
    """
    problems = [
        Problem(
            problem=f"a {event.kind} to {event.after.version} by {event.by} at {event.at} was left "
            f"half done, and came to nothing: {event.note}",
            hint=f"If it is still wanted: syncd promote {event.after.version} "
            f"{ArtifactRef.parse(event.subject).alias}",
        )
        for event in of(ended, answer.subject)
        if event.state is not State.DONE
    ]
    return changed(answer, problems=(*answer.problems, *problems))


def _left_in_oxen(
    source: ArtifactSource,
    store: VersionStore,
    events: Sequence[Event],
    config: Config,
    subject: str,
) -> Answer:
    """What Oxen says of an alias that W&B does not have, and what to do about that."""
    stood = trail(of(events, subject))
    there = located.again(source, store, stood[-1]) if stood else None
    name = located.collection_of(subject)
    if there is not None and located.collection_of(str(there.ref)) != name:
        now = located.collection_of(str(there.ref))
        raise NotFoundError(f"{name} is called {now} by now", hint=f"syncd production {now}")
    answer = from_oxen(store, events, config, subject)
    assert answer.commit is not None, "a branch is at a commit"
    alias = ArtifactRef.parse(subject).alias
    folder = (
        stood[-1].folder if stood else place(ArtifactRef.parse(subject), GUESSED_TYPE, config)[1]
    )
    branch = located.branch_of(config, alias, folder)
    again = f"{how_to_promote(answer)} gives it again"
    if stood and there is None:
        again = f"`syncd restore {answer.commit}` puts the version back into W&B, promote it then"
    problem = Problem(
        problem=f"W&B has no alias {alias!r} in {name} any more; Oxen's branch is at {answer.commit}",
        hint=f"{again}; if nothing is to have it, delete the branch {branch} of {answer.commit.repo}",
    )
    return changed(answer, problems=(problem,))


def _open(mine: Sequence[Event]) -> list[Problem]:
    return [
        Problem(
            problem=f"a {event.kind} to {event.after.version} by {event.by} at {event.at} was left "
            "half done",
            hint="Run `syncd production` again when both sides can be reached; it finishes it.",
        )
        for event in mine
        if event.open
    ]


def _repair(answer: Answer) -> str:
    return f"{how_to_promote(answer)} makes both sides say the same"
