"""The in-memory `ArtifactSource`: a small W&B with a person's side."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import xxhash

from syncd.clients.protocols import (
    Automation,
    Collection,
    Membership,
    Run,
    Standing,
    Surroundings,
    Use,
    Version,
)
from syncd.errors import NotFoundError, PermanentError
from syncd.manifest import Algorithm, Entry, Manifest, manifest_digest
from syncd.refs import ArtifactRef, RunRef, Target
from syncd.testing.faults import Calls, Fault
from syncd.testing.places import Places, place_of

FIRST_LOGGED = datetime(2026, 1, 1, tzinfo=UTC)  # each further version is a minute younger
TEAM, PROJECT = "team", "proj"
NEWEST = 10  # versions that `collections` tells of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Bytes that arrive otherwise than they were logged.

    Args:
        path: of the file, in every version.
        change: what arrives in their place.
        times: at so many reads; later ones are right.
    """

    path: str
    change: Callable[[bytes], bytes]
    times: int = 1


@dataclass(slots=True, kw_only=True)
class _Logged:
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


class MemoryArtifactSource:
    """An `ArtifactSource` in memory, with what a person does in W&B: `add_run`, `log`.

    Args:
        faults: failures to happen.
        damages: bytes to spoil on their way.
        watch: told the method of each change when it has just happened.
        before: told the method of each call that is about to happen, and which call of it that is;
            it may do what people do.
        chunk_size: bytes that `read` gives at once.
    """

    def __init__(
        self,
        *,
        faults: Iterable[Fault] = (),
        damages: Iterable[Damage] = (),
        watch: Callable[[str], None] = lambda _method: None,
        before: Callable[[str, int], None] = lambda _method, _at: None,
        chunk_size: int = 1 << 20,
    ) -> None:
        self._call = Calls(faults, before)
        self._damages = tuple(damages)
        self._damaged: Counter[Damage] = Counter()
        self._watch = watch
        self._chunk_size = chunk_size
        self._logged: dict[str, _Logged] = {}
        self._bytes: dict[tuple[str, str], bytes] = {}  # by birth id and digest
        self.places = Places()
        self._passed = timedelta()
        self._runs: dict[RunRef, _RunState] = {}
        self.automated: dict[str, list[Automation] | None] = {}  # by entity
        self.signed: list[tuple[str, ...]] = []  # the paths of each `sign`
        self.uploaded = 0  # bytes that `upload` was given

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each method was called."""
        return self._call.count

    @property
    def now(self) -> datetime:
        """When the next version will have been logged."""
        return FIRST_LOGGED + timedelta(minutes=len(self._logged)) + self._passed

    # what a person does

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
    ) -> RunRef:
        """Make a run, or end and configure it anew; it runs when the first version is logged."""
        ref = RunRef(entity=TEAM, project=project, run_id=run_id)
        began = began_at or _text(FIRST_LOGGED)
        fresh = _RunState(state=state, config={}, began_at=began, active_at=active_at or began)
        before = self._runs.get(ref, fresh)
        self._runs[ref] = replace(before, state=state, config=dict(config or {}))
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
            created_at=_text(self.now),
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

    # what syncd does

    def versions(self, target: Target) -> Iterator[Version]:
        """See `ArtifactSource.versions`.

        Raises:
            NotFoundError: when the project, the collection or the version does not exist.
        """
        self._call("versions")
        found = [
            self._now(logged)
            for logged in self._logged.values()
            if not logged.removed
            and logged.version.ref.entity == target.entity
            and target.project in (None, logged.version.ref.project)
            and target.collection in (None, logged.version.ref.collection)
        ]
        if target.alias:
            found = [item for item in found if target.alias in (item.ref.alias, *item.aliases)]
        if target.project and not found:
            raise NotFoundError(f"{target}: there is no such thing")
        first: dict[tuple[str, str], int] = {}
        for number, item in enumerate(found):
            first.setdefault((item.ref.project, item.ref.collection), number)
        yield from sorted(
            found, key=lambda item: (first[item.ref.project, item.ref.collection], item.index)
        )

    def collections(self, target: Target) -> Iterator[Collection]:
        """See `ArtifactSource.collections`."""
        self._call("collections")
        found: dict[tuple[str, str], list[Version]] = {}
        for version in self._living(self._logged):
            found.setdefault((version.ref.project, version.ref.collection), []).append(version)
        for (project, name), versions in found.items():
            if target.project in (None, project) and target.collection in (None, name):
                yield Collection(
                    id=f"id of {name}",
                    entity=TEAM,
                    project=project,
                    name=name,
                    type=versions[0].type,
                    newest=tuple(
                        (version.id, tuple(sorted(version.aliases)))
                        for version in reversed(versions[-NEWEST:])
                    ),
                )

    def versions_of(self, collection: Collection) -> Iterator[Version]:
        """See `ArtifactSource.versions_of`."""
        return self.versions(
            Target(entity=collection.entity, project=collection.project, collection=collection.name)
        )

    def surroundings(self, versions: Sequence[Version]) -> Sequence[Surroundings]:
        """See `ArtifactSource.surroundings`; runs began at no time."""
        self._call("surroundings")
        return [
            Surroundings(
                version_id=version.id,
                memberships=tuple(self.places.memberships(version.id)),
                uses=tuple((run, "") for run in self._users(version.id)),
            )
            for version in versions
            if version.id in self._logged and not self._logged[version.id].removed
        ]

    def automations(self, entity: str) -> Sequence[Automation] | None:
        """See `ArtifactSource.automations`; none where `automated` names none."""
        self._call("automations")
        return self.automated.get(entity, [])

    def manifest(self, version: Version) -> Manifest:
        """See `ArtifactSource.manifest`."""
        self._call("manifest")
        return self._found(version.id).manifest

    def sign(self, version: Version, paths: Sequence[str]) -> None:
        """See `ArtifactSource.sign`; what was signed stands in `signed`."""
        self._call("sign")
        self._found(version.id)
        self.signed.append(tuple(paths))

    def read(
        self, version: Version, entry: Entry, *, begin: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """See `ArtifactSource.read`; a damage is done to the file, not to the range.

        Raises:
            NotFoundError: when W&B does not hold these bytes.
        """
        self._call("read")
        data = self._bytes.get((entry.birth_artifact_id or "", entry.digest))
        if data is None or entry.is_reference:
            raise NotFoundError(f"{version.ref} {entry.path}: W&B has no download URL for it")
        for damage in self._damages:
            if damage.path == entry.path and self._damaged[damage] < damage.times:
                self._damaged[damage] += 1
                data = damage.change(data)
        data = data[begin : None if size is None else begin + size]
        for start in range(0, len(data), self._chunk_size):
            yield data[start : start + self._chunk_size]

    def consumers(self, version: Version) -> Sequence[RunRef]:
        """See `ArtifactSource.consumers`."""
        self._call("consumers")
        return list(self._users(version.id))

    def run(self, ref: RunRef) -> Run:
        """See `ArtifactSource.run`.

        Raises:
            NotFoundError: when there is no such run.
        """
        self._call("run")
        found = self._found_run(ref)
        return Run(
            id=f"id of {ref.run_id}",
            ref=ref,
            name=f"name of {ref.run_id}",
            state=found.state,
            url=f"https://wandb.example/{ref}",
            config=dict(found.config),
            inputs=self._living(found.inputs),
            outputs=self._living(found.outputs),
        )

    def log_replacement(
        self, version: Version, manifest: Manifest, metadata: Mapping[str, Any]
    ) -> Version:
        """See `ArtifactSource.log_replacement`."""
        self._call("log_replacement")
        digest = manifest_digest(manifest.entries.values())
        source = self._found(version.id).version
        names = replace(source.ref, alias="")
        made = self._held(names, digest)
        if made is None:
            made = self._keep(
                replace(
                    source,
                    id=self._next_id(),
                    ref=self._next_ref(names.entity, names.project, names.collection),
                    digest=digest,
                    metadata=dict(metadata),
                    created_at=_text(self.now),
                ),
                manifest,
                aliases=(),
            )
        if source.run and made.id not in self._runs[source.run].outputs:
            self._runs[source.run].outputs.append(made.id)
        self._happened("log_replacement")
        return self._now(self._logged[made.id])

    def move_aliases(
        self, version: Version, aliases: Sequence[str], *, places: Sequence[Membership] = ()
    ) -> None:
        """See `ArtifactSource.move_aliases`."""
        self._call("move_aliases")
        wanted = [(place_of(self._found(version.id).version.ref), tuple(aliases))]
        wanted += [((item.entity, item.project, item.collection), item.aliases) for item in places]
        self.places.give_all(version.id, wanted)
        self._happened("move_aliases")

    def memberships(self, version: Version) -> Sequence[Membership]:
        """See `ArtifactSource.memberships`."""
        self._call("memberships")
        return self.places.memberships(self._found(version.id).version.id)

    def standing(self, artifact_id: str) -> Standing:
        """See `ArtifactSource.standing`."""
        self._call("standing")
        found = self._now(self._found(artifact_id))
        return Standing(
            version=found,
            memberships=self.places.memberships(artifact_id),
            consumers=tuple(self._users(artifact_id, closed=False)),
            closed=tuple(str(run) for run in self._users(artifact_id, closed=True)),
        )

    def link(
        self, version: Version, membership: Membership, aliases: Sequence[str] = ()
    ) -> Membership:
        """See `ArtifactSource.link`."""
        self._call("link")
        place = (membership.entity, membership.project, membership.collection)
        self._found(version.id)
        made = self.places.link(version.id, place, aliases, latest=membership.latest)
        self._lasting(version.id, made)
        self._happened("link")
        return made

    def unlink(self, version: Version, membership: Membership) -> None:
        """See `ArtifactSource.unlink`."""
        self._call("unlink")
        self.places.unlink(version.id, membership.collection_id)
        self._happened("unlink")

    def record_use(self, run: RunRef, version: Version) -> None:
        """See `ArtifactSource.record_use`."""
        self._call("record_use")
        inputs = self._found_run(run).inputs
        if self._found(version.id).version.id not in inputs:
            inputs.append(version.id)
        self._happened("record_use")

    def update_config(self, run: RunRef, values: Mapping[str, Any], unset: Sequence[str]) -> bool:
        """See `ArtifactSource.update_config`."""
        self._call("update_config")
        found = self._found_run(run)
        before = found.config
        found.config = {key: item for key, item in before.items() if key not in unset} | dict(
            values
        )
        self._happened("update_config")
        return found.config != before

    def update_metadata(
        self,
        version: Version,
        metadata: Mapping[str, Any],
        *,
        description: str | None = None,
        tags: Sequence[str] = (),
        ttl_seconds: int | None = None,
    ) -> None:
        """See `ArtifactSource.update_metadata`."""
        self._call("update_metadata")
        found = self._found(version.id)
        now = found.version
        found.version = replace(
            now,
            metadata=dict(metadata),
            description=now.description if description is None else description,
            tags=(*now.tags, *(tag for tag in tags if tag not in now.tags)),
            ttl_seconds=now.ttl_seconds if ttl_seconds is None else ttl_seconds,
        )
        self._happened("update_metadata")

    def version(self, artifact_id: str) -> Version:
        """See `ArtifactSource.version`.

        Raises:
            NotFoundError: when there is no such version.
        """
        self._call("version")
        return self._now(self._found(artifact_id))

    def with_manifest(self, artifact_id: str) -> tuple[Version, Manifest]:
        """See `ArtifactSource.with_manifest`."""
        version = self.version(artifact_id)
        return version, self.manifest(version)

    def uses(self, version: Version) -> Sequence[Use]:
        """See `ArtifactSource.uses`."""
        self._call("uses")
        self._found(version.id)
        return [
            Use(run=ref, began_at=run.began_at, active_at=run.active_at)
            for ref, run in self._runs.items()
            if version.id in run.inputs
        ]

    def set_ttl(self, version: Version, seconds: int) -> None:
        """See `ArtifactSource.set_ttl`."""
        self._call("set_ttl")
        found = self._found(version.id)
        found.version = replace(found.version, ttl_seconds=seconds)
        self._happened("set_ttl")

    def remove(self, version: Version) -> None:
        """See `ArtifactSource.remove`.

        Raises:
            PermanentError: when it has aliases.
        """
        self._call("remove")
        found = self._found(version.id)
        if self._now(found).aliases:
            raise PermanentError(f"delete {version.ref}: W&B refused: it has aliases")
        found.removed = True
        self.places.remove(version.id)
        self._happened("remove")

    def upload(
        self, draft: Version, manifest: Manifest, read: Callable[[Entry], Iterator[bytes]]
    ) -> Version:
        """See `ArtifactSource.upload`; the bytes that travelled stand in `uploaded`."""
        self._call("upload")
        digest = draft.digest
        names = replace(draft.ref, alias="")
        made = self._held(names, digest)
        if made is None:
            artifact_id = self._next_id()
            entries = {
                path: entry
                if entry.is_reference or entry.birth_artifact_id
                else self._sent(artifact_id, entry, read)
                for path, entry in manifest.entries.items()
            }
            made = self._keep(
                replace(
                    draft,
                    id=artifact_id,
                    ref=self._next_ref(names.entity, names.project, names.collection),
                    digest=digest,
                    size=manifest.size,
                    file_count=len(entries),
                    aliases=(),
                    created_at=_text(self.now),
                    author="ann",
                ),
                Manifest(entries=entries, storage_policy_config=manifest.storage_policy_config),
                aliases=(),
            )
        self._happened("upload")
        return self._now(self._logged[made.id])

    def _sent(
        self, artifact_id: str, entry: Entry, read: Callable[[Entry], Iterator[bytes]]
    ) -> Entry:
        needed = {
            item.digest
            for logged in self._logged.values()
            if not logged.removed
            for item in logged.manifest.entries.values()
            if not item.is_reference
        }
        held = {digest: data for (_, digest), data in self._bytes.items() if digest in needed}
        data = held.get(entry.digest)
        if data is None:
            data = b"".join(read(entry))
            self.uploaded += len(data)
        self._bytes[artifact_id, entry.digest] = data
        return replace(entry, birth_artifact_id=artifact_id)

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

    def _happened(self, method: str) -> None:
        self._watch(method)
        self._call.answer(method)

    def _keep(self, version: Version, manifest: Manifest, aliases: Sequence[str]) -> Version:
        self._logged[version.id] = _Logged(version=version, manifest=manifest)
        self.places.add(version.id, place_of(version.ref), version.index)
        if version.run:
            self._found_run(version.run).outputs.append(version.id)
        self._point(version, aliases)
        return self._now(self._logged[version.id])

    def _point(self, version: Version, aliases: Sequence[str]) -> None:
        self.places.give(version.id, place_of(version.ref), aliases)

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

    def _now(self, logged: _Logged) -> Version:
        version = logged.version
        return replace(version, aliases=self.places.aliases(version.id, place_of(version.ref)))

    def _found(self, artifact_id: str) -> _Logged:
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


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
