"""What W&B tells of versions, of their places in collections, and of the runs around them: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from syncd.refs import ArtifactRef, CollectionName, RunRef

REGISTRY = "wandb-registry-"  # how the project of a registry is called
TTL_INHERIT, TTL_OFF = -1, -2  # what W&B writes for a time to live that is no number of seconds


def utc(text: str) -> datetime:
    """A time as W&B writes it: ISO 8601 and UTC, which it does not always say."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def age(text: str, now: float) -> float:
    """Seconds since a time of W&B's, never less than none; `now` is in Unix seconds."""
    return max(0.0, now - utc(text).timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A COMMITTED version of a W&B artifact collection.

    Args:
        id: GraphQL id, the identity that survives renames.
        ref: `entity/project/collection:vN`.
        type: the artifact type, e.g. `dataset`.
        digest: the version's digest, hex.
        size: bytes of all entries.
        file_count: number of entries.
        created_at: ISO 8601, UTC.
        aliases: the collection's aliases on it, without `vN`.
        run: the run that logged it first; None when a user made it without a run.
        author: W&B user name of who logged it; empty when unknown.
        ttl_seconds: as W&B stores it: positive seconds, -1 inherit, -2 off.
        history_step: the run's step it was logged at, None when unknown.
        digest_algorithm: what `digest` is: `MANIFEST_MD5` or `MANIFEST_XXH128`.
    """

    id: str
    ref: ArtifactRef
    type: str
    digest: str
    size: int
    file_count: int
    created_at: str
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    run: RunRef | None = None
    author: str = ""
    ttl_seconds: int = -1
    history_step: int | None = None
    digest_algorithm: str = "MANIFEST_MD5"

    @property
    def index(self) -> int:
        """The number in `vN`."""
        index = self.ref.index
        assert index is not None, f"{self.ref} is not a version"
        return index

    @property
    def expires_at(self) -> datetime | None:
        """When W&B deletes it, by its own time to live; None when it has none."""
        return self.created + timedelta(seconds=self.ttl_seconds) if self.ttl_seconds > 0 else None

    @property
    def created(self) -> datetime:
        """When it was logged."""
        return utc(self.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A W&B run, as far as lineage needs it.

    Args:
        config: plain `key -> value`, W&B's own `_wandb` left out.
        created_at: ISO 8601, UTC; empty when unknown.
        inputs: versions the run used.
        outputs: versions the run logged.
        summary: its metrics as they were last logged, W&B's own (`_step`, ...) left out.
    """

    id: str
    ref: RunRef
    name: str
    state: str
    url: str
    config: Mapping[str, Any]
    created_at: str = ""
    inputs: tuple[Version, ...] = ()
    outputs: tuple[Version, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A run as a list of runs shows it.

    Args:
        run: the run.
        state: as W&B has it: `running`, `finished`, ...
        at: when it was last heard of.
    """

    run: RunRef
    state: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A run that used a version, and when it ran: W&B does not tell the moment of the use itself.

    Args:
        run: the run.
        began_at: when it was made; ISO 8601, UTC.
        active_at: when it was last heard of; ISO 8601, UTC.
    """

    run: RunRef
    began_at: str
    active_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A W&B collection that owns its versions, with what tells whether it has changed.

    Args:
        id: GraphQL id.
        type: the artifact type of its versions.
        newest: its newest committed versions, the newest first: GraphQL id and aliases of each.
        elsewhere: further aliases, which are not on one of those, sorted; they may be on no version.
        crowded: whether it has more aliases than were told of.
    """

    id: str
    entity: str
    project: str
    name: str
    type: str
    newest: tuple[tuple[str, tuple[str, ...]], ...] = ()
    elsewhere: tuple[str, ...] = ()
    crowded: bool = False

    @property
    def shown(self) -> frozenset[str]:
        """The aliases on its newest versions."""
        return frozenset(alias for _, aliases in self.newest for alias in aliases)

    @property
    def place(self) -> CollectionName:
        """Entity, project and name."""
        return self.entity, self.project, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A version's place in a collection: the sequence it was logged to, or a portfolio that links it.

    Args:
        collection_id: GraphQL id of the collection.
        kind: `sequence` or `portfolio`.
        entity: owner of the collection's project; empty when this API key may not see the project.
        project: the project's name, `wandb-registry-NAME` for a registry; empty as above.
        collection: the collection's name.
        version_index: the number in `vN` there; a portfolio numbers by itself.
        aliases: the collection's aliases on the version, without `vN`.
        read_only: whether this API key may change nothing there.
        latest: id of the version that the collection's `latest` names; empty when none.
        newest: ids of the collection's newest versions, the newest first; only a few.
    """

    collection_id: str
    kind: Literal["sequence", "portfolio"]
    entity: str
    project: str
    collection: str
    version_index: int | None = None
    aliases: tuple[str, ...] = ()
    read_only: bool = False
    latest: str = ""
    newest: tuple[str, ...] = ()

    @property
    def is_registry(self) -> bool:
        """Whether the collection is a registry's."""
        return self.project.startswith(REGISTRY)

    @property
    def name(self) -> str:
        """`entity/project/collection`, for people."""
        return f"{self.entity or '?'}/{self.project or '?'}/{self.collection}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A version as it stands in W&B at one moment.

    Args:
        version: itself.
        memberships: the collections that hold it.
        consumers: the runs that used it.
        closed: names of further consumers, which this API key may not write to, or not even see.
    """

    version: Version
    memberships: tuple[Membership, ...]
    consumers: tuple[RunRef, ...] = ()
    closed: tuple[str, ...] = ()

    @property
    def links(self) -> tuple[Membership, ...]:
        """The portfolios that link it."""
        return tuple(place for place in self.memberships if place.kind == "portfolio")

    def place(self, collection_id: str) -> Membership | None:
        """Its membership in a collection."""
        held = (place for place in self.memberships if place.collection_id == collection_id)
        return next(held, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """An automation that watches artifacts.

    Args:
        entity: the entity whose automations were asked for.
        name: what people call it.
        enabled: whether it is on.
        event: W&B's name of what it waits for, e.g. `ADD_ARTIFACT_ALIAS`.
        scope: what it watches: `collection`, `project` or `entity`.
        scope_id: GraphQL id of that.
        scope_name: its name.
        condition: of the event, JSON in W&B's filter language; empty for none.
    """

    entity: str
    name: str
    enabled: bool
    event: str
    scope: Literal["collection", "project", "entity"]
    scope_id: str
    scope_name: str
    condition: str = ""

    @property
    def place(self) -> str:
        """What it watches, for people."""
        return (
            self.entity
            if self.scope == "entity"
            else f"{self.entity} {self.scope} {self.scope_name}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What refers to a version.

    Args:
        version_id: its GraphQL id.
        memberships: every collection that holds it, its own included.
        uses: the runs that used it, each with when it began, ISO 8601 in UTC; W&B does not tell under
            which name they used it.
    """

    version_id: str
    memberships: tuple[Membership, ...] = ()
    uses: tuple[tuple[RunRef, str], ...] = ()

    @property
    def links(self) -> tuple[Membership, ...]:
        """The portfolios that link it."""
        return tuple(place for place in self.memberships if place.kind == "portfolio")
