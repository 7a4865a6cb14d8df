"""When things are due. Jobs only say so; what they set off happens elsewhere.

APScheduler counts in wall time: after the clock was set back, a job would not be due for as long as
it went back. `again` makes everything due anew; whoever watches the clock calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]

from syncd import log

JITTER = 0.1  # of the time between two runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that is due again and again.

    Args:
        name: names it in the log; one job of a name at a time.
        every: time between two runs.
        fire: says that it is due; returns at once, from any thread.
        first: time until the first run.
        jitter: seconds that a run may be early or late, so that many do not knock together.
    """

    name: str
    every: timedelta
    fire: Callable[[], None]
    first: timedelta = timedelta()
    jitter: float = 0.0


def spread(every: timedelta) -> float:
    """The jitter of a job that asks a service, seconds."""
    return every.total_seconds() * JITTER


class Scheduler:
    """The jobs of a process."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        # A run that is late is run, however late; of several that were missed, one. One that is due while
        # it is being said is said again: APScheduler would leave it out until the next time.
        defaults = {"coalesce": True, "max_instances": 10, "misfire_grace_time": None}
        self._scheduler = BackgroundScheduler(timezone=UTC, job_defaults=defaults, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """Nothing is due any more."""
        self._scheduler.shutdown(wait=False)

    def set(self, jobs: Iterable[Job]) -> None:
        """Have these jobs and no others; one that is there with the same times goes on as it was."""
        wanted = {job.name: job for job in jobs}
        for name in self._jobs.keys() - wanted.keys():
            self._scheduler.remove_job(name)
        for name, job in wanted.items():
            before = self._jobs.get(name)
            if before is None or before.every != job.every:
                # A longer or shorter time counts from now; what is new has its own first time.
                self._schedule(job, job.first if before is None else min(job.every, before.every))
        self._jobs = wanted

    def again(self) -> None:
        """Make everything due now: the clock was changed, and nobody knows what was missed."""
        for job in self._jobs.values():
            self._schedule(job, timedelta())

    def _schedule(self, job: Job, first: timedelta) -> None:
        def fire() -> None:
            log.get().debug(log.Life.SCHEDULE_FIRED, job=job.name)
            self._jobs[job.name].fire()

        self._scheduler.add_job(
            fire,
            "interval",
            seconds=job.every.total_seconds(),
            jitter=job.jitter or None,
            id=job.name,
            replace_existing=True,
            next_run_time=datetime.now(UTC) + first,
        )
