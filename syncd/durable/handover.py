"""Work in other hands, as the engine keeps it: whose it is, giving it back, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from dbos import DBOS

from syncd.catalog.database import batches, of_database, room
from syncd.durable.context import Outcome
from syncd.durable.engine import PATH_VERSION, QUEUE, UNFINISHED, artifact_of
from syncd.errors import SyncdError

ENDED = ["SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
CANCELLED_AT_A_TIME = 1000
STRAY = (
    60.0  # seconds that begun work may have no thread; an outcome may be on its way to be written
)


class EndedUnheardError(SyncdError):
    """A workflow ended with an exception, which none does that is right.

    Args:
        message: which, and with what.
        state: where it was the state of a database and nobody's fault, that.
    """

    default_hint = "This looks like a bug in syncd; nothing was lost. Report it with the debug log."

    def __init__(self, message: str, *, state: Exception | None = None) -> None:
        super().__init__(message)
        self.state = state


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


class Strays:
    """Work that this process has begun by the engine's account, and that no thread of it is at.

    The engine starts a workflow after it has written so, and notes its end after it has ended. Where the
    second of the two fails, because the disk is full or a connection broke, the work would look
    begun until the process is started again, and its repository wait for it.

    Args:
        clock: seconds, never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def give_back(self, executor_id: str, at_work: Callable[[str], bool]) -> list[str]:
        """Give back to the queue what has had no thread for long; to be called over and over.

        Args:
            executor_id: this process.
            at_work: by artifact id, whether a thread is at it.

        Returns:
            The workflows' ids.

        Raises:
            DiskFullError: when there is no room to write so.
        """
        begun = DBOS.list_workflows(
            status="PENDING",
            app_version=PATH_VERSION,
            executor_id=executor_id,
            queue_name=QUEUE,
            load_input=False,
            load_output=False,
        )
        now = self._clock()
        self._since = {
            found.workflow_id: self._since.get(found.workflow_id, now)
            for found in begun
            if not at_work(artifact_of(found.workflow_id))
        }
        strays = [name for name, since in self._since.items() if now - since >= STRAY]
        if strays:
            with room("the engine's database"):
                DBOS.resume_workflows(strays, queue_name=QUEUE)
        return strays


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
                state = found.error if found.error and of_database(found.error) else None
                over[found.workflow_id] = EndedUnheardError(
                    f"workflow {found.workflow_id} ended with {found.status}: {found.error}",
                    state=state,
                )
    return over
