"""One thread of one process at a time in a repository.

liboxen locks its databases itself, but says so late and without a name, and keeps the lock until
the process ends. The file lock here is held during a call and names the process in its file.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncd.clients.oxen_index import RepoIndex
from syncd.errors import StoreLockedError

_locks: dict[Path, threading.Lock] = {}  # liboxen's state belongs to the process, and so do these
_locks_guard = threading.Lock()


@contextmanager
def exclusive(index: RepoIndex) -> Iterator[None]:
    """Hold a repository; other threads wait.

    Raises:
        StoreLockedError: when another process holds it.
    """
    with _locks_guard:
        lock = _locks.setdefault(index.worktree, threading.Lock())
    with lock:
        index.directory.mkdir(parents=True, exist_ok=True)
        with index.lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise in_use(index) from error
            if index.lock.read_text().strip() != str(os.getpid()):
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
            yield


def in_use(index: RepoIndex) -> StoreLockedError:
    """The error for a repository that another process uses, naming the last one known."""
    try:
        holder = index.lock.read_text().strip()
    except OSError:
        holder = ""
    by = f"process {holder}" if holder and holder != str(os.getpid()) else "another process"
    return StoreLockedError(f"{index.repo} is in use by {by}")
