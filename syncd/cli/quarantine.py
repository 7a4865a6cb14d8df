"""`syncd quarantine`: versions that failed for good, why, and the second chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd import errors
from syncd.cli import Context, ExitCode
from syncd.cli.scope import Targets, counted, size

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.catalog.catalog import Catalog, Quarantined

Ref = Annotated[str, typer.Argument(metavar="REF", help="A version: entity/project/collection:v3.")]
Refs = Annotated[
    list[str] | None,
    typer.Argument(metavar="REF", help="Versions: entity/project/collection:v3."),
]


def list_(context: Context, targets: Targets = None) -> None:
    """List the versions that failed for good, with cause and next step. W&B is not asked."""
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.operations import quarantine  # noqa: PLC0415
    from syncd.refs import Target  # noqa: PLC0415

    named = [Target.parse(text) for text in targets or ()]
    with opened(context.config) as catalog:
        document = {"quarantined": [_entry(item) for item in quarantine.listed(catalog, named)]}
    context.output.result(document, lambda console: _print_list(console, document))


def show(context: Context, ref: Ref) -> None:
    """Show all that is known of one version that failed for good. W&B is not asked."""
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.operations import quarantine  # noqa: PLC0415
    from syncd.refs import ArtifactRef  # noqa: PLC0415

    with opened(context.config) as catalog:
        found = quarantine.find(catalog, ArtifactRef.parse(ref))
    record = found.record
    document = {
        **_entry(found),
        "artifact_id": record.artifact_id,
        "type": record.type,
        "created_at": record.created_at,
        "bytes": record.size,
        "repo": f"oxen://{record.namespace}/{record.repo}" if record.repo else "",
        "commit": record.commit_id,
    }
    context.output.result(document, lambda console: _print_one(console, document))


def retry(
    context: Context,
    refs: Refs = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> ExitCode:
    """Take these versions along the whole path again, and no others.

    Ends with 3 when some failed again.
    """
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.cli.backfill import moving, print_report  # noqa: PLC0415
    from syncd.operations import quarantine  # noqa: PLC0415
    from syncd.refs import ArtifactRef  # noqa: PLC0415

    if bool(refs) == everything:
        raise errors.UsageError("name versions, or all of them", hint="Write REF..., or --all.")
    named = [ArtifactRef.parse(text) for text in refs or ()]

    def chosen(catalog: Catalog) -> list[Quarantined]:
        if everything:
            return quarantine.listed(catalog)
        return [quarantine.find(catalog, ref) for ref in named]

    with opened(context.config) as catalog:
        chosen(catalog)  # a wrong name is told before anything is opened
    report = moving(
        context,
        lambda opened, follower: quarantine.retry(opened, chosen(opened.catalog), follower),
    )
    document = report.document()
    context.output.result(document, lambda console: print_report(console, document))
    return ExitCode.PARTIAL if report.failures else ExitCode.DONE


def _entry(item: Quarantined) -> dict[str, Any]:
    record = item.record
    return {
        "version": str(record.ref),
        "stage": record.failed_stage,
        "error": record.reason,
        "hint": record.hint,
        "attempts": record.attempts,
        "first_failed_at": item.first_at,
        "last_failed_at": item.last_at,
    }


def _print_list(console: Console, document: dict[str, Any]) -> None:
    for item in document["quarantined"]:
        console.print(
            f"{item['version']} failed in {item['stage']}, {counted(item['attempts'], 'attempt')}, "
            f"the last at {item['last_failed_at']}: {item['error']}"
        )
        console.print(f"  next: {item['hint']}")
    if not document["quarantined"]:
        console.print("Nothing is in quarantine.")


def _print_one(console: Console, document: dict[str, Any]) -> None:
    words = {"bytes": size(document["bytes"]), "hint": document["hint"]}
    for key, value in {**document, **words}.items():
        console.print(f"{key.replace('_', ' ')}: {value}")
