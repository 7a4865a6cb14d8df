"""Turning an uploaded manifest into a version: read it, find every entry's bytes, number the version.

A FULL manifest is the whole content. An INCREMENTAL one adds to its base, the PATCH manifests of a distributed version
to each other. What they add up to is stored as the version's manifest; a FULL one is stored byte for byte as it came.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from syncd.sandbox import blobs, ids
from syncd.sandbox.context import Backend
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state import collections, lineage, manifests, memberships, runs, versions
from syncd.sandbox.state.database import Database
from syncd.sandbox.state.records import Artifact, Collection, Entry, Manifest, Membership

Document: TypeAlias = dict[str, Any]

# How many entries are held at a time besides the manifest itself.
_BATCH = 10_000
_REQUIRED = {"version": int, "storagePolicy": str, "storagePolicyConfig": dict, "contents": dict}


def _parse(path: Path, name: str) -> Document:
    try:
        document = json.loads(path.read_bytes().decode())
    except FileNotFoundError as error:
        raise SandboxError(f"manifest {name!r} has not been uploaded") from error
    except ValueError as error:
        raise SandboxError(f"manifest {name!r} is not JSON") from error
    if not isinstance(document, dict):
        raise SandboxError(f"manifest {name!r} is not an object")
    # What a client needs to read the version later must be there now.
    for field, kind in _REQUIRED.items():
        if not isinstance(document.get(field), kind):
            raise SandboxError(f"manifest {name!r} has no proper {field!r}")
    return document


def _is_meant(manifest: Manifest) -> bool:
    # A process that never came to say the digest of its patch has not written it.
    return manifest.type != "PATCH" or bool(manifest.digest)


def _needs_base(backend: Backend, manifest: Manifest) -> bool:
    return manifest.type == "INCREMENTAL" or backend.settings.patch_base == "include"


def _merged(backend: Backend, announced: list[Manifest]) -> tuple[Document, Path | None]:
    """What the manifests add up to, and the file that already says just that, if one does."""
    meant = filter(_is_meant, announced)
    parts = [(m, _parse(backend.blobs.manifest_upload(m.id), m.name)) for m in meant]
    full = [part for part in parts if part[0].type == "FULL"]
    if full:
        manifest, document = full[-1]
        return document, backend.blobs.manifest_upload(manifest.id)
    if not parts:
        raise SandboxError("the artifact version has no manifest")
    document = dict(parts[-1][1])
    contents: Document = {}
    for manifest, _ in parts:
        if manifest.base_artifact_id is not None and _needs_base(backend, manifest):
            base = backend.blobs.manifest(manifest.base_artifact_id)
            contents.update(_parse(base, "of the base version")["contents"])
    for _, part in parts:
        contents.update(part["contents"])
    document["contents"] = dict(sorted(contents.items()))
    return document, None


def _blob(
    backend: Backend,
    artifact: Artifact,
    path: str,
    entry: Mapping[str, Any],
    known: dict[int, dict[str, str]],
) -> str:
    """The bytes of an entry: announced by the version it was born in, or named by the entry's own MD5."""
    digest = str(entry["digest"])
    born = entry.get("birthArtifactID")
    birth = ids.decode(born, "Artifact") if born else artifact.id
    for candidate in (artifact.id, birth):
        if candidate not in known:
            known[candidate] = manifests.announced(backend.db, candidate)
        if digest in known[candidate]:
            blob = known[candidate][digest]
            break
    else:
        blob = blobs.hex_digest(digest)
    if not backend.blobs.file(blob).exists():
        raise SandboxError(f"file {path!r} has not been uploaded")
    return blob


def _entries(backend: Backend, artifact: Artifact, document: Document) -> Iterator[Entry]:
    known: dict[int, dict[str, str]] = {}
    for position, (path, entry) in enumerate(document["contents"].items()):
        if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
            raise SandboxError(f"manifest entry {path!r} has no digest")
        ref = entry.get("ref")
        blob = None if ref else _blob(backend, artifact, path, entry, known)
        if blob is not None and "size" not in entry:
            size = backend.blobs.file(blob).stat().st_size
        else:
            size = int(entry.get("size") or 0)
        yield Entry(artifact.id, position, path, entry["digest"], blob, size, ref)


def _note_references(backend: Backend, artifact: Artifact, entries: list[Entry]) -> None:
    """Make the versions that entries refer to inputs of the run that logged this one."""
    if artifact.run_id is None:
        return
    run = runs.get(backend.db, artifact.run_id)
    for entry in entries:
        scheme, _, rest = (entry.ref or "").partition("://")
        if scheme == "wandb-artifact":
            target = ids.decode_hex(rest.partition("/")[0], "Artifact")
            lineage.add_input(backend.db, run, versions.get(backend.db, target), None)


def commit(backend: Backend, artifact: Artifact) -> Artifact:
    """Commit a pending version; committing again changes nothing."""
    if artifact.state == versions.COMMITTED:
        return artifact
    db = backend.db
    if backend.settings.twin_commits == "refuse":
        sequence = collections.get(db, artifact.sequence_id)
        if versions.same_content(db, sequence, artifact.digest) is not None:
            raise SandboxError("another version with this content has been committed")
    document, source = _merged(backend, manifests.of_artifact(db, artifact))
    entries, size, count = _entries(backend, artifact, document), 0, 0
    while batch := list(itertools.islice(entries, _BATCH)):
        manifests.store(db, batch)
        if backend.settings.reference_inputs:
            _note_references(backend, artifact, batch)
        size += sum(entry.size for entry in batch)
        count += len(batch)
    target = backend.blobs.manifest(artifact.id)
    if source is None:
        backend.blobs.write(target, json.dumps(document).encode())
    else:
        backend.blobs.copy(source, target)
    return versions.commit(db, artifact, size=size, file_count=count)


def delete(backend: Backend, artifact: Artifact, *, with_aliases: bool) -> None:
    """Delete a version. Its bytes stay until they are collected as garbage."""
    db, settings = backend.db, backend.settings
    held = memberships.of_artifact(db, artifact)
    aliases = {m.collection_id for m in held if _is_latest(db, m)}
    versions.delete(db, artifact, with_aliases=with_aliases)
    for membership in held:
        collection = collections.get(db, membership.collection_id)
        if settings.reuse_numbers:
            memberships.reuse_numbers(db, collection)
        if settings.latest_after_delete == "newest" and collection.id in aliases:
            give_latest(db, collection)


def _is_latest(db: Database, membership: Membership) -> bool:
    return any(alias.alias == memberships.LATEST for alias in memberships.aliases(db, membership))


def give_latest(db: Database, collection: Collection) -> None:
    """Make the version with the highest number the latest."""
    newest = memberships.newest(db, collection)
    if newest is not None:
        memberships.give(db, newest, [memberships.LATEST])
