"""What all transfers of a process share: requests under way, bytes in memory, bytes a second.

`Pressure` and `Bucket` are arithmetic: time goes in as a number, and nothing waits. `Limiter` waits
for them, on behalf of every thread of every version.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from syncd.errors import ServiceUnavailableError

MIB = 1 << 20
MEMORY = 64 * MIB  # of chunks and small files; with the program itself this stays below 256 MiB
SMALL = 4  # times as many requests for small files: they mostly wait for the other side
CALM = 20  # answers in a row after which one more request may be under way
BURST_SECONDS = 1.0  # how much of a bandwidth may be saved up
Rate = Callable[[], int | None]  # bytes a second now, None for no limit


@dataclass(slots=True, kw_only=True)
class Pressure:
    """How many requests may be under way: halved when a service is busy, raised one by one.

    Args:
        most: requests at a time when all is well.
    """

    most: int
    allowed: int = field(init=False)
    resume_at: float = field(init=False, default=0.0)
    _halved_at: float = field(init=False, default=float("-inf"))
    _calm: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.allowed = self.most

    def refused(self, *, began: float, now: float, retry_after: float | None) -> None:
        """A service was busy.

        Args:
            began: when the request began. Those under way together count once: they all met the
                same moment.
            now: the time.
            retry_after: seconds in which the service wants to be left alone.
        """
        self._calm = 0
        if began >= self._halved_at:
            self.allowed = max(1, self.allowed // 2)
            self._halved_at = now
        if retry_after is not None:
            self.resume_at = max(self.resume_at, now + retry_after)

    def succeeded(self) -> None:
        """A request was answered."""
        self._calm += 1
        if self._calm >= CALM and self.allowed < self.most:
            self.allowed += 1
            self._calm = 0


@dataclass(slots=True)
class Bucket:
    """A token bucket that may be overdrawn: who takes more than there is waits for it afterwards."""

    _level: float = 0.0
    _filled_at: float | None = None

    def take(self, count: int, *, rate: int | None, now: float) -> float:
        """Seconds to wait after so many bytes.

        Args:
            count: bytes that passed.
            rate: bytes a second, None for no limit.
            now: the time.
        """
        if rate is None:
            self._filled_at = None
            return 0.0
        if self._filled_at is None:
            self._level, self._filled_at = 0.0, now
        gained = (now - self._filled_at) * rate
        self._level = min(self._level + gained, rate * BURST_SECONDS) - count
        self._filled_at = now
        return max(0.0, -self._level / rate)


class Limiter:
    """Bounds shared by all threads of a process.

    Whoever needs both takes `room` first and a `request` within it, never the other way round.

    Args:
        most: requests at a time, and SMALL times as many for small files beside them.
        memory: bytes that may be held at a time.
        rate: how many bytes may pass in a second, asked anew each time.
        clock: seconds; injected by tests.
        sleep: takes seconds; injected by tests.
    """

    def __init__(
        self,
        most: int,
        *,
        memory: int = MEMORY,
        rate: Rate = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.most = most
        self.pressure = Pressure(most=most)
        self._memory, self._rate = memory, rate
        self._clock, self._sleep = clock, sleep
        self._held = 0
        self._under_way = {False: 0, True: 0}  # by whether they are for small files
        self._bucket = Bucket()
        self._changed = threading.Condition()

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Hold so many bytes of memory for the block; more than there are counts as all."""
        share = min(size, self._memory)
        with self._changed:
            while self._held + share > self._memory:
                self._changed.wait()
            self._held += share
        try:
            yield
        finally:
            with self._changed:
                self._held -= share
                self._changed.notify_all()

    @contextmanager
    def request(
        self, *, small: bool = False
    ) -> Iterator[Callable[[ServiceUnavailableError], None]]:
        """One request under way; waits while a service wants to be left alone.

        A `ServiceUnavailableError` that leaves the block, or is told to what it gives, slows all
        down.

        Args:
            small: it is for one small file.
        """
        times = SMALL if small else 1
        with self._changed:
            while (wait := self.pressure.resume_at - self._clock()) > 0 or (
                self._under_way[small] >= self.pressure.allowed * times
            ):
                if wait > 0:
                    self._pause(wait)
                else:
                    self._changed.wait()
            self._under_way[small] += 1
            began = self._clock()
        busy: list[ServiceUnavailableError] = []
        try:
            yield busy.append
        except ServiceUnavailableError as error:
            busy.append(error)
            raise
        finally:
            with self._changed:
                self._under_way[small] -= 1
                now = self._clock()
                for cause in busy:
                    self.pressure.refused(began=began, now=now, retry_after=cause.retry_after)
                if not busy:
                    self.pressure.succeeded()
                self._changed.notify_all()

    def pace(self, count: int) -> None:
        """Wait for as long as so many bytes should take."""
        with self._changed:
            wait = self._bucket.take(count, rate=self._rate(), now=self._clock())
        if wait:
            self._sleep(wait)

    def _pause(self, seconds: float) -> None:
        self._changed.release()
        try:
            self._sleep(seconds)
        finally:
            self._changed.acquire()
