"""Promote and roll back: an alias in W&B and a branch in Oxen move together.

There is no transaction over both. What there is: the journal, written before and after.

1. Whatever an earlier call left half done is finished, or told of where a person moved the alias
   meanwhile: that is never written over.
2. The event is written down as intended: from where to where, by whom.
3. W&B's aliases move, in the collection and in every portfolio where the former version has the
   alias, all in one request. When W&B refuses (protected aliases), the event has failed, and Oxen is
   as it was.
4. That they have moved is written down: whoever moves them back from here on is a person.
5. Oxen's branch moves.
6. The event is written down as done.

A kill or a failure after 2 leaves the intention; what W&B's alias names then tells how far it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from uuid import uuid4

from syncd import retry
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.errors import NotFoundError, PermanentError, StoreLockedError, UsageError
from syncd.promotion import located
from syncd.promotion.aliases import move_aliases
from syncd.promotion.journal import PATIENCE, Journal
from syncd.promotion.located import Located
from syncd.refs import ArtifactRef
from syncd.stages.discover import held
from syncd.versions.events import Event, Kind, Point, State, moment, of, trail

MOVED = "W&B's alias has moved"  # the note of an event whose branch may not have
_UNUSABLE = re.compile(r"(?s).*[/:\s].*|v[0-9]+|latest|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What promoting works with.

    Args:
        source: W&B.
        store: Oxen.
        journal: of the namespace of the collection.
        config: the configuration.
        by: who asks.
        clock: tells the time; injected by tests.
        new_id: makes an event's id; injected by tests.
        nudge: told of a collection whose branch another process has to move: it holds the repository.
    """

    source: ArtifactSource
    store: VersionStore
    journal: Journal
    config: Config
    by: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_id: Callable[[], str] = lambda: uuid4().hex
    nudge: Callable[[ArtifactRef], None] = lambda _ref: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """What a promotion or a rollback did.

    Args:
        event: as it stands now; None when the alias was there already.
        point: where the alias is.
        finished: events that earlier calls had left open, as they stand now.
    """

    event: Event | None
    point: Point
    finished: tuple[Event, ...] = ()


def promote(desk: Desk, wanted: Located, alias: str) -> Promoted:
    """Give an alias to a version in W&B, and its branch to the version's commit in Oxen.

    Args:
        desk: what to work with.
        wanted: the version, see `located.from_ref`.
        alias: the alias.

    Raises:
        PermanentError: when W&B refuses; Oxen has not been changed then.
        TransientError: when a side is away; the next call goes on.
        UsageError: for an alias that is none, or W&B's own.
    """
    check_alias(alias)
    subject = subject_of(wanted.point.version, alias)
    finished = finish(desk, subject)
    holder = _holder(desk, subject)
    _note_stranger(desk, subject, holder)
    if holder is not None and holder.same(wanted.point) and _settled(desk, wanted, alias):
        return Promoted(event=None, point=wanted.point, finished=finished)
    event = _intend(desk, Kind.PROMOTE, subject, holder, wanted.point)
    done = _carry_out(desk, event, wanted)
    return Promoted(event=done, point=wanted.point, finished=finished)


def rollback(desk: Desk, collection: str, alias: str) -> Promoted:
    """Give an alias back to the version that had it before, as the journal knows.

    A further rollback goes further back.

    Args:
        desk: what to work with.
        collection: `entity/project/collection`, or a place in a registry.
        alias: the alias.

    Raises:
        NotFoundError: when there is nothing before, or W&B has the former version no more.
        PermanentError, TransientError, UsageError: see `promote`.
    """
    check_alias(alias)
    subject = at_home(desk.source, subject_of(collection, alias))
    finished = finish(desk, subject)
    holder = _holder(desk, subject)
    _note_stranger(desk, subject, holder)
    stood = trail(of(desk.journal.events(), subject))
    if holder is None:
        raise NotFoundError(
            f"{subject}: W&B has no such alias now",
            hint="Give it to a version: syncd promote REF ALIAS.",
        )
    if len(stood) < 2:  # noqa: PLR2004 the present one and the former
        raise NotFoundError(
            f"{subject}: there is nothing to go back to",
            hint="The journal knows of no earlier version. Name one: syncd promote REF ALIAS.",
        )
    former = stood[-2]
    version = located.again(desk.source, desk.store, former)
    if version is None:
        where = former.commit or former.version
        raise NotFoundError(
            f"{subject} was at {former.version} before, which W&B has no more",
            hint=f"`syncd restore {where}` puts it back into W&B; then roll back again."
            if former.commit
            else "It was never moved to Oxen. Name another version: syncd promote REF ALIAS.",
        )
    wanted = located.of(desk.source, version)
    if wanted.point.commit is None:  # files that came back, whose replacement is gone
        point = changed(
            wanted.point, logged=former.logged, commit=former.commit, folder=former.folder
        )
        wanted = changed(wanted, point=point)
    event = _intend(desk, Kind.ROLLBACK, subject, holder, wanted.point)
    done = _carry_out(desk, event, wanted)
    return Promoted(event=done, point=wanted.point, finished=finished)


def finish(desk: Desk, subject: str = "") -> tuple[Event, ...]:
    """Bring events to their end that an earlier call left open.

    Args:
        desk: what to work with.
        subject: an alias of a collection; all of the journal's when empty.

    Returns:
        The events as they stand now.
    """
    found: list[Event] = []
    for event in desk.journal.events():
        concerned = event.kind.of_alias and subject in {"", event.subject}
        if event.open and concerned:
            found.append(_finished(desk, event))
    return tuple(found)


def check_alias(alias: str) -> None:
    """Refuse what is no alias, or W&B's own.

    Raises:
        UsageError: when it is refused.
    """
    if _UNUSABLE.fullmatch(alias):
        raise UsageError(
            f"{alias!r} is no alias to promote to",
            hint="An alias holds no space, slash or colon, and W&B itself moves `latest` and gives v0, "
            "v1, ...; name one such as `production`.",
        )


def subject_of(version: str, alias: str) -> str:
    """An alias of a version's collection, as events name it.

    Raises:
        UsageError: when it is no version or collection.
    """
    return str(changed(ArtifactRef.parse(located.collection_of(version)), alias=alias))


def at_home(source: ArtifactSource, subject: str) -> str:
    """An alias as events name it: one in a registry is that of the collection the version comes from."""
    ref = ArtifactRef.parse(subject)
    version = held(source, ref)
    return subject_of(str(version.ref), ref.alias) if version is not None else subject


def _finished(desk: Desk, event: Event) -> Event:
    holder = _holder(desk, event.subject)
    if holder is None or not holder.same(event.after):
        untouched = holder is None if event.before is None else event.before.same(holder)
        if event.note == MOVED or not untouched:
            where = f"at {holder.version}" if holder else "gone"
            note = f"the alias was moved in W&B meanwhile, and is {where}"
            return _end(desk, event, State.OVERTAKEN, note)
    version = located.again(desk.source, desk.store, event.after)
    if version is None:
        note = f"W&B has {event.after.version} no more"
        return _end(desk, event, State.FAILED, note)
    wanted = changed(located.of(desk.source, version), point=event.after)
    try:
        return _carry_out(desk, event, wanted)
    except PermanentError:
        now = next(item for item in desk.journal.events() if item.id == event.id)
        if now.open:
            raise
        return now  # W&B refused, and the journal says so


def _carry_out(desk: Desk, event: Event, wanted: Located) -> Event:
    alias = ArtifactRef.parse(event.subject).alias
    try:
        move_aliases(desk.source, wanted, event.before, alias)
    except PermanentError as error:
        _end(desk, event, State.FAILED, str(error))
        raise PermanentError(
            f"W&B did not give {alias!r} to {wanted.version.ref}: {error}",
            hint="Nothing was changed in Oxen. Protected aliases are moved by admins: use an admin's "
            "key, or one that may write to every collection that has the alias.",
        ) from error
    if event.note != MOVED:  # from here on, whoever moves it back means it
        event = changed(event, note=MOVED)
        desk.journal.append(event)
    _move_branch(desk, event, alias)
    if taker := _taken_along(desk, event):
        move_aliases(desk.source, wanted, taker, alias)
        _move_branch(desk, event, alias)
    return _end(desk, event, State.DONE)


def _taken_along(desk: Desk, event: Event) -> Point | None:
    """What replaces the former version, where it got the alias just now; None where it did not.

    Whoever moved that version had read its aliases before this one moved away, and moved all of them.
    A person who gives it back gives it to the version that had it, or to one that was there.
    """
    before = event.before
    if before is None or before.commit is not None:
        return None
    holder = _holder(desk, event.subject)
    if holder is None or holder.commit is None or holder.artifact_id == before.artifact_id:
        return None
    return holder if holder.same(before) and not holder.same(event.after) else None


def _move_branch(desk: Desk, event: Event, alias: str) -> None:
    commit = event.after.commit
    if commit is None:
        return  # a version that was never moved had the alias before; the mover knows its own
    branch = located.branch_of(desk.config, alias, event.after.folder)

    def move() -> None:
        try:
            desk.store.set_branch(commit, branch)
        except StoreLockedError:
            # A running mover keeps the repository; it follows W&B's aliases when it looks.
            desk.nudge(ArtifactRef.parse(event.after.version))
            if desk.store.branches(commit.repo).get(branch) != commit.commit:
                raise

    try:
        retry.call(move, what=f"move {branch} of {commit.repo}", policy=PATIENCE)
    except StoreLockedError as error:
        raise StoreLockedError(
            f"W&B's alias has moved to {event.after.version}; the branch {branch} of {commit.repo} "
            f"has not yet: {error}",
            hint="`syncd run` moves it at its next look. `syncd production` says when both agree.",
        ) from error


def _settled(desk: Desk, wanted: Located, alias: str) -> bool:
    """Whether Oxen's branch is where the alias is, too."""
    point = wanted.point
    assert point.commit is not None, "only such are promoted"
    branch = located.branch_of(desk.config, alias, point.folder)
    at = desk.store.branches(point.commit.repo).get(branch)
    named = any(
        place.name == wanted.named and alias not in place.aliases
        for place in desk.source.memberships(wanted.version)
    )
    return at == point.commit.commit and not named


def _holder(desk: Desk, subject: str) -> Point | None:
    version = held(desk.source, ArtifactRef.parse(subject))
    return located.of(desk.source, version).point if version else None


def _note_stranger(desk: Desk, subject: str, holder: Point | None) -> None:
    """Write down that a person moved the alias since the journal last knew."""
    stood = trail(of(desk.journal.events(), subject))
    if holder is None or not stood or stood[-1].same(holder):
        return
    event = _event(desk, Kind.MOVED, subject, stood[-1], holder)
    desk.journal.append(
        changed(event, state=State.DONE, by="somebody", note="in W&B; seen at this time")
    )


def _intend(desk: Desk, kind: Kind, subject: str, before: Point | None, after: Point) -> Event:
    event = _event(desk, kind, subject, before, after)
    desk.journal.append(event)
    return event


def _event(desk: Desk, kind: Kind, subject: str, before: Point | None, after: Point) -> Event:
    return Event(
        id=desk.new_id(),
        kind=kind,
        subject=subject,
        before=before,
        after=after,
        by=desk.by,
        at=moment(desk.journal.events(), desk.clock()),
    )


def _end(desk: Desk, event: Event, state: State, note: str = "") -> Event:
    ended = changed(event, state=state, note=note)
    desk.journal.append(ended)
    return ended
