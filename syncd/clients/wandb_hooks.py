"""Automations in W&B that call us, made and kept as they should be.

The operations are the SDK's own (wandb 0.31.0, `automations/_generated/operations.py` and
`apis/_generated/operations.py`). The webhook itself, its secret above all, is nothing that the SDK
makes: a person does that in the team's settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from syncd.clients.http import check_url, place, session, translated
from syncd.clients.wandb_session import WandbSession
from syncd.errors import NotFoundError

Json = dict[str, Any]
Outcome = Literal["made", "changed", "there"]
# Of a whole project, with whatever alias: W&B gives every new version the alias latest, and the branches
# in Oxen follow all others.
EVENT = "ADD_ARTIFACT_ALIAS"
CONDITION: Json = {"$or": [{"$and": []}]}

_INTEGRATIONS = """
query IntegrationsByEntity($entity: String!, $cursor: String, $perPage: Int) {
  entity(name: $entity) {
    integrations(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges { node { __typename ... on GenericWebhookIntegration { id name urlEndpoint } } }
    }
  }
}
"""
_PROJECT = """
query GetProject($name: String!, $entity: String!) {
  project(name: $name, entityName: $entity) { id name }
}
"""
_TRIGGERS = """
query GetEntityAutomations($entity: String!, $cursor: String, $perPage: Int, $filters: JSONString) {
  scope: entity(name: $entity) {
    triggers(after: $cursor, first: $perPage, filters: $filters) {
      pageInfo { endCursor hasNextPage }
      edges {
        node {
          id
          name
          enabled
          scope { __typename ... on Project { id name } }
          event: triggeringCondition {
            ... on FilterEventTriggeringCondition { eventType filter }
          }
          action: triggeredAction {
            ... on GenericWebhookTriggeredAction {
              integration { ... on GenericWebhookIntegration { id } }
              requestPayload
            }
          }
        }
      }
    }
  }
}
"""
_CREATE = """
mutation CreateAutomation($input: CreateFilterTriggerInput!) {
  result: createFilterTrigger(input: $input) { trigger { id } }
}
"""
_UPDATE = """
mutation UpdateAutomation($input: UpdateFilterTriggerInput!) {
  result: updateFilterTrigger(input: $input) { trigger { id } }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A webhook of an entity: its id in W&B, its name there, and where it sends to."""

    id: str
    name: str
    url: str


class WandbHooks:
    """The part of W&B that calls others.

    Args:
        base_url: the API's URL.
        api_key: sent to that URL and to no other.
    """

    def __init__(self, base_url: str, api_key: str) -> None:
        self._session = WandbSession(base_url, api_key)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def webhooks(self, entity: str) -> Iterator[Webhook]:
        """The webhooks that an entity's automations may use."""
        for node in self._session.pages(
            f"list the webhooks of {entity}",
            _INTEGRATIONS,
            {"entity": entity},
            lambda data: data["entity"]["integrations"],
        ):
            if node["__typename"] == "GenericWebhookIntegration":
                yield Webhook(id=node["id"], name=node["name"], url=node["urlEndpoint"])

    def ensure(
        self, entity: str, project: str, *, name: str, webhook: Webhook, payload: Mapping[str, str]
    ) -> Outcome:
        """Make sure that new versions in a project set off a webhook; again, it changes nothing.

        Args:
            entity: the entity.
            project: its project.
            name: of the automation, by which it is found again.
            webhook: what is called.
            payload: what is sent, W&B's variables in it.

        Raises:
            NotFoundError: when there is no such project.
        """
        scope_id = self._project_id(entity, project)
        found = self._automation(entity, scope_id, name)
        action = {"integrationID": webhook.id, "requestPayload": json.dumps(payload)}
        wanted = {
            "name": name,
            "description": "Tells syncd that there is something to move; it looks by itself, too.",
            "enabled": True,
            "scopeType": "PROJECT",
            "scopeID": scope_id,
            "triggeringEventType": EVENT,
            "eventFilter": json.dumps(CONDITION),
            "triggeredActionType": "GENERIC_WEBHOOK",
            "triggeredActionConfig": {"genericWebhookActionInput": action},
        }
        what = f"make the automation {name!r} of {entity}/{project}"
        if found is None:
            self._session.query(what, _CREATE, {"input": wanted})
            return "made"
        if _is_as_wanted(found, webhook, payload):
            return "there"
        self._session.query(what, _UPDATE, {"input": {"id": found["id"], **wanted}})
        return "changed"

    def _project_id(self, entity: str, project: str) -> str:
        what = f"look for {entity}/{project}"
        data = self._session.query(what, _PROJECT, {"entity": entity, "name": project})
        if not data.get("project"):
            raise NotFoundError(f"{entity}/{project}: there is no such project")
        return str(data["project"]["id"])

    def _automation(self, entity: str, scope_id: str, name: str) -> Json | None:
        for node in self._session.pages(
            f"list the automations of {entity}",
            _TRIGGERS,
            {"entity": entity, "filters": json.dumps({"name": name})},
            lambda data: data["scope"]["triggers"],
        ):
            if node["name"] == name and (node["scope"] or {}).get("id") == scope_id:
                return node
        return None


def _is_as_wanted(found: Json, webhook: Webhook, payload: Mapping[str, str]) -> bool:
    """Whether an automation is the one that would be made."""
    event, action = found["event"] or {}, found["action"] or {}
    try:
        told = json.loads(event.get("filter") or "{}").get("filter")  # one level deeper than given
        condition = json.loads(told) if isinstance(told, str) else told
        sent = json.loads(action.get("requestPayload") or "{}")
    except (ValueError, AttributeError):
        return False
    return bool(
        found["enabled"]
        and event.get("eventType") == EVENT
        and condition == CONDITION
        and (action.get("integration") or {}).get("id") == webhook.id
        and sent == dict(payload)
    )


def deliver(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """Send what W&B would send; the answer's status and text.

    Raises:
        ServiceUnavailableError: when nobody answers.
    """
    what = "send a webhook"
    with session() as http, translated(what, url):
        answer = http.post(check_url(url), content=body, headers=dict(headers))
        return (
            answer.status_code,
            f"{place(url)} answered {answer.status_code}: {answer.text[:300]}",
        )
