"""What one poll consists of: what is new is found and queued, aliases and runs are followed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta

from syncd import log
from syncd.catalog.catalog import Record, State
from syncd.clients.artifacts import utc
from syncd.deployment.triggers import enlist
from syncd.durable.following import finish_runs, follow_runs
from syncd.durable.lines import Lines, slim, uses
from syncd.durable.locks import Locks
from syncd.errors import PermanentError, SyncdError
from syncd.operations.backfill import follow_aliases, meet
from syncd.operations.births import keep_born
from syncd.refs import CollectionName, RepoRef, RunRef, Target
from syncd.runtime import Runtime, check_store
from syncd.service.vitals import Vitals
from syncd.stages.discover import Discovered, changed
from syncd.stages.plan import fingerprint

FIRST_RETRY = timedelta(hours=1)  # after which a version in quarantine is tried again, doubled
LONGEST_RETRY = timedelta(days=1)
RUNS_A_POLL = 20  # runs that are asked whether they have ended


class Polling:
    """What polls have read and asked, and do not read and ask again while it waits.

    Args:
        lines: what is on its way, and where what is found is put.
        vitals: told what goes on.
        queued: called when something was put into its line.
        locks: keep those apart who would write the same run's config.
    """

    def __init__(
        self, lines: Lines, vitals: Vitals, queued: Callable[[], None], locks: Locks
    ) -> None:
        self._locks = locks
        self._lines, self._vitals, self._queued = lines, vitals, queued
        self._read: dict[CollectionName, str] = {}  # see `discover.changed`
        self._turns: dict[Target, CollectionName] = {}  # likewise
        self._used: dict[RunRef, frozenset[str]] = {}  # what a poll that failed has asked of runs
        self._last_run = ""

    def forget(self, item: Discovered) -> None:
        """Read a version's collection again: what is to be done there has changed."""
        self._read.pop(item.version.ref.place, None)

    def works(
        self,
        runtime: Runtime,
        target: Target,
        new: list[Discovered],
        problems: list[SyncdError],
        hinted: Collection[CollectionName],
    ) -> Iterator[Callable[[], None]]:
        """What a poll consists of."""
        yield lambda: self._find(runtime, target, new, problems, hinted)
        yield lambda: self._queue_up(runtime, new)  # what is new does not wait for the runs
        if target.collection is None:
            yield lambda: follow_runs(runtime, target, most=RUNS_A_POLL)
            yield lambda: self._finish_runs(runtime)

    def _queue_up(self, runtime: Runtime, new: Sequence[Discovered]) -> None:
        """Put versions into their lines, behind what the runs that logged them had used."""
        versions = [item.version for item in new]
        used = uses(runtime, versions, known=self._used, asked=self._vitals.progressed)
        for version in versions:
            if version.run is not None:
                self._used.pop(version.run, None)
        self._lines.add(new, used)
        self._queued()

    def _find(
        self,
        runtime: Runtime,
        target: Target,
        new: list[Discovered],
        problems: list[SyncdError],
        hinted: Collection[CollectionName] = (),
    ) -> None:
        """Put the versions that are new into `new`, and what is wrong with others into `problems`."""
        config = runtime.config
        # Else each alias of what was moved would be told as a commit that is gone.
        check_store(runtime)
        heads: dict[RepoRef, dict[str, str]] = {}
        looks, decided = runtime.catalog.looks, fingerprint(config)
        moving = collections(self._lines)
        # While millions of versions wait for their turn, nobody asks for them again at each poll.
        self._read = {name: told for name, told in self._read.items() if name in moving}
        found = changed(
            runtime.source,
            looks,
            [target],
            config.select,
            decided,
            under_way=self._read,
            turns=self._turns,
            hinted=hinted,
        )
        aside: set[CollectionName] = set()
        met: set[RepoRef] = set()
        for item in found:
            meet(item, met)
            self._vitals.progressed()
            enlist(runtime.catalog, config, item.version)  # what was born in Oxen never moves
            keep_born(runtime, item.version)
            if not item.skip:
                if item.version.id in self._lines.open:
                    continue
                if self._wanted(runtime, item):
                    new.append(slim(item))
                else:
                    aside.add(item.version.ref.place)
            # Where versions move, their aliases move with them; a later poll looks again.
            elif item.version.ref.place not in moving:
                try:
                    follow_aliases(runtime, item, heads)
                except PermanentError as error:
                    problems.append(error)
        for name in aside:  # its time, or a person, lets it go on
            self._read.pop(name, None)
        if new:
            check_store(runtime, met, begins=True)
            log.get().info(log.Stage.DISCOVER.done, target=str(target), pending=len(new))

    def _wanted(self, runtime: Runtime, item: Discovered) -> bool:
        record = runtime.catalog.get(item.version.id)
        return record is None or record.state is not State.QUARANTINED or due(record, time.time())

    def _finish_runs(self, runtime: Runtime) -> None:
        """Write the config of runs that have ended by now; some of them each time, in turn."""
        waiting = sorted(runtime.catalog.runs_due(), key=str)
        later = [run for run in waiting if str(run) > self._last_run]
        for run in (later or waiting)[:RUNS_A_POLL]:
            self._last_run = str(run)
            finish_runs(runtime, [run], self._locks)


def collections(lines: Lines) -> set[CollectionName]:
    """The collections that have versions on their way."""
    return {item.version.ref.place for item in lines.open.values()}


def due(record: Record, now: float) -> bool:
    """Whether a version in quarantine is to be tried again: an hour later, two, four, a day.

    Args:
        record: what is known of it.
        now: Unix seconds.
    """
    doublings = min(max(record.attempts - 1, 0), 60)
    wait = min(FIRST_RETRY.total_seconds() * 2.0**doublings, LONGEST_RETRY.total_seconds())
    # What failed under a clock that was ahead does not wait until that time has come.
    return abs(now - utc(record.updated_at).timestamp()) >= wait
