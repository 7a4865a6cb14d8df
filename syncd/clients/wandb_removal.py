"""Taking versions out of W&B: who used them lately, their time to live, their deletion."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.clients import wandb_graphql as gql
from syncd.clients.protocols import Use, Version
from syncd.clients.wandb_session import WandbSession
from syncd.clients.wandb_values import run_ref
from syncd.errors import NotFoundError


class WandbRemoval:
    """The calls of one server that lead to a version's end.

    Args:
        session: the server.
    """

    def __init__(self, session: WandbSession) -> None:
        self._session = session

    def uses(self, version: Version) -> Sequence[Use]:
        """The runs that used the version, with the times they ran.

        Raises:
            NotFoundError: when the version is gone: "nobody" would be a dangerous answer.
        """
        what = f"read who used {version.ref}"
        data = self._session.query(what, gql.USES, {"id": version.id})
        if data["artifact"] is None:
            raise NotFoundError(f"{what}: it is gone from W&B")
        return [
            Use(
                run=run_ref(node),
                began_at=node["createdAt"],
                active_at=node["heartbeatAt"] or node["createdAt"],
            )
            for node in (edge["node"] for edge in data["artifact"]["usedBy"]["edges"])
        ]

    def set_ttl(self, version: Version, seconds: int) -> None:
        """Set a version's time to live, counted from its creation."""
        self._session.query(
            f"set the time to live of {version.ref}",
            gql.UPDATE_VERSION,
            {"input": {"artifactID": version.id, "ttlDurationSeconds": seconds}},
        )

    def remove(self, version: Version) -> None:
        """Delete a version; W&B refuses one that has aliases."""
        self._session.query(
            f"delete {version.ref}",
            gql.DELETE_VERSION,
            {"input": {"artifactID": version.id, "deleteAliases": False}},
        )
