"""The modification times that files get before liboxen sees them.

It tells by time and size whether a file is the one that was staged, and reads it only when they
differ. So a time that was given to one content only names it (`oxen_proof`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import xxhash

TIMES = 1 << 56  # ns, some two years, from which `content_times` are taken
_clock_lock = threading.Lock()
_last_time = 0


def unique_time() -> int:
    """Nanoseconds since 1970 that no other call of this process returns, rising."""
    global _last_time  # noqa: PLW0603 one clock for the process
    with _clock_lock:
        _last_time = max(time.time_ns(), _last_time + 1)
        return _last_time


def content_times() -> Callable[[str], int]:
    """Modification times (ns) for what one commit stages: equal contents share one.

    A time follows from the content's hash and from this call's moment, so that none need be
    remembered. Two of 2,000,000 contents get the same one once in 36,000 commits; all it does is
    that these two, changed for each other by liboxen, would not be noticed at once.
    """
    now = unique_time()

    def time_of(content: str) -> int:
        return now - xxhash.xxh3_64_intdigest(content.encode(), seed=now) % TIMES

    return time_of
