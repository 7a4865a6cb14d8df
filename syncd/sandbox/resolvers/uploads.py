"""Mutations on pending versions: manifests and files announced, big files in parts, the commit."""

from __future__ import annotations

from typing import Any

from ariadne import MutationType

from syncd.sandbox import blobs, commit, ids
from syncd.sandbox.context import Backend, Info, backend, database
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.resolvers.files import File
from syncd.sandbox.resolvers.named import artifact_of, own_of
from syncd.sandbox.state import manifests, multipart, versions
from syncd.sandbox.state.paging import whole
from syncd.sandbox.state.records import Artifact

mutation = MutationType()

BINDABLES = [mutation]


def _pending(info: Info, value: str) -> Artifact:
    """A version that is still being written."""
    found = own_of(info, value)
    if found.state != versions.PENDING:
        raise SandboxError("the artifact version is already committed")
    return found


def _base(info: Info, asked: dict[str, Any]) -> Artifact | None:
    value = asked.get("base_artifact_id")
    return artifact_of(info, value) if value else None


@mutation.field("createArtifactManifest")
def create_manifest(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Announce a manifest, or where it goes once its digest is known."""
    found = _pending(info, asked["artifact_id"])
    kind = asked.get("type") or "FULL"
    base, digest = _base(info, asked), asked["digest"]
    manifest = manifests.put(database(info), found, asked["name"], kind, digest=digest, base=base)
    return {"artifact_manifest": manifest}


@mutation.field("updateArtifactManifest")
def update_manifest(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Say the digest of an announced manifest."""
    db = database(info)
    found = manifests.get(db, ids.decode(asked["artifact_manifest_id"], "ArtifactManifest"))
    _pending(info, ids.encode("Artifact", found.artifact_id))
    changed = manifests.change(db, found, digest=asked.get("digest"), base=_base(info, asked))
    return {"artifact_manifest": changed}


def _parts(
    parts: Backend, owner: Artifact, blob: str, name: str, pieces: dict[int, str]
) -> dict[str, Any]:
    upload = multipart.begin(parts.db, owner, blob, pieces)
    urls = [
        {"part_number": number, "upload_url": parts.urls.part(upload.id, number, name)}
        for number in sorted(pieces)
    ]
    return {"upload_id": ids.encode("MultipartUpload", upload.id), "upload_url_parts": urls}


@mutation.field("completeMultipartUploadArtifact")
def complete_multipart(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Put a file together from its parts."""
    parts, found = backend(info), _pending(info, asked["artifact_id"])
    upload = multipart.get(parts.db, ids.decode(asked["upload_id"], "MultipartUpload"))
    path = f"wandb_artifacts/{found.id}/{upload.blob}"
    if upload.artifact_id != found.id or asked["storage_path"] != path:
        raise SandboxError("the multipart upload is of another file")
    # The client repeats each part's ETag, which is the MD5 between quotes.
    tags_of = {p["part_number"]: p["hex_md5"].strip('"') for p in asked["completed_parts"]}
    if tags_of != dict(enumerate(upload.md5s(), start=1)):
        raise SandboxError("the parts are not the announced ones")
    pieces = [parts.blobs.part(upload.id, number) for number in sorted(tags_of)]
    if not all(piece.exists() for piece in pieces):
        raise SandboxError("parts have not been uploaded")
    parts.blobs.join(pieces, upload.blob)
    multipart.end(parts.db, upload)

    def remove() -> None:
        for piece in pieces:
            piece.unlink(missing_ok=True)

    parts.db.after_commit(remove)
    return {"digest": blobs.base64_digest(upload.blob)}


def _content_digest(spec: dict[str, Any]) -> str:
    """What a file is kept under: its MD5, or the manifest's digest of one whose parts alone were hashed."""
    return str(spec["md5"] or (spec.get("digest") if spec.get("upload_parts_input") else "") or "")


@mutation.field("createArtifactFiles")
def create_files(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Where files go, in the order asked; nowhere for those whose bytes are here already."""
    parts = backend(info)
    specs: dict[str, list[dict[str, Any]]] = {}
    for spec in asked["artifact_files"]:
        specs.setdefault(spec["artifact_id"], []).append(spec)
    owners = {value: _pending(info, value) for value in specs}
    for value, group in specs.items():
        uploads = [
            manifests.Upload(s["name"], s.get("digest") or s["md5"], _content_digest(s))
            for s in group
        ]
        blobs_of = [blobs.hex_digest(upload.md5) for upload in uploads]
        manifests.announce(parts.db, owners[value], uploads, blobs_of)

    def target(spec: dict[str, Any]) -> File:
        owner, name, content = owners[spec["artifact_id"]], spec["name"], _content_digest(spec)
        blob = blobs.hex_digest(content)
        here = parts.blobs.file(blob).exists()
        pieces = {p["part_number"]: p["hex_md5"] for p in spec.get("upload_parts_input") or []}
        headers = [f"Content-MD5:{spec['md5']}"] if spec["md5"] else []
        if pieces:
            # The client takes the type of each part from here.
            headers.append("Content-Type:application/octet-stream")
        in_parts = bool(pieces) and not here
        return File(
            id=ids.encode("ArtifactUpload", owner.id),
            name=name,
            put=None if here else lambda: parts.urls.file("PUT", owner.id, blob, name),
            upload_headers=tuple(headers),
            upload_multipart_urls=_parts(parts, owner, blob, name, pieces) if in_parts else None,
            storage_path=f"wandb_artifacts/{owner.id}/{blob}",
            md5=spec["md5"] or None,
            artifact=owner,
        )

    return {"files": whole([target(spec) for spec in asked["artifact_files"]])}


@mutation.field("commitArtifact")
def commit_artifact(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Make a version of what was uploaded."""
    found = own_of(info, asked["artifact_id"])
    return {"artifact": commit.commit(backend(info), found)}
