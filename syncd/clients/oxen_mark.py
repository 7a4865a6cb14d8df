"""The mark of an embedded store's folder: by it a disk that is not mounted is told from a new store.

    {root}/.syncd/store     one line, the store's id; an empty file is a mark, too

Whoever uses a folder first marks it. The empty mount point of a disk that is not there has no mark, nor
any repositories; whether it should have them the catalog knows (`runtime.check_store`). A process
that has seen the mark wants to see it whenever it opens a repository, so that it makes none beside
a disk that went away while it ran. This module reads and writes files only; it never imports oxen.
"""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

from syncd.clients.disk import disk
from syncd.clients.oxen_index import INDEX_DIR
from syncd.errors import ServiceUnavailableError

HINT = (
    "Mount the disk; nothing is lost, and the work then goes on. If this is meant to be a new and empty "
    "store, make an empty file there: "
)


class Mark:
    """The mark of one folder; safe from any thread.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.path = root / INDEX_DIR / "store"
        self._seen = False
        self._making = threading.Lock()

    def read(self) -> str | None:
        """The store's id, empty where somebody made the file by hand; None when there is no mark.

        Raises:
            ServiceUnavailableError: when the disk does not answer, as one on the network may.
        """
        try:
            found = self.path.read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ServiceUnavailableError(
                f"the folder {self._root} cannot be looked at: {error.strerror or error}",
                hint="Look whether its disk is mounted, and whether this user may enter it.",
            ) from error
        self._seen = True
        return found

    def make(self) -> str:
        """Mark the folder, which is made where it is not there; the store's id.

        Raises:
            DiskFullError: when there is no room.
            PermanentError: when the disk refuses.
        """
        with self._making:
            found = self.read()
            if found:
                return found
            made = uuid.uuid4().hex
            with disk(f"cannot mark {self._root}"):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                fresh = self.path.with_name(f"store-{made}")
                fresh.write_text(f"{made}\n")
                fresh.replace(self.path)  # nobody reads half of it
            self._seen = True
            return made

    def missing(self) -> ServiceUnavailableError:
        """The error for a folder that is not the store."""
        return ServiceUnavailableError(
            f"the folder {self._root} is not the store that it was: its repositories are not there, nor "
            f"its mark {self.path}. Its disk may not be mounted",
            hint=f"{HINT}{self.path}",
        )

    def marked(self) -> None:
        """Mark a folder that somebody is about to use, unless it is marked or has lost its mark.

        Raises:
            ServiceUnavailableError: when its mark is gone.
            DiskFullError: when there is no room.
            PermanentError: when the disk refuses.
        """
        seen = self._seen  # before: another thread may make it while this one looks
        if self.read() is None:
            if seen:
                raise self.missing()
            self.make()
