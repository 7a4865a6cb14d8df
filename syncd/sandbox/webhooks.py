"""Delivering webhooks: what automations are set off for, posted from a thread of its own.

The database notes firings in the transaction of the event; this thread takes them from there, so nobody waits for a
receiver, and what a killed server had not delivered is delivered after its restart. One that fails is tried again
with growing pauses while others go on; order is not kept then.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from syncd.sandbox import ids
from syncd.sandbox.context import Backend
from syncd.sandbox.faults import Faults, Stats
from syncd.sandbox.state import (
    automations,
    collections,
    entities,
    memberships,
    projects,
    versions,
)
from syncd.sandbox.state.automations import Automation, Firing
from syncd.sandbox.state.database import Database

ATTEMPTS = 5
_PAUSE = 0.1
_TIMEOUT = 5.0
_ACCESS_TOKEN = "ACCESS_TOKEN"  # noqa: S105  a name
_METADATA = "artifact_metadata."
_VARIABLE = re.compile(r"\$\{([^{}]+)\}")
_EVENT_NAMES = {"LINK_MODEL": "LINK_ARTIFACT"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request, ready to be sent."""

    webhook: str
    url: str
    headers: dict[str, str]
    body: bytes


def _facts(db: Database, firing: Firing) -> dict[str, str]:
    """What a payload may say about an event; a word that does not apply is empty."""
    collection = collections.get(db, firing.collection_id)
    project = projects.get(db, collection.project_id)
    owner = entities.entity(db, project.entity_id).name
    facts = {
        "project_name": project.name,
        "entity_name": owner,
        "event_type": _EVENT_NAMES.get(firing.event_type, firing.event_type),
        "event_author": firing.author,
        "alias": "",
        "tag": "",
        "artifact_collection_name": collection.name,
        "artifact_version": "",
        "artifact_version_string": "",
    }
    if firing.value is not None:
        facts["tag" if firing.event_type.endswith("_TAG") else "alias"] = firing.value
    if firing.artifact_id is None:
        return facts
    artifact = versions.get(db, firing.artifact_id)
    membership = memberships.of(db, collection, artifact)
    if firing.value is None and membership is not None:
        names = [alias.alias for alias in memberships.aliases(db, membership)]
        facts["alias"] = names[0] if names else ""
    version = facts["alias"] or f"v{firing.version_index}"
    name = f"{owner}/{project.name}/{collection.name}:{version}"
    facts["artifact_version"] = f"wandb-artifact://_id/{ids.encode('Artifact', artifact.id)}"
    facts["artifact_version_string"] = name
    return facts


def _metadata(db: Database, firing: Firing) -> Mapping[str, Any]:
    text = versions.get(db, firing.artifact_id).metadata if firing.artifact_id else None
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def _filled(template: object, known: Mapping[str, str], metadata: Mapping[str, Any]) -> Any:
    """The template with its variables replaced in all texts; an unknown variable stays as it is."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not name.startswith(_METADATA):
            return known.get(name, match[0])
        found: Any = metadata
        for key in name.removeprefix(_METADATA).split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            return found
        return "" if found is None else json.dumps(found)

    if isinstance(template, str):
        return _VARIABLE.sub(value, template)
    if isinstance(template, list):
        return [_filled(item, known, metadata) for item in template]
    if isinstance(template, dict):
        return {key: _filled(item, known, metadata) for key, item in template.items()}
    return template


def signature(secret: str, body: bytes, encoding: str) -> str:
    """What proves that a body is ours."""
    digest = hmac.new(secret.encode(), body, "sha256").digest()
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def delivery(db: Database, automation: Automation, firing: Firing, encoding: str) -> Delivery:
    """The request a firing leads to."""
    assert automation.webhook_id is not None
    target = automations.webhook(db, automation.webhook_id)
    secrets = automations.secrets(db, target.entity_id)
    token = secrets.get(target.access_token_ref or "")
    known = {**secrets, **_facts(db, firing)}
    headers = {"Content-Type": "application/json"}
    if token is not None:
        known[_ACCESS_TOKEN] = token
        headers["Authorization"] = f"Bearer {token}"
    template = json.loads(automation.payload or "{}")
    body = json.dumps(_filled(template, known, _metadata(db, firing))).encode()
    secret = secrets.get(target.secret_ref or "")
    if secret is not None:
        headers["X-Wandb-Signature"] = signature(secret, body, encoding)
    return Delivery(target.name, target.url, headers, body)


class Webhooks:
    """The thread that delivers."""

    def __init__(self, backend: Backend, faults: Faults, stats: Stats) -> None:
        self._db = backend.db
        self._settings = backend.settings
        self._faults = faults
        self._stats = stats
        self._delivered_at: dict[int, float] = {}
        self._delayed: set[int] = set()
        self._stopping = False
        self._http = httpx.Client(timeout=_TIMEOUT, trust_env=False)
        self._thread = threading.Thread(target=self._run, name="sandbox-webhooks", daemon=True)

    def start(self) -> None:
        """Deliver from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the delivery under way, if any, and deliver no more."""
        self._stopping = True
        self._db.committed.set()
        self._thread.join()
        self._http.close()

    def _run(self) -> None:
        while True:
            self._db.committed.clear()
            if self._stopping:
                return
            self._db.committed.wait(self._work())

    def _work(self) -> float | None:
        """Do all that is due; the seconds until something will be."""
        while not self._stopping:
            firing = automations.next_firing(self._db)
            if firing is None:
                return None
            wait = firing.due - time.time()
            if wait > 0:
                return wait
            try:
                self._handle(firing)
            except Exception:  # noqa: BLE001
                # A firing that cannot be understood must not keep the others waiting.
                _log.exception("firing of automation %s", firing.automation_id)
                self._end(firing, "failed")
        return 0

    def _prepare(self, firing: Firing) -> Delivery | None:
        """What to send; None if the automation does not want this event, or is gone."""
        with self._db.snapshot():
            automation = automations.find(self._db, firing.automation_id)
            if automation is None:
                return None
            # Asked once only: by the next attempt an alias may have moved on.
            first = firing.due == 0
            if first and not automations.wanted(self._db, automation, firing):
                return None
            return delivery(self._db, automation, firing, self._settings.webhook_signature)

    def _handle(self, firing: Firing) -> None:
        ready = self._prepare(firing)
        if ready is None:
            automations.done(self._db, firing)
            return
        last = self._delivered_at.get(firing.automation_id)
        if last is not None and time.monotonic() - last < self._settings.webhook_cooldown:
            self._end(firing, "skipped")
        elif firing.id in self._delayed:
            self._delayed.discard(firing.id)
            self._deliver(firing, ready, copies=1)
        else:
            self._deliver_or_fault(firing, ready)

    def _deliver_or_fault(self, firing: Firing, ready: Delivery) -> None:
        fault = self._faults.take("webhook", ready.webhook)
        action = "" if fault is None else fault.action
        if action == "drop":
            self._end(firing, "dropped")
        elif action == "status":
            self._retry(firing)
        elif fault is not None and action == "delay":
            self._delayed.add(firing.id)
            due = time.time() + fault.number / 1000
            automations.postpone(self._db, firing, due=due, attempts=firing.attempts)
        else:
            self._deliver(firing, ready, copies=2 if action == "double" else 1)

    def _deliver(self, firing: Firing, ready: Delivery, *, copies: int) -> None:
        for _ in range(copies):
            try:
                response = self._http.post(ready.url, content=ready.body, headers=ready.headers)
            except (httpx.HTTPError, httpx.InvalidURL):
                self._retry(firing)
                return
            if not response.is_success:
                self._retry(firing)
                return
            self._stats.webhook("delivered")
        self._delivered_at[firing.automation_id] = time.monotonic()
        automations.done(self._db, firing)

    def _retry(self, firing: Firing) -> None:
        attempts = firing.attempts + 1
        if attempts >= ATTEMPTS:
            self._end(firing, "failed")
            return
        self._stats.webhook("retried")
        due = time.time() + _PAUSE * 2**firing.attempts
        automations.postpone(self._db, firing, due=due, attempts=attempts)

    def _end(self, firing: Firing, outcome: str) -> None:
        automations.done(self._db, firing)
        self._stats.webhook(outcome)
