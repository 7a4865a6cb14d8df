"""The in-memory `ArtifactSource`: what syncd does in a small W&B."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.clients.artifacts import (
    Automation,
    Collection,
    Heard,
    Membership,
    Run,
    Standing,
    Surroundings,
    Use,
    Version,
    utc,
)
from syncd.errors import NotFoundError, PermanentError
from syncd.manifest import Entry, Manifest, manifest_digest
from syncd.refs import RunRef, Target
from syncd.testing.faults import Calls, Fault
from syncd.testing.project import TEAM, MemoryProject, text_of

PAGE = 100  # outputs that `run` tells of where not all are needed
NEWEST = 10  # versions that `collections` tells of each
ALIASES = 100  # and aliases


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


class MemoryArtifactSource(MemoryProject):
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
        super().__init__()
        self._call = Calls(faults, before)
        self._damages = tuple(damages)
        self._damaged: Counter[Damage] = Counter()
        self._watch = watch
        self._chunk_size = chunk_size
        self.signed: list[tuple[str, ...]] = []  # the paths of each `sign`
        self.ahead: timedelta | None = timedelta()  # of its clock; None when it tells no time
        self.uploaded = 0  # bytes that `upload` was given
        self.secretive = False  # whether it does not tell where aliases are

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each method was called."""
        return self._call.count

    def probe(self, entity: str) -> None:
        """See `clients.wandb.WandbSource.probe`."""
        del entity
        self._call("probe")

    def told_time(self, entity: str) -> datetime | None:
        """See `clients.wandb.WandbSource.told_time`: the machine's time, and `ahead`."""
        del entity
        self._call("told_time")
        return None if self.ahead is None else datetime.now(UTC) + self.ahead

    def projects(self, entity: str) -> Iterator[str]:
        """See `ArtifactSource.projects`."""
        self._call("projects")
        refs = [logged.version.ref for logged in self._logged.values()]
        return iter(sorted({ref.project for ref in refs if ref.entity == entity}))

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
            place = (target.entity, target.project or "", target.collection or "")
            if linked := self.places.linked(place, target.alias):
                found = [self._now(self._found(linked))]
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
                told = Collection(
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
                aliases = list(self.places.pointing(told.place))
                named = sorted({*aliases[:ALIASES]} - told.shown)
                yield replace(told, elsewhere=tuple(named), crowded=len(aliases) > ALIASES)

    def pointed(self, collections: Sequence[Collection]) -> Sequence[Mapping[str, str]] | None:
        """See `ArtifactSource.pointed`; nothing is told where `secretive`."""
        self._call("pointed")
        if self.secretive:
            return None
        asked = [(item, self.places.pointing(item.place)) for item in collections]
        return [
            {
                alias: artifact_id
                for alias, artifact_id in aliases.items()
                if (alias not in item.shown if item.crowded else alias in item.elsewhere)
                and artifact_id in self._logged
            }
            for item, aliases in asked
        ]

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

    def run(self, ref: RunRef, *, all_outputs: bool = True) -> Run:
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
            created_at=found.began_at,
            inputs=self._living(found.inputs),
            outputs=self._living(found.outputs if all_outputs else found.outputs[:PAGE]),
            summary=dict(found.summary),
        )

    def heard(self, entity: str, project: str) -> Iterator[Heard]:
        """See `ArtifactSource.heard`."""
        self._call("heard")
        found = [
            Heard(run=ref, state=run.state, at=utc(run.active_at))
            for ref, run in self._runs.items()
            if (ref.entity, ref.project) == (entity, project)
        ]
        return iter(sorted(found, key=lambda item: item.at, reverse=True))

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
                    created_at=text_of(self.now),
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
        wanted = [(self._found(version.id).version.ref.place, tuple(aliases))]
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
                    created_at=text_of(self.now),
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

    def _happened(self, method: str) -> None:
        self._watch(method)
        self._call.answer(method)
