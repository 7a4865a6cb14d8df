"""Which versions are in which collections of the in-memory W&B, under which number and aliases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from syncd.clients.artifacts import Membership
from syncd.errors import AuthenticationError, NotFoundError
from syncd.refs import CollectionName

LATEST = "latest"
NEWEST = 5


@dataclass(slots=True, kw_only=True)
class _Collection:
    kind: Literal["sequence", "portfolio"]
    numbers: dict[str, int] = field(default_factory=dict)  # by artifact id
    aliases: dict[str, str] = field(default_factory=dict)  # artifact id by alias
    next_number: int = 0


class Places:
    """The collections, and what the API key may do in them.

    `read_only` holds projects as `entity/project`, `protected` aliases as `entity/project:alias`;
    a test may change both at any time.
    """

    def __init__(self) -> None:
        self.read_only: set[str] = set()
        self.protected: set[str] = set()
        self._collections: dict[CollectionName, _Collection] = {}

    def add(self, artifact_id: str, place: CollectionName, number: int) -> None:
        """A version was logged."""
        found = self._collections.setdefault(place, _Collection(kind="sequence"))
        found.numbers[artifact_id] = number

    def remove(self, artifact_id: str) -> None:
        """A version was deleted; it leaves all collections."""
        for found in self._collections.values():
            found.numbers.pop(artifact_id, None)
            found.aliases = {k: v for k, v in found.aliases.items() if v != artifact_id}

    def rename(self, place: CollectionName, name: CollectionName) -> None:
        """A collection is called otherwise from now on."""
        self._collections[name] = self._collections.pop(place)

    def give(self, artifact_id: str, place: CollectionName, aliases: Sequence[str]) -> None:
        """Point aliases at a version, away from any other."""
        self._collections[place].aliases.update(dict.fromkeys(aliases, artifact_id))

    def give_all(
        self, artifact_id: str, wanted: Sequence[tuple[CollectionName, Sequence[str]]]
    ) -> None:
        """The same in several collections: all of it or, when something is refused, nothing."""
        for place, aliases in wanted:
            if artifact_id not in self._known(place).numbers:
                raise NotFoundError(f"{artifact_id} is not in {'/'.join(place)}")
            self._check(place, aliases)
        for place, aliases in wanted:
            self.give(artifact_id, place, aliases)

    def aliases(self, artifact_id: str, place: CollectionName) -> tuple[str, ...]:
        """A version's aliases in a collection."""
        held = self._collections[place].aliases.items()
        return tuple(alias for alias, holder in held if holder == artifact_id)

    def take(self, place: CollectionName, alias: str) -> None:
        """Take an alias off the version that has it."""
        del self._collections[place].aliases[alias]

    def pointing(self, place: CollectionName) -> dict[str, str]:
        """All aliases of a collection, with the version that each is on."""
        return dict(self._collections[place].aliases)

    def linked(self, place: CollectionName, alias: str) -> str | None:
        """The version of a portfolio that an alias, or `vN`, names there; None for none."""
        found = self._collections.get(place)
        if found is None or found.kind != "portfolio":
            return None
        numbers = {f"v{number}": artifact_id for artifact_id, number in found.numbers.items()}
        return (numbers | found.aliases).get(alias)

    def memberships(self, artifact_id: str) -> tuple[Membership, ...]:
        """All collections that hold a version."""
        holding = (p for p, found in self._collections.items() if artifact_id in found.numbers)
        return tuple(self._membership(artifact_id, place) for place in holding)

    def link(
        self,
        artifact_id: str,
        place: CollectionName,
        aliases: Sequence[str],
        *,
        latest: str | None = None,
    ) -> Membership:
        """Put a version into a portfolio, made on demand.

        Args:
            artifact_id: the version.
            place: the portfolio.
            aliases: which it gets.
            latest: who is `latest` then, unless that is among the aliases; empty for nobody. None
                leaves it to W&B: the newest link.
        """
        self._check(place, aliases)
        found = self._collections.setdefault(place, _Collection(kind="portfolio"))
        if artifact_id not in found.numbers:
            found.numbers[artifact_id] = found.next_number
            found.next_number += 1
            found.aliases[LATEST] = artifact_id
        found.aliases.update(dict.fromkeys(aliases, artifact_id))
        if latest is not None and LATEST not in aliases:
            del found.aliases[LATEST]
            found.aliases |= {LATEST: latest} if latest else {}
        return self._membership(artifact_id, place)

    def unlink(self, artifact_id: str, collection_id: str) -> None:
        """Take a version out of a portfolio, with its aliases there."""
        place = next(p for p in self._collections if _id(p) == collection_id)
        found = self._collections[place]
        self._check(place, self.aliases(artifact_id, place))
        found.numbers.pop(artifact_id, None)
        found.aliases = {k: v for k, v in found.aliases.items() if v != artifact_id}

    def _known(self, place: CollectionName) -> _Collection:
        if place not in self._collections:
            raise NotFoundError(f"{'/'.join(place)}: there is no such collection")
        return self._collections[place]

    def _check(self, place: CollectionName, aliases: Sequence[str]) -> None:
        project = "/".join(place[:2])
        if project in self.read_only:
            raise AuthenticationError(f"permission denied: cannot write to {project}")
        for alias in aliases:
            if f"{project}:{alias}" in self.protected:
                raise AuthenticationError(f"permission denied: {alias!r} is protected in {project}")

    def _membership(self, artifact_id: str, place: CollectionName) -> Membership:
        entity, project, collection = place
        found = self._collections[place]
        newest = sorted(found.numbers, key=found.numbers.__getitem__, reverse=True)
        return Membership(
            collection_id=_id(place),
            kind=found.kind,
            entity=entity,
            project=project,
            collection=collection,
            version_index=found.numbers[artifact_id],
            aliases=self.aliases(artifact_id, place),
            read_only=f"{entity}/{project}" in self.read_only,
            latest=found.aliases.get(LATEST, ""),
            newest=tuple(newest[:NEWEST]),
        )


def _id(place: CollectionName) -> str:
    return f"id of {'/'.join(place)}"
