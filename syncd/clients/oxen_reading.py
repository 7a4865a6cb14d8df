"""The embedded store for those who only read: it opens no repository.

liboxen keeps a repository to the process that opened it until that process ends; one that trains
for a day would keep the mover out for a day. What is read here are the files that the last writer
left beside the repository (`oxen_index`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.refs import RepoRef


class EmbeddedReader(EmbeddedVersionStore):
    """An embedded store whose branches are those that were last written down.

    Only a commit whose index was lost makes it open the repository.

    Args:
        root: the directory.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._folder = root.absolute()

    def branches(self, repo: RepoRef) -> Mapping[str, str]:
        """See `VersionStore.branches`."""
        index = RepoIndex(self._folder, repo)
        published = index.branches() if index.exists() else None
        return published.heads if published is not None else {}
