"""`syncd verify`: everything that was moved, read again from Oxen and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, ExitCode
from syncd.cli.scope import Targets, counted, everything, size
from syncd.cli.scope import targets as read_targets

if TYPE_CHECKING:
    from rich.console import Console

MAX_SHOWN = 20  # problems of one version


def verify(
    context: Context,
    targets: Targets = None,
    *,
    sample: Annotated[
        str, typer.Option("--sample", help="Only this share of the versions, e.g. 5%.")
    ] = "",
    subset: Annotated[
        str, typer.Option("--subset", help="Only the n-th of t parts, e.g. 1/7.")
    ] = "",
) -> ExitCode:
    """Read everything moved again from Oxen and compare it with what W&B had promised.

    Each replacement is also held against the version it replaced, in all that W&B shows of them.
    What people have edited since is told and is no fault. Ends with 1 when anything is not as it should be.
    """
    from syncd import runtime  # noqa: PLC0415
    from syncd.operations import audit  # noqa: PLC0415

    part = audit.Part.parse(sample=sample, subset=subset)
    found = (
        read_targets(targets, context.config) if targets or context.config.wandb.projects else []
    )
    with runtime.only_one(context.config), runtime.opened(context.config, context.environ) as parts:
        runtime.check_store(parts)
        found = found or everything(context.config, parts.catalog)
        results = list(audit.verify_all(parts, found, part))
    document = {
        "versions": results,
        "verified": sum(not item["problems"] for item in results),
        "failed": sum(bool(item["problems"]) for item in results),
        "bytes": sum(item["bytes"] for item in results),
    }
    context.output.result(document, lambda console: _print(console, document))
    return ExitCode.FAILED if document["failed"] else ExitCode.DONE


def _print(console: Console, document: dict[str, Any]) -> None:
    for item in document["versions"]:
        for problem in item["problems"][:MAX_SHOWN]:
            console.print(f"wrong {item['version']}: {problem}")
        for edit in item["edited"][:MAX_SHOWN]:
            console.print(f"edited in W&B since: {item['replacement']}: {edit}")
    console.print(
        f"{counted(document['verified'], 'version')} verified, {document['failed']} wrong, "
        f"{size(document['bytes'])} read back from Oxen"
    )
