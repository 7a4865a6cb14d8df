"""`syncd deploy` and `syncd endpoint`: which version an endpoint serves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context
from syncd.cli.production import print_endpoint, print_history
from syncd.cli.promote import By, whoami

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.catalog.catalog import Catalog
    from syncd.clients.protocols import VersionStore
    from syncd.config.hooks import Endpoint
    from syncd.deployment.deploy import Ramp
    from syncd.versions.events import Event

Name = Annotated[str, typer.Argument(metavar="ENDPOINT", help="As in [endpoints.NAME].")]


def deploy(
    context: Context,
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="entity/project/collection:v3 (or :alias), or oxen://"),
    ],
    name: Name,
    *,
    by: By = "",
    fine_tune: Annotated[
        str, typer.Option("--fine-tune", metavar="ID", help="Of the hub's, for a hub endpoint.")
    ] = "",
    step: Annotated[
        str, typer.Option("--checkpoint", metavar="STEP", help="Of that fine-tune.")
    ] = "",
) -> None:
    """Let an endpoint serve a version. Where it refuses, it serves what it served before.

    A call that was cut off is told again to the endpoint, under the same key.
    """
    from syncd import runtime  # noqa: PLC0415
    from syncd.deployment import deploy as work  # noqa: PLC0415
    from syncd.deployment import hub  # noqa: PLC0415
    from syncd.promotion import located  # noqa: PLC0415

    endpoint = work.endpoint_of(context.config, name)  # before anything is asked
    more = hub.checkpoint(fine_tune, step) if endpoint.hub else {}
    with (
        runtime.one_promotion(context.config, name),
        runtime.opened(context.config, context.environ) as parts,
    ):
        wanted = located.from_ref(parts.source, parts.store, ref)
        ramp = _ramp(context, parts.store, parts.catalog, wanted.version.ref.entity, by)
        event = work.deploy(ramp, wanted.point, name, more)
    _answer(context, event)


def rollback(context: Context, name: Name, *, by: By = "") -> None:
    """Let an endpoint serve again what it served before; again: further back. W&B is not asked."""
    from syncd import runtime  # noqa: PLC0415
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.deployment import deploy as work  # noqa: PLC0415

    with runtime.one_promotion(context.config, name), opened(context.config) as catalog:
        store = runtime.build_store(context.config, context.environ)
        event = work.rollback(_ramp(context, store, catalog, "", by), name)
    _answer(context, event)


def list_(context: Context) -> None:
    """What each endpoint serves, and which data trained it. W&B is not asked."""
    from syncd.promotion import production  # noqa: PLC0415

    store, events = journaled(context)
    found = production.endpoints(events, lambda at: production.told_at(store, at))
    known = {item.served.endpoint for item in found}
    document = {
        "endpoints": [item.document() for item in found],
        "unused": sorted(context.config.endpoints.keys() - known),
    }
    context.output.result(document, partial(_print_list, document=document))


def history(context: Context, name: Name) -> None:
    """What an endpoint served, since when, and who deployed it. W&B is not asked."""
    _, events = journaled(context)
    document = {"history": [event.document() for event in events if event.subject == name]}
    context.output.result(document, partial(print_history, document=document))


def journaled(context: Context) -> tuple[VersionStore, list[Event]]:
    """Oxen, and what all journals hold that are known here; W&B is not asked."""
    from syncd import runtime  # noqa: PLC0415
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.promotion import journal  # noqa: PLC0415

    store = runtime.build_store(context.config, context.environ)
    with opened(context.config) as catalog:
        repos = journal.known(context.config, catalog)
    return store, journal.read(store, repos)


def _ramp(context: Context, store: VersionStore, catalog: Catalog, entity: str, by: str) -> Ramp:
    from syncd.deployment import deploy as work  # noqa: PLC0415
    from syncd.promotion.journal import Journal, home, known, read  # noqa: PLC0415
    from syncd.refs import ArtifactRef  # noqa: PLC0415

    config = context.config
    repos = known(config, catalog, [entity] if entity else [])
    return work.Ramp(
        journal=lambda at: Journal(
            store, home(config, ArtifactRef.parse(at.version).entity), catalog.mirror
        ),
        events=lambda: read(store, repos),
        store=store,
        config=config,
        by=by or whoami(),
        tell=partial(_tell, context),
    )


def _tell(
    context: Context,
    endpoint: Endpoint,
    what: Mapping[str, Any],
    key: str,
    variables: Mapping[str, str],
) -> str:
    from syncd.cli.hub import opened  # noqa: PLC0415
    from syncd.deployment import hub  # noqa: PLC0415
    from syncd.deployment.tell import tell  # noqa: PLC0415

    if not endpoint.hub:
        return tell(endpoint, what, key=key, variables=variables)
    with opened(context, "deploys") as client:
        return hub.tell(client, what, endpoint.deployment_type)


def _answer(context: Context, event: Event) -> None:
    document = event.document()
    context.output.result(document, partial(_print, document=document))


def _print(console: Console, document: dict[str, Any]) -> None:
    before = f", served {document['from']['logged']}" if document["from"] else ""
    to = document["to"]
    console.print(f"{document['subject']} serves {to['logged']}  {to['commit']}{before}")
    if document["note"]:
        console.print(f"  it said: {document['note']}")


def _print_list(console: Console, document: dict[str, Any]) -> None:
    for item in document["endpoints"]:
        print_endpoint(console, item)
    for name in document["unused"]:
        console.print(f"endpoint {name}\n  serves   nothing that syncd deployed")
    if not document["endpoints"] and not document["unused"]:
        console.print("The configuration names no endpoint.")
