"""Administration of the sandbox itself, without authentication: people, settings, counters, faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from syncd.sandbox import garbage
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.routes.service import service
from syncd.sandbox.state import automations, entities, manifests


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise SandboxError("the body is not JSON", status=400) from error
    if not isinstance(body, dict):
        raise SandboxError("the body is not an object", status=400)
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise SandboxError(f"{name!r} is missing", status=400)
    return value


def _role(body: Mapping[str, Any], otherwise: str | None) -> str:
    role = body.get("role", otherwise)
    if role not in {"admin", "member", "viewer"}:
        raise SandboxError(f"unknown role {role!r}", status=400)
    return str(role)


def _ok(**fields: object) -> Response:
    return JSONResponse({"ok": True, **fields})


async def create_user(request: Request) -> Response:
    """Add a user with a personal entity."""
    found, body = service(request), await _body(request)
    name, key = _text(body, "name"), _text(body, "api_key")
    admin = bool(body.get("admin"))
    await found.in_thread(entities.put_user, found.backend.db, name, api_key=key, admin=admin)
    return _ok()


async def delete_user(request: Request) -> Response:
    """Take a user's access away."""
    found = service(request)
    await found.in_thread(entities.delete_user, found.backend.db, request.path_params["name"])
    return _ok()


async def create_organization(request: Request) -> Response:
    """Add an organization with its entity and first admin."""
    found, body = service(request), await _body(request)
    name, username = _text(body, "name"), _text(body, "username")
    db = found.backend.db
    made = await found.in_thread(entities.put_organization, db, name, username=username)
    owner = await found.in_thread(entities.entity, db, made.entity_id)
    return _ok(name=made.name, entity=owner.name)


async def delete_organization(request: Request) -> Response:
    """Dissolve an organization."""
    found, name = service(request), request.path_params["name"]
    await found.in_thread(entities.delete_organization, found.backend.db, name)
    return _ok()


async def add_member(request: Request) -> Response:
    """Add a user to an organization."""
    found, body = service(request), await _body(request)
    username, role = _text(body, "username"), _role(body, None)
    await found.in_thread(
        entities.put_organization_member,
        found.backend.db,
        request.path_params["name"],
        username=username,
        role=role,
    )
    return _ok()


async def create_team(request: Request) -> Response:
    """Add a team with a member (an admin, unless another role is given), in an organization or on its own."""
    found, body = service(request), await _body(request)
    role = _role(body, "admin")
    await found.in_thread(
        entities.put_team,
        found.backend.db,
        _text(body, "name"),
        organization_name=body.get("organization"),
        username=_text(body, "username"),
        role=role,
    )
    return _ok()


async def set_secret(request: Request) -> Response:
    """Set a secret of a team or user, for webhooks to refer to."""
    found, body = service(request), await _body(request)
    db, name, value = found.backend.db, _text(body, "name"), _text(body, "value")
    owner = await found.in_thread(entities.require_entity, db, _text(body, "entity"))
    await found.in_thread(automations.put_secret, db, owner, name, value)
    return _ok()


async def stats(request: Request) -> Response:
    """What clients did, and how much is stored."""
    found = service(request)
    stored = await found.in_thread(manifests.stored_bytes, found.backend.db)
    waiting = await found.in_thread(automations.waiting, found.backend.db)
    return JSONResponse(
        {**found.stats.to_json(), "stored_bytes": stored, "webhooks_waiting": waiting}
    )


async def reset_stats(request: Request) -> Response:
    """Start counting again."""
    service(request).stats.reset()
    return _ok()


async def arm_faults(request: Request) -> Response:
    """Add faults."""
    try:
        given = await request.json()
    except ValueError as error:
        raise SandboxError("the body is not JSON", status=400) from error
    armed = service(request).faults.arm(given if isinstance(given, list) else [given])
    return _ok(armed=armed)


async def clear_faults(request: Request) -> Response:
    """End all faults."""
    service(request).faults.clear()
    return _ok()


async def change_settings(request: Request) -> Response:
    """Change settings; all that are in force."""
    backend, body = service(request).backend, dict(await _body(request))
    ttl = body.pop("url_ttl", backend.urls.ttl)
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise SandboxError("url_ttl is a number of seconds", status=400)
    backend.settings.change(body)
    backend.urls.ttl = float(ttl)
    return _ok(url_ttl=backend.urls.ttl, **backend.settings.to_json())


async def collect_garbage(request: Request) -> Response:
    """Delete what has expired and free bytes that nothing needs."""
    found = service(request)
    body = await _body(request) if await request.body() else {}
    now = body.get("now")
    report = await found.in_thread(
        garbage.collect, found.backend, None if now is None else str(now)
    )
    return _ok(**report)
