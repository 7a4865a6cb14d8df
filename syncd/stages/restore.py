"""Restore: a moved version becomes ordinary W&B files again, and everything that points at it follows.

The replacement is marked first, so that nobody takes what appears for a new version to move. Then the
version is logged in the same collection, as output of the original run, with files out of Oxen that
are held against W&B's own digests on the way; or it is found, when W&B still has it. What points at the
replacement follows as `syncd.versions.succession` tells. Each step finds its own effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace as changed
from datetime import datetime, timedelta
from typing import Any

import xxhash

from syncd.blocks import Builder
from syncd.clients.artifacts import TTL_INHERIT, Version
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.entry import Entries, Entry, entry_row
from syncd.errors import PermanentError, VerificationError
from syncd.manifest import Hasher, Manifest, md5
from syncd.refs import ArtifactRef, RunRef, parse_reference_url
from syncd.replacements import (
    KEY,
    XXH128,
    Logged,
    Replacement,
    Restored,
    Returned,
    replacement_of,
    restored_into,
    version_digest,
)
from syncd.versions.originals import Original, file_entry, lineage_path, original
from syncd.versions.succession import check_rights, follow

SHORTEST_TTL = timedelta(days=1)  # what came back must not vanish at once
_MD5 = "MANIFEST_MD5"
Pace = Callable[[int], None]  # told of bytes as they pass; may wait


def restore(
    source: ArtifactSource,
    store: VersionStore,
    replacement: Version,
    *,
    existing: Version | None,
    now: datetime,
    pace: Pace = lambda _bytes: None,
) -> Version:
    """Put a version of files in the place of a replacement, and return it.

    Args:
        source: W&B.
        store: Oxen; not asked when there is an `existing` version.
        replacement: the version of references.
        existing: the collection's version with the original's digest, when W&B has one: the
            original, or what an earlier attempt made.
        now: the time, UTC.
        pace: told of bytes as they pass.

    Raises:
        PermanentError: when it is no replacement, its commit does not hold the version, or this API
            key may not move all that points at it; nothing has been changed then.
        VerificationError: when Oxen's bytes are not those of the version.
    """
    before = source.standing(replacement.id)
    made = before.version
    link = replacement_of(made.metadata, made.digest)
    if link is None:
        raise PermanentError(f"{made.ref} does not say that it replaces a version")
    check_rights(source, before)
    at = now.isoformat(timespec="seconds")
    if link.restored is None:
        link = changed(link, restored=Restored(at=at))
        source.update_metadata(made, link.into(made.metadata))
    restored = existing or _upload(source, store, made, link, now=now, pace=pace)
    made = source.version(made.id)  # files travel for hours, and people write on it
    says = replacement_of(made.metadata, made.digest) or link
    link = changed(says, restored=link.restored)
    _carry(source, made, restored)
    if link.reclaimed is not None and link.source_artifact_id == restored.id:
        if link.reclaimed.how == "ttl":
            source.set_ttl(restored, link.reclaimed.ttl_seconds)
        link = changed(link, reclaimed=None)
    follow(source, made.id, restored.id, nullcontext(), fresh=True)
    assert link.restored is not None, "it was marked before"
    if link.restored.artifact_id != restored.id:
        mark = Restored(at=link.restored.at, artifact_id=restored.id, version=str(restored.ref))
        source.update_metadata(made, changed(link, restored=mark).into(made.metadata))
    return restored


def _carry(source: ArtifactSource, made: Version, restored: Version) -> None:
    """What people wrote on a version of references is there on the files that come back."""
    mark = {KEY: restored.metadata[KEY]} if KEY in restored.metadata else {}
    metadata = {**_plain(made.metadata), **mark}
    description = made.description or ""
    tags = sorted(set(made.tags) - set(restored.tags))
    if tags or metadata != restored.metadata or description != (restored.description or ""):
        source.update_metadata(restored, metadata, description=description, tags=tags)


def _upload(
    source: ArtifactSource,
    store: VersionStore,
    made: Version,
    link: Replacement,
    *,
    now: datetime,
    pace: Pace,
) -> Version:
    held = original(store, link.commit, lineage_path(link))
    manifest = original_manifest(source.manifest(made), held)
    digest = version_digest(manifest, made.digest_algorithm)
    # W&B merges some versions from parts; their digest is not that of all their entries.
    whole = digest == held.digest or _same(manifest, held)
    if not whole or held.digest != link.source_digest:
        raise PermanentError(
            f"{link.commit} does not make {link.source_version} again: digest {digest} instead of "
            f"{link.source_digest}",
            hint="`syncd verify` says whether the commit is whole.",
        )
    draft = changed(
        made,
        digest=held.digest,
        metadata={**_plain(made.metadata), **_theirs(held)},
        ttl_seconds=_ttl(made, now),
    )
    return source.upload(draft, manifest, lambda entry: read(store, held, entry, pace))


def original_manifest(after: Manifest, held: Original) -> Manifest:
    """The manifest that a replacement was made from; what was moved is born nowhere yet."""
    rows = Builder()
    for row in after.entries.rows:
        entry = held.entry(row[0]) if _is_ours(row[0], row[3], held) else None
        rows.add(row if entry is None else entry_row(entry))
    return Manifest(
        entries=Entries(rows.build()), storage_policy_config=after.storage_policy_config
    )


def _same(manifest: Manifest, held: Original) -> bool:
    """Whether a manifest has what the lineage file lists, path by path."""
    for path, digest, _, ref, *_rest in manifest.entries.rows:
        file, link = held.files.find(path), held.references.find(path)
        listed = link[1] if ref is not None and link else file[2] if file else None
        if listed != digest and path not in held.omitted:
            return False
    return len(manifest.entries) == len(held.files) + len(held.references) + len(held.omitted)


def rebuild(
    source: ArtifactSource,
    store: VersionStore,
    held: Original,
    *,
    collection: Iterable[Version],
    now: datetime,
    pace: Pace = lambda _bytes: None,
) -> Version:
    """Log a version that W&B has lost together with its replacement, from its commit alone.

    Description, tags and metadata are those of the day it was moved; of the aliases it gets those
    that nobody has since taken. Its time to live ends when it would have, in a day at the soonest. Links
    and consumers are not in the commit.

    Args:
        source: W&B.
        store: Oxen.
        held: what the commit has.
        collection: the versions that the collection has now.
        now: the time, UTC.
        pace: told of bytes as they pass.

    Raises:
        PermanentError: when the commit does not have all of the version.
    """
    artifact = held.artifact
    ref = ArtifactRef.parse(str(artifact["ref"]))
    if held.omitted:
        raise PermanentError(
            f"{held.commit} lacks {len(held.omitted)} files of {ref} that Oxen could not hold "
            f"({', '.join(held.omitted[:3])}); only W&B had them"
        )
    rows = Builder()
    rows.extend(entry_row(file_entry(row)) for row in held.files)
    rows.extend(
        entry_row(Entry(path=path, digest=digest, ref=url, size=size))
        for path, digest, url, size in held.references
    )
    manifest = Manifest(
        entries=Entries(rows.build()), storage_policy_config={"storageLayout": "V2"}
    )
    fitting = [kind for kind in (_MD5, XXH128) if version_digest(manifest, kind) == held.digest]
    if not fitting:
        raise PermanentError(f"{held.commit} does not make {ref} again: its digest differs")
    mark = Restored(at=now.isoformat(timespec="seconds"))
    draft = Version(
        id="",
        ref=ref,
        type=str(artifact["type"]),
        digest=held.digest,
        size=manifest.size,
        file_count=len(manifest.entries),
        created_at=str(artifact["created_at"]),
        tags=tuple(artifact["tags"]),
        description=artifact["description"],
        metadata=restored_into(_plain(artifact["metadata"]), mark, held.digest, _origin(held)),
        run=RunRef.parse(str(held.run["ref"])) if held.run else None,
        ttl_seconds=int(artifact.get("ttl_seconds", TTL_INHERIT)),
        history_step=artifact.get("history_step"),
        digest_algorithm=fitting[0],
    )
    draft = changed(draft, ttl_seconds=_ttl(draft, now))
    restored = source.upload(draft, manifest, lambda entry: read(store, held, entry, pace))
    taken = {alias for version in collection for alias in version.aliases}
    if free := [alias for alias in artifact["aliases"] if alias not in taken]:
        source.move_aliases(restored, free)
    return restored


def read(store: VersionStore, held: Original, entry: Entry, pace: Pace) -> Iterator[bytes]:
    """A file's bytes out of Oxen; the last chunk comes only when all are W&B's.

    Raises:
        VerificationError: when they are not.
    """
    path = f"{held.folder}{entry.path}"
    hasher: Hasher = md5() if entry.algorithm == "MD5" else xxhash.xxh3_128()
    size = 0
    waiting: bytes | None = None
    for chunk in store.read(held.commit, path):
        hasher.update(chunk)
        size += len(chunk)
        if waiting is not None:
            pace(len(waiting))
            yield waiting
        waiting = chunk
    if size != entry.size or hasher.hexdigest() != entry.hex_digest:
        raise VerificationError(
            f"{held.commit} {path}: {size} bytes with {entry.algorithm} {hasher.hexdigest()}, "
            f"W&B's manifest said {entry.size} bytes with {entry.hex_digest}"
        )
    if waiting is not None:
        pace(len(waiting))
        yield waiting


def _origin(held: Original) -> Returned:
    """What a commit knows of the version that it holds."""
    said = {key: str(held.artifact[key]) for key in ("ref", "id", "created_at")}
    return Returned(
        commit=held.commit,
        logged=Logged(version=said["ref"], artifact_id=said["id"], created_at=said["created_at"]),
    )


def _is_ours(path: str, ref: str | None, held: Original) -> bool:
    return ref is not None and parse_reference_url(ref) == (held.commit, f"{held.folder}{path}")


def _ttl(made: Version, now: datetime) -> int:
    """The time to live, from now on, that ends when another version's does."""
    end = made.expires_at
    return int(max(end - now, SHORTEST_TTL).total_seconds()) if end else made.ttl_seconds


def _theirs(held: Original) -> dict[str, Any]:
    """What somebody else's key of our name held when the version was moved; it had to make room."""
    own = (held.artifact.get("metadata") or {}).get(KEY)
    ours = own is None or (isinstance(own, Mapping) and "digest" in own)
    return {} if ours else {KEY: own}


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != KEY}
