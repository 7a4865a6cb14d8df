"""`syncd rehearse`: a tiny whole migration against the real servers, and what is true of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, ExitCode
from syncd.cli.output import console

if TYPE_CHECKING:
    from rich.console import Console

_MARKS = {"holds": "+", "does not hold": "-", "could not tell": "?"}


def rehearse(
    context: Context,
    *,
    project: Annotated[
        str,
        typer.Option(
            "--project",
            metavar="ENTITY/SCRATCH",
            help="A W&B project that is empty or does not exist; nothing else is touched.",
        ),
    ],
) -> ExitCode:
    """Rehearse a migration in a scratch project, and report what is true of W&B and Oxen.

    Logs a few small versions with the plain SDK, moves, deletes and restores them, downloads them
    after each step, asks what nobody documents, and removes all of it again. Ends with 1 when
    something does not hold that data depends on.
    """
    from syncd.refs import Target  # noqa: PLC0415
    from syncd.rehearsal import rehearse as rehearsal  # noqa: PLC0415
    from syncd.web.alongside import alongside  # noqa: PLC0415

    people = console()
    document = rehearsal.rehearse(
        context.config,
        Target.parse(project),
        gateway=alongside,
        environ=context.environ,
        tell=people.print,
    )
    context.output.result(document, lambda out: _print(out, document))
    return ExitCode.DONE if rehearsal.is_safe(document) else ExitCode.FAILED


def _print(out: Console, document: dict[str, Any]) -> None:
    for item in document["assumptions"]:
        out.print(f"{_MARKS[item['outcome']]} {item['statement']}")
        out.print(f"    {item['outcome']}: {item['seen']}")
        if item["outcome"] == "does not hold":
            vital = "data depends on it. " if item["vital"] else ""
            out.print(f"    {vital}{item['consequence']}")
    for item in document["left_behind"]:
        out.print(f"left behind: {item}")
    outcomes = [item["outcome"] for item in document["assumptions"]]
    out.print(", ".join(f"{outcomes.count(name)} {name}" for name in _MARKS))
