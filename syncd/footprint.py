"""What a process of syncd's own takes: memory that is given back, and no needless looks for garbage."""

from __future__ import annotations

import ctypes
import gc

GARBAGE = 20_000  # objects made until the collector looks for circles
TRIM = 32 << 20  # free bytes at the heap's end that are not given back yet
MAPPED = 8 << 20  # bytes; above, memory is asked of the kernel and given back each time
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's <malloc.h>


def keep_small() -> None:
    """Set up this process; for a program's start, not for whoever imports syncd.

    glibc gives each of many threads a heap of its own, and what is free in one is of no use to the
    others: with one heap for all a version of 20,000 small files took 224 MiB instead of 261, and no
    longer. The chunks of large files come from that heap and go back to it: asked of the kernel anew
    each time, which has to clear them, 4 GiB took 5.8 s instead of 5.1. Elsewhere than on glibc
    nothing is changed.

    Python looks for circles whenever 700 objects were made, every so often through all that wandb,
    DBOS and SQLAlchemy keep.
    """
    gc.set_threshold(GARBAGE)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_TRIM_THRESHOLD, TRIM)
        mallopt(M_MMAP_THRESHOLD, MAPPED)
