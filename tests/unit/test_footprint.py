"""A process of syncd's own gives memory back to its other threads."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys

import pytest

from syncd.footprint import GARBAGE

# One thread after the other takes 16 MiB in pieces and frees all but the last, and none ends.
CHILD = """
import gc, sys, threading
from pathlib import Path
from syncd.footprint import keep_small

if sys.argv[1] == "small":
    keep_small()
over, kept = threading.Event(), []

def work(done):
    pieces = [b"x" * (100_000 + len(kept)) for _ in range(160)]
    kept.append(pieces[-1])
    del pieces
    done.set()
    over.wait()

for _ in range(8):
    done = threading.Event()
    threading.Thread(target=work, args=(done,), daemon=True).start()
    done.wait()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmRSS"].split()[0]) >> 10, gc.get_threshold()[0])
over.set()
"""


def measured(how: str) -> tuple[int, int]:
    """MiB that a process holds, and how often it looks for garbage."""
    command = [sys.executable, "-c", CHILD, how]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    mib, threshold = run.stdout.split()
    return int(mib), int(threshold)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has heaps of threads")
def test_what_one_thread_frees_is_there_for_the_next() -> None:
    """Else each of some forty threads keeps a heap of its own."""
    usual, frequent = measured("usual")
    small, seldom = measured("small")

    assert usual > 100
    assert small < usual / 2
    assert (frequent, seldom) == (gc.get_threshold()[0], GARBAGE)
