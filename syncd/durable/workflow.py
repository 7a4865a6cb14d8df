"""The durable path of one version, as a DBOS workflow: each stage is a step that runs once.

A version that fails for good ends its workflow with an outcome, never with an exception: one bad
version must not stop the others.
"""

from __future__ import annotations

from typing import Any

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

from syncd import errors, log
from syncd.catalog.catalog import State
from syncd.catalog.database import of_database, room
from syncd.clients.artifacts import Version
from syncd.clients.protocols import ArtifactSource
from syncd.durable import engine, steps
from syncd.durable.context import Context, Outcome
from syncd.durable.deaths import DeadlyError
from syncd.stages.plan import fingerprint
from syncd.versions.plans import Decision
from syncd.versions.relatives import relatives


def launch(
    context: Context,
    *,
    database: str,
    concurrency: int,
    poll: float = engine.POLL,
    executor_id: str = "local",
) -> None:
    """Start the engine; workflows that a killed process left behind go on at once.

    Args:
        context: what workflows work with.
        database: an SQLAlchemy URL for the engine's own tables.
        concurrency: versions at a time, in each process.
        poll: seconds between two looks at the queue.
        executor_id: whose workflows go on: those that a process of this name has begun.
    """
    steps.use(context)
    engine.start(
        database,
        concurrency=concurrency,
        poll=poll,
        executor_id=executor_id,
        traces=context.config.engine.traces,
    )


def stop() -> None:
    """Stop the engine, whatever still runs: as after a kill, the next start goes on from there."""
    steps.use(None)
    engine.stop(timeout=0)


def enqueue(version: Version, *, attempt: int, partition: str, replacement_id: str) -> str:
    """Put a version in the queue and return the workflow's id; twice is once.

    Args:
        version: what to move.
        attempt: which attempt at it, from 1.
        partition: the Oxen repository's name.
        replacement_id: the version that replaces it already, empty when there is none.
    """
    name = engine.workflow_id(version.id, attempt)
    priority = version.index + 1
    with (
        room("the engine's database"),
        SetWorkflowID(name),
        SetEnqueueOptions(queue_partition_key=partition, priority=priority),
    ):
        queue = DBOS.retrieve_queue(engine.QUEUE)
        assert queue is not None, "the engine registers it at its start"
        queue.enqueue(move_version, version.id, replacement_id)
    return name


# No limit of the engine's to the starts of a workflow: it counts each of them, also those of versions that
# progress and of processes that were stopped on purpose. `deaths` knows better.
@DBOS.workflow(name="move_version", max_recovery_attempts=None)
def move_version(artifact_id: str, replacement_id: str) -> Outcome:
    """Take one version along the whole path; the answer says how it ended."""
    context = steps.here()
    with context.deciding(artifact_id):
        outcome = _move(context, artifact_id, replacement_id)
        context.deaths.end(artifact_id)
    context.finished(outcome)
    if steps.over(context):
        raise steps.LeftBehind
    return outcome


def _move(context: Context, artifact_id: str, replacement_id: str) -> Outcome:
    stage = log.Stage.PLAN
    version: Version | None = None
    try:
        known = steps.look(artifact_id)
        with context.turns.taken(alone=known.suspect):
            steps.begin(known)
            planned = steps.planned(artifact_id)
            version = planned.version
            log.get().info(
                stage.done,
                artifact=str(version.ref),
                entries=len(planned.of(Decision.MOVE)),
                bytes=planned.moved_bytes,
            )
            if planned.skip:
                return _skip(context, version, planned.skip)
            with context.locks.alone(f"repository {planned.repo}"):
                if not replacement_id:
                    stage = log.Stage.TRANSFER
                    moved = steps.transfer_step(artifact_id)
                    stage = log.Stage.COMMIT
                    committed = steps.commit_step(artifact_id)
                    stage = log.Stage.VERIFY
                    receipt = steps.verify_step(artifact_id, committed)
                else:
                    moved, committed, receipt = {}, "", {}
                stage = log.Stage.REPLACE
                replaced = steps.replace_step(artifact_id, committed, receipt, replacement_id)
                steps.annotate_step(artifact_id, replaced["replacement_id"])
    except Exception as error:
        if steps.over(context):  # without its engine it cannot go on, which is no failure
            raise steps.LeftBehind from error
        if of_database(error):  # the engine cannot write what was done: done again when it can
            raise
        stage = error.stage if isinstance(error, DeadlyError) else stage
        return _quarantine(context, artifact_id, version, stage, error)
    return _outcome(artifact_id, version, State.REPLACED, **moved, **replaced)


def _skip(context: Context, version: Version, reason: str) -> Outcome:
    context.catalog.note(version, State.SKIPPED, reason=reason)
    decided = fingerprint(context.config_of(version.id))
    context.catalog.looks.settle(version.id, reason, decided)
    context.catalog.descent.keep_versions(relatives([version]))
    return _outcome(version.id, version, State.SKIPPED, reason=reason)


def _quarantine(
    context: Context,
    artifact_id: str,
    version: Version | None,
    stage: log.Stage,
    error: Exception,
) -> Outcome:
    if not isinstance(error, errors.SyncdError):
        log.get().debug(stage.failed, artifact=artifact_id, exc_info=error)
        error = errors.PermanentError(
            f"{type(error).__name__}: {error}",
            hint="This looks like a bug in syncd; nothing was lost. Report it with the debug log.",
        )
    failed = {"stage": str(stage), "error": str(error), "hint": error.hint}
    version = version or _looked_up(context.source, artifact_id)
    name = str(version.ref) if version else artifact_id
    log.get().error(stage.failed, artifact=name, error=str(error))
    if version is not None:
        context.catalog.fail(version, stage=str(stage), reason=str(error), hint=error.hint)
    elif isinstance(error, errors.NotFoundError):
        context.catalog.forget(artifact_id)  # deleted while it waited; nothing is left to wait for
    return _outcome(artifact_id, version, State.QUARANTINED, **failed)


def _looked_up(source: ArtifactSource, artifact_id: str) -> Version | None:
    """The version, where W&B still tells: a failure needs a name that a person knows."""
    try:
        return source.version(artifact_id)
    except errors.SyncdError:
        return None


def _outcome(artifact_id: str, version: Version | None, state: State, **more: Any) -> Outcome:
    name = str(version.ref) if version else artifact_id
    return {"artifact_id": artifact_id, "version": name, "state": str(state), **more}
