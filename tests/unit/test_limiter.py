"""The limiter: fewer requests when a service is busy, no more bytes than allowed; without waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from syncd.errors import ServiceUnavailableError
from syncd.limiter import CALM, SMALL, Bucket, Limiter, Pressure

MIB = 1 << 20


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds


# --- how many requests


def test_each_refusal_halves_down_to_one() -> None:
    """And never to none."""
    pressure = Pressure(most=16)
    seen = []
    for now in range(6):
        pressure.refused(began=float(now), now=float(now), retry_after=None)
        seen.append(pressure.allowed)

    assert seen == [8, 4, 2, 1, 1, 1]


def test_requests_that_were_under_way_together_halve_once() -> None:
    """Sixteen refusals of one moment say no more than one."""
    pressure = Pressure(most=16)
    for _ in range(16):
        pressure.refused(began=1.0, now=2.0, retry_after=None)

    assert pressure.allowed == 8


def test_calm_raises_one_by_one_up_to_the_most() -> None:
    """So many answers in a row for each."""
    pressure = Pressure(most=4)
    pressure.refused(began=1.0, now=1.0, retry_after=None)
    seen = []
    for _ in range(4):
        for _ in range(CALM - 1):
            pressure.succeeded()
        before = pressure.allowed
        pressure.succeeded()
        seen.append((before, pressure.allowed))

    assert seen == [(2, 3), (3, 4), (4, 4), (4, 4)]


def test_a_refusal_begins_the_calm_anew() -> None:
    """In a row means in a row."""
    pressure = Pressure(most=4)
    pressure.refused(began=1.0, now=1.0, retry_after=None)
    for _ in range(CALM - 1):
        pressure.succeeded()
    pressure.refused(began=0.5, now=2.0, retry_after=None)  # of the same moment as the first
    pressure.succeeded()

    assert pressure.allowed == 2


def test_the_longest_wait_that_was_asked_for_counts() -> None:
    """Whichever came last."""
    pressure = Pressure(most=4)
    pressure.refused(began=1.0, now=1.0, retry_after=30.0)
    pressure.refused(began=1.0, now=2.0, retry_after=5.0)

    assert pressure.resume_at == 31.0


# --- the limiter


def test_retry_after_holds_every_request_back() -> None:
    """Also those of other threads and versions."""
    clock = Clock()
    limiter = Limiter(4, clock=clock, sleep=clock.sleep)
    with pytest.raises(ServiceUnavailableError), limiter.request():
        raise ServiceUnavailableError("429", retry_after=12)
    with limiter.request():
        pass

    assert clock.slept == [12.0]
    assert limiter.pressure.allowed == 2


def test_whoever_waits_for_a_service_holds_nobody_else_up() -> None:
    """Bytes that are on their way go on, and what is done gives its room back."""
    done: list[str] = []

    def others(_seconds: float) -> None:
        def go_on() -> None:
            limiter.pace(1)
            with limiter.room(1):
                done.append("went on")

        now[0] += 12
        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        thread.join(20)

    now = [0.0]
    limiter = Limiter(4, clock=lambda: now[0], sleep=others)
    with pytest.raises(ServiceUnavailableError), limiter.request():
        raise ServiceUnavailableError("429", retry_after=12)
    with limiter.request():
        pass

    assert done == ["went on"]


def test_other_errors_slow_nothing_down() -> None:
    """A file that is gone says nothing about the service."""
    limiter = Limiter(4)
    with pytest.raises(ValueError, match="x"), limiter.request():
        raise ValueError("x")

    assert limiter.pressure.allowed == 4


@pytest.mark.parametrize(("small", "allowed"), [(False, 3), (True, 3 * SMALL)])
def test_no_more_requests_than_allowed_are_under_way(small: bool, allowed: int) -> None:
    """In any number of threads; of small files some more."""
    limiter = Limiter(3)
    guard, together = threading.Lock(), threading.Barrier(allowed)
    under_way = most = 0

    def work() -> None:
        nonlocal under_way, most
        with limiter.request(small=small):
            with guard:
                under_way += 1
                most = max(most, under_way)
            together.wait(20)
            with guard:
                under_way -= 1

    _all(work, 4 * allowed)
    assert most == allowed


def test_no_more_bytes_than_there_is_room_for_are_held() -> None:
    """Something larger than all of it has it alone."""
    limiter = Limiter(20, memory=10)
    guard = threading.Lock()
    held = most = 0

    def work() -> None:
        nonlocal held, most
        for size in (4, 100, 1):
            with limiter.room(size):
                with guard:
                    held += min(size, 10)
                    most = max(most, held)
                threading.Event().wait(0.001)
                with guard:
                    held -= min(size, 10)

    _all(work, 8)
    assert (held, most) == (0, 10)


def _all(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


# --- bytes a second


def test_a_bucket_takes_as_long_as_its_rate() -> None:
    """However the bytes are cut."""
    for chunk in (1, 10, 500):
        bucket, now = Bucket(), 50.0
        for _ in range(1000 // chunk):
            now += bucket.take(chunk, rate=100, now=now)

        assert now == pytest.approx(60.0)


def test_a_bucket_saves_up_for_no_more_than_a_second() -> None:
    """A pause is not made good by a flood."""
    bucket = Bucket()
    bucket.take(0, rate=100, now=0.0)

    assert bucket.take(100, rate=100, now=3600.0) == 0.0
    assert bucket.take(100, rate=100, now=3600.0) == pytest.approx(1.0)


def test_without_a_rate_nothing_waits_and_nothing_is_owed() -> None:
    """When the timetable says off."""
    bucket = Bucket()
    assert bucket.take(10**9, rate=100, now=0.0) > 0
    assert bucket.take(10**9, rate=None, now=1.0) == 0.0
    assert bucket.take(100, rate=100, now=2.0) == pytest.approx(1.0)


def test_all_threads_share_the_rate() -> None:
    """It is asked for anew each time."""
    clock = Clock()
    rates = iter([MIB, MIB, None])
    limiter = Limiter(4, rate=lambda: next(rates), clock=clock, sleep=clock.sleep)
    for _ in range(3):
        limiter.pace(MIB)

    assert clock.slept == pytest.approx([1.0, 1.0])
