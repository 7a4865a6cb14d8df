"""Automations in a test: the requests that make them, and a server on a free port where webhooks arrive."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from sandbox_client import Client

WEBHOOK = """
mutation CreateGenericWebhookIntegration($input: CreateGenericWebhookIntegrationInput!) {
  createGenericWebhookIntegration(input: $input) { integration { ... on GenericWebhookIntegration { id } } }
}
"""
CREATE = """
mutation CreateAutomation($input: CreateFilterTriggerInput!) {
  createFilterTrigger(input: $input) { trigger { id } }
}
"""
UPDATE = """
mutation UpdateAutomation($input: UpdateFilterTriggerInput!) {
  updateFilterTrigger(input: $input) { trigger { id enabled name } }
}
"""
DELETE = "mutation D($id: ID!) { deleteTrigger(input: {triggerID: $id}) { success } }"
ALIASES = """
mutation AddAliases($id: ID!, $alias: String!) {
  addAliases(input: {artifactID: $id, aliases: [
    {entityName: "sandbox", projectName: "p", artifactCollectionName: "ds", alias: $alias}]}) { success }
}
"""
TAGS = """
mutation UpdateArtifact($id: ID!, $add: [TagInput!], $drop: [TagInput!]) {
  updateArtifact(input: {artifactID: $id, tagsToAdd: $add, tagsToDelete: $drop}) { artifact { id } }
}
"""
LINK = "mutation L($input: LinkArtifactInput!) { linkArtifact(input: $input) { versionIndex } }"
PROJECT = """
mutation Make { upsertModel(input: {name: "p", entityName: "sandbox"}) { project { id } } }
"""
PAYLOAD = {"event": "${event_type}", "alias": "${alias}", "tag": "${tag}"}
_DEADLINE = 20


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body read."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Receiver:
    """The server. `answers` are the statuses of the next requests, 200 after those; `gate` holds answers back."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                owner.received.append(Received(headers, body))
                owner.gate.wait(_DEADLINE)
                self.send_response(owner.answers.pop(0) if owner.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def settled(self, client: Client) -> list[dict[str, Any]]:
        """The bodies received once the sandbox has nothing left to deliver."""
        deadline = time.monotonic() + _DEADLINE
        while client.stats()["webhooks_waiting"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return [received.json() for received in self.received]


def register(client: Client, url: str, **fields: str) -> str:
    """Make a webhook of the default user; its id."""
    asked = {"entityName": "sandbox", "name": "hook", "urlEndpoint": url, **fields}
    made = client.gql(WEBHOOK, input=asked)["createGenericWebhookIntegration"]
    found: str = made["integration"]["id"]
    return found


def watch(client: Client, webhook: str, *events: str, condition: Any = None, **fields: Any) -> str:
    """Automations on project p; the id of the last."""
    project = client.gql(PROJECT)["upsertModel"]["project"]["id"]
    made = ""
    for event in events:
        action = {"integrationID": webhook, "requestPayload": json.dumps(PAYLOAD)}
        asked = {
            "name": f"on {event}",
            "enabled": True,
            "scopeType": "PROJECT",
            "scopeID": project,
            "triggeringEventType": event,
            "eventFilter": json.dumps(condition or {"$or": [{"$and": []}]}),
            "triggeredActionType": "GENERIC_WEBHOOK",
            "triggeredActionConfig": {"genericWebhookActionInput": action},
            **fields,
        }
        made = client.gql(CREATE, input=asked)["createFilterTrigger"]["trigger"]["id"]
    return made


def alias(alias: str) -> dict[str, Any]:
    """The input of a version that is to have one alias."""
    return {"aliases": [{"artifactCollectionName": "ds", "alias": alias}]}
