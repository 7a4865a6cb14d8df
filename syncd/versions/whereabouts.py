"""What W&B tells of collections in a list, and where their aliases are: whether one has changed shows there.

Versions older than the newest few are not listed. Which of them an alias is on is asked for many collections at a
time; where there are more aliases than one look may ask for, each look goes on where the last one ended.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

from syncd.clients.artifacts import Collection, Version
from syncd.clients.protocols import ArtifactSource
from syncd.refs import CollectionName, Target

ASKED = 1000  # aliases after which a look asks for no further collection's
REQUEST = (
    100  # aliases a request: what a collection counts for at least, of which only a part was told
)
BYTES = 16  # of each of the two names that a collection's state has


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A collection as W&B listed it.

    Args:
        collection: without its newest versions, unless these are needed: there may be many collections.
        told: names what was told of it: another name, another state.
        newest: of how many versions was told.
    """

    collection: Collection
    told: str
    newest: int

    @classmethod
    def of(cls, collection: Collection) -> Listed:
        """Keep of a collection what is needed later."""
        aliases = () if collection.crowded else collection.elsewhere  # not told which of very many
        told = (collection.id, collection.type, collection.newest, aliases, collection.crowded)
        known = collection if collection.crowded else replace(collection, newest=())
        return cls(collection=known, told=_name(told), newest=len(collection.newest))

    def among(self, versions: Sequence[Version]) -> str:
        """Names where the aliases are that none of the newest versions has.

        Args:
            versions: all of the collection, in version order.
        """
        older = versions[: max(0, len(versions) - self.newest)]
        return _where({alias: version.id for version in older for alias in version.aliases})


def asked(
    source: ArtifactSource,
    listed: Iterable[Listed],
    target: Target,
    turns: MutableMapping[Target, CollectionName],
) -> dict[CollectionName, str]:
    """Ask where aliases are; names it as `Listed.among` does, for the collections whose turn it is.

    Args:
        source: W&B.
        listed: collections of the target.
        target: what is looked at.
        turns: the collection that was asked for last, by target; this one's is set.
    """
    pointing = sorted(
        (
            item.collection
            for item in listed
            if item.collection.elsewhere or item.collection.crowded
        ),
        key=lambda collection: collection.place,
    )
    begin = bisect_right([item.place for item in pointing], turns.get(target, ("", "", "")))
    found: dict[CollectionName, str] = {}
    few: list[Collection] = []
    left = ASKED
    for collection in (*pointing[begin:], *pointing[:begin]):
        if left <= 0:
            break
        turns[target] = collection.place
        if not collection.crowded:
            few.append(collection)
            left -= len(collection.elsewhere)
            continue
        answer = source.pointed([collection])
        if answer is None:
            return {}
        [where] = answer
        found[collection.place] = _where(where)
        left -= max(REQUEST, len(where))
    answers = source.pointed(few) if few else []
    if answers is None:
        return {}
    return found | {item.place: _where(where) for item, where in zip(few, answers, strict=True)}


def _where(versions: Mapping[str, str]) -> str:
    return _name(sorted(versions.items()))


def _name(state: object) -> str:
    return hashlib.blake2b(repr(state).encode(), digest_size=BYTES).hexdigest()
