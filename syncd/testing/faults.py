"""When a double fails: faults are parameters, not patches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure to happen.

    Args:
        method: the name of the method that fails.
        error: what it raises; nothing is done before, unless it is `late`.
        at: at which call of the method, counted from 1; later calls work.
        late: the call has its effect before it fails, as when only the answer is lost.
    """

    method: str
    error: Exception
    at: int = 1
    late: bool = False


class Calls:
    """Counts the calls of methods and fails where a fault says so.

    Args:
        faults: failures to happen.
        told: the method of each call that is about to happen, and which call of it that is.
    """

    def __init__(
        self, faults: Iterable[Fault], told: Callable[[str, int], None] = lambda _method, _at: None
    ) -> None:
        self._faults = tuple(faults)
        self._told = told
        self.count: Counter[str] = Counter()

    def __call__(self, method: str) -> None:
        """The method was called."""
        self.count[method] += 1
        self._told(method, self.count[method])
        self._fail(method, late=False)

    def answer(self, method: str) -> None:
        """The call has had its effect."""
        self._fail(method, late=True)

    def _fail(self, method: str, *, late: bool) -> None:
        for fault in self._faults:
            if (fault.method, fault.at, fault.late) == (method, self.count[method], late):
                raise fault.error
