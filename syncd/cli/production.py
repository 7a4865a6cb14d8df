"""`syncd production`: what is in production, since when, by whom, trained on what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, ExitCode
from syncd.errors import NotFoundError

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.promotion.answers import Answer, Endpoint
    from syncd.runtime import Runtime
    from syncd.versions.events import Event

    Found = tuple[list[Answer], list[Endpoint]]


class Side(Enum):
    """Who is asked."""

    BOTH = "both"
    WANDB = "wandb"
    OXEN = "oxen"
    CATALOG = "catalog"


def production(
    context: Context,
    collection: Annotated[
        str | None,
        typer.Argument(
            metavar="COLLECTION",
            help="entity/project/collection; by default all that were ever promoted.",
        ),
    ] = None,
    *,
    alias: Annotated[str, typer.Option("--alias", help="The alias.")] = "production",
    side: Annotated[
        Side, typer.Option("--from", help="Who is asked; the same answer from each.")
    ] = Side.BOTH,
    history: Annotated[bool, typer.Option("--history", help="What it stood at earlier.")] = False,
) -> ExitCode:
    """Which version and commit an alias is at, since when, by whom, and trained on which data.

    What an earlier promotion left half done is finished first, unless one side alone is asked. Ends
    with 3 when something is not as it should be.
    """
    from syncd.promotion import promote  # noqa: PLC0415

    promote.check_alias(alias)
    named = [promote.subject_of(collection, alias)] if collection else []
    if history:
        found = _history(context, named, alias, side)
        told = {"history": [event.document() for event in found]}
        context.output.result(told, partial(print_history, document=told))
        return ExitCode.DONE
    asked = {
        Side.WANDB: _from_wandb,
        Side.OXEN: _from_oxen,
        Side.CATALOG: _from_catalog,
        Side.BOTH: _from_both,
    }
    answers, endpoints = asked[side](context, named, alias)
    document = {
        "production": [item.document() for item in answers],
        "endpoints": [item.document() for item in endpoints],
    }
    context.output.result(document, partial(_print, document=document, alias=alias))
    return ExitCode.PARTIAL if any(item.problems for item in answers) else ExitCode.DONE


def _history(context: Context, named: list[str], alias: str, side: Side) -> list[Event]:
    """What an alias stood at, and when.

    W&B is asked only for what the journal does not know by its name: a place in a registry.
    """
    from syncd import runtime  # noqa: PLC0415

    def concerned() -> list[Event]:
        return [e for e in _events(context, named, side) if _concerns(e, named, alias)]

    found = concerned()
    if named and not found and side is Side.BOTH:
        with runtime.opened(context.config, context.environ) as parts:
            named = _at_home(parts, named)
        found = concerned()
    return found


def _events(context: Context, named: list[str], side: Side) -> list[Event]:
    """What the journals hold, as far as whoever is asked knows of them."""
    from syncd import runtime  # noqa: PLC0415
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.promotion import journal  # noqa: PLC0415

    entities = [_entity(name) for name in named]
    if side is Side.OXEN:  # and nobody else
        repos = journal.journals(context.config, entities)
    else:
        with opened(context.config) as catalog:
            if side is Side.CATALOG:
                return catalog.mirror.events()
            repos = journal.known(context.config, catalog, entities)
    return journal.read(runtime.build_store(context.config, context.environ), repos)


def _concerns(event: Event, named: list[str], alias: str) -> bool:
    return event.subject in named if named else event.subject.endswith(f":{alias}")


def _from_wandb(context: Context, named: list[str], alias: str) -> Found:
    from syncd import runtime  # noqa: PLC0415
    from syncd.promotion import production as work  # noqa: PLC0415

    with runtime.opened(context.config, context.environ) as parts:
        names = _at_home(parts, named) or _aliased(parts, alias)
        return answered(lambda name: work.from_wandb(parts.source, name), names, named), []


def _from_oxen(context: Context, named: list[str], alias: str) -> Found:
    from syncd import runtime  # noqa: PLC0415
    from syncd.promotion import journal  # noqa: PLC0415
    from syncd.promotion import production as work  # noqa: PLC0415

    store = runtime.build_store(context.config, context.environ)
    events = journal.read(store, journal.journals(context.config, map(_entity, named)))
    names = named or work.subjects(events, alias)
    answers = answered(
        lambda name: work.from_oxen(store, events, context.config, name), names, named
    )
    found = work.endpoints(events, lambda at: work.told_at(store, at))
    return [work.with_endpoints(item, events) for item in answers], found


def _from_catalog(context: Context, named: list[str], alias: str) -> Found:
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.promotion import production as work  # noqa: PLC0415

    with opened(context.config) as catalog:
        mirror = catalog.mirror
        events = mirror.events()
        names = named or work.subjects(events, alias)
        answers = answered(lambda name: work.from_catalog(mirror, name), names, named)
        found = work.endpoints(events, lambda at: (at.commit and mirror.story(at.commit)) or {})
        return [work.with_endpoints(item, events) for item in answers], found


def _from_both(context: Context, named: list[str], alias: str) -> Found:
    from syncd import runtime  # noqa: PLC0415
    from syncd.cli.promote import desk_of  # noqa: PLC0415
    from syncd.promotion import agreement, journal, promote  # noqa: PLC0415
    from syncd.promotion import production as work  # noqa: PLC0415

    with runtime.opened(context.config, context.environ) as parts:
        known = _at_home(parts, named)
        repos = journal.known(context.config, parts.catalog, map(_entity, known))
        events = journal.read(parts.store, repos)
        names = known or sorted({*work.subjects(events, alias), *_aliased(parts, alias)})
        left = {event.subject for event in events if event.open}.intersection(names)
        ended: list[Event] = []
        if left:
            with runtime.one_promotion(context.config):
                for name in sorted(left):
                    ended += promote.finish(desk_of(parts, _entity(name), ""), name)
            events = journal.read(parts.store, repos)
        work.remember(parts.store, parts.catalog.mirror, events)
        answers = answered(
            lambda name: agreement.with_ends(
                agreement.from_both(parts.source, parts.store, events, context.config, name), ended
            ),
            names,
            named,
        )
        found = work.endpoints(events, lambda at: work.told_at(parts.store, at))
        return [work.with_endpoints(item, events) for item in answers], found


def answered(
    ask: Callable[[str], Answer], names: Iterable[str], named: Sequence[str]
) -> list[Answer]:
    """The answers; of what nobody named, nothing is said where nothing is in production any more."""
    found: list[Answer] = []
    for name in names:
        try:
            found.append(ask(name))
        except NotFoundError:
            if named:
                raise
    return found


def _at_home(parts: Runtime, named: Sequence[str]) -> list[str]:
    """What was named, a place in a registry as the collection that the version there comes from."""
    from syncd.promotion import promote  # noqa: PLC0415

    return [promote.at_home(parts.source, name) for name in named]


def _aliased(parts: Runtime, alias: str) -> list[str]:
    from syncd.promotion import located  # noqa: PLC0415
    from syncd.refs import Target  # noqa: PLC0415

    targets = [Target.parse(text) for text in parts.config.wandb.projects]
    return located.aliased(parts.source, targets, alias)


def _entity(name: str) -> str:
    return name.partition("/")[0]


def _print(console: Console, document: dict[str, Any], alias: str) -> None:
    for item in document["production"]:
        reference = item["reference"]
        also = f"  (W&B: {reference})" if reference not in {"", item["version"]} else ""
        console.print(f"{item['alias']}")
        console.print(f"  version  {item['version']}{also}")
        console.print(f"  commit   {item['commit'] or 'not in Oxen'}")
        since = f"{item['since']} by {item['by']}" if item["since"] else "not known"
        console.print(f"  since    {since}")
        _print_origin(console, item)
        if item["endpoints"]:
            console.print(f"  served   {', '.join(it['endpoint'] for it in item['endpoints'])}")
        for problem in item["problems"]:
            console.print(f"  problem: {problem['problem']}")
            console.print(f"    next: {problem['hint']}")
    for item in document["endpoints"]:
        print_endpoint(console, item)
    if not document["production"]:
        console.print(f"Nothing has the alias {alias}; `syncd promote REF {alias}` gives it.")


def print_endpoint(console: Console, item: dict[str, Any]) -> None:
    """What an endpoint serves, for people."""
    console.print(f"endpoint {item['endpoint']}")
    console.print(f"  serves   {item['version']}  {item['commit']}")
    console.print(f"  since    {item['since']} by {item['by']}")
    _print_origin(console, item)


def _print_origin(console: Console, item: dict[str, Any]) -> None:
    console.print(f"  run      {item['run'] or 'none'}")
    for data in item["data"]:
        names = [data["artifact"], data["commit"] or "not in Oxen"]
        console.print(f"  {data['type']:<8} {'  '.join(filter(None, names))}")


def print_history(console: Console, document: dict[str, Any]) -> None:
    """Events as a table, for people."""
    from rich.table import Table  # noqa: PLC0415

    from syncd.cli.people import print_table  # noqa: PLC0415

    if not document["history"]:
        console.print("The journal knows of nothing.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("when", "who", "what", "alias", "from", "to", "state"):
        table.add_column(name, overflow="fold")
    for item in document["history"]:
        note = f" ({item['note']})" if item["note"] else ""
        table.add_row(
            item["at"][:19],
            item["by"],
            item["kind"],
            item["subject"],
            item["from"]["logged"].rpartition(":")[2] if item["from"] else "",
            item["to"]["logged"].rpartition(":")[2],
            f"{item['state']}{note}",
        )
    print_table(console, table, heads=5)
