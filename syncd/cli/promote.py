"""`syncd promote` and `syncd rollback`: an alias and its branch move together."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.promotion.promote import Desk, Promoted
    from syncd.runtime import Runtime

Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="Such as production.")]
By = Annotated[
    str, typer.Option("--by", metavar="NAME", help="Who asks; by default who is logged in here.")
]


def promote(
    context: Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="entity/project/collection:v3 (or :alias), also by its place in a registry, or "
            "oxen://ns/repo@rev.",
        ),
    ],
    alias: Alias,
    *,
    by: By = "",
) -> None:
    """Give an alias to a version in W&B, and its branch to the version's commit in Oxen.

    In W&B it moves in the collection, and in every portfolio and registry where the former version
    has it. What an earlier call left half done is finished first.
    """
    from syncd.promotion import located  # noqa: PLC0415
    from syncd.promotion import promote as work  # noqa: PLC0415

    work.check_alias(alias)
    with promoting(context) as parts:
        wanted = located.from_ref(parts.source, parts.store, ref)
        done = work.promote(desk_of(parts, wanted.version.ref.entity, by), wanted, alias)
    answer(context, alias, done)


def rollback(
    context: Context,
    collection: Annotated[
        str,
        typer.Argument(
            metavar="COLLECTION",
            help="entity/project/collection, also by its place in a registry.",
        ),
    ],
    alias: Alias,
    *,
    by: By = "",
) -> None:
    """Give an alias back to the version that had it before; again: further back."""
    from syncd.promotion import promote as work  # noqa: PLC0415
    from syncd.refs import ArtifactRef  # noqa: PLC0415

    subject = work.subject_of(collection, alias)
    with promoting(context) as parts:
        entity = ArtifactRef.parse(work.at_home(parts.source, subject)).entity
        done = work.rollback(desk_of(parts, entity, by), collection, alias)
    answer(context, alias, done)


@contextmanager
def promoting(context: Context) -> Iterator[Runtime]:
    """The open clients, while nobody else promotes on this machine."""
    from syncd import runtime  # noqa: PLC0415

    with (
        runtime.one_promotion(context.config),
        runtime.opened(context.config, context.environ) as parts,
    ):
        yield parts


def desk_of(parts: Runtime, entity: str, by: str) -> Desk:
    """What promoting works with, for the versions of an entity."""
    from syncd.promotion import promote as work  # noqa: PLC0415
    from syncd.promotion.journal import Journal, home  # noqa: PLC0415
    from syncd.refs import ArtifactRef  # noqa: PLC0415

    def nudge(ref: ArtifactRef) -> None:
        project = f"{ref.entity}/{ref.project}"
        parts.catalog.pulse.hint(project, ref.collection, at=time.time())

    return work.Desk(
        source=parts.source,
        store=parts.store,
        journal=Journal(parts.store, home(parts.config, entity), parts.catalog.mirror),
        config=parts.config,
        by=by or whoami(),
        nudge=nudge,
    )


def whoami() -> str:
    """The user of this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in a container
        return f"uid {os.getuid()}"


def answer(context: Context, alias: str, done: Promoted) -> None:
    """Print what was done."""
    document = {
        "alias": alias,
        "version": done.point.logged,
        "reference": done.point.version,
        "commit": str(done.point.commit) if done.point.commit else None,
        "changed": done.event is not None,
        "event": done.event.document() if done.event else None,
        "finished": [event.document() for event in done.finished],
    }
    context.output.result(document, partial(_print, document=document))


def _print(console: Console, document: dict[str, Any]) -> None:
    for event in document["finished"]:
        said = f": {event['note']}" if event["note"] else ""
        console.print(
            f"left half done by {event['by']} at {event['at']}: {event['kind']} to "
            f"{event['to']['version']}, now {event['state']}{said}"
        )
    name = document["reference"]
    if document["version"] != name:
        name += f" (logged as {document['version'].rpartition(':')[2]})"
    where = f"{name}  {document['commit'] or ''}".rstrip()
    if not document["changed"]:
        console.print(f"{document['alias']} is there already: {where}")
        return
    event = document["event"]
    before = f", was {event['from']['version']}" if event["from"] else ""
    console.print(f"{document['alias']} -> {where}{before}")
