"""Deploy: an endpoint is told to serve a version, and the journal knows which one it serves.

The event is written down before the endpoint is told and again when it has answered. Where it says
no, the former version is what it serves. A kill in between leaves it open which one it is: the same
deployment, asked for again, tells the endpoint again under the same key; another one takes its place;
rolling back leads to what it certainly served before.

Nothing here asks W&B: an endpoint can be rolled back while that is away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from syncd.clients.protocols import VersionStore
from syncd.config import Config
from syncd.config.hooks import Endpoint
from syncd.deployment.card import Card, with_card
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.promotion.journal import Journal
from syncd.refs import CommitRef
from syncd.versions.deployments import serving
from syncd.versions.events import Event, Kind, Point, State, moment, of, trail

NOTE = 500  # characters of what an endpoint said, in the journal
Tell = Callable[[Endpoint, Mapping[str, Any], str, Mapping[str, str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """What deploying works with.

    Args:
        journal: where events about a version are written.
        events: of all journals: an endpoint may have served versions of several namespaces.
        store: Oxen, where an oxen.toml is committed.
        config: names the endpoints.
        by: who asks.
        tell: tells an endpoint: which one, what, the event's id, and the same as variables.
        clock: tells the time; injected by tests.
        new_id: makes an event's id; injected by tests.
    """

    journal: Callable[[Point], Journal]
    events: Callable[[], Sequence[Event]]
    store: VersionStore
    config: Config
    by: str
    tell: Tell
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_id: Callable[[], str] = lambda: uuid4().hex


def deploy(ramp: Ramp, wanted: Point, name: str, more: Mapping[str, Any] | None = None) -> Event:
    """Let an endpoint serve a version; told also when it serves it already.

    Args:
        ramp: what to work with.
        wanted: the version, which is in Oxen.
        name: the endpoint.
        more: what the endpoint is told beside the version.

    Returns:
        The event; its note is what the endpoint said.

    Raises:
        PermanentError: when the endpoint refuses; it serves the former version.
        TransientError: when it does not answer; the same call again tells it again.
        UsageError: when the configuration has no such endpoint.
    """
    endpoint = endpoint_of(ramp.config, name)
    mine = of(ramp.events(), name)
    left = [event for event in mine if event.open]
    same = [event for event in left if event.after.same(wanted) and not event.kind.back]
    _give_up(ramp, [event for event in left if event not in same])
    event = same[-1] if same else _intend(ramp, Kind.DEPLOY, name, serving(mine), wanted)
    return _told(ramp, endpoint, event, more or {})


def rollback(ramp: Ramp, name: str) -> Event:
    """Let an endpoint serve again what it served before; a further one goes further back.

    Raises:
        NotFoundError: when the journal knows of nothing before.
        PermanentError, TransientError, UsageError: see `deploy`.
    """
    endpoint = endpoint_of(ramp.config, name)
    target, left = former(ramp.events(), name)
    same = [event for event in left if event.kind.back and event.after.same(target)]
    _give_up(ramp, [event for event in left if event not in same])
    mine = of(ramp.events(), name)
    event = same[-1] if same else _intend(ramp, Kind.ENDPOINT_ROLLBACK, name, serving(mine), target)
    return _told(ramp, endpoint, event, {})


def former(events: Sequence[Event], name: str) -> tuple[Point, list[Event]]:
    """What an endpoint is rolled back to, and what was left open about it.

    Where a deployment was left open, that is what it served before; else the one before that.

    Raises:
        NotFoundError: when the journal knows of nothing.
    """
    mine = of(events, name)
    stood = trail(mine)
    left = [event for event in mine if event.open]
    deploying = [event for event in left if not event.kind.back]
    back = stood[-1:] if deploying else stood[-2:-1]
    if not back:
        raise NotFoundError(
            f"endpoint {name}: there is nothing to go back to",
            hint=f"The journal knows of no earlier version. Name one: syncd deploy REF {name}.",
        )
    return back[0], left


def endpoint_of(config: Config, name: str) -> Endpoint:
    """An endpoint of the configuration.

    Raises:
        UsageError: when it names none so.
    """
    found = config.endpoints.get(name)
    if found is None:
        known = ", ".join(sorted(config.endpoints)) or "none"
        raise UsageError(
            f"the configuration has no endpoint {name!r}; it has {known}",
            hint=f"Write a table [endpoints.{name}] with a command, a url or hub = true.",
        )
    return found


def document(event: Event, config: Config, commit: CommitRef) -> dict[str, Any]:
    """What an endpoint is told.

    `files` is the address below which the files are served.

    Args:
        event: the deployment.
        config: says where files are served.
        commit: what is to be served: the version's own, or with an oxen.toml.
    """
    repo = commit.repo
    base = (
        f"{config.references.base_url.rstrip('/')}/api/repos/{quote(repo.namespace, safe='')}/"
        f"{quote(repo.repo, safe='')}/file/{commit.commit}/"
    )
    return {
        "event": event.id,
        "kind": str(event.kind),
        "endpoint": event.subject,
        "version": event.after.logged,
        "reference": event.after.version,
        "repo": str(repo),
        "commit": commit.commit,
        "oxen": str(commit),
        "folder": event.after.folder,
        "files": f"{base}{quote(event.after.folder)}/" if event.after.folder else base,
        "before": event.before.document() if event.before else None,
        "by": event.by,
        "at": event.at,
    }


def variables(told: Mapping[str, Any]) -> dict[str, str]:
    """The same for a command's environment: SYNCD_ENDPOINT, SYNCD_VERSION, SYNCD_OXEN, ..."""
    names = (
        *("event", "kind", "endpoint", "version", "reference", "repo", "commit", "oxen"),
        *("folder", "files"),
    )
    return {f"SYNCD_{name.upper()}": str(told[name]) for name in names}


def _told(ramp: Ramp, endpoint: Endpoint, event: Event, more: Mapping[str, Any]) -> Event:
    commit = event.after.commit
    assert commit is not None, "only what is in Oxen is deployed"
    if endpoint.model_type is not None and endpoint.base_model is not None:
        card = Card(source=endpoint.base_model, type=endpoint.model_type)
        commit = with_card(ramp.store, event.after, card, event.subject, ramp.by)
    mine = of(ramp.events(), event.subject)
    what = {
        **document(event, ramp.config, commit),
        "version_commit": str(event.after.commit),
        "said": _said(mine, event.after),  # by the endpoint, when it was told of this version first
        "said_before": _said(mine, event.before),
        **more,
    }
    try:
        said = ramp.tell(endpoint, what, event.id, variables(what))
    except PermanentError as error:
        _end(ramp, event, State.FAILED, str(error))
        before = f"; it serves {event.before.logged}" if event.before else ""
        raise PermanentError(
            f"endpoint {event.subject} did not take {event.after.logged}{before}: {error}",
            hint=error.hint,
        ) from error
    return _end(ramp, event, State.DONE, said)


def _said(mine: Sequence[Event], point: Point | None) -> str:
    done = [e for e in mine if e.state is State.DONE and not e.kind.back and e.after.same(point)]
    return done[-1].note if done else ""


def _give_up(ramp: Ramp, left: Sequence[Event]) -> None:
    for event in left:
        _end(ramp, event, State.OVERTAKEN, "another one came before it was known how it ended")


def _intend(ramp: Ramp, kind: Kind, name: str, before: Point | None, after: Point) -> Event:
    event = Event(
        id=ramp.new_id(),
        kind=kind,
        subject=name,
        before=before,
        after=after,
        by=ramp.by,
        at=moment(ramp.events(), ramp.clock()),
    )
    ramp.journal(event.after).append(event)
    return event


def _end(ramp: Ramp, event: Event, state: State, note: str) -> Event:
    ended = changed(event, state=state, note=note[-NOTE:])
    ramp.journal(event.after).append(ended)
    return ended
