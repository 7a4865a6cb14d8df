"""What is around versions in W&B and would notice that they are replaced: read, never changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from syncd.clients import wandb_graphql as gql
from syncd.clients.protocols import Automation, Surroundings, Version
from syncd.clients.wandb_session import WandbSession
from syncd.clients.wandb_values import membership_of, run_ref
from syncd.errors import NotFoundError, PermanentError

Json = dict[str, Any]
_SCOPES: dict[str, Literal["collection", "project", "entity"]] = {
    "ArtifactSequence": "collection",
    "ArtifactPortfolio": "collection",
    "Project": "project",
    "Entity": "entity",
}


class WandbAutomations:
    """Automations, and what refers to versions.

    Args:
        session: with the server.
    """

    def __init__(self, session: WandbSession) -> None:
        self._session = session

    def surroundings(self, versions: Sequence[Version]) -> Sequence[Surroundings]:
        """See `ArtifactSource.surroundings`."""
        wanted = {version.id for version in versions}
        found: list[Surroundings] = []
        if not wanted:
            return found
        ref = versions[0].ref
        for node in self._session.pages(
            f"read what refers to versions of {ref.entity}/{ref.project}/{ref.collection}",
            gql.SURROUNDINGS,
            {
                "entity": ref.entity,
                "project": ref.project,
                "collection": ref.collection,
                "type": versions[0].type,
                "order": "+version_index",
                "filters": json.dumps({"state": "COMMITTED"}),
            },
            lambda data: data["project"]["artifactType"]["artifactCollection"]["artifacts"],
        ):
            if node["id"] in wanted:
                wanted.discard(node["id"])
                found.append(_surroundings(node))
            if not wanted:
                break
        return found

    def automations(self, entity: str) -> Sequence[Automation] | None:
        """See `ArtifactSource.automations`.

        A server that does not know them by entity, as older ones do not, does not tell either.
        """
        try:
            nodes = list(
                self._session.pages(
                    f"list the automations of {entity}",
                    gql.AUTOMATIONS,
                    {"entity": entity},
                    lambda data: data["scope"]["triggers"],
                )
            )
        except NotFoundError:
            return None
        except PermanentError as error:
            if type(error) is not PermanentError:  # e.g. the API key was refused
                raise
            return None
        return [
            _automation(entity, node)
            for node in nodes
            if node["scope"].get("__typename") in _SCOPES and node["event"].get("eventType")
        ]


def _surroundings(node: Json) -> Surroundings:
    edges = node["artifactMemberships"]["edges"]
    users = [edge["node"] for edge in (node["usedBy"] or {}).get("edges", [])]
    return Surroundings(
        version_id=node["id"],
        memberships=tuple(
            membership_of(edge["node"]) for edge in edges if edge["node"]["artifactCollection"]
        ),
        uses=tuple((run_ref(user), user["createdAt"] or "") for user in users),
    )


def _automation(entity: str, node: Json) -> Automation:
    scope, event = node["scope"], node["event"]
    return Automation(
        entity=entity,
        name=node["name"],
        enabled=bool(node["enabled"]),
        event=event["eventType"],
        scope=_SCOPES[scope["__typename"]],
        scope_id=scope["id"],
        scope_name=scope["name"],
        condition=_condition(event["filter"]),
    )


def _condition(text: str | None) -> str:
    """The filter as it was given: W&B tells the one of an artifact event one level deeper."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return text or ""
    inner = document.get("filter") if isinstance(document, dict) else None
    return inner if isinstance(inner, str) else text or ""
