"""Chores: what is done now and then beside moving, one at a time, in a thread of its own.

Each leaves a beat under its name that says when it was last done and how it went: whoever shows the
state reads it, and verification goes on from there after a restart.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from syncd import log
from syncd.catalog.backup import backup
from syncd.catalog.pulse import ENGINE, GONE
from syncd.config import Config
from syncd.durable import engine
from syncd.durable.locks import Locks
from syncd.errors import SyncdError, TransientError
from syncd.operations import audit, sweep
from syncd.refs import Target
from syncd.runtime import Runtime
from syncd.service.patience import Waiting
from syncd.service.scheduler import Job
from syncd.versions import guards

VERIFY, RECLAIM, BACKUP, TIDY = "verify", "reclaim", "backup", "tidy"
LEAST_PARTS, MOST_PARTS = (
    7,
    168,
)  # of verification; at most one part an hour where there are so many
PART = timedelta(hours=1)
TIDY_EVERY = timedelta(hours=1)
SOON = timedelta(minutes=10)  # after which what was never done is done
LATELY = 0.9  # of the time between two: done by another daemon since, it is not due here
SHOWN = 20  # versions with problems that a beat names


def parts(whole: timedelta) -> int:
    """In how many parts everything is verified.

    Args:
        whole: time in which all of it is.
    """
    return max(LEAST_PARTS, min(MOST_PARTS, whole // PART))


class Chores:
    """The thread that does them.

    Args:
        runtime: open clients; may be exchanged for one with another configuration.
        patience: told when a service does not answer.
        died: told when the thread ends by a failure that nobody expected.
        locks: among all daemons that share the chores.
        shared: whether there may be others, so that what one of them did need not be done again.
    """

    def __init__(
        self,
        runtime: Runtime,
        patience: Waiting,
        died: Callable[[BaseException], None],
        *,
        locks: Locks | None = None,
        shared: bool = False,
    ) -> None:
        self.runtime = runtime
        self._patience, self._died = patience, died
        self._locks, self._shared = locks or Locks(), shared
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._waiting: set[str] = set()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing any more."""
        self._stopped = True
        self._told.put("")

    def do(self, name: str) -> None:
        """Do a chore soon; asked twice before it began is once."""
        if name not in self._waiting:
            self._waiting.add(name)
            self._told.put(name)

    def jobs(self) -> list[Job]:
        """When which of them is due, by the configuration."""
        return [
            Job(
                name=name,
                every=interval,
                fire=partial(self.do, name),
                first=_rest(self._last(name), interval, time.time()),
            )
            for name, interval in self._intervals().items()
        ]

    def _intervals(self) -> dict[str, timedelta]:
        """The time between two times that each is done."""
        schedule = self.runtime.config.schedule
        every = {
            VERIFY: schedule.verify / parts(schedule.verify),
            BACKUP: schedule.backup,
            TIDY: TIDY_EVERY,
        }
        policies = {self.runtime.config.reclaim.policy, self._last(RECLAIM).get("policy")}
        if policies - {guards.NONE, None}:
            every[RECLAIM] = (
                schedule.reclaim
            )  # once more after "none", which takes back time to live
        return every

    # --- in its thread

    def _run(self) -> None:
        try:
            while name := self._told.get():
                self._waiting.discard(name)
                self._patience.until_back()
                # Daemons that share a database share their chores: one does it, for all.
                with self._locks.alone(f"chore {name}"):
                    if not self._stopped and not (self._shared and self._done_lately(name)):
                        self._do(name)
        except BaseException as error:  # noqa: BLE001 the process must not go on without it
            self._died(error)

    def _done_lately(self, name: str) -> bool:
        """Whether it was done, by whomever, in the time in which it is to be done once."""
        last, every = self._last(name), self._intervals().get(name)
        if not last or every is None:
            return False
        # One that lies far ahead was written under a clock that was wrong.
        passed: float = abs(time.time() - last["at"])
        return passed < LATELY * every.total_seconds()

    def _do(self, name: str) -> None:
        runtime = self.runtime
        try:
            match name:
                case "verify":
                    done = self._verify(runtime)
                case "reclaim":
                    done = _reclaim(runtime)
                case "backup":
                    done = _backup(runtime.config)
                case _:
                    runtime.catalog.pulse.forget(ENGINE, before=time.time() - GONE)
                    done = {"forgotten": engine.forget_ended(datetime.now(UTC) - engine.KEPT)}
            if done is None:
                return  # cut off; it is begun anew
            runtime.catalog.pulse.beat(name, done, at=time.time())
        except Exception as error:  # noqa: BLE001 the next time it is due is the next attempt
            hint = error.hint if isinstance(error, SyncdError) else ""
            log.get().error(log.Life.CHORE_FAILED, chore=name, error=str(error), hint=hint)
            if isinstance(error, TransientError):
                self._patience.ask()
            return
        log.get().info(log.Life.CHORE_DONE, chore=name, **done)

    def _verify(self, runtime: Runtime) -> dict[str, Any] | None:
        """Prove the next part of everything that was moved."""
        count = parts(runtime.config.schedule.verify)
        number = int(self._last(VERIFY).get("part", 0)) % count + 1
        part = audit.Part.parse(subset=f"{number}/{count}")
        seen, wrong = 0, []
        for found in audit.verify_all(runtime, _targets(runtime.config), part):
            if self._stopped:
                return None
            seen += 1
            if found["problems"]:
                wrong.append(f"{found['version']}: {found['problems'][0]}")
        return {
            "part": number,
            "parts": count,
            "versions": seen,
            "failed": len(wrong),
            "problems": wrong[:SHOWN],
        }

    def _last(self, name: str) -> Mapping[str, Any]:
        """What it left the last time, with `at`; empty when it was never done."""
        beats = self.runtime.catalog.pulse.beats()
        return next(({**beat.detail, "at": beat.at} for beat in beats if beat.name == name), {})


def _rest(last: Mapping[str, Any], every: timedelta, now: float) -> timedelta:
    """Time until a chore is due again."""
    if not last:
        return min(every, SOON)
    passed = timedelta(seconds=abs(now - last["at"]))
    return max(timedelta(), every - passed)


def _reclaim(runtime: Runtime) -> dict[str, Any]:
    now = partial(datetime.now, UTC)
    planned = sweep.plan(runtime, _targets(runtime.config), now())
    report = sweep.execute(planned, runtime, now)
    return {
        "policy": report.policy,
        "removed": len(report.removals),
        "stay": report.stay,
        "failed": len(report.failures),
        "freed": report.freed,
    }


def _backup(config: Config) -> dict[str, Any]:
    folder = config.engine.state_dir / "backups"
    made = backup(str(config.engine.database), folder, keep=config.engine.backups)
    return {"file": made.name, "bytes": made.stat().st_size} if made else {"file": None}


def _targets(config: Config) -> list[Target]:
    return [Target.parse(str(target)) for target in config.wandb.projects]
