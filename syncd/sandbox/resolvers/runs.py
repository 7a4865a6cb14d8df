"""Runs: upsert, reading, history, edges."""

from __future__ import annotations

import json
from typing import Any

from ariadne import MutationType, ObjectType

from syncd.sandbox import access, ids
from syncd.sandbox.commit import delete
from syncd.sandbox.context import Info, backend, context, database
from syncd.sandbox.state import entities, history, lineage, projects, runs
from syncd.sandbox.state.paging import Connection, Window
from syncd.sandbox.state.records import Artifact, Project, Run, User

mutation = MutationType()
run = ObjectType("Run")

BINDABLES = [mutation, run]

_COLUMNS = {
    "group_name": "group_name",
    "description": "description",
    "display_name": "display_name",
    "notes": "notes",
    "commit": "git_commit",
    "config": "config",
    "host": "host",
    "job_program": "program",
    "job_repo": "repo",
    "job_type": "job_type",
    "state": "state",
    "sweep": "sweep_name",
    "summary_metrics": "summary_metrics",
}


@mutation.field("upsertBucket")
def upsert_bucket(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Make a run, or merge what is given into the one of that id or name."""
    db, who = database(info), context(info).user()
    inserted = False
    if asked.get("id"):
        found = runs.get(db, ids.decode(asked["id"], "Run"))
        access.require_writer(db, who, projects.get(db, found.project_id))
    else:
        owner = entities.require_entity(db, asked.get("entity_name") or who.default_entity)
        access.require_writer_of(db, who, owner)
        project = projects.put(db, who, owner, asked.get("model_name") or projects.DEFAULT_PROJECT)
        known = runs.by_name(db, project, asked.get("name") or "")
        inserted = known is None
        name = asked.get("name") or ids.encode("Run", project.id)
        found = known or runs.create(db, project, who, name, asked.get("state") or "running")
    given = {column: asked.get(field) for field, column in _COLUMNS.items()}
    found = runs.change(db, found, given, tags=asked.get("tags"))
    return {"bucket": found, "inserted": inserted}


@mutation.field("updateRunState")
def update_run_state(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Requeue or fail a run."""
    runs.set_state(database(info), _by_id(info, asked), asked["state"])
    return {"success": True}


@mutation.field("stopRun")
def stop_run(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask a run to stop."""
    runs.stop(database(info), _by_id(info, asked))
    return {"success": True}


@mutation.field("deleteRun")
def delete_run(_: object, info: Info, asked: dict[str, Any]) -> dict[str, Any]:
    """Remove a run, and the versions it logged if that is asked for. Once more changes nothing."""
    db = database(info)
    if runs.find(db, ids.decode(asked["id"], "Run")) is None:
        return {}
    found = _by_id(info, asked)
    if asked.get("delete_artifacts"):
        for edge in lineage.outputs(db, found, Window(first=1_000_000)).edges:
            if edge.node.run_id == found.id:
                delete(backend(info), edge.node, with_aliases=True)
    runs.delete(db, found)
    return {}


def _by_id(info: Info, asked: dict[str, Any]) -> Run:
    db, who = database(info), context(info).user()
    found = runs.get(db, ids.decode(asked["id"], "Run"))
    access.require_writer(db, who, projects.get(db, found.project_id))
    return found


@run.field("id")
def run_id(found: Run, _info: Info) -> str:
    """The storage id."""
    return ids.encode("Run", found.id)


@run.field("project")
def run_project(found: Run, info: Info) -> Project:
    """Where the run is."""
    return projects.get(database(info), found.project_id)


@run.field("user")
def run_user(found: Run, info: Info) -> User:
    """Who started it."""
    return entities.user(database(info), found.user_id)


@run.field("group")
def run_group(found: Run, _info: Info) -> str | None:
    """The group's name."""
    return found.group_name


@run.field("commit")
def run_commit(found: Run, _info: Info) -> str | None:
    """The git commit it ran from."""
    return found.git_commit


@run.field("tags")
def run_tags(found: Run, _info: Info) -> list[str]:
    """Its tags."""
    tags: list[str] = json.loads(found.tags)
    return tags


@run.field("readOnly")
def run_read_only(found: Run, info: Info) -> bool:
    """Whether the asker may only read."""
    project = projects.get(database(info), found.project_id)
    return not access.can_write(database(info), context(info).viewer, project)


@run.field("stopped")
def run_stopped(found: Run, _info: Info) -> bool:
    """Whether it was asked to stop."""
    return bool(found.stopped)


@run.field("wandbConfig")
def run_wandb_config(found: Run, _info: Info, keys: list[str] | None = None) -> str:
    """The client's own part of the config, which tells a started run from an empty shell."""
    internal = json.loads(found.config).get("_wandb") or {}
    value = internal.get("value") or {}
    return json.dumps({key: value[key] for key in value if keys is None or key in keys})


@run.field("systemMetrics")
def run_system_metrics(found: Run, info: Info) -> str:
    """The last system event."""
    last = history.tail(database(info), found, history.EVENTS)
    return last[0] if last else "{}"


@run.field("historyKeys")
def run_history_keys(found: Run, _info: Info) -> object:
    """Which keys were logged, and the last step."""
    keys: object = json.loads(found.history_keys)
    return keys


@run.field("historyTail")
def run_history_tail(found: Run, info: Info) -> str:
    """The last history line, as a JSON list of JSON texts."""
    return json.dumps(history.tail(database(info), found, history.HISTORY))


@run.field("eventsTail")
def run_events_tail(found: Run, info: Info) -> str:
    """The last event line, as a JSON list of JSON texts."""
    return json.dumps(history.tail(database(info), found, history.EVENTS))


@run.field("history")
def run_history(
    found: Run,
    info: Info,
    min_step: int | None = None,
    max_step: int | None = None,
    samples: int | None = None,
) -> list[str]:
    """History lines of a range of steps."""
    return history.rows(
        database(info), found, min_step=min_step, max_step=max_step, samples=samples
    )


@run.field("events")
def run_events(found: Run, info: Info, samples: int | None = None) -> list[str]:
    """System event lines."""
    return history.rows(database(info), found, history.EVENTS, samples=samples)


@run.field("sampledHistory")
def run_sampled_history(found: Run, info: Info, specs: list[str]) -> list[list[dict[str, Any]]]:
    """For each spec the rows that have its keys."""
    return [history.sampled(database(info), found, json.loads(spec)) for spec in specs]


@run.field("parquetHistory")
def run_parquet_history(_: Run, _info: Info, **_args: Any) -> dict[str, Any]:
    """Nothing is exported, so clients read all of it live."""
    return {"parquet_urls": [], "live_data": []}


@run.field("inputArtifacts")
def run_inputs(found: Run, info: Info, **window: Any) -> Connection[Artifact]:
    """Versions it used."""
    return lineage.inputs(database(info), found, Window(**window))


@run.field("outputArtifacts")
def run_outputs(found: Run, info: Info, **window: Any) -> Connection[Artifact]:
    """Versions it logged."""
    return lineage.outputs(database(info), found, Window(**window))
