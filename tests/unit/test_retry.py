"""The retry layer: what it decides, as a table, and what it does with the decision."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from syncd import errors, log, retry

POLICY = retry.Policy(attempts=5, first_wait=1.0, longest_wait=4.0, total=100.0)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Seconds since the clock was made."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.slept.append(seconds)
        self.now += seconds


class Failing:
    """A function that fails with these errors in turn, and then returns its number of calls."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self) -> int:
        """Fail, or return the number of calls."""
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.calls


def unavailable(retry_after: float | None = None) -> errors.ServiceUnavailableError:
    """A failure that may pass."""
    return errors.ServiceUnavailableError("W&B answered 503", retry_after=retry_after)


@pytest.mark.parametrize(
    ("attempt", "elapsed", "spread", "retry_after", "wait"),
    [
        (1, 0, 0.0, None, 0.5),  # half of the wait is certain
        (1, 0, 1.0, None, 1.0),  # the other half is chance
        (2, 0, 1.0, None, 2.0),  # doubled
        (3, 0, 1.0, None, 4.0),
        (4, 0, 1.0, None, 4.0),  # the longest wait
        (4, 0, 0.0, None, 2.0),
        (5, 0, 1.0, None, None),  # attempts are used up
        (1, 99.0, 1.0, None, 1.0),  # the last moment
        (1, 99.5, 1.0, None, None),  # the next attempt would begin too late
        (1, 0, 1.0, 30.0, 30.0),  # the service asked for more than the longest wait
        (1, 0, 1.0, 0.1, 1.0),  # ... or for less than ours
        (1, 0, 1.0, 101.0, None),  # ... or for more than there is
    ],
)
def test_the_policy_decides_by_numbers_alone(
    attempt: int, elapsed: float, spread: float, retry_after: float | None, wait: float | None
) -> None:
    """Doubling, chance, the longest wait, the service's wish, and the two ends."""
    assert wait == POLICY.decide(
        attempt=attempt, elapsed=elapsed, spread=spread, retry_after=retry_after
    )


def test_very_many_attempts_do_not_overflow() -> None:
    """Doubling stops long before a float ends."""
    policy = retry.Policy(attempts=10**6, total=1e9)

    assert policy.decide(attempt=10**5, elapsed=0, spread=1.0) == 60.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for tests that count the waiting, which is switched off elsewhere."""
    monkeypatch.setattr(retry, "_waiting", True)
    return Clock()


def run(
    function: Callable[[], int], clock: Clock, *, progress: Callable[[], int] = lambda: 0
) -> int:
    """Call under the policy of this file, by its clock and with the longest spread."""
    return retry.call(
        function,
        what="read e/p/ds:v0",
        policy=POLICY,
        progress=progress,
        sleep=clock.sleep,
        clock=clock,
        spread=lambda: 1.0,
    )


def test_a_transient_failure_is_repeated_until_it_passes(clock: Clock) -> None:
    """And `Retry-After` is honoured."""
    assert run(Failing(unavailable(), unavailable(retry_after=7.0)), clock) == 3
    assert clock.slept == [1.0, 7.0]


def test_the_last_failure_is_raised_as_it_was(clock: Clock) -> None:
    """The caller sees the real error, not one about retrying."""
    failures = [unavailable() for _ in range(9)]
    function = Failing(*failures)

    with pytest.raises(errors.ServiceUnavailableError) as caught:
        run(function, clock)
    assert caught.value is failures[4]
    assert function.calls == 5


def test_the_total_time_ends_the_attempts(clock: Clock) -> None:
    """0, 40 and 80 seconds; 120 would be too late."""
    function = Failing(*[unavailable(retry_after=40.0) for _ in range(9)])

    with pytest.raises(errors.ServiceUnavailableError):
        run(function, clock)
    assert function.calls == 3


def test_a_failure_that_came_further_than_all_before_begins_the_count_anew(clock: Clock) -> None:
    """Hours of work are not given up for the fifth break; one that stands still is."""
    reached = 0

    calls = 0

    def further() -> int:
        nonlocal calls, reached
        calls += 1
        clock.now += POLICY.total
        reached = min(calls, 20)
        raise unavailable()

    with pytest.raises(errors.ServiceUnavailableError):
        run(further, clock, progress=lambda: reached)

    assert calls == 21
    assert clock.slept == [1.0] * 20


@pytest.mark.parametrize(
    "failure", [errors.NotFoundError("gone"), ValueError("fault"), KeyboardInterrupt()]
)
def test_what_is_not_transient_is_raised_at_once(failure: BaseException, clock: Clock) -> None:
    """Permanent errors, our own faults and Ctrl-C are not tried again."""
    function = Failing(failure)

    with pytest.raises(type(failure)):
        run(function, clock)
    assert (function.calls, clock.slept) == (1, [])


def test_each_retry_is_an_event_of_the_stage_that_runs(clock: Clock) -> None:
    """With what was tried, which attempt, how long it waits and why."""
    with capture_logs() as events, log.about(log.Stage.TRANSFER):
        run(Failing(unavailable()), clock)

    assert events == [
        {
            "event": "transfer.retried",
            "log_level": "warning",
            "what": "read e/p/ds:v0",
            "attempt": 1,
            "wait_seconds": 1.0,
            "error": "W&B answered 503",
        }
    ]


def test_outside_a_stage_a_retry_has_an_event_of_its_own(clock: Clock) -> None:
    """A request of `plan` or `status` belongs to no stage."""
    with capture_logs() as events:
        run(Failing(unavailable()), clock)

    assert [event["event"] for event in events] == ["call.retried"]


def test_fast_mode_counts_attempts_and_never_waits_in_any_thread(clock: Clock) -> None:
    """Workers that a test starts are as fast."""
    function = Failing(*[unavailable() for _ in range(9)])

    def attempt() -> None:
        with pytest.raises(errors.ServiceUnavailableError):
            run(function, clock)

    with retry.fast():
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert (function.calls, clock.slept) == (5, [])


def test_waiting_returns_when_fast_mode_ends(clock: Clock) -> None:
    """The switch does not stick."""
    with retry.fast():
        pass
    run(Failing(unavailable()), clock)

    assert clock.slept == [1.0]


def test_the_whole_suite_runs_in_fast_mode() -> None:
    """Otherwise this test takes twenty minutes and fails by its time limit."""
    slept: list[float] = []
    policy = retry.Policy(attempts=2, first_wait=1200.0, longest_wait=1200.0, total=2400.0)

    assert (
        retry.call(Failing(unavailable()), what="this test", policy=policy, sleep=slept.append) == 2
    )
    assert slept == []
