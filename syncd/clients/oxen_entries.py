"""Hashes and sizes of a server's files, asked once: what a commit holds never changes.

The first file of a folder is asked for by itself. Who wants a second one probably wants them all,
and a page of a folder takes the server as long as one file: so the folder is listed then, by the one
request that meets it, while others go on asking for single files.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from syncd.clients.oxen_files import OxenFiles
from syncd.refs import RepoRef

ENTRIES = 1 << 16  # that are kept, of about 500 bytes each
FOLDERS = 1 << 12  # of which it is known how often they were asked for
PAGES = 8  # of 2,000 entries; of a larger folder only the first is listed
SECOND = 2
Value = TypeVar("Value")


class Entries:
    """What files of commits are; safe for threads.

    Args:
        files: the server.
    """

    def __init__(self, files: OxenFiles) -> None:
        self._files = files
        self._kept = _Recent[tuple[str, int]](ENTRIES)
        self._asked = _Recent[int](FOLDERS)
        self._lock = threading.Lock()

    def find(self, repo: RepoRef, commit: str, path: str) -> tuple[str, int] | None:
        """Hash and size of a file, None when there is none; that is not kept, it may come."""
        key = repo, commit, path
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                return found
            folder = path.rpartition("/")[0]
            times = (self._asked.get((repo, commit, folder)) or 0) + 1
            self._asked.put((repo, commit, folder), times)
        if times == SECOND:
            self._list(repo, commit, folder)
            with self._lock:
                found = self._kept.get(key)
        found = found or self._files.entry(repo, commit, path)
        if found is not None:
            with self._lock:
                self._kept.put(key, found)
        return found

    def _list(self, repo: RepoRef, commit: str, folder: str) -> None:
        page, pages = 1, 1
        while page <= pages:
            entries, total = self._files.folder(repo, commit, folder, page)
            pages = total if total <= PAGES else 1
            with self._lock:
                for name, content, size in entries:
                    path = f"{folder}/{name}" if folder else name
                    self._kept.put((repo, commit, path), (content, size))
            page += 1


class _Recent(Generic[Value]):
    """Values by repository, commit and path; the longest unused go first."""

    def __init__(self, limit: int) -> None:
        self._values: OrderedDict[tuple[RepoRef, str, str], Value] = OrderedDict()
        self._limit = limit

    def get(self, key: tuple[RepoRef, str, str]) -> Value | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: tuple[RepoRef, str, str], value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._limit:
            self._values.popitem(last=False)
