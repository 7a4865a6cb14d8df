"""`syncd restore`: moved versions become ordinary W&B files again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, ExitCode
from syncd.cli.scope import counted, size

if TYPE_CHECKING:
    from rich.console import Console


def restore(
    context: Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="entity/project/collection:v3 (or :alias), a collection, a project, or "
            "oxen://ns/repo@rev.",
        ),
    ],
) -> ExitCode:
    """Put moved versions back into W&B as ordinary files, byte-identical, with all that goes with them.

    Run it again to resume. Ends with 3 when some versions could not be restored: the others were.
    """
    from datetime import UTC, datetime  # noqa: PLC0415
    from functools import partial  # noqa: PLC0415

    from syncd import runtime  # noqa: PLC0415
    from syncd.operations import restoration  # noqa: PLC0415
    from syncd.refs import OxenURL, Target  # noqa: PLC0415

    now = partial(datetime.now, UTC)
    url = OxenURL.parse(ref) if ref.startswith("oxen://") else None
    target = None if url else Target.parse(ref)
    with runtime.only_one(context.config), runtime.opened(context.config, context.environ) as parts:
        runtime.check_store(parts)
        if url:
            report = restoration.restore_commit(parts, url, now)
        else:
            assert target is not None, "it is one or the other"
            report = restoration.restore_target(parts, target, now)
    document = report.document()
    context.output.result(document, lambda console: _print(console, document))
    return ExitCode.PARTIAL if report.failures else ExitCode.DONE


def _print(console: Console, document: dict[str, Any]) -> None:
    for item in document["restored"]:
        console.print(f"restored {item['source']} -> {item['restored']}  {item['oxen']}")
    for item in document["skipped"]:
        console.print(f"skipped {item['version']}: {item['reason']}")
    for item in document["failures"]:
        console.print(f"failed {item['version']}: {item['error']}")
        console.print(f"  next: {item['hint']}")
    console.print(
        f"{counted(len(document['restored']), 'version')} restored ({size(document['bytes'])}), "
        f"{len(document['skipped'])} skipped, {len(document['failures'])} failed"
    )
