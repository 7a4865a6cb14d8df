"""Succession: what points at a version in W&B comes to point at the one that replaces it.

W&B has no transaction over several requests, and no "move this alias only if it is still there". What
it has: one request moves aliases of any number of collections at once, and mutations of one request
are done one after the other. From that follows the order:

1. Rights. Projects that may only be read are told beside the memberships. Protected aliases are not,
   so each alias but `latest` is given to the version that has it: that changes nothing, and W&B says
   whether it may be done. All this before there is a replacement.
2. Links. The replacement joins every portfolio, without aliases; what W&B does to `latest` thereby is
   undone in the same request. A portfolio now shows both versions.
3. Aliases. They are read, and all that the old version holds then, in all collections, move in one
   request. Before it each alias names the old version, after it the new one: the same content.
4. Hand back. Where somebody logged or linked a newer version between that reading and the move, the
   move took its `latest`. The newest versions of each collection were read before and are read again
   at once; `latest` goes to the newest stranger. This is the one moment, two requests long, in which
   an alias may name older content, and only when both met within one round trip.
5. Unlink. The old version leaves a portfolio when it is read to have no alias there any more and the
   replacement is there.
6. Consumers of the old version become consumers of the new one.

Each step does what is left to do and nothing else, so a repeat completes what was cut off or refused.
Portfolios may be shared by versions that are replaced at the same time: the caller hands in a lock.
Restoring goes the same way from the replacement to the version of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace as changed
from itertools import takewhile

from syncd.clients.artifacts import Membership, Standing, Version
from syncd.clients.protocols import ArtifactSource
from syncd.errors import PermanentError
from syncd.refs import Target
from syncd.replacements import replacement_of

LATEST = "latest"
ROUNDS = 5  # times that people may change something under our hands


def check_rights(source: ArtifactSource, standing: Standing) -> None:
    """Find out, without changing anything, whether all that points at a version may be moved.

    Raises:
        PermanentError: when not; it names the collection, the run or the alias.
    """
    ref = standing.version.ref
    for place in standing.memberships:
        if place.read_only:
            what = "may only read" if place.project else "may not see"
            raise PermanentError(
                f"{ref} is held by {place.name}, which this API key {what}",
                hint="Nothing was changed in W&B. Use the key of somebody who may write there, or "
                "take the version out of that collection; then retry.",
            )
    if standing.closed:
        raise PermanentError(
            f"{ref} was used by {standing.closed[0]}, whose project this API key may not write to",
            hint="Nothing was changed in W&B. Use the key of somebody who may write there, then "
            "retry.",
        )
    own = _but_latest(standing.version.aliases)
    places = [changed(place, aliases=_but_latest(place.aliases)) for place in standing.links]
    places = [place for place in places if place.aliases]
    if not own and not places:
        return
    try:
        source.move_aliases(standing.version, own, places=places)
    except PermanentError as error:
        names = sorted({*own, *(alias for place in places for alias in place.aliases)})
        raise PermanentError(
            f"{ref} has aliases ({', '.join(names)}) that this API key may not move: {error}",
            hint="Nothing was changed in W&B. Protected aliases are moved by admins: use an admin's "
            "key, or take the alias off the version; then retry.",
        ) from error


def advance(
    source: ArtifactSource,
    old_id: str,
    made: Version,
    linking: AbstractContextManager[object],
    *,
    fresh: bool = False,
) -> None:
    """Move what points at a version now to its replacement, once.

    Args:
        source: W&B.
        old_id: the version.
        made: its replacement.
        linking: held while portfolios change; one for all threads that may work on the same ones.
        fresh: nothing has been moved to the replacement before, or it may be older than versions that
            never had `latest`: none of them is given it.

    Raises:
        PermanentError: when W&B refuses; every alias still names the same content.
    """
    old, new = source.standing(old_id), None
    if not fresh:
        new = source.standing(made.id)
        _hand_back(source, None, new)
    if old.links:
        with linking:
            new = _move_links(source, old_id, made, new)
    elif old.version.aliases:
        source.move_aliases(made, old.version.aliases)
        new = source.standing(made.id)
        _hand_back(source, old, new)
    followed = set(new.consumers) if new else set()  # a dataset may have hundreds of thousands
    for run in old.consumers:
        if run not in followed:
            source.record_use(run, made)


def follow(
    source: ArtifactSource,
    old_id: str,
    made_id: str,
    linking: AbstractContextManager[object],
    *,
    fresh: bool = False,
) -> tuple[Standing, Standing]:
    """Move what points at a version to its replacement until nothing is left to move.

    Args:
        source: W&B.
        old_id: the version's GraphQL id.
        made_id: its replacement's.
        linking: see `advance`.
        fresh: see `advance`.

    Returns:
        Both as they stand then, the version first.

    Raises:
        PermanentError: when W&B refuses, or says it has done what it has not.
    """
    old, new = source.standing(old_id), source.standing(made_id)
    for _ in range(ROUNDS):
        if not _left(old, new):
            return old, new
        advance(source, old_id, new.version, linking, fresh=fresh)
        old, new = source.standing(old_id), source.standing(made_id)
    if _left(old, new):
        raise PermanentError(
            f"{old.version.ref} still has {_left(old, new)}, which should have moved to "
            f"{new.version.ref}",
            hint="Somebody else may be changing it at the same time. Nothing is lost: retry later.",
        )
    return old, new


def _move_links(
    source: ArtifactSource, old_id: str, made: Version, held: Standing | None
) -> Standing:
    """Put the replacement in the version's place in all portfolios; aliases of all collections move.

    Returns:
        The replacement as it stands between the move and the unlinking.
    """
    joined = {place.collection_id for place in held.links} if held else set()
    for place in source.standing(old_id).links:
        if place.collection_id not in joined:
            _link(source, made, place)
            joined.add(place.collection_id)
    old = source.standing(old_id)  # which may be in one more portfolio by now: in the next round
    places = [place for place in old.links if place.aliases and place.collection_id in joined]
    if old.version.aliases or places:
        source.move_aliases(made, old.version.aliases, places=places)
    new = source.standing(made.id)
    _hand_back(source, old, new)
    for place in source.standing(old_id).links:
        if not place.aliases and new.place(place.collection_id) is not None:
            source.unlink(old.version, place)
    return new


def _left(old: Standing, new: Standing) -> str:
    """What is to be moved, for people; empty when nothing is."""
    if old.version.aliases:
        return f"alias {old.version.aliases[0]!r}"
    if old.links:
        return f"a link in {old.links[0].name}"
    followed = set(new.consumers)
    return next((f"consumer {run}" for run in old.consumers if run not in followed), "")


def _link(source: ArtifactSource, made: Version, place: Membership) -> None:
    """Add the replacement to a portfolio; who was linked in between stays `latest` there."""
    linked = source.link(made, place)
    stranger = _stranger(source, linked, made, known=place.newest, moved={})
    if stranger is not None:
        source.move_aliases(stranger, (), places=[changed(place, aliases=(LATEST,))])


def _hand_back(source: ArtifactSource, before: Standing | None, now: Standing) -> None:
    """Give `latest` to whoever got it between the reading and the move, and lost it by the move.

    Args:
        source: W&B.
        before: the old version as read before the move; None when that was in another process. Then
            a younger version of the collection counts as having had it.
        now: the replacement as read after it.
    """
    made = now.version
    for place in now.memberships:
        moved: Mapping[str, int] = {}
        if place.latest != made.id:
            continue
        held = before.place(place.collection_id) if before else None
        if held is not None and LATEST in held.aliases:
            known: Sequence[str] = held.newest
        elif before is None and place.kind == "sequence":
            known = [made.id]
            if place.newest[:1] != (made.id,):
                moved = _moved(source, made)
        else:
            continue
        stranger = _stranger(source, place, made, known=known, moved=moved)
        if stranger is not None and place.kind == "sequence":
            source.move_aliases(stranger, [LATEST])
        elif stranger is not None:
            source.move_aliases(stranger, (), places=[changed(place, aliases=(LATEST,))])


def _moved(source: ArtifactSource, made: Version) -> dict[str, int]:
    """The number of each replacement of a collection, by the digest of what it replaces."""
    return {
        link.source_digest: version.index
        for version in source.versions(Target.of(made.ref))
        if (link := replacement_of(version.metadata, version.digest)) is not None
    }


def _stranger(
    source: ArtifactSource,
    place: Membership,
    made: Version,
    *,
    known: Sequence[str],
    moved: Mapping[str, int],
) -> Version | None:
    """The newest version of a collection above the known ones that people logged.

    Args:
        source: W&B.
        place: the collection.
        made: our replacement.
        known: ids of versions that were there before.
        moved: see `_moved`; a version that is younger than its replacement was restored.
    """
    for artifact_id in takewhile(lambda item: item not in known, place.newest):
        if artifact_id == made.id:
            continue
        found = source.version(artifact_id)
        logged = found.index <= moved.get(found.digest, found.index)
        if logged and replacement_of(found.metadata, found.digest) is None:
            return found
    return None


def _but_latest(aliases: Sequence[str]) -> tuple[str, ...]:
    return tuple(alias for alias in aliases if alias != LATEST)
