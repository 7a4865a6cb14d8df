"""A small W&B in memory: what it holds, and what people do there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import xxhash

from syncd.clients.artifacts import Automation, Membership, Version
from syncd.errors import NotFoundError
from syncd.manifest import Algorithm, Entry, Manifest, manifest_digest
from syncd.refs import ArtifactRef, RunRef
from syncd.testing.places import Places

FIRST_LOGGED = datetime(2026, 1, 1, tzinfo=UTC)  # each further version is a minute younger
TEAM, PROJECT = "team", "proj"


@dataclass(slots=True, kw_only=True)
class Logged:
    """A version of the project."""

    version: Version  # as it was logged; aliases stand in the collection
    manifest: Manifest
    removed: bool = False


@dataclass(slots=True, kw_only=True)
class _RunState:
    state: str
    began_at: str
    active_at: str
    config: dict[str, Any]
    inputs: list[str] = field(default_factory=list)  # ids
    outputs: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


class MemoryProject:
    """Versions, runs and collections, with what a person does to them: `add_run`, `log`."""

    def __init__(self) -> None:
        self._logged: dict[str, Logged] = {}
        self._bytes: dict[tuple[str, str], bytes] = {}  # by birth id and digest
        self.places = Places()
        self._passed = timedelta()
        self._runs: dict[RunRef, _RunState] = {}
        self.automated: dict[str, list[Automation] | None] = {}  # by entity

    @property
    def now(self) -> datetime:
        """When the next version will have been logged."""
        return FIRST_LOGGED + timedelta(minutes=len(self._logged)) + self._passed

    def pass_time(self, seconds: int) -> None:
        """Let time pass."""
        self._passed += timedelta(seconds=seconds)

    def add_run(
        self,
        run_id: str,
        *,
        state: str = "finished",
        config: Mapping[str, Any] | None = None,
        project: str = PROJECT,
        began_at: str = "",
        active_at: str = "",
        summary: Mapping[str, Any] | None = None,
    ) -> RunRef:
        """Make a run, or end and configure it anew; it runs when the first version is logged."""
        ref = RunRef(entity=TEAM, project=project, run_id=run_id)
        began = began_at or text_of(FIRST_LOGGED)
        fresh = _RunState(state=state, config={}, began_at=began, active_at=active_at or began)
        before = self._runs.get(ref, fresh)
        self._runs[ref] = replace(
            before,
            state=state,
            config=dict(config or {}),
            summary=dict(summary or {}),
            active_at=active_at or before.active_at,
        )
        return ref

    def log(
        self,
        collection: str,
        files: Mapping[str, bytes],
        *,
        run: RunRef | None = None,
        kind: str = "dataset",
        algorithm: Algorithm = "MD5",
        references: Iterable[Entry] = (),
        draft_of: Version | None = None,
        aliases: Sequence[str] = ("latest",),
        tags: Sequence[str] = (),
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl_seconds: int = -1,
        project: str = PROJECT,
    ) -> Version:
        """Log a version as a training script does; a draft begins with another's files and metadata."""
        artifact_id = self._next_id()
        entries = dict(self._logged[draft_of.id].manifest.entries) if draft_of else {}
        for path, data in files.items():
            digest = _digest(data, algorithm)
            self._bytes[artifact_id, digest] = data
            entries[path] = Entry(
                path=path,
                digest=digest,
                size=len(data),
                birth_artifact_id=artifact_id,
                algorithm=algorithm,
                extra={} if algorithm == "MD5" else {"alg": algorithm},
            )
        entries |= {entry.path: entry for entry in references}
        copied = draft_of.metadata if draft_of else {}
        version = Version(
            id=artifact_id,
            ref=self._next_ref(TEAM, project, collection),
            type=kind,
            digest=manifest_digest(entries.values()),
            size=sum(entry.size or 0 for entry in entries.values()),
            file_count=len(entries),
            created_at=text_of(self.now),
            tags=tuple(tags),
            description=description,
            metadata=dict(copied if metadata is None else metadata),
            run=run,
            author="ann",
            ttl_seconds=ttl_seconds,
            history_step=0 if run else None,
        )
        manifest = Manifest(entries=entries, storage_policy_config={"storageLayout": "V2"})
        return self._keep(version, manifest, aliases)

    def link_to(self, version: Version, path: str, aliases: Sequence[str] = ()) -> Version:
        """Link a version to `entity/project/portfolio`, as `artifact.link` does; as it is then."""
        entity, project, collection = path.split("/")
        self._lasting(
            version.id, self.places.link(version.id, (entity, project, collection), aliases)
        )
        return self._now(self._found(version.id))

    def rename(self, collection: str, name: str) -> None:
        """Give a collection of the project another name."""
        for logged in self._logged.values():
            ref = logged.version.ref
            if ref.collection == collection:
                logged.version = replace(logged.version, ref=replace(ref, collection=name))
        self.places.rename((TEAM, PROJECT, collection), (TEAM, PROJECT, name))

    def expire(self, version: Version) -> None:
        """Let W&B take a version away whatever names it, as it does when its time is over."""
        self._found(version.id).removed = True
        self.places.remove(version.id)

    def forget_run(self, ref: RunRef) -> None:
        """Delete a run; what it logged stays, and nobody knows who made it."""
        del self._runs[ref]
        for logged in self._logged.values():
            if logged.version.run == ref:
                logged.version = replace(logged.version, run=None)

    def _held(self, names: ArtifactRef, digest: str) -> Version | None:
        """The version of a collection with this digest."""
        for logged in self._logged.values():
            version = logged.version
            same = version.digest == digest and replace(version.ref, alias="") == names
            if same and not logged.removed:
                return version
        return None

    def _living(self, ids: Iterable[str]) -> tuple[Version, ...]:
        found = (self._logged[item] for item in ids)
        return tuple(self._now(logged) for logged in found if not logged.removed)

    def _keep(self, version: Version, manifest: Manifest, aliases: Sequence[str]) -> Version:
        self._logged[version.id] = Logged(version=version, manifest=manifest)
        self.places.add(version.id, version.ref.place, version.index)
        if version.run:
            self._found_run(version.run).outputs.append(version.id)
        self._point(version, aliases)
        return self._now(self._logged[version.id])

    def _point(self, version: Version, aliases: Sequence[str]) -> None:
        self.places.give(version.id, version.ref.place, aliases)

    def _lasting(self, artifact_id: str, place: Membership) -> None:
        """What a registry refers to does not expire."""
        if place.is_registry:
            found = self._found(artifact_id)
            found.version = replace(found.version, ttl_seconds=-2)

    def _users(self, artifact_id: str, *, closed: bool | None = None) -> Iterator[RunRef]:
        """The runs that used a version; only those that may be written to, or may not."""
        for ref, run in self._runs.items():
            shut = f"{ref.entity}/{ref.project}" in self.places.read_only
            if artifact_id in run.inputs and closed in (None, shut):
                yield ref

    def _now(self, logged: Logged) -> Version:
        version = logged.version
        return replace(version, aliases=self.places.aliases(version.id, version.ref.place))

    def _found(self, artifact_id: str) -> Logged:
        if artifact_id not in self._logged or self._logged[artifact_id].removed:
            raise NotFoundError(f"artifact {artifact_id} is gone from W&B")
        return self._logged[artifact_id]

    def _found_run(self, ref: RunRef) -> _RunState:
        if ref not in self._runs:
            raise NotFoundError(f"{ref}: there is no such run")
        return self._runs[ref]

    def _next_id(self) -> str:
        return base64.b64encode(f"Artifact:{len(self._logged) + 1}".encode()).decode()

    def _next_ref(self, entity: str, project: str, collection: str) -> ArtifactRef:
        ref = ArtifactRef(entity=entity, project=project, collection=collection, alias="")
        index = sum(replace(item.version.ref, alias="") == ref for item in self._logged.values())
        return replace(ref, alias=f"v{index}")


def _digest(data: bytes, algorithm: Algorithm) -> str:
    md5 = hashlib.md5(data, usedforsecurity=False)
    raw = md5.digest() if algorithm == "MD5" else xxhash.xxh3_128_digest(data)
    return base64.b64encode(raw).decode()


def text_of(time: datetime) -> str:
    """A time as W&B writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
