"""What was promoted, deployed and fine-tuned: events, as the journal keeps them, and what follows.

An event is written down before it happens and again when it has ended, a line of JSON each time; the
last line of an id counts. What a subject (an alias of a collection, or an endpoint) stood at earlier
is a stack: each move puts a version on it, each rollback takes one off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from syncd.errors import PermanentError, SyncdError
from syncd.refs import CommitRef


class Kind(StrEnum):
    """What happens."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    MOVED = "moved"  # by a person, in W&B; seen afterwards
    DEPLOY = "deploy"
    ENDPOINT_ROLLBACK = "endpoint-rollback"
    FINE_TUNE = "fine-tune"  # begun on the hub; its note is JSON, see `deployments.FineTuned`

    @property
    def back(self) -> bool:
        """Whether it goes back to an earlier version."""
        return self in {Kind.ROLLBACK, Kind.ENDPOINT_ROLLBACK}

    @property
    def of_alias(self) -> bool:
        """Whether it is about an alias of a collection."""
        return self in {Kind.PROMOTE, Kind.ROLLBACK, Kind.MOVED}

    @property
    def of_endpoint(self) -> bool:
        """Whether it is about an endpoint."""
        return self in {Kind.DEPLOY, Kind.ENDPOINT_ROLLBACK}


class State(StrEnum):
    """How far it came."""

    INTENDED = "intended"  # nobody knows yet how much of it has happened
    DONE = "done"
    FAILED = "failed"  # and everything is as it was before
    OVERTAKEN = "overtaken"  # a person moved the alias elsewhere meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What an alias or an endpoint stands at, or a fine-tune learns from.

    Args:
        version: `entity/project/collection:vN` of the W&B version that has the alias.
        logged: what it was called when it was logged: W&B may have references in its place.
        artifact_id: its GraphQL id.
        commit: its Oxen commit; None when it is not in Oxen.
        folder: where it lies in the commit's tree; empty for the root.
    """

    version: str
    logged: str
    artifact_id: str
    commit: CommitRef | None = None
    folder: str = ""

    def same(self, other: Point | None) -> bool:
        """Whether both are the same version, perhaps under another id: it was moved or restored."""
        if other is None:
            return False
        if self.artifact_id == other.artifact_id:
            return True
        if self.commit is None or other.commit is None:  # it was moved between the two
            return self.logged == other.logged
        return self.commit == other.commit

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "version": self.version,
            "logged": self.logged,
            "artifact_id": self.artifact_id,
            "commit": str(self.commit) if self.commit else None,
            "folder": self.folder,
        }

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Point:
        """Read what `document` made.

        Raises:
            KeyError, SyncdError: when it is something else.
        """
        return cls(
            version=str(item["version"]),
            logged=str(item["logged"]),
            artifact_id=str(item["artifact_id"]),
            commit=CommitRef.parse(item["commit"]) if item["commit"] else None,
            folder=str(item["folder"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A promotion, a rollback, a deployment, a fine-tune.

    Args:
        id: names it, whatever becomes of it.
        kind: what happens.
        subject: `entity/project/collection:alias`, an endpoint's name, or the repository in which
            a fine-tune is.
        before: what the subject stood at; None for nothing.
        after: what it is to stand at.
        by: who asked for it.
        at: when; ISO 8601, UTC.
        state: how far it came.
        note: why it did not come further, or what was said about it; empty for nothing.
    """

    id: str
    kind: Kind
    subject: str
    before: Point | None
    after: Point
    by: str
    at: str
    state: State = State.INTENDED
    note: str = ""

    @property
    def open(self) -> bool:
        """Whether nobody knows yet how much of it has happened."""
        return self.state is State.INTENDED

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "id": self.id,
            "kind": str(self.kind),
            "subject": self.subject,
            "from": self.before.document() if self.before else None,
            "to": self.after.document(),
            "by": self.by,
            "at": self.at,
            "state": str(self.state),
            "note": self.note,
        }

    @property
    def line(self) -> str:
        """As a line of the journal, without its end."""
        return json.dumps(self.document(), sort_keys=True)

    @classmethod
    def read(cls, line: str) -> Event:
        """Read a line of the journal.

        Raises:
            PermanentError: when it is none.
        """
        try:
            item = json.loads(line)
            return cls(
                id=str(item["id"]),
                kind=Kind(item["kind"]),
                subject=str(item["subject"]),
                before=Point.read(item["from"]) if item["from"] else None,
                after=Point.read(item["to"]),
                by=str(item["by"]),
                at=str(item["at"]),
                state=State(item["state"]),
                note=str(item["note"]),
            )
        except (KeyError, TypeError, ValueError, SyncdError) as error:
            raise PermanentError(
                f"the journal holds a line that is none: {line[:80]!r}",
                hint="Somebody else wrote to the journal's branch. Point it back at a commit of "
                "syncd's; `oxen log` lists them.",
            ) from error


def folded(lines: Iterable[str]) -> list[Event]:
    """The events of a journal's lines in the order in which they began, each as it stands now.

    Raises:
        PermanentError: when a line is none.
    """
    found: dict[str, Event] = {}
    for line in lines:
        event = Event.read(line)
        found[event.id] = event
    return list(found.values())


def moment(known: Iterable[Event], now: datetime) -> str:
    """When an event begins, as it is written: never before one that is known.

    Machines do not agree about the time, and the order of events is what they stand for.

    Args:
        known: the events so far.
        now: by this machine's clock.
    """
    latest = max((event.at for event in known), default="")
    return max(now.isoformat(timespec="microseconds"), latest)


def of(events: Iterable[Event], subject: str) -> list[Event]:
    """The events of a subject, in order."""
    return [event for event in events if event.subject == subject]


def trail(events: Iterable[Event]) -> list[Point]:
    """What a subject stood at, as far as a rollback can go back: the present last.

    Args:
        events: the subject's, in order; only what is done counts.
    """
    found: list[Point] = []
    for event in events:
        if event.state is not State.DONE:
            continue
        if not found and event.before is not None:
            found.append(event.before)
        if event.kind.back:
            while found and not found[-1].same(event.after):
                found.pop()
        if not (found and found[-1].same(event.after)):
            found.append(event.after)
    return found


def standing(events: Sequence[Event], point: Point) -> Event | None:
    """The event since which a subject stands at a version; None when the journal does not know.

    Args:
        events: the subject's, in order.
        point: where it stands.
    """
    found: Event | None = None
    for event in reversed([event for event in events if event.state is State.DONE]):
        if not event.after.same(point):
            break
        found = event
    return found
