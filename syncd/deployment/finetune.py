"""Fine-tuning: the hub learns from a file of one commit, and the journal knows from which.

What is begun costs money. So it is written down before the hub is asked, again when the hub has given
it a name, and only then run: whatever is cut off leaves something to be found, and nothing is begun
twice by itself. An answer that was lost leaves a fine-tune without a name, which `finetune list` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from syncd.clients.oxen_hub import OxenHub
from syncd.clients.protocols import VersionStore
from syncd.errors import NotFoundError, PermanentError, SyncdError, TransientError
from syncd.promotion.journal import Journal
from syncd.versions.deployments import FineTuned, Recipe, fine_tuned, noted
from syncd.versions.events import Event, Kind, Point, State, moment
from syncd.versions.plans import LINEAGE_PATH

SHOWN = 3  # files named where the wanted one is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuner:
    """What fine-tuning works with.

    Args:
        journal: where it is written down.
        events: of all journals.
        store: Oxen, which holds the data.
        hub: learns.
        by: who asks.
        clock: tells the time; injected by tests.
        new_id: makes an event's id; injected by tests.
    """

    journal: Journal
    events: Callable[[], Sequence[Event]]
    store: VersionStore
    hub: OxenHub
    by: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_id: Callable[[], str] = lambda: uuid4().hex


def start(tuner: Tuner, data: Point, recipe: Recipe) -> FineTuned:
    """Let the hub fine-tune a model on a file of a version, as its commit has it.

    Args:
        tuner: what to work with.
        data: the version, which is in Oxen.
        recipe: what to learn, and how; the path is the version's own.

    Raises:
        NotFoundError: when the version has no such file; nothing was asked of the hub.
        PermanentError: when the hub refuses; nothing was begun, or what was begun does not run.
        TransientError: when the hub does not answer; nobody knows whether something was begun.
    """
    commit = data.commit
    assert commit is not None, "only what is in Oxen is learnt from"
    path = f"{data.folder}/{recipe.path}" if data.folder else recipe.path
    _check(tuner.store, data, path)
    recipe = replace(recipe, path=path)
    event = Event(
        id=tuner.new_id(),
        kind=Kind.FINE_TUNE,
        subject=str(commit.repo),
        before=None,
        after=data,
        by=tuner.by,
        at=moment(tuner.events(), tuner.clock()),
        note=noted(recipe, ""),
    )
    tuner.journal.append(event)
    try:
        made = tuner.hub.create(
            commit.repo,
            resource=f"{commit.commit}/{path}",
            base_model=recipe.base_model,
            script_type=recipe.script_type,
            training_params=recipe.training_params,
        )
    except TransientError as error:
        raise TransientError(
            f"{error}; nobody knows whether it was made",
            hint=f"Look at the fine-tunes of {commit.repo} on the hub before you start another.",
        ) from error
    except PermanentError as error:
        refused = replace(event, state=State.FAILED, note=noted(recipe, "", str(error)))
        tuner.journal.append(refused)
        raise
    event = replace(event, state=State.DONE, note=noted(recipe, made.id))
    tuner.journal.append(event)
    try:
        tuner.hub.start(commit.repo, made.id)
    except SyncdError as error:
        raise type(error)(
            f"fine-tune {made.id} was made, and may not run: {error}",
            hint=f"`syncd finetune show {made.id}` tells; `syncd finetune run {made.id}` runs it.",
        ) from error
    return fine_tuned([event])[0]


def named(events: Sequence[Event], name: str) -> FineTuned:
    """The fine-tune of a name.

    Raises:
        NotFoundError: when the journal knows of none.
    """
    found = [item for item in fine_tuned(events) if item.id == name]
    if not name or not found:
        raise NotFoundError(
            f"the journal knows of no fine-tune {name!r}",
            hint="`syncd finetune list` shows those that syncd began.",
        )
    return found[-1]


def _check(store: VersionStore, data: Point, path: str) -> None:
    """That a commit has a file.

    Raises:
        NotFoundError: when it has not.
    """
    assert data.commit is not None
    others: list[str] = []
    for entry in store.tree(data.commit):
        if entry.path == path:
            return
        if len(others) <= SHOWN and not entry.path.endswith(LINEAGE_PATH):
            others.append(entry.path)
    shown = ", ".join(others[:SHOWN]) + (", …" if len(others) > SHOWN else "")
    raise NotFoundError(
        f"{data.logged} has no file {path!r} in {data.commit}",
        hint=f"It has {shown or 'no files at all'}.",
    )
