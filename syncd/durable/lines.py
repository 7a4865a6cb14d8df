"""Lines: versions on their way into the engine, one line per Oxen repository.

Versions of a repository are queued in order. A version waits until the inputs of the run that
logged it have been moved (or have failed), so that a model's commit can name the commit of its
data. More may be added at any time; what is on its way already is not added twice.

There may be millions of versions and as many repositories. The engine is handed some thousands at a
time, because each look at its queue costs as much as there is in it; and of the lines only those are
looked at that an end may have let go on.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from sys import intern

from syncd.catalog.catalog import Record, State
from syncd.clients.artifacts import Version
from syncd.durable import engine, handover, workflow
from syncd.durable.context import Outcome
from syncd.durable.handover import EndedUnheardError
from syncd.errors import NotFoundError
from syncd.refs import ArtifactRef, RepoRef, RunRef, Target
from syncd.runtime import Runtime
from syncd.stages.discover import Discovered
from syncd.stages.plan import destination

MOST = 4000  # versions in the engine's queue, enough for all machines that may take some
AHEAD = 16  # of them of one repository, which has one moved at a time


class Lines:
    """What waits and what runs; used by one thread.

    Args:
        runtime: open clients; may be exchanged for one with another configuration.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.open: dict[str, Discovered] = {}  # all that have not ended, by id
        self.running: dict[str, str] = {}  # artifact id -> workflow id
        self._lines: dict[RepoRef, deque[Discovered]] = {}
        self._waits: dict[str, Iterator[str]] = {}  # inputs that were not looked at yet, by id
        self._ready: dict[RepoRef, None] = {}  # lines that may go on, in order
        self._stopped: dict[RepoRef, str] = {}  # the input that the first of a line waits for
        self._behind: dict[str, list[RepoRef]] = {}  # the same the other way round
        self._ahead: Counter[RepoRef] = Counter()  # versions of a line that run
        self._places: dict[str, RepoRef] = {}  # of those, by id

    def add(self, items: Iterable[Discovered], uses: Mapping[str, Iterable[str]]) -> None:
        """Put versions into their lines, unless they are on their way.

        Args:
            items: the versions, in order within a collection.
            uses: see `uses`.

        Raises:
            TransientError: when the catalog cannot be written; then nothing is added.
        """
        new = {item.version.id: item for item in items if item.version.id not in self.open}
        self.runtime.catalog.wait([item.version for item in new.values()])
        self.open |= new
        for own, item in new.items():
            if used := uses.get(own):
                self._waits[own] = iter(used)
            repo, _ = destination(item.version, self.runtime.config)
            self._lines.setdefault(repo, deque()).append(item)
            self._ready[repo] = None

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
        bound = MOST if most is None else min(MOST, len(self.running) + most)
        while self._lines and len(self.running) < bound:
            if self._ready:
                self._advance(next(iter(self._ready)))
            elif self.running:
                break
            else:
                # A circle: a run logged a version and then used a later one. The oldest goes first.
                repo, oldest = min(
                    ((repo, line[0].version) for repo, line in self._lines.items()),
                    key=lambda place: (place[1].created_at, str(place[1].ref)),
                )
                self._waits.pop(oldest.id, None)
                self._stopped.pop(repo, None)
                self._ready[repo] = None
        return bool(self._ready) and len(self.running) < MOST

    def ended(self, artifact_id: str) -> bool:
        """A version reached its end; whether it was on its way."""
        self.running.pop(artifact_id, None)
        self._waits.pop(artifact_id, None)
        item = self.open.pop(artifact_id, None)
        if item is None:
            return False
        own = self._places.pop(artifact_id, None)
        if own is not None:
            self._ahead[own] -= 1
            if not self._ahead[own]:
                del self._ahead[own]
        else:  # somebody else brought it to its end
            own, _ = destination(item.version, self.runtime.config)
            line = self._lines.get(own)
            if line and line[0].version.id == artifact_id:
                self._stopped.pop(own, None)
        after = self._behind.pop(artifact_id, ())
        self._ready |= {repo: None for repo in (own, *after) if repo in self._lines}
        return True

    def _advance(self, repo: RepoRef) -> None:
        """Hand over the next of a line, and let others have their turn; when it fails, it stays ready."""
        line = self._lines[repo]
        while line and (line[0].version.id not in self.open or line[0].version.id in self.running):
            line.popleft()  # somebody else brought it to its end
        goes_on = False
        if line and self._ahead[repo] < AHEAD and not self._is_stopped(repo, line[0].version.id):
            item = line[0]
            self.running[item.version.id] = _enqueue(self.runtime, item, repo)
            self._places[item.version.id] = repo
            self._ahead[repo] += 1
            line.popleft()
            goes_on = bool(line) and self._ahead[repo] < AHEAD
        del self._ready[repo]
        if goes_on:
            self._ready[repo] = None  # behind all others
        if not line:
            del self._lines[repo]

    def _is_stopped(self, repo: RepoRef, own: str) -> bool:
        """Whether the first version of a line waits for an input.

        Not for one of its own collection: those go in order, and a later one would be a circle.
        """
        if self._stopped.get(repo) in self.open:
            return True
        self._stopped.pop(repo, None)
        collection = Target.of(self.open[own].version.ref)
        for used in self._waits.get(own, ()):
            other = self.open.get(used)
            if other is not None and Target.of(other.version.ref) != collection:
                self._stopped[repo] = used
                self._behind.setdefault(used, []).append(repo)
                return True
        self._waits.pop(own, None)
        return False

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


def slim(item: Discovered) -> Discovered:
    """A version as it waits: its names, each once in memory, its size and its run.

    Millions may wait; everything about one is read again when its turn comes.
    """
    made = item.replacement
    return replace(item, version=_short(item.version), replacement=_short(made) if made else None)


def _short(version: Version) -> Version:
    ref, run = version.ref, version.run
    return Version(
        id=version.id,
        ref=ArtifactRef(
            entity=intern(ref.entity),
            project=intern(ref.project),
            collection=intern(ref.collection),
            alias=intern(ref.alias),
        ),
        type=intern(version.type),
        digest="",
        size=version.size,
        file_count=version.file_count,
        created_at=version.created_at,
        run=run
        and RunRef(
            entity=intern(run.entity), project=intern(run.project), run_id=intern(run.run_id)
        ),
    )


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
