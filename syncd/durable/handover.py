"""Work in other hands, as the engine keeps it: whose it is, giving it back, and how it ended."""

from __future__ import annotations

from collections.abc import Collection

from dbos import DBOS

from syncd.catalog.database import batches
from syncd.durable.context import Outcome
from syncd.durable.engine import PATH_VERSION, QUEUE, UNFINISHED
from syncd.errors import SyncdError

ENDED = ["SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
CANCELLED_AT_A_TIME = 1000


class EndedUnheardError(SyncdError):
    """A workflow ended with an exception, which none does that is right."""

    default_hint = "This looks like a bug in syncd; nothing was lost. Report it with the debug log."


def pending_executors() -> set[str]:
    """The executors that have begun workflows of this path and not ended them."""
    begun = DBOS.list_workflows(
        status="PENDING", app_version=PATH_VERSION, load_input=False, load_output=False
    )
    return {found.executor_id for found in begun if found.executor_id}


def recover(executor_id: str) -> None:
    """Give all that an executor has begun back to the queue; it must not be running."""
    # The engine's own recovery, which it runs for its own id at its start and has no public name for
    # another one: `resume_workflow` would take the work out of its repository's line.
    DBOS._recover_pending_workflows([executor_id])  # noqa: SLF001


def other_paths() -> set[str]:
    """The versions of the path, this one apart, that ever worked on this database."""
    return {found["version_name"] for found in DBOS.list_application_versions()} - {PATH_VERSION}


def abandon(path: str) -> int:
    """Cancel what is left to do of a version of the path that nobody speaks; how many there were.

    The next look for new versions finds them not moved, and queues them for this path.
    """
    left = DBOS.list_workflows(
        status=sorted(UNFINISHED),
        app_version=path,
        queue_name=QUEUE,
        limit=CANCELLED_AT_A_TIME,
        load_input=False,
        load_output=False,
    )
    if left:
        DBOS.cancel_workflows([found.workflow_id for found in left])
    return len(left)


def ended(workflow_ids: Collection[str]) -> dict[str, Outcome | EndedUnheardError | None]:
    """Those of these workflows that are over, wherever they ran: how, None when cancelled."""
    over: dict[str, Outcome | EndedUnheardError | None] = {}
    for batch in batches(sorted(workflow_ids)):
        for found in DBOS.list_workflows(
            workflow_ids=list(batch), status=[*ENDED, "CANCELLED"], load_input=False
        ):
            if found.status == "CANCELLED":
                over[found.workflow_id] = None
            elif found.status == "SUCCESS" and isinstance(found.output, dict):
                over[found.workflow_id] = found.output
            else:
                over[found.workflow_id] = EndedUnheardError(
                    f"workflow {found.workflow_id} ended with {found.status}: {found.error}"
                )
    return over
