"""The arguments that say what a verb works on, the same for every verb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from syncd import errors
from syncd.refs import Target

if TYPE_CHECKING:
    from syncd.catalog.catalog import Catalog
    from syncd.config import Config

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET",
        help="entity/project, entity/*, entity/project/collection or a full name with :v3; "
        "by default [wandb] projects.",
    ),
]


def targets(named: Sequence[str] | None, config: Config) -> list[Target]:
    """What was named on the command line, else what the configuration names.

    Raises:
        UsageError: when neither names anything, or a name is none.
    """
    found = [Target.parse(str(text)) for text in (named or config.wandb.projects)]
    if not found:
        raise errors.UsageError(
            "no target", hint="Name one (entity/project), or set [wandb] projects."
        )
    return found


def everything(config: Config, catalog: Catalog) -> list[Target]:
    """What the configuration names, and the other projects that the catalog knows.

    Raises:
        UsageError: when neither knows anything.
    """
    found = [Target.parse(str(text)) for text in config.wandb.projects]
    for tally in catalog.panels.projects():
        known = Target(entity=tally.entity, project=tally.project)
        if not {known, Target(entity=tally.entity)} & {*found}:
            found.append(known)
    return found or targets(None, config)


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
