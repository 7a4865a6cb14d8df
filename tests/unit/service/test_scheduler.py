"""The scheduler: what is due is said, once, also after the clock or the times were changed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from syncd.service.scheduler import Job, Scheduler

HOUR, NOW = timedelta(hours=1), timedelta()
PATIENCE = 10.0  # seconds for what should happen at once


class Fired:
    """What was due, in order."""

    def __init__(self) -> None:
        self.names: queue.SimpleQueue[str] = queue.SimpleQueue()

    def job(self, name: str, *, every: timedelta = HOUR, first: timedelta = NOW) -> Job:
        """A job that tells its name."""
        return Job(name=name, every=every, first=first, fire=lambda: self.names.put(name))

    def next(self) -> str:
        """The next one."""
        return self.names.get(timeout=PATIENCE)

    @property
    def quiet(self) -> bool:
        """Whether nothing was due since."""
        return self.names.empty()


@pytest.fixture
def fired() -> Fired:
    """What was due."""
    return Fired()


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """One that runs."""
    made = Scheduler()
    made.start()
    yield made
    made.stop()


def test_a_job_is_due_at_its_first_time_and_then_again(scheduler: Scheduler, fired: Fired) -> None:
    """One whose first time is far away is not."""
    tenth = timedelta(milliseconds=100)
    scheduler.set([fired.job("often", every=tenth), fired.job("later", first=HOUR)])

    assert [fired.next() for _ in range(3)] == ["often"] * 3


def test_jobs_that_are_set_again_go_on_and_others_come_and_go(
    scheduler: Scheduler, fired: Fired
) -> None:
    """Nothing is due a second time because the configuration was read again."""
    scheduler.set([fired.job("a"), fired.job("b")])
    assert {fired.next(), fired.next()} == {"a", "b"}
    scheduler.set([fired.job("a"), fired.job("c")])

    assert fired.next() == "c"
    scheduler.again()
    assert {fired.next(), fired.next()} == {"a", "c"}
    assert fired.quiet


def test_what_becomes_due_while_it_is_being_said_is_said_again(scheduler: Scheduler) -> None:
    """The clock was set at that moment; an hour is too long to wait for the next one."""
    said: queue.SimpleQueue[bool] = queue.SimpleQueue()
    go_on = threading.Event()

    def fire() -> None:
        said.put(True)
        go_on.wait(PATIENCE)

    scheduler.set([Job(name="a", every=HOUR, fire=fire)])
    said.get(timeout=PATIENCE)
    scheduler.again()
    said.get(timeout=PATIENCE / 2)
    go_on.set()


def test_a_job_that_is_set_again_says_what_it_says_now(scheduler: Scheduler, fired: Fired) -> None:
    """Not what it said when it was made."""
    scheduler.set([fired.job("a", first=HOUR)])
    scheduler.set([Job(name="a", every=HOUR, fire=lambda: fired.names.put("new"))])
    scheduler.again()

    assert fired.next() == "new"


def test_shorter_times_count_from_now(scheduler: Scheduler, fired: Fired) -> None:
    """Nobody waits for the rest of the hour."""
    scheduler.set([fired.job("a", first=HOUR)])
    scheduler.set([fired.job("a", every=timedelta(milliseconds=50))])

    assert fired.next() == "a"
