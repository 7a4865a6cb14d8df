"""What serves a model, and what the hub fine-tunes: values, and what the journal's events say of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from syncd.errors import PermanentError
from syncd.refs import CommitRef
from syncd.versions.events import Event, Kind, Point, State, of, standing, trail


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """That an endpoint serves a version.

    Args:
        endpoint: the endpoint's name.
        version: `entity/project/collection:vN` as it was logged.
        commit: its Oxen commit.
        since: when it was deployed; ISO 8601, UTC.
        by: who deployed it.
    """

    endpoint: str
    version: str
    commit: CommitRef
    since: str
    by: str

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "commit": str(self.commit)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a fine-tune learns, and how.

    Args:
        path: the file of the commit's tree that it learns from.
        base_model: what it begins with, as the hub knows it.
        script_type: as the hub names them, e.g. `text_generation`.
        training_params: as the script takes them; values of JSON.
    """

    path: str
    base_model: str
    script_type: str
    training_params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuned:
    """That the hub fine-tunes a model on a version.

    Args:
        id: the hub's name for it; empty when its answer was lost.
        version: `entity/project/collection:vN` as it was logged.
        commit: its Oxen commit.
        recipe: what it learns, and how.
        since: when it was begun; ISO 8601, UTC.
        by: who began it.
        state: how far beginning it came.
    """

    id: str
    version: str
    commit: CommitRef
    recipe: Recipe
    since: str
    by: str
    state: State

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        recipe = asdict(self.recipe)
        return {
            "id": self.id,
            "version": self.version,
            "commit": str(self.commit),
            **recipe,
            "since": self.since,
            "by": self.by,
            "state": str(self.state),
        }


User = Served | FineTuned


def users(events: Sequence[Event]) -> list[User]:
    """What uses versions without being a run of W&B's: endpoints, and fine-tunes that there are.

    Args:
        events: of all journals, by time; the catalog's mirror has them, too.
    """
    return [*served(events), *(item for item in fine_tuned(events) if item.id)]


def noted(recipe: Recipe, fine_tune: str, why: str = "") -> str:
    """What the journal notes of a fine-tune; `fine_tuned` reads it.

    Args:
        recipe: what it learns, and how.
        fine_tune: the hub's name for it; empty as long as there is none.
        why: what the hub said when it refused.
    """
    return json.dumps({"fine_tune": fine_tune, **asdict(recipe), "why": why}, sort_keys=True)


def fine_tuned(events: Iterable[Event]) -> list[FineTuned]:
    """What was begun on the hub, in the order in which it was.

    Args:
        events: of all journals, by time; the catalog's mirror has them, too.

    Raises:
        PermanentError: when an event's note is not as syncd writes it.
    """
    found: list[FineTuned] = []
    for event in events:
        if event.kind is not Kind.FINE_TUNE or event.after.commit is None:
            continue
        try:
            note = json.loads(event.note)
            recipe = Recipe(
                path=str(note["path"]),
                base_model=str(note["base_model"]),
                script_type=str(note["script_type"]),
                training_params=dict(note["training_params"]),
            )
            name = str(note["fine_tune"])
        except (KeyError, TypeError, ValueError) as error:
            raise PermanentError(
                f"the journal tells of fine-tune {event.id} in another way: {event.note[:80]!r}",
                hint="Somebody else wrote to the journal's branch; `oxen log` lists its commits.",
            ) from error
        found.append(
            FineTuned(
                id=name,
                version=event.after.logged,
                commit=event.after.commit,
                recipe=recipe,
                since=event.at,
                by=event.by,
                state=event.state,
            )
        )
    return found


def served(events: Sequence[Event]) -> list[Served]:
    """What every endpoint serves, by name.

    Args:
        events: of all journals, by time; the catalog's mirror has them, too.
    """
    found: list[Served] = []
    for name in sorted({event.subject for event in events if event.kind.of_endpoint}):
        mine = of(events, name)
        point = serving(mine)
        since = standing(mine, point) if point else None
        if point is not None and point.commit is not None and since is not None:
            found.append(
                Served(
                    endpoint=name,
                    version=point.logged,
                    commit=point.commit,
                    since=since.at,
                    by=since.by,
                )
            )
    return found


def serving(mine: Sequence[Event]) -> Point | None:
    """What an endpoint serves, as far as is known for certain.

    Args:
        mine: its events, in order.
    """
    stood = trail(mine)
    return stood[-1] if stood else None
