"""`syncd resolve`: the other side's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context

if TYPE_CHECKING:
    from syncd.runtime import Runtime


def resolve(
    context: Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="entity/project/collection:v3 (or :alias), or oxen://ns/repo@rev."
        ),
    ],
) -> None:
    """Give the other side's name of a version or a commit."""
    from syncd import runtime  # noqa: PLC0415

    with runtime.opened(context.config, context.environ) as opened:
        document = from_oxen(opened, ref) if ref.startswith("oxen://") else from_wandb(opened, ref)
    context.output.result(
        document,
        lambda console: console.print(
            document["wandb"]["source"] if ref.startswith("oxen://") else document["oxen"]["commit"]
        ),
    )


def from_wandb(opened: Runtime, text: str) -> dict[str, Any]:
    """The commit of a W&B version, named by the version or by what replaced it.

    Raises:
        NotFoundError: when the version is not there or has not been moved.
    """
    from syncd import errors  # noqa: PLC0415
    from syncd.operations import audit  # noqa: PLC0415
    from syncd.refs import ArtifactRef, Target  # noqa: PLC0415
    from syncd.replacements import published_of, replacement_of  # noqa: PLC0415
    from syncd.stages import discover  # noqa: PLC0415

    ref = ArtifactRef.parse(text)
    try:
        version = opened.source.find(ref)
    except errors.NotFoundError:
        made = discover.replacing(opened.source, ref)
        if made is None:
            raise
        version = made  # of a version that was reclaimed
    link = replacement_of(version.metadata, version.digest)
    if link is not None:
        return _document(link.source_version, str(version.ref), link)
    if born := published_of(version.metadata, version.digest):
        return _document(str(version.ref), str(version.ref), born)
    for replacement, found in audit.replacements(opened, [Target.of(version.ref)]):
        restored = found.restored.artifact_id if found.restored else ""
        if version.id in {found.source_artifact_id, restored}:
            return _document(found.source_version, str(replacement.ref), found)
    raise errors.NotFoundError(
        f"{version.ref} has not been moved to Oxen", hint="Run `syncd plan` to see why."
    )


def from_oxen(opened: Runtime, text: str) -> dict[str, Any]:
    """The W&B version that an Oxen commit or branch holds.

    Raises:
        NotFoundError: when there is no such commit, or syncd did not make it.
    """
    from syncd import errors  # noqa: PLC0415
    from syncd.operations import audit  # noqa: PLC0415
    from syncd.refs import ArtifactRef, OxenURL, Target  # noqa: PLC0415
    from syncd.stages import discover  # noqa: PLC0415

    url = OxenURL.parse(text)
    commit = opened.store.resolve(url.repo, url.revision)
    named = commit.trailers.get("Wandb-Artifact") if commit else None
    if commit is None or named is None:
        raise errors.NotFoundError(f"{text}: there is no such commit of syncd's")
    collection = Target.of(ArtifactRef.parse(named))
    for replacement, found in audit.replacements(opened, [collection]):
        if found.commit == commit.ref:
            return _document(found.source_version, str(replacement.ref), found)
    for version, born in discover.publications(opened.source, collection):
        if born.commit == commit.ref:
            return _document(str(version.ref), str(version.ref), born)
    raise errors.NotFoundError(f"{text} holds {named}, which W&B no longer references")


def _document(source: str, replacement: str, link: Any) -> dict[str, Any]:
    """Both names of a version; one that was born in Oxen replaced nothing, and has one."""
    return {
        "wandb": {"source": source, "replacement": replacement},
        "oxen": {
            "repo": str(link.commit.repo),
            "commit": str(link.commit),
            "lineage_url": link.url,
        },
    }
