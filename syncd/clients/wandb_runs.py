"""Runs of W&B: what they used and logged, who used a version, and the one thing of a run that is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncd.clients import wandb_graphql as gql
from syncd.clients.artifacts import Heard, Run, Version, utc
from syncd.clients.wandb_session import PAGE, WandbSession
from syncd.clients.wandb_values import config_values, is_visible, run_ref, version_of
from syncd.errors import NotFoundError, PermanentError
from syncd.refs import RunRef

Json = dict[str, Any]


class WandbRuns:
    """The runs of one server.

    Args:
        session: how it is asked.
        app: where people look at runs, a URL without a slash at its end.
    """

    def __init__(self, session: WandbSession, app: str) -> None:
        self._session = session
        self._app = app

    def consumers(self, version: Version) -> Sequence[RunRef]:
        """The runs that used the version."""
        data = self._session.query(
            f"read who used {version.ref}", gql.CONSUMERS, {"id": version.id}
        )
        edges = ((data["artifact"] or {}).get("usedBy") or {}).get("edges", [])
        return [run_ref(edge["node"]) for edge in edges]

    def run(self, ref: RunRef, *, all_outputs: bool = True) -> Run:
        """A run with its config, inputs and outputs; a hundred of each a request."""
        what = f"read {ref}"
        found: list[list[Version]] = [[], []]
        cursors: list[str | None] = [None, None]
        more = [True, True]
        node: Json = {}
        while any(more):
            data = self._session.query(
                what,
                gql.RUN,
                {
                    "entity": ref.entity,
                    "project": ref.project,
                    "run": ref.run_id,
                    "perPage": PAGE,
                    "inputsCursor": cursors[0],
                    "outputsCursor": cursors[1],
                },
            )
            node = (data["project"] or {}).get("run") or {}
            if not node:
                raise NotFoundError(f"{ref}: there is no such run")
            for side, key in enumerate(("inputArtifacts", "outputArtifacts")):
                if more[side]:
                    nodes = (edge["node"] for edge in node[key]["edges"])
                    # The SDK leaves out the others, too (0.31, `apis/public/artifacts.py`).
                    found[side] += [version_of(item) for item in nodes if is_visible(item)]
                info = node[key]["pageInfo"]
                more[side] = more[side] and info["hasNextPage"] and (all_outputs or not side)
                if more[side] and info["endCursor"] in {None, cursors[side]}:
                    raise PermanentError(f"{what}: W&B says there is more, but not from where on")
                cursors[side] = info["endCursor"] or cursors[side]
        return Run(
            id=node["id"],
            ref=ref,
            name=node["displayName"] or ref.run_id,
            state=node["state"] or "",
            url=f"{self._app}/{ref.entity}/{ref.project}/runs/{ref.run_id}",
            config={
                key: value
                for key, value in config_values(node["config"]).items()
                if not key.startswith("_wandb")
            },
            created_at=node["createdAt"] or "",
            inputs=tuple(found[0]),
            outputs=tuple(found[1]),
            summary={
                key: value
                for key, value in json.loads(node["summaryMetrics"] or "{}").items()
                if not key.startswith("_")
            },
        )

    def heard(self, entity: str, project: str) -> Iterator[Heard]:
        """The runs of a project, those heard of last first, a hundred a request."""
        for node in self._session.pages(
            f"list runs of {entity}/{project}",
            gql.RUNS,
            {"entity": entity, "project": project, "order": "-heartbeat_at"},
            lambda data: data["project"]["runs"],
        ):
            run = RunRef(entity=entity, project=project, run_id=node["name"])
            at = utc(node["heartbeatAt"] or node["createdAt"])
            yield Heard(run=run, state=node["state"] or "", at=at)

    def record_use(self, run: RunRef, version: Version) -> None:
        """Make the run a consumer of the version; nothing happens when it is one."""
        self._session.query(
            f"record that {run} used {version.ref}",
            gql.USE_VERSION,
            {
                "input": {
                    "entityName": run.entity,
                    "projectName": run.project,
                    "runName": run.run_id,
                    "artifactID": version.id,
                    "artifactEntityName": version.ref.entity,
                    "artifactProjectName": version.ref.project,
                }
            },
        )

    def update_config(self, run: RunRef, values: Mapping[str, Any], unset: Sequence[str]) -> bool:
        """Set and unset keys of a run's config, nothing else of the run; whether it changed.

        The whole config is read and written, `_wandb` included, because W&B replaces it whole.
        """
        what = f"update the config of {run}"
        names = {"entity": run.entity, "project": run.project, "name": run.run_id}
        node = (self._session.query(what, gql.RUN_CONFIG, names)["project"] or {}).get("run")
        if not node:
            raise NotFoundError(f"{run}: there is no such run")
        config = json.loads(node["config"] or "{}")
        changed = {key: item for key, item in config.items() if key not in unset}
        held = config_values(node["config"])
        for key, value in values.items():
            if key not in changed or held[key] != value:
                changed[key] = {"value": value, "desc": None}
        if changed == config:
            return False
        self._session.query(
            what, gql.UPDATE_RUN_CONFIG, {"id": node["id"], "config": json.dumps(changed)}
        )
        return True
