"""Figures that take long are kept for a while: whoever looks every few seconds sums little up anew.

A sum over millions of versions takes seconds, over the contents of them a minute; a page that is
refreshed and a scrape every quarter of a minute would do nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

QUICK = 1.0  # seconds; what takes less is made each time
SHARE = 20  # times as long as it took something is kept
Value = TypeVar("Value")


@dataclass(slots=True)
class _Figure:
    making: threading.Lock = field(default_factory=threading.Lock)
    made: bool = False
    value: Any = None
    until: float = 0.0


class Kept:
    """Values by name; safe from any thread.

    Args:
        clock: seconds that only grow; injected by tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._figures: dict[str, _Figure] = {}

    def get(self, name: str, make: Callable[[], Value]) -> Value:
        """The value of a name, made by `make` unless it is kept.

        While one thread makes it others get the old one; where there is none they wait for it.
        """
        with self._lock:
            figure = self._figures.setdefault(name, _Figure())
        if figure.made and self._clock() < figure.until:
            return cast("Value", figure.value)
        if not figure.making.acquire(blocking=not figure.made):
            return cast("Value", figure.value)
        try:
            if figure.made and self._clock() < figure.until:  # made while this one waited
                return cast("Value", figure.value)
            began = self._clock()
            value = make()
            took = self._clock() - began
            figure.made = took > QUICK
            figure.value = value if figure.made else None
            figure.until = began + took + SHARE * took
            return value
        finally:
            figure.making.release()
