"""Files as GraphQL shows them, whether of a run or of a version, and where their bytes are."""

from __future__ import annotations

import functools
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ariadne import MutationType, ObjectType

from syncd.sandbox import access, blobs, ids
from syncd.sandbox.context import Backend, Info, backend, context, database
from syncd.sandbox.state import manifests, projects, run_files, runs
from syncd.sandbox.state.paging import Connection, Window
from syncd.sandbox.state.records import Artifact, Entry, Manifest, Membership, Run, RunFile

mutation = MutationType()
run = ObjectType("Run")
membership = ObjectType("ArtifactCollectionMembership")
file = ObjectType("File")

BINDABLES = [mutation, run, membership, file]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file in an answer. URLs are signed when they are asked for, and not before."""

    id: str
    name: str
    get: Callable[[], str] | None = None
    put: Callable[[], str | None] | None = None
    upload_headers: tuple[str, ...] = ()
    upload_multipart_urls: dict[str, Any] | None = None
    size_bytes: int = 0
    storage_path: str | None = None
    updated_at: str | None = None
    digest: str | None = None
    md5: str | None = None
    artifact: Artifact | None = None


@file.field("displayName")
def file_display_name(found: File, _info: Info) -> str:
    """The name again."""
    return found.name


@file.field("mimetype")
def file_mimetype(found: File, _info: Info) -> str:
    """A guess by the name."""
    return mimetypes.guess_type(found.name)[0] or "application/octet-stream"


@file.field("directUrl")
def file_direct_url(found: File, _info: Info) -> str | None:
    """Where the bytes can be read."""
    return found.get() if found.get else None


@file.field("url")
def file_url(found: File, _info: Info, upload: bool | None = None) -> str | None:
    """Where the bytes can be read, or written."""
    source = found.put if upload else found.get
    return source() if source else None


@file.field("uploadUrl")
def file_upload_url(found: File, _info: Info) -> str | None:
    """Where the bytes have to go; null if they are here already."""
    return found.put() if found.put else None


def of_entry(parts: Backend, entry: Entry) -> File:
    """A path of a committed version."""
    blob = entry.blob
    return File(
        id=ids.encode("ArtifactFile", entry.artifact_id, entry.position),
        name=entry.path,
        get=(
            (lambda: parts.urls.file("GET", entry.artifact_id, blob, entry.path))
            if blob is not None
            else (lambda: entry.ref or "")
        ),
        size_bytes=entry.size,
        storage_path=f"wandb_artifacts/{entry.artifact_id}/{blob}" if blob else None,
        digest=entry.digest,
        md5=blobs.base64_digest(blob) if blob else None,
    )


def of_manifest(parts: Backend, manifest: Manifest, *, committed: bool) -> File:
    """A manifest, to be uploaded or to be read."""
    return File(
        id=ids.encode("ArtifactManifestFile", manifest.id),
        name=manifest.name,
        get=(lambda: parts.urls.manifest(manifest.artifact_id)) if committed else None,
        put=lambda: parts.urls.manifest_upload(manifest.id, manifest.name),
        upload_headers=(f"Content-MD5:{manifest.digest}",) if manifest.digest else (),
        digest=manifest.digest,
    )


def of_run(parts: Backend, found: RunFile) -> File:
    """A file saved with a run."""
    return File(
        id=ids.encode("RunFile", found.id),
        name=found.name,
        get=lambda: parts.urls.run_file("GET", found.run_id, found.name),
        put=lambda: parts.urls.run_file("PUT", found.run_id, found.name),
        size_bytes=found.size,
        updated_at=found.updated_at,
        md5=found.md5,
    )


@membership.field("files")
def membership_files(
    found: Membership,
    info: Info,
    names: list[str] | None = None,
    **window: Any,
) -> Connection[File]:
    """Every entry of the version, references too."""
    parts = backend(info)
    page = manifests.entries(parts.db, found, names or [], Window(**window))
    return page.map(lambda entry: of_entry(parts, entry))


@run.field("files")
def files_of_run(
    found: Run,
    info: Info,
    names: list[str | None] | None = None,
    pattern: str | None = None,
    **window: Any,
) -> Connection[File]:
    """Files saved with a run."""
    parts = backend(info)
    wanted = [name for name in names or [] if name is not None]
    page = run_files.listing(
        parts.db, found, names=wanted, pattern=pattern, window=Window(**window)
    )
    return page.map(lambda item: of_run(parts, item))


@run.field("fileCount")
def file_count(found: Run, info: Info) -> int:
    """How many files were saved with a run."""
    return run_files.count(database(info), found)


def _run_of(info: Info, asked: dict[str, Any]) -> Run:
    project = projects.require(database(info), asked["entity_name"], asked["project_name"])
    access.require_writer(database(info), context(info).user(), project)
    return runs.require(database(info), project, asked["run_name"])


@mutation.field("createRunFiles")
def create_run_files(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Where files of a run can be uploaded, in the order asked."""
    found, urls = _run_of(info, asked), backend(info).urls

    def target(name: str) -> File:
        return File(id="", name=name, put=lambda: urls.run_file("PUT", found.id, name))

    return {
        "run_id": ids.encode("Run", found.id),
        "upload_headers": [],
        "files": [target(name) for name in asked["files"]],
    }


@mutation.field("markRunFilesUploaded")
def mark_uploaded(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Confirm uploads; the storage has noted them as they arrived."""
    found = _run_of(info, asked)
    there = [run_files.by_name(database(info), found.id, name) for name in asked["files"]]
    return {"success": all(there)}


@mutation.field("deleteFiles")
def delete_files(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Remove files of runs."""
    parts = backend(info)
    who = context(info).user()
    for value in asked["files"]:
        found = run_files.get(parts.db, ids.decode(value, "RunFile"))
        if found is not None:
            run = runs.get(parts.db, found.run_id)
            access.require_writer(parts.db, who, projects.get(parts.db, run.project_id))
            run_files.delete(parts.db, found)
            path = parts.blobs.run_file(found.run_id, found.name)
            parts.db.after_commit(functools.partial(path.unlink, missing_ok=True))
    return {"success": True}
