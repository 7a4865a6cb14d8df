"""Lines: versions on their way into the engine, one line per Oxen repository.

Versions of a repository are queued in order. A version waits until the inputs of the run that
logged it have been moved (or have failed), so that a model's commit can name the commit of its
data. More may be added at any time; what is on its way already is not added twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from syncd.catalog.catalog import Record, State
from syncd.clients.artifacts import Version
from syncd.durable import engine, handover, workflow
from syncd.durable.context import Outcome
from syncd.durable.handover import EndedUnheardError
from syncd.errors import NotFoundError
from syncd.refs import RepoRef, RunRef
from syncd.runtime import Runtime
from syncd.stages.discover import Discovered
from syncd.stages.plan import destination


class Lines:
    """What waits and what runs; used by one thread.

    Args:
        runtime: open clients; may be exchanged for one with another configuration.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.open: dict[str, Discovered] = {}  # all that have not ended, by id
        self.running: dict[str, str] = {}  # artifact id -> workflow id
        self._waits: dict[str, set[str]] = {}
        self._lines: dict[RepoRef, deque[Discovered]] = {}

    def add(self, items: Iterable[Discovered], uses: Mapping[str, Iterable[str]]) -> None:
        """Put versions into their lines, unless they are on their way.

        Args:
            items: the versions, in order within a collection.
            uses: see `uses`.
        """
        new = {item.version.id: item for item in items if item.version.id not in self.open}
        self.open |= new
        for own, item in new.items():
            self._waits[own] = {used for used in uses.get(own, ()) if used in self.open} - {own}
            repo, _ = destination(item.version, self.runtime.config)
            self._lines.setdefault(repo, deque()).append(item)

    def release(self, most: int | None = None) -> bool:
        """Hand what waits for nothing over to the engine; when that fails, it is there for the next.

        One of each line in turn: each costs a few writes, and a repository takes one at a time.

        Args:
            most: how many at most, None for all.

        Returns:
            Whether there were more.

        Raises:
            TransientError: when the catalog cannot be written.
        """
        left = most
        while ready := [repo for repo, line in self._lines.items() if self._ready(line)]:
            for repo in ready:
                if left == 0:
                    return True
                item = self._lines[repo][0]
                self.running[item.version.id] = _enqueue(self.runtime, item, repo)
                self._lines[repo].popleft()
                left = left - 1 if left is not None else None
        self._lines = {repo: line for repo, line in self._lines.items() if line}
        if not self.running and self._lines:
            # A circle: a run logged a version and then used a later one. The oldest goes first.
            oldest = min(
                (line[0].version for line in self._lines.values()),
                key=lambda version: (version.created_at, str(version.ref)),
            )
            self._waits[oldest.id] = set()
            return self.release(most)
        return False

    def _ready(self, line: deque[Discovered]) -> bool:
        """Whether the first of a line waits for nothing."""
        while line and line[0].version.id not in self.open:
            line.popleft()  # somebody else brought it to its end
        return bool(line) and not self._waits[line[0].version.id] & self.open.keys()

    def ended(self, artifact_id: str) -> bool:
        """A version reached its end; whether it was on its way."""
        self.running.pop(artifact_id, None)
        self._waits.pop(artifact_id, None)
        return self.open.pop(artifact_id, None) is not None

    def again(self, artifact_id: str) -> None:
        """Hand a version over anew whose workflow was cancelled: of a path that nobody speaks any more.

        Raises:
            TransientError: when the catalog cannot be written.
        """
        item = self.open.get(artifact_id)
        if item is not None:
            repo, _ = destination(item.version, self.runtime.config)
            self.running[artifact_id] = _enqueue(self.runtime, item, repo)

    def over(self) -> dict[str, Outcome | EndedUnheardError | None]:
        """Versions whose workflow is over, wherever it ran: how it ended, None when it was cancelled."""
        artifacts = {workflow_id: artifact_id for artifact_id, workflow_id in self.running.items()}
        ends = handover.ended(artifacts)
        return {artifacts[workflow_id]: end for workflow_id, end in ends.items()}


def uses(
    runtime: Runtime,
    versions: Sequence[Version],
    *,
    known: dict[RunRef, frozenset[str]] | None = None,
    asked: Callable[[], None] = lambda: None,
) -> dict[str, frozenset[str]]:
    """For each version the ids of those that the run which logged it had used before.

    Args:
        runtime: open clients.
        versions: those that are to be moved.
        known: by run, what is known of that; filled as it is asked, so that whoever was interrupted
            after thousands of runs need not ask again.
        asked: called for each run that was asked for: there may be one for each version.
    """
    inputs = {} if known is None else known
    for run in dict.fromkeys(version.run for version in versions):
        if run is None or run in inputs:
            continue
        try:
            inputs[run] = frozenset(used.id for used in runtime.source.run(run).inputs)
        except NotFoundError:
            inputs[run] = frozenset()  # its own workflow reports it
        asked()
    return {version.id: inputs[version.run] for version in versions if version.run is not None}


def _enqueue(runtime: Runtime, item: Discovered, repo: RepoRef) -> str:
    record = runtime.catalog.get(item.version.id)
    if record is not None and engine.unfinished(record.workflow_id):
        return record.workflow_id  # begun by a process that was killed; the engine goes on with it
    # The engine may know of attempts that a lost or rebuilt catalog does not. One that it does not
    # know is being queued by somebody else at this moment, or was about to be when that was killed.
    known = record is not None and engine.known(record.workflow_id)
    after = record.attempts if record else 0
    attempt = engine.next_attempt(item.version.id, after=after if known else max(after - 1, 0))
    workflow_id = engine.workflow_id(item.version.id, attempt)
    # Before it is queued: whoever takes it writes where it stands from then on.
    runtime.catalog.note(
        item.version,
        record.state if record and _under_way(record) else State.WAITING,
        attempts=attempt,
        workflow_id=workflow_id,
        namespace=repo.namespace,
        repo=repo.repo,
    )
    workflow.enqueue(
        item.version,
        attempt=attempt,
        partition=str(repo),
        replacement_id=item.replacement.id if item.replacement else "",
    )
    return workflow_id


def _under_way(record: Record) -> bool:
    return record.state is State.REPLACE  # a replacement may have been logged: look before again
