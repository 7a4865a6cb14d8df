"""The retry layer: repeats what `TransientError` says may succeed later.

`Policy` decides, as a pure function of numbers, how long to wait or to give up; `call` runs a
function under a policy. Waits double, are spread at random so that many workers do not knock
together, and are never shorter than what the service asked for. When attempts or time run out the
last error is raised as it was.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from syncd import errors, log
from syncd.outages import OUTAGES

Result = TypeVar("Result")
_GIVE_UP = -1.0  # as a wait: there is no further attempt
_waiting = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often and how long to try.

    Args:
        attempts: calls in all, the first included.
        first_wait: seconds before the second attempt, doubled for each further one.
        longest_wait: seconds; what doubling never passes. A service may ask for more.
        total: seconds from the first attempt in which the last one must begin.
    """

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 60.0
    total: float = 900.0

    def decide(
        self, *, attempt: int, elapsed: float, spread: float, retry_after: float | None = None
    ) -> float | None:
        """Seconds to wait before the next attempt, or None to give up.

        Args:
            attempt: attempts that failed so far, at least 1.
            elapsed: seconds since the first attempt began.
            spread: a random number from 0 to 1; half of the wait depends on it.
            retry_after: seconds the service asked for.
        """
        if attempt >= self.attempts:
            return None
        doublings = min(attempt - 1, 60)  # beyond, a float has long passed any longest_wait
        longest = min(self.first_wait * 2**doublings, self.longest_wait)
        wait = max(longest * (1 + spread) / 2, retry_after or 0.0)
        return None if elapsed + wait > self.total else wait


DEFAULT = Policy()


def call(
    function: Callable[[], Result],
    *,
    what: str,
    policy: Policy = DEFAULT,
    progress: Callable[[], int] = lambda: 0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    spread: Callable[[], float] = random.random,
) -> Result:
    """Call the function until it returns, fails for good, or the policy gives up.

    Args:
        function: what to call; it must be safe to call again.
        what: what is tried, for the log, e.g. `read manifest of e/p/ds:v3`.
        policy: how often and how long.
        progress: how far it has come. A failure that came further than all before it is the first
            of a new count: what takes hours may fail more often than what takes a second.
        sleep: takes seconds; injected by tests.
        clock: seconds; injected by tests.
        spread: a random number from 0 to 1; injected by tests.

    Raises:
        syncd.errors.TransientError: the last one, when the policy gave up.
    """
    started, furthest, forgiven = clock(), progress(), 0
    logger = log.get(what=what)

    def decide(state: tenacity.RetryCallState) -> float:
        nonlocal started, furthest, forgiven
        if (reached := progress()) > furthest:
            started, furthest, forgiven = clock(), reached, state.attempt_number - 1
        wait = policy.decide(
            attempt=state.attempt_number - forgiven,
            elapsed=clock() - started,
            spread=spread(),
            retry_after=getattr(_failure(state), "retry_after", None),
        )
        return _GIVE_UP if wait is None else wait

    def tell(state: tenacity.RetryCallState) -> None:
        error = _failure(state)
        said = {
            "attempt": state.attempt_number,
            "wait_seconds": round(state.upcoming_sleep, 3),
            "error": str(error),
        }
        service = getattr(error, "service", "")
        if not service:  # nobody else has the same failure
            logger.warning(log.retried(), **said)
            return
        untold = OUTAGES.failed(service)
        if untold is None:
            logger.debug(log.retried(), service=service, **said)
        else:
            logger.warning(log.retried(), service=service, untold=untold, **said)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(errors.TransientError),
        wait=decide,
        stop=lambda state: state.upcoming_sleep == _GIVE_UP,  # tenacity asks for the wait first
        sleep=lambda seconds: sleep(seconds) if _waiting else None,
        before_sleep=tell,
        reraise=True,
    )
    return retrying(function)


@contextmanager
def fast() -> Iterator[None]:
    """Never wait within the block, in any thread; attempts still count. For tests."""
    global _waiting  # noqa: PLW0603 a switch for the whole process is what tests need
    before, _waiting = _waiting, False
    try:
        yield
    finally:
        _waiting = before


def _failure(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
