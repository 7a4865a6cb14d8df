"""Automations, called triggers here, and the webhooks they act through."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ariadne import MutationType, ObjectType, UnionType

from syncd.sandbox import ids
from syncd.sandbox.context import Info, context, database
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state import automations, collections, entities, projects
from syncd.sandbox.state.automations import Automation, Scope, Webhook
from syncd.sandbox.state.database import Database, Value
from syncd.sandbox.state.paging import Connection, Window
from syncd.sandbox.state.records import Entity, Organization, Project, User

mutation = MutationType()
user = ObjectType("User")
project = ObjectType("Project")
entity = ObjectType("Entity")
organization = ObjectType("Organization")
trigger = ObjectType("Trigger")
webhook = ObjectType("GenericWebhookIntegration")
scope = UnionType("TriggerScope")
condition = UnionType("TriggeringCondition", lambda *_: "FilterEventTriggeringCondition")
action = UnionType("TriggeredAction")
# Nobody can add another kind of integration here.
integration = UnionType("Integration", lambda *_: "GenericWebhookIntegration")

BINDABLES = [
    mutation,
    user,
    project,
    entity,
    organization,
    trigger,
    webhook,
    scope,
    condition,
    action,
    integration,
]

_ACTIONS = {
    automations.WEBHOOK: "GenericWebhookTriggeredAction",
    automations.NO_OP: "NoOpTriggeredAction",
}
_SCOPES: dict[str, Callable[[Database, str], Scope]] = {
    "ARTIFACT_COLLECTION": lambda db, value: collections.get(
        db, ids.decode(value, "ArtifactCollection", "ArtifactSequence", "ArtifactPortfolio")
    ),
    "PROJECT": lambda db, value: projects.get(db, ids.decode(value, "Project")),
    "ENTITY": lambda db, value: entities.entity(db, ids.decode(value, "Entity")),
}


def _found(info: Info, value: str) -> Automation:
    context(info).user()
    return automations.get(database(info), ids.decode(value, "Trigger"))


def _action(db: Database, kind: str, config: dict[str, Any]) -> dict[str, Value]:
    if kind == automations.NO_OP:
        return {"action_type": kind, "webhook_id": None, "payload": None}
    given = config.get("generic_webhook_action_input")
    if kind != automations.WEBHOOK or given is None:
        raise SandboxError(f"no action of type {kind} can be done here with {sorted(config)}")
    target = automations.webhook(db, ids.decode(given["integration_id"], "Integration"))
    payload = given.get("request_payload")
    return {"action_type": kind, "webhook_id": target.id, "payload": payload}


def _columns(db: Database, asked: dict[str, Any]) -> dict[str, Value]:
    """What an input says, as columns; null says nothing."""
    names = {
        "name": "name",
        "description": "description",
        "enabled": "enabled",
        "triggering_event_type": "event_type",
        "event_filter": "event_filter",
    }
    columns = {column: asked[key] for key, column in names.items() if asked.get(key) is not None}
    if asked.get("scope_type") is not None:
        watched = _SCOPES[asked["scope_type"]](db, asked.get("scope_id") or "")
        columns |= automations.scope_columns(db, watched)
    if asked.get("triggered_action_type") is not None:
        config = asked.get("triggered_action_config") or {}
        columns |= _action(db, asked["triggered_action_type"], config)
    return columns


@mutation.field("createFilterTrigger")
def create_trigger(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Add an automation."""
    context(info).user()
    db = database(info)
    return {"trigger": automations.create(db, _columns(db, asked))}


@mutation.field("updateFilterTrigger")
def update_trigger(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Change an automation."""
    db, found = database(info), _found(info, asked["id"])
    return {"trigger": automations.change(db, found, _columns(db, asked))}


@mutation.field("deleteTrigger")
def delete_trigger(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete an automation."""
    automations.delete(database(info), _found(info, asked["trigger_id"]))
    return {"success": True}


@mutation.field("createGenericWebhookIntegration")
def create_webhook(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Register a webhook."""
    context(info).user()
    db = database(info)
    made = automations.add_webhook(
        db,
        entities.require_entity(db, asked["entity_name"]),
        asked["name"],
        asked["url_endpoint"],
        access_token_ref=asked.get("access_token_ref"),
        secret_ref=asked.get("secret_ref"),
    )
    return {"integration": made}


@user.field("projects")
def user_projects(found: User, info: Info, **window: Any) -> Connection[Project]:
    """The projects of all entities the user works in."""
    return projects.of_user(database(info), found, Window(**window))


@project.field("triggers")
def project_triggers(found: Project, info: Info) -> list[Automation]:
    """The automations that watch it or something in it."""
    where, all_of_them = automations.in_project(found), Window(first=1_000_000)
    listed = automations.listing(database(info), where, window=all_of_them)
    return [edge.node for edge in listed.edges]


@entity.field("triggers")
def entity_triggers(
    found: Entity,
    info: Info,
    filters: str | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Automation]:
    """The automations that watch it or something in it."""
    return automations.listing(
        database(info),
        automations.in_entity(found),
        filter_text=filters,
        order=order,
        window=Window(**window),
    )


@organization.field("triggers")
def organization_triggers(
    found: Organization,
    info: Info,
    filters: str | None = None,
    order: str | None = None,
    **window: Any,
) -> Connection[Automation]:
    """The automations that watch something of it or of its teams."""
    return automations.listing(
        database(info),
        automations.in_organization(found),
        filter_text=filters,
        order=order,
        window=Window(**window),
    )


@entity.field("integrations")
def entity_integrations(found: Entity, info: Info, **window: Any) -> Connection[Webhook]:
    """Its webhooks."""
    return automations.webhooks(database(info), found, Window(**window))


@webhook.field("id")
def webhook_id(found: Webhook, _info: Info) -> str:
    """The global id."""
    return ids.encode("Integration", found.id)


@webhook.field("urlEndpoint")
def webhook_url(found: Webhook, _info: Info) -> str:
    """Where deliveries go."""
    return found.url


@trigger.field("id")
def trigger_id(found: Automation, _info: Info) -> str:
    """The global id."""
    return ids.encode("Trigger", found.id)


@trigger.field("scope")
def trigger_scope(found: Automation, info: Info) -> Scope:
    """What it watches."""
    return automations.scope(database(info), found)


@trigger.field("triggeringCondition")
def trigger_condition(found: Automation, _info: Info) -> dict[str, str]:
    """What it waits for. The filter of an artifact event comes back one level deeper than it was given."""
    text = found.event_filter
    if not automations.is_run_event(found):
        text = json.dumps({"filter": text})
    return {"event_type": found.event_type, "filter": text}


@trigger.field("triggeredAction")
def trigger_action(found: Automation, info: Info) -> dict[str, Any]:
    """What it does."""
    if found.webhook_id is None:
        return {"kind": found.action_type, "no_op": True}
    target = automations.webhook(database(info), found.webhook_id)
    return {"kind": found.action_type, "integration": target, "request_payload": found.payload}


@action.type_resolver
def action_type(found: dict[str, Any], *_: object) -> str:
    """The type of what an automation does."""
    return _ACTIONS[found["kind"]]


@scope.type_resolver
def scope_type(found: Scope, *_: object) -> str:
    """The type of what an automation watches."""
    if isinstance(found, Project | Entity):
        return type(found).__name__
    return "ArtifactSequence" if found.kind == collections.SEQUENCE else "ArtifactPortfolio"
