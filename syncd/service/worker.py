"""A worker: takes versions from the queue that others fill, until it is told to stop.

It never looks for new versions. What is away it waits for, as the daemon does. It gives the work of
members that are gone back to the queue, as every member does, and leaves a beat, so that whoever
shows the state knows of it.
"""

from __future__ import annotations

import threading
import time

from syncd import log
from syncd.catalog.pulse import ENGINE
from syncd.durable import fleet, workflow
from syncd.durable.context import Context, Outcome
from syncd.durable.fleet import Member
from syncd.errors import TransientError
from syncd.runtime import Runtime, engine_database
from syncd.service.patience import ALWAYS, Waiting, probes

TICK = 0.5  # seconds between two looks whether it is to stop
LOOK_AGAIN = 5.0  # seconds between two looks after members that are gone, and between two beats


class Worker:
    """A running worker.

    Args:
        runtime: open clients; the caller holds the state directory's lock.
        member: its place in the fleet.
        version: of the program.
    """

    def __init__(self, runtime: Runtime, member: Member, version: str) -> None:
        self._runtime, self._member, self._version = runtime, member, version
        self._lock = threading.Lock()
        self._errors: dict[str, int] = {}
        self._ended = 0
        self._looked = float("-inf")
        self._phase, self._since = "", time.time()
        self._patience = Waiting(probes(runtime), always=ALWAYS)
        self._context = Context(
            source=runtime.source,
            store=runtime.store,
            catalog=runtime.catalog,
            config=runtime.config,
            etagged=runtime.etagged,
            finished=self._finished,
            patience=self._patience,
            locks=member.locks,
        )

    def start(self) -> None:
        """Begin to take versions from the queue."""
        workflow.launch(
            self._context,
            database=engine_database(self._runtime.config),
            concurrency=self._runtime.config.transfer.concurrency,
            executor_id=self._member.executor_id,
        )
        log.get().info(log.Life.WORKER_STARTED, executor=self._member.executor_id)

    def tick(self) -> None:
        """What is to be done now and then; to be called over and over."""
        time.sleep(TICK)
        if time.monotonic() - self._looked < LOOK_AGAIN:
            return
        self._looked = time.monotonic()
        phase = "moving" if self._member.locks.busy else "waiting"
        try:
            fleet.recover(self._member)
            self._beat("away" if self._patience.away else phase)
        except TransientError as error:
            log.get().warning(log.Life.CALL_RETRIED, error=str(error), hint=error.hint)

    def drain(self, seconds: int) -> None:
        """Let no stage begin any more, and wait at most so long for those that run.

        Others go on with the rest, from there.
        """
        log.get().info(log.Life.WORKER_STOPPING, at_most_seconds=seconds)
        self._patience.close()
        self._context.deaths.let_go()
        self._beat("draining")
        self._patience.quiet(seconds)
        left = self._patience.busy
        workflow.stop()
        log.get().info(log.Life.WORKER_STOPPED, ended=self._ended, cut_off=left)

    def _finished(self, outcome: Outcome) -> None:
        with self._lock:
            self._ended += 1
            if stage := outcome.get("stage"):
                self._errors[stage] = self._errors.get(stage, 0) + 1

    def _beat(self, phase: str) -> None:
        now = time.time()
        if phase != self._phase:
            self._phase, self._since = phase, now
        pressure = self._context.limiter.pressure
        detail = {
            "phase": phase,
            "since": self._since,
            "last_poll": {},
            "lag": {},
            "transfers": [],
            "limiter": {"allowed": pressure.allowed, "most": pressure.most},
            "queue": self._member.locks.busy,
            "waiting_for": self._patience.describe(),
            "errors": dict(self._errors),
            "version": self._version,
        }
        self._runtime.catalog.pulse.beat(f"{ENGINE}{self._member.executor_id}", detail, at=now)
