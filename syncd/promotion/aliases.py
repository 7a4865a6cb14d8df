"""An alias in W&B, given to another version in every collection in which the former one has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace as changed

from syncd.clients.artifacts import Membership, Standing, Version
from syncd.clients.protocols import ArtifactSource
from syncd.errors import NotFoundError, PermanentError
from syncd.promotion.located import Located
from syncd.versions.events import Point


def move_aliases(source: ArtifactSource, wanted: Located, before: Point | None, alias: str) -> None:
    """Give an alias to a version wherever the former one has it, and where it was named.

    Args:
        source: W&B.
        wanted: the version.
        before: where the alias is now, None where it is nowhere.
        alias: the alias.

    Raises:
        PermanentError: when W&B refuses; nothing has been changed then, or only links were made.
        TransientError: when it is away.
    """
    standing = source.standing(wanted.version.id)
    former = _standing(source, before)
    places = {place.collection_id: place for place in (former.links if former else ())}
    places = {key: place for key, place in places.items() if alias in place.aliases}
    places |= {p.collection_id: p for p in standing.links if p.name == wanted.named}
    for place in (*places.values(), *standing.memberships):
        if place.read_only and (place.collection_id in places or place.kind == "sequence"):
            raise PermanentError(f"this API key may only read {place.name}")
    missing = [p for p in places.values() if standing.place(p.collection_id) is None]
    if missing and former is not None:
        # Whether W&B lets it go is found out before anything is linked: this changes nothing.
        _give(source, former.version, alias, places.values())
    for place in missing:
        source.link(wanted.version, place)
    _give(source, wanted.version, alias, places.values())


def _give(
    source: ArtifactSource, version: Version, alias: str, places: Iterable[Membership]
) -> None:
    linked = [changed(place, aliases=(alias,)) for place in places]
    source.move_aliases(version, [alias], places=linked)


def _standing(source: ArtifactSource, point: Point | None) -> Standing | None:
    if point is None:
        return None
    try:
        return source.standing(point.artifact_id)
    except NotFoundError:
        return None
