"""The durable engine of one process: DBOS, its one queue, and what it knows of workflows by name.

Workflows wait in one queue, partitioned by Oxen repository with one at a time in each: Oxen allows
one writer per repository, and versions of a collection go in order (by priority, because DBOS
breaks ties of the same millisecond by workflow id).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dbos import DBOS, DBOSConfig

QUEUE = "syncd-versions"
# Workflows of another path must not be resumed by this one; changed only when steps change.
PATH_VERSION = "syncd-path-1"
POLL = 0.1  # seconds between looks at the queue
CONNECTIONS = 10  # of one process to the engine's database
UNFINISHED = frozenset({"ENQUEUED", "DELAYED", "PENDING"})
KEPT = timedelta(days=30)  # that an ended workflow is remembered; the catalog knows more anyway
FORGOTTEN_AT_ONCE = 1000  # workflows
FORGOTTEN_TIMES = 50  # so many times in a row: a migration ends more in an hour than a year does


def start(
    database: str, *, concurrency: int, poll: float, executor_id: str, traces: str | None
) -> None:
    """Start DBOS in this process; workflows that a killed one left behind go on at once.

    Args:
        database: an SQLAlchemy URL for DBOS's own tables.
        concurrency: workflows at a time, in each process.
        poll: seconds between two looks at the queue.
        executor_id: whose workflows go on: those that a process of this name has begun.
        traces: the URL of an OpenTelemetry collector that is told of each step.
    """
    config: DBOSConfig = {
        "name": "syncd",
        "system_database_url": database,
        "application_version": PATH_VERSION,
        "executor_id": executor_id,
        "sys_db_pool_size": CONNECTIONS,
        # With SQLite a thread sleeps so long between looks, and whoever stops waits for it to wake.
        "notification_listener_polling_interval_sec": poll,
        "console_log_level": "WARNING",
        "log_level": "WARNING",
    }
    if traces:
        config |= {
            "enable_otlp": True,
            "otlp_traces_endpoints": [traces],
            "otel_attribute_format": "semconv",
        }
    _launch(config)
    is_new = DBOS.retrieve_queue(QUEUE) is None
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=concurrency,
        partition_concurrency=1,
        polling_interval_sec=poll,
    )
    if is_new:  # DBOS looks for queues when it is launched, and then once a second (`_queue.py`)
        stop(timeout=0)
        _launch(config)


def _launch(config: DBOSConfig) -> None:
    DBOS(config=config)
    DBOS.launch()


def stop(*, timeout: int) -> None:
    """Stop DBOS, waiting at most so many seconds for running workflows."""
    DBOS.destroy(workflow_completion_timeout_sec=timeout)


def workflow_id(artifact_id: str, attempt: int) -> str:
    """The name of the workflow that is an attempt at a version."""
    return f"{artifact_id}.{attempt}"


def artifact_of(name: str) -> str:
    """The version that a workflow of this name is an attempt at."""
    return name.rpartition(".")[0]


def next_attempt(artifact_id: str, *, after: int) -> int:
    """The number of an attempt at a version that has not ended: a new one, or one still to end.

    Args:
        artifact_id: the version.
        after: attempts that are known to have ended.
    """
    attempt = after + 1
    while (found := DBOS.get_workflow_status(workflow_id(artifact_id, attempt))) is not None:
        if found.status in UNFINISHED:
            break
        attempt += 1
    return attempt


def known(name: str) -> bool:
    """Whether the engine knows a workflow of this id."""
    return bool(name) and DBOS.get_workflow_status(name) is not None


def unfinished(name: str) -> bool:
    """Whether a workflow of this id is still to end."""
    status = DBOS.get_workflow_status(name) if name else None
    return status is not None and status.status in UNFINISHED


def forget_ended(before: datetime) -> int:
    """Forget workflows that ended before a time, so that years do not fill the disk; how many."""
    forgotten = 0
    for _ in range(FORGOTTEN_TIMES):
        ended = DBOS.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
            completed_before=before.isoformat(),
            limit=FORGOTTEN_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        DBOS.delete_workflows([item.workflow_id for item in ended])
        forgotten += len(ended)
        if len(ended) < FORGOTTEN_AT_ONCE:
            break
    return forgotten
