"""Vital signs: what a process that moves versions tells of itself, and whether it makes progress."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from syncd import log
from syncd.catalog.catalog import State
from syncd.durable.context import Outcome
from syncd.refs import Target
from syncd.versions.plans import TransferPlan

STALLED = 3600.0  # seconds without any sign of progress, after which a process counts as stuck


@dataclass(slots=True, kw_only=True)
class _Transfer:
    artifact: str
    stage: log.Stage
    total: int
    since: float
    done: int = 0
    told: int = 0  # of `done`, at the last look
    told_at: float = 0.0
    rate: float = 0.0


class Vitals:
    """What goes on; told by many threads.

    Args:
        clock: seconds, never set back; injected by tests.
        wall: Unix seconds; injected by tests.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._transfers: dict[str, _Transfer] = {}
        self._errors: Counter[str] = Counter()
        self._last_poll: dict[Target, float] = {}
        self._phase, self._since = "waiting", wall()
        self._moved_at = clock()
        self.replaced = 0  # versions since the start

    # --- what happens

    def progressed(self) -> None:
        """Something went on."""
        self._moved_at = self._clock()

    def entered(self, planned: TransferPlan, stage: log.Stage) -> None:
        """A stage of a version begins."""
        with self._lock:
            known = self._transfers.get(planned.version.id)
            if known is not None:
                known.stage = stage
            else:
                self._transfers[planned.version.id] = _Transfer(
                    artifact=str(planned.version.ref),
                    stage=stage,
                    total=planned.moved_bytes,
                    since=self._wall(),
                    told_at=self._clock(),
                )
        self.progressed()

    def bytes_passed(self, artifact_id: str, stage: log.Stage, count: int) -> None:
        """Bytes of a version were dealt with in a stage."""
        with self._lock:
            known = self._transfers.get(artifact_id)
            if known is not None and stage is log.Stage.TRANSFER:
                known.done += count
        self.progressed()

    def ended(self, outcome: Outcome) -> None:
        """A version reached its end."""
        with self._lock:
            self._transfers.pop(outcome["artifact_id"], None)
            if outcome["state"] == State.QUARANTINED:
                self._errors[outcome["stage"]] += 1
            elif outcome["state"] == State.REPLACED:
                self.replaced += 1
        self.progressed()

    def polled(self, target: Target) -> None:
        """A look for new versions went through, of all that the target covers."""
        with self._lock:
            covered = [other for other in self._last_poll if target.covers(other)]
            self._last_poll = self._last_poll | dict.fromkeys([target, *covered], self._wall())
        self.progressed()

    def watch(self, asked: Callable[[Target], bool]) -> None:
        """Say no more of targets that nobody looks at any longer.

        Args:
            asked: whether one is still looked at.
        """
        with self._lock:
            self._last_poll = {
                target: at for target, at in self._last_poll.items() if asked(target)
            }

    # --- what is told

    @property
    def projects(self) -> list[str]:
        """The projects that were looked at."""
        return [str(target) for target in self._last_poll if target.project]

    @property
    def working(self) -> bool:
        """Whether a version is moved by this process."""
        return bool(self._transfers)

    def stuck(self, *, busy: bool) -> bool:
        """Whether there is work, and nothing went on for longer than anything may take."""
        if not busy:
            self.progressed()
        return self._clock() - self._moved_at > STALLED

    def detail(
        self,
        phase: str,
        *,
        lag: Mapping[str, float],
        limiter: Mapping[str, Any],
        queue: int,
        waiting_for: str | None,
        version: str,
    ) -> dict[str, Any]:
        """The beat of a process that moves versions; times in Unix seconds, sizes in bytes."""
        with self._lock:
            if phase != self._phase:
                self._phase, self._since = phase, self._wall()
            now = self._clock()
            transfers = [_told(item, now) for item in self._transfers.values()]
            return {
                "phase": phase,
                "since": self._since,
                "last_poll": {str(target): at for target, at in self._last_poll.items()},
                "lag": dict(lag),
                "transfers": transfers,
                "limiter": dict(limiter),
                "queue": queue,
                "waiting_for": waiting_for,
                "errors": dict(self._errors),
                "replaced": self.replaced,
                "version": version,
            }


def _told(item: _Transfer, now: float) -> dict[str, Any]:
    if now > item.told_at:
        item.rate = (item.done - item.told) / (now - item.told_at)
        item.told, item.told_at = item.done, now
    return {
        "artifact": item.artifact,
        "stage": str(item.stage),
        "done": min(item.done, item.total),
        "total": item.total,
        "since": item.since,
        "rate": item.rate,
    }
