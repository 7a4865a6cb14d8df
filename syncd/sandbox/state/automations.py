"""Automations, the webhooks they call, the secrets these are signed with. What sets them off is in automations.sql."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import collections, entities, filters, projects
from syncd.sandbox.state.database import Database, Value, now
from syncd.sandbox.state.paging import Clause, Connection, Window, page
from syncd.sandbox.state.records import Collection, Entity, Organization, Project

WEBHOOK = "GENERIC_WEBHOOK"
NO_OP = "NO_OP"

Scope: TypeAlias = Collection | Project | Entity

_COLUMNS = filters.named(
    id="w.id",
    name="w.name",
    enabled="w.enabled",
    created_at="w.created_at",
    createdAt="w.created_at",
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where deliveries go; the references are names of secrets of the same entity."""

    id: int
    entity_id: int
    name: str
    url: str
    access_token_ref: str | None
    secret_ref: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Automation:
    """An event to watch for in a scope, and what to do then."""

    id: int
    entity_id: int
    project_id: int | None
    collection_id: int | None
    name: str
    description: str | None
    enabled: int
    event_type: str
    event_filter: str
    action_type: str
    webhook_id: int | None
    payload: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Firing:
    """One event that concerns one automation, until it is delivered."""

    id: int
    automation_id: int
    event_type: str
    author: str
    collection_id: int
    artifact_id: int | None
    version_index: int | None
    value: str | None
    attempts: int
    due: float


def put_secret(db: Database, owner: Entity, name: str, value: str) -> None:
    """Set a secret of an entity."""
    sql = "INSERT OR REPLACE INTO secrets (entity_id, name, value) VALUES (?, ?, ?)"
    with db.transaction():
        db.execute(sql, (owner.id, name, value))


def secrets(db: Database, entity_id: int) -> dict[str, str]:
    """All secrets of an entity by name."""
    sql = "SELECT name, value FROM secrets WHERE entity_id = ?"
    return {row["name"]: row["value"] for row in db.rows(sql, (entity_id,))}


def add_webhook(
    db: Database,
    owner: Entity,
    name: str,
    url: str,
    *,
    access_token_ref: str | None,
    secret_ref: str | None,
) -> Webhook:
    """Register where deliveries can go."""
    if db.value("SELECT 1 FROM webhooks WHERE entity_id = ? AND name = ?", (owner.id, name)):
        raise SandboxError(f"webhook {name!r} already exists", status=HTTPStatus.CONFLICT)
    row = db.insert(
        "webhooks",
        entity_id=owner.id,
        name=name,
        url=url,
        access_token_ref=access_token_ref,
        secret_ref=secret_ref,
        created_at=now(),
    )
    return webhook(db, row)


def webhook(db: Database, row: int) -> Webhook:
    """The webhook of a row id, or an error."""
    found = db.one(Webhook, "SELECT * FROM webhooks WHERE id = ?", (row,))
    if found is None:
        raise not_found("webhook integration")
    return found


def webhooks(db: Database, owner: Entity, window: Window) -> Connection[Webhook]:
    """An entity's webhooks."""
    return page(
        db,
        Webhook,
        columns="h.*",
        source="webhooks h",
        where=[Clause("h.entity_id = ?", (owner.id,))],
        row_id="h.id",
        window=window,
    )


def find(db: Database, row: int) -> Automation | None:
    """The automation of a row id."""
    return db.one(Automation, "SELECT * FROM automations WHERE id = ?", (row,))


def get(db: Database, row: int) -> Automation:
    """The automation of a row id, or an error."""
    found = find(db, row)
    if found is None:
        raise SandboxError("automation not found", status=HTTPStatus.NOT_FOUND)
    return found


def scope(db: Database, found: Automation) -> Scope:
    """What an automation watches."""
    if found.collection_id is not None:
        return collections.get(db, found.collection_id)
    if found.project_id is not None:
        return projects.get(db, found.project_id)
    return entities.entity(db, found.entity_id)


def scope_columns(db: Database, watched: Scope) -> dict[str, Value]:
    """A scope as an automation stores it."""
    if isinstance(watched, Entity):
        return {"entity_id": watched.id, "project_id": None, "collection_id": None}
    if isinstance(watched, Project):
        return {"entity_id": watched.entity_id, "project_id": watched.id, "collection_id": None}
    entity_id = projects.get(db, watched.project_id).entity_id
    return {
        "entity_id": entity_id,
        "project_id": watched.project_id,
        "collection_id": watched.id,
    }


def _check(db: Database, found: Automation) -> Automation:
    """Refuse what makes no sense; the transaction is then undone as a whole."""
    sql = """
        SELECT COUNT(*) FROM automations WHERE name = ? AND entity_id = ? AND project_id IS ? AND collection_id IS ?
    """
    same = (found.name, found.entity_id, found.project_id, found.collection_id)
    if db.value(sql, same) > 1:
        message = f"automation {found.name!r} already exists in this scope"
        raise SandboxError(message, status=HTTPStatus.CONFLICT)
    on_collection = found.collection_id is not None
    if found.event_type == "CREATE_ARTIFACT" and not on_collection:
        raise SandboxError("CREATE_ARTIFACT can be watched in an artifact collection only")
    if is_run_event(found) and on_collection:
        raise SandboxError(f"{found.event_type} cannot be watched in an artifact collection")
    if not is_run_event(found):
        filters.parse(filters.named(alias="''", tag="''"), found.event_filter)
    for text in (found.event_filter, found.payload or "{}"):
        try:
            json.loads(text)
        except ValueError as error:
            raise SandboxError(f"not JSON: {text!r}") from error
    return found


def is_run_event(found: Automation) -> bool:
    """Whether it watches runs, whose filter has a form of its own."""
    return found.event_type.startswith("RUN_")


def create(db: Database, columns: dict[str, Value]) -> Automation:
    """Add an automation."""
    time = now()
    row = db.insert("automations", **columns, created_at=time, updated_at=time)
    return _check(db, get(db, row))


def change(db: Database, found: Automation, columns: dict[str, Value]) -> Automation:
    """Change what is given."""
    db.update("automations", found.id, **columns, updated_at=now())
    return _check(db, get(db, found.id))


def delete(db: Database, found: Automation) -> None:
    """Delete an automation and what it has not delivered yet."""
    db.execute("DELETE FROM automations WHERE id = ?", (found.id,))


def in_project(project: Project) -> Clause:
    """The condition that an automation watches a project or something in it."""
    return Clause("w.project_id = ?", (project.id,))


def in_entity(owner: Entity) -> Clause:
    """The condition that an automation watches an entity or something in it."""
    return Clause("w.entity_id = ?", (owner.id,))


def in_organization(owner: Organization) -> Clause:
    """The condition that an automation watches something of an organization or of its teams."""
    sql = "w.entity_id IN (SELECT e.id FROM entities e WHERE e.organization_id = ?)"
    return Clause(sql, (owner.id,))


def listing(
    db: Database,
    where: Clause,
    *,
    filter_text: str | None = None,
    order: str | None = None,
    window: Window,
) -> Connection[Automation]:
    """Automations that meet `where`, the newest first."""
    key, descending = filters.order(_COLUMNS, order)
    return page(
        db,
        Automation,
        columns="w.*",
        source="automations w",
        where=[where, *filters.parse(_COLUMNS, filter_text)],
        row_id="w.id",
        key=key,
        descending=descending or key is None,
        window=window,
    )


def next_firing(db: Database) -> Firing | None:
    """The firing that is due first, now or later."""
    return db.one(Firing, "SELECT * FROM firings ORDER BY due, id LIMIT 1")


def waiting(db: Database) -> int:
    """How many firings are not done with."""
    return int(db.value("SELECT COUNT(*) FROM firings"))


def postpone(db: Database, firing: Firing, *, due: float, attempts: int) -> None:
    """Let a firing wait."""
    with db.transaction():
        db.update("firings", firing.id, due=due, attempts=attempts)


def done(db: Database, firing: Firing) -> None:
    """Forget a firing."""
    with db.transaction():
        db.execute("DELETE FROM firings WHERE id = ?", (firing.id,))


def wanted(db: Database, found: Automation, firing: Firing) -> bool:
    """Whether a firing meets its automation's filter: on its own alias or tag, or on any alias of the version."""
    if firing.value is not None:
        value = Clause("?", (firing.value,))
        columns = {"alias": value, "tag": value}.get
        conditions = filters.parse(columns, found.event_filter)
    else:
        # The ids are numbers of ours, so they can stand in the text.
        any_alias = f"""EXISTS (
            SELECT 1 FROM memberships m JOIN aliases l ON l.membership_id = m.id
            WHERE m.collection_id = {firing.collection_id} AND m.artifact_id = {firing.artifact_id or 0} AND {{}}
        )"""  # noqa: S608
        any_tag = f"""EXISTS (
            SELECT 1 FROM artifact_tags t JOIN tags g ON g.id = t.tag_id
            WHERE t.artifact_id = {firing.artifact_id or 0} AND {{}}
        )"""  # noqa: S608
        named = filters.named(
            alias=filters.Many(any_alias, "l.alias"), tag=filters.Many(any_tag, "g.name")
        )
        conditions = filters.parse(named, found.event_filter)
    return all(db.value(f"SELECT {c.sql}", c.parameters) for c in conditions)
