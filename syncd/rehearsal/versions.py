"""Small versions to ask questions with, logged without the SDK; they hold one reference that leads nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncd.clients.protocols import Version
from syncd.clients.wandb_scratch import COMMITTED
from syncd.entry import Entry
from syncd.errors import PermanentError
from syncd.manifest import Manifest
from syncd.refs import ArtifactRef
from syncd.rehearsal.story import Stage
from syncd.replacements import version_digest

KIND = "dataset"
NOWHERE = "https://syncd.invalid"


def draft(stage: Stage, name: str, manifest: Manifest, **fields: Any) -> Version:
    """What is to be logged to a collection of this name."""
    assert stage.project.project is not None, "a project is named"
    ref = ArtifactRef(
        entity=stage.project.entity,
        project=stage.project.project,
        collection=stage.collection(name),
        alias="v0",
    )
    algorithm = fields.get("digest_algorithm", "MANIFEST_MD5")
    return Version(
        id="",
        ref=ref,
        digest=version_digest(manifest, algorithm),
        size=manifest.size,
        file_count=len(manifest.entries),
        created_at="",
        **{"type": KIND, **fields},
    )


def pointing(content: str, *, ref: str = "") -> Manifest:
    """A manifest with one reference, which stands for a content."""
    entry = Entry(path=content, digest=content, ref=ref or f"{NOWHERE}/{content}", size=1)
    return Manifest(entries={content: entry}, storage_policy_config={"storageLayout": "V2"})


def logged(
    stage: Stage, name: str, content: str, *aliases: str, ref: str = "", **fields: Any
) -> Version:
    """A new version with this content and these aliases."""
    manifest = pointing(content, ref=ref)
    asked = draft(stage, name, manifest, **fields)
    artifact_id, state = stage.scratch.begin(asked)
    if state != COMMITTED:
        stage.scratch.finish(asked, artifact_id, manifest)
    made = stage.scratch.version(artifact_id)
    if not aliases:
        return made
    stage.scratch.move_aliases(made, aliases)
    return stage.scratch.version(artifact_id)


def refusal(action: Callable[[], object]) -> str:
    """What W&B says when it refuses; empty when it does not."""
    try:
        action()
    except PermanentError as error:
        return str(error)
    return ""
