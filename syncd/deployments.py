"""What serves a model: values, and what the journal's events say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from syncd.events import Event, Point, of, standing, trail
from syncd.refs import CommitRef


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
