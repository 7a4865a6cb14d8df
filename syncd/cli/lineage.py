"""`syncd lineage`: which data trained this, and what was trained on this."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.config import Config
    from syncd.lineage.events import Places
    from syncd.operations.inquiry import Answer, Ends
    from syncd.versions.deployments import User


class Format(StrEnum):
    """How the answer is written."""

    TREE = "tree"
    JSON = "json"
    MERMAID = "mermaid"
    DOT = "dot"
    OPENLINEAGE = "openlineage"


class Source(StrEnum):
    """Who answers; see `inquiry.Teller`, which is slow to import."""

    CATALOG = "catalog"
    OXEN = "oxen"
    WANDB = "wandb"


def lineage(
    context: Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="entity/project/collection:v3 (or :alias), entity/project/runs/ID, or "
            "oxen://ns/repo@rev.",
        ),
    ],
    *,
    up: Annotated[
        int | None,
        typer.Option(min=0, help="Steps back at most; a run is one, what it used the next."),
    ] = None,
    down: Annotated[int | None, typer.Option(min=0, help="Steps on at most.")] = None,
    shape: Annotated[
        Format | None, typer.Option("--format", help="By default a tree, and JSON with --json.")
    ] = None,
    source: Annotated[
        Source | None,
        typer.Option(
            "--from",
            help="Who answers. By default the catalog, and W&B for what that does not know.",
        ),
    ] = None,
) -> None:
    """Which data trained this, and what was trained on this."""
    from syncd import runtime  # noqa: PLC0415
    from syncd.lineage import drawings  # noqa: PLC0415
    from syncd.operations import inquiry  # noqa: PLC0415

    question = inquiry.Question(
        ref=ref, teller=inquiry.Teller(source) if source else None, up=up, down=down
    )
    with runtime.ends(context.config, context.environ) as ends:
        answer = inquiry.ask(replace(question, users=_users(ends, source)), ends)
    wanted = shape or (Format.JSON if context.output.as_json else Format.TREE)
    if wanted is Format.TREE and not context.output.as_json:
        context.output.result({}, lambda console: _tree(console, answer))
    elif wanted in {Format.TREE, Format.JSON}:
        context.output.line({**drawings.document(answer.graph), "from": answer.teller.value})
    else:
        lines = _lines(wanted, answer, context.config)
        document = {wanted.value: lines}
        context.output.result(document, lambda console: _print(console, lines))


def _users(ends: Ends, source: Source | None) -> list[User]:
    """What serves or learns, as far as whoever answers knows; W&B knows nothing of it."""
    from syncd.promotion import journal  # noqa: PLC0415
    from syncd.versions.deployments import users  # noqa: PLC0415

    if source is Source.WANDB:
        return []
    if source is Source.OXEN:
        return users(journal.read(ends.store, journal.journals(ends.config)))
    return users(ends.catalog.mirror.events())


def _lines(wanted: Format, answer: Answer, config: Config) -> list[str] | list[dict[str, Any]]:
    """The lines of a drawing, or the events."""
    from syncd.lineage import drawings  # noqa: PLC0415

    if wanted is Format.OPENLINEAGE:
        from syncd.lineage import events  # noqa: PLC0415 imports the client of openlineage

        return events.events(answer.graph, _places(config))
    draw = drawings.mermaid if wanted is Format.MERMAID else drawings.dot
    return list(draw(answer.graph))


def _places(config: Config) -> Places:
    from syncd.lineage.events import Places  # noqa: PLC0415
    from syncd.stages.plan import place  # noqa: PLC0415

    return Places(
        wandb=config.wandb.base_url,
        oxen=config.oxen.url,
        folder=lambda ref, type_: place(ref, type_, config)[1],
    )


def _print(console: Console, lines: Iterable[str | dict[str, Any]]) -> None:
    for line in lines:
        text = line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)
        console.out(text, highlight=False)


def _tree(console: Console, answer: Answer) -> None:
    from syncd.cli.branches import trees  # noqa: PLC0415
    from syncd.cli.people import WIDEST  # noqa: PLC0415

    console.width = WIDEST  # a terminal breaks a line that is too long; rich would cut it off
    for part in trees(answer.graph):
        console.print(part)
