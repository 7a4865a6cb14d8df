"""`syncd trigger`: who was to be told of new versions, and could not be."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd import errors
from syncd.cli import Context, ExitCode

if TYPE_CHECKING:
    from rich.console import Console


Keys = Annotated[
    list[str] | None, typer.Argument(metavar="KEY", help="As `syncd trigger list` shows them.")
]


def list_(
    context: Context,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Those that were told, too.")] = False,
) -> None:
    """List the triggers that wait, are tried again, or were given up. W&B is not asked."""
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.catalog.firings import DONE, DUE, FAILED  # noqa: PLC0415

    with opened(context.config) as catalog:
        found = catalog.firings.all([DUE, FAILED, *([DONE] if everything else [])])
    document = {"triggers": [item.document() for item in found]}
    context.output.result(document, partial(_print, document=document))


def retry(
    context: Context,
    keys: Keys = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> ExitCode:
    """Tell triggers now that wait for another attempt, or were given up.

    Ends with 3 when some failed again.
    """
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.catalog.firings import DUE, FAILED  # noqa: PLC0415
    from syncd.deployment import triggers  # noqa: PLC0415

    if bool(keys) == everything:
        raise errors.UsageError("name triggers, or all of them", hint="Write KEY..., or --all.")
    with opened(context.config) as catalog:
        known = [item.key for item in catalog.firings.all([DUE, FAILED])]
        unknown = sorted({*(keys or ())} - {*known})
        if unknown:
            raise errors.NotFoundError(
                f"no trigger waits under {unknown[0]!r}",
                hint="`syncd trigger list` names those that do.",
            )
        triggers.retry(catalog, keys or known)
        fired = triggers.fire(catalog, context.config)
    document = {"told": fired.done, "failed": [item.key for item in fired.failed]}
    context.output.result(
        document,
        lambda console: console.print(f"{fired.done} told, {len(fired.failed)} failed again"),
    )
    return ExitCode.PARTIAL if fired.failed else ExitCode.DONE


def print_triggers(console: Console, found: list[dict[str, Any]]) -> None:
    """Triggers that could not be told, for people."""
    for item in found:
        if item["error"]:
            state = "given up" if item["state"] == "failed" else "tried again"
            console.print(
                f"trigger {item['trigger']} for {item['version']} ({state}, {item['attempts']} "
                f"attempts): {item['error']}"
            )
            console.print(f"  next: {item['hint']} Then: syncd trigger retry {item['key']}")


def _print(console: Console, document: dict[str, Any]) -> None:
    for item in document["triggers"]:
        if not item["error"]:
            console.print(f"trigger {item['trigger']} for {item['version']}: {item['state']}")
    print_triggers(console, document["triggers"])
    if not document["triggers"]:
        console.print("No trigger waits.")
