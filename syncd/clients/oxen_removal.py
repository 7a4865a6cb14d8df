"""Taking whole Oxen repositories away: only a rehearsal does that, and only to its own."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_lock import exclusive
from syncd.errors import NotFoundError, PermanentError
from syncd.refs import RepoRef


def remove_folder(root: Path, repo: RepoRef) -> None:
    """Remove an embedded repository with its index files; nothing happens where there is none.

    Raises:
        StoreLockedError: when another process is at work in it.
        PermanentError: when the disk refuses.
    """
    index = RepoIndex(root.absolute(), repo)
    if not (index.worktree.exists() or index.directory.exists()):
        return
    try:
        with exclusive(index):
            if index.worktree.exists():
                shutil.rmtree(index.worktree)
        shutil.rmtree(index.directory)
    except OSError as error:
        raise PermanentError(f"{repo} could not be removed: {error.strerror}") from error
    for folder in (index.directory.parent, index.worktree.parent):
        with suppress(OSError):  # others' repositories are there
            folder.rmdir()


def remove_from_server(api: OxenApi, repo: RepoRef) -> None:
    """Remove a repository from an Oxen server; nothing happens where there is none.

    Raises:
        AuthenticationError: when the token may not.
    """
    try:
        api.remove_repository(repo)
    except NotFoundError:
        return
