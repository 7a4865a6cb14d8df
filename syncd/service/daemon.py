"""The daemon: `syncd run` from its start to its end.

Five threads do the work, and talk through queues: the scheduler says what is due, the mover polls and
queues (`mover`), the engine's threads take versions along the path (`workflow`), the chores are
done beside them (`chores`), triggers are told (`firing`). The main thread does none of it. It ticks
twice a second: takes hints, leaves a beat, keeps the face alive, tells systemd, and acts on signals:

    SIGTERM, SIGINT   drain: no stage begins any more, those that run have [engine] drain to end;
                      a second one stops at once. Either way the next start goes on.
    SIGHUP            reads the configuration again; one with a mistake is refused whole

What is away is waited for (`patience`): nothing here ends because W&B, Oxen or the disk does.
"""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any

from syncd import log
from syncd.catalog.pulse import ENGINE
from syncd.config import Config
from syncd.durable import fleet, workflow
from syncd.durable.context import Context
from syncd.durable.fleet import Member
from syncd.errors import ConfigurationError, TransientError
from syncd.operations.webhooks import RELOAD
from syncd.refs import Target
from syncd.runtime import Runtime, check_store, engine_database
from syncd.service.child import Child
from syncd.service.chores import Chores
from syncd.service.firing import Firer
from syncd.service.mover import Mover
from syncd.service.notify import Notifier
from syncd.service.patience import ALWAYS, Waiting, probes
from syncd.service.reload import change
from syncd.service.scheduler import Job, Scheduler, spread
from syncd.service.vitals import Vitals

TICK = 0.5  # seconds between two looks at hints and children
BEAT = 5.0  # seconds between two beats
QUEUE_POLL = 0.25  # seconds between two looks of the engine at its queue
JUMP = 30.0  # seconds by which the wall clock must have gone astray to count as set
ENDING = 60.0  # seconds that the end may take beside the stages': a call into liboxen, the face
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line hands to the daemon.

    Args:
        face: the words of the process that serves HTTP; empty for none.
        load: reads the configuration again; raises `ConfigurationError`.
        log_as: sets up logging as a configuration says.
        version: of the program.
    """

    face: Sequence[str]
    load: Callable[[], Config]
    log_as: Callable[[Config], None]
    version: str


class Daemon:
    """A running daemon; everything in it is used by the main thread.

    Args:
        runtime: open clients; the caller holds the state directory's lock.
        settings: what the command line says.
        member: its place in the fleet.
        notifier: tells the service manager.
    """

    def __init__(
        self, runtime: Runtime, settings: Settings, member: Member, notifier: Notifier
    ) -> None:
        self._runtime, self._settings, self._notifier = runtime, settings, notifier
        self._member, self._shared = member, member.presence is not None
        self._told: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
        self._vitals = Vitals()
        self._patience = Waiting(probes(runtime), always=ALWAYS)
        self._mover = Mover(
            runtime,
            self._vitals,
            self._patience,
            self._told.put,
            locks=member.locks,
            shared=self._shared,
        )
        self._chores = Chores(
            runtime, self._patience, self._told.put, locks=member.locks, shared=self._shared
        )
        self._firer = Firer(runtime, self._told.put)
        self._context = Context(
            source=runtime.source,
            store=runtime.store,
            catalog=runtime.catalog,
            config=runtime.config,
            etagged=runtime.etagged,
            progress=self._vitals.bytes_passed,
            finished=self._mover.ended,
            entered=self._vitals.entered,
            patience=self._patience,
            locks=member.locks,
        )
        self._scheduler = Scheduler()
        self._face = Child("face", settings.face) if settings.face else None
        self._started = self._draining = False
        self._beaten = self._recovered = float("-inf")
        self._told_status = ""
        self._offset = time.time() - time.monotonic()

    def run(self) -> None:
        """Work until a signal ends it.

        Raises:
            BaseException: what ended a thread that nothing works without.
        """
        with self._signals():
            try:
                self._notifier.ready()
                while not self._patience.look() and not self._draining:
                    self._tick()  # the engine cannot even begin without room on the disk
                if not self._draining:
                    self._start()
                while not self._draining:
                    self._tick()
                self._drain()
            finally:
                self._context.deaths.let_go()  # whatever ended it, it was not what it moved
                if self._face is not None:
                    self._face.stop()

    def _start(self) -> None:
        config = self._runtime.config
        # It notes a server, too: what is in use by now explains a new folder.
        check_store(self._runtime)
        workflow.launch(
            self._context,
            database=engine_database(config),
            concurrency=config.transfer.concurrency,
            poll=QUEUE_POLL,
            executor_id=self._member.executor_id,
        )
        self._mover.start()
        self._chores.start()
        self._firer.start()
        self._scheduler.set(self._jobs())
        self._scheduler.start()
        self._started = True
        log.get().info(
            log.Life.DAEMON_STARTED,
            targets=[str(target) for target in self._targets()],
            pid=os.getpid(),
        )

    # --- every half second

    def _tick(self) -> None:
        try:
            told = self._told.get(timeout=TICK)
        except queue.Empty:
            told = 0
        match told:
            case BaseException():
                raise told
            case signal.SIGTERM | signal.SIGINT:
                self._draining = True
            case signal.SIGHUP if not self._draining:  # nothing begins under another one any more
                self._reload()
            case _:
                pass
        self._watch_clock()
        if self._face is not None:
            self._face.tick()
        try:
            self._take_hints()
            self._beat()
            self._recover()
        except TransientError:
            self._mover.suspect()  # told there; without a beat, others see that something is wrong
        busy = self._mover.busy and not self._patience.away
        if self._shared:  # what is on its way may be in other hands, for hours
            busy = busy and (self._vitals.working or self._mover.phase == "polling")
        if not self._vitals.stuck(busy=busy):
            self._notifier.alive()

    def _take_hints(self) -> None:
        """Hand hints to the mover, which takes each out of the catalog when it has been acted on."""
        self._mover.hinted(self._runtime.catalog.pulse.hints())

    def _beat(self) -> None:
        now = time.monotonic()
        phase = self._phase()
        if now - self._beaten < BEAT and phase == self._told_status:
            return
        self._beaten, self._told_status = now, phase
        waiting = [self._patience.describe(), self._mover.failing]
        waiting_for = "; ".join(text for text in waiting if text) or None
        pressure = self._context.limiter.pressure
        detail = self._vitals.detail(
            phase,
            lag=self._mover.lag(),
            limiter={"allowed": pressure.allowed, "most": pressure.most},
            queue=self._mover.queued,
            waiting_for=waiting_for,
            version=self._settings.version,
        )
        name = f"{ENGINE}{self._member.executor_id}"
        self._runtime.catalog.pulse.beat(name, detail, at=time.time())
        queued = f"{self._mover.queued} versions on their way"
        self._notifier.status(f"{phase}; {queued}" + (f"; {waiting_for}" if waiting_for else ""))

    def _recover(self) -> None:
        """Give the work of members that are gone back to the queue."""
        now = time.monotonic()
        if self._started and not self._draining and now - self._recovered >= fleet.RECOVER:
            fleet.recover(self._member)
            self._recovered = now

    def _phase(self) -> str:
        if self._draining:
            return "draining"
        return "away" if self._patience.away else self._mover.phase

    def _watch_clock(self) -> None:
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > JUMP:
            seconds = round(offset - self._offset, 1)
            log.get().warning(log.Life.CLOCK_JUMPED, seconds=seconds)
            self._scheduler.again()
        self._offset = offset

    # --- what the configuration says

    def _targets(self) -> list[Target]:
        return [Target.parse(str(text)) for text in self._runtime.config.wandb.projects]

    def _jobs(self) -> list[Job]:
        every = self._runtime.config.schedule.poll
        polls = [
            Job(
                name=f"poll {target}",
                every=every,
                fire=partial(self._mover.poll, target),
                first=timedelta(),
                jitter=spread(every),
            )
            for target in self._targets()
        ]
        return [*polls, *self._chores.jobs()]

    def _reload(self) -> None:
        self._notifier.reloading()
        try:
            found = change(self._runtime.config, self._settings.load())
        except ConfigurationError as error:
            log.get().error(log.Life.RELOAD_REFUSED, problems=error.problems, hint=error.hint)
        else:
            self._apply(found.config)
            if self._face is not None and "wandb.projects" in found.applied:
                self._face.tell(RELOAD)  # it hears of new versions there
            log.get().info(
                log.Life.RELOAD_DONE, applied=list(found.applied), needs_restart=list(found.held)
            )
        self._notifier.ready()

    def _apply(self, config: Config) -> None:
        self._settings.log_as(config)
        self._runtime = replace(self._runtime, config=config)
        self._context.config = config
        self._mover.exchange(self._runtime)
        self._chores.runtime = self._firer.runtime = self._runtime
        self._scheduler.set(self._jobs())

    # --- the end

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Hear signals in the main thread, as something that is told."""

        def hear(number: int, _frame: FrameType | None) -> None:
            if self._draining and number != signal.SIGHUP:
                self._stop_now()
            self._told.put(number)

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before: dict[int, Any] = {number: signal.signal(number, hear) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_now(self) -> None:
        """End as a kill would: whatever was on its way goes on at the next start."""
        if self._face is not None:
            self._face.stop(timeout=0)
        os._exit(INTERRUPTED)

    def _drain(self) -> None:
        seconds = self._runtime.config.engine.drain.total_seconds()
        log.get().info(
            log.Life.DAEMON_STOPPING, stages=self._patience.busy, at_most_seconds=seconds
        )
        self._notifier.stopping(seconds + ENDING)
        if not self._started:
            return
        self._scheduler.stop()
        self._mover.stop()
        self._chores.stop()
        self._firer.stop()
        self._patience.close()
        self._context.deaths.let_go()  # before the service manager runs out of patience
        deadline = time.monotonic() + seconds
        while not self._patience.quiet(TICK) and time.monotonic() < deadline:
            self._tick()
        left = self._patience.busy
        workflow.stop()
        log.get().info(log.Life.DAEMON_STOPPED, cut_off=left)
