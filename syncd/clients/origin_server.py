"""Files of an Oxen server, for the gateway: hub.oxen.ai or a self-hosted one, 0.65 or later.

The server is asked with its own token, which never leaves for anywhere else; clients show another
one to the gateway, which never goes to the server. What a commit holds never changes, so each
answer about a commit is kept: the most recent ones, in memory.

Bytes come in pieces of the `chunk` route. The `file` route costs the server more for each byte, and 40
ms for each file: it sends head and body in two packets, and the second waits for the first one's
delayed receipt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from syncd.clients.origins import Found, Room, located, no_file, no_repository, tree_path
from syncd.clients.oxen_entries import Entries
from syncd.clients.oxen_files import OxenFiles
from syncd.clients.oxen_paths import check_repo, unsupported_path
from syncd.clients.oxen_repositories import OWN
from syncd.clients.oxen_wire import check_url
from syncd.clients.payload import Payload
from syncd.errors import NotFoundError, VerificationError
from syncd.refs import RepoRef

COMMITS = 1 << 12  # that are known to exist
_COMMIT = re.compile(r"[1-9a-f][0-9a-f]{0,31}")


class ServerOrigin:
    """An `Origin` over HTTP.

    Args:
        url: the server, without `/api`.
        token: the bearer token; empty for a server that asks for none.
        http: keeps the connections.

    Raises:
        ConfigurationError: when the URL cannot be used.
    """

    def __init__(self, url: str, token: str, http: Payload) -> None:
        self._files = OxenFiles(check_url(url), token, http)
        self._room = Room()
        self._entries = Entries(self._files)
        self._known_commit = lru_cache(maxsize=COMMITS)(self._commit)

    def find(self, repo: RepoRef, names: Sequence[str]) -> Found:
        """See `Origin.find`."""
        check_repo(repo)
        commit, rest, permanent = located(
            repo, names, lambda name: self._holds(repo, name), lambda: self._heads(repo)
        )
        path = tree_path(rest)
        if path is None or unsupported_path(path):
            raise no_file(repo, commit, rest)
        entry = self._entries.find(repo, commit, path)
        if entry is None:
            raise no_file(repo, commit, rest)
        content, size = entry
        return Found(
            repo=repo, commit=commit, path=path, hash=content, size=size, permanent=permanent
        )

    def read(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """See `Origin.read`."""
        place = found.repo, found.commit, found.path
        try:
            with self._room.reader() as piece:
                yield from self._files.range(*place, begin, end, piece=piece)
        except NotFoundError as error:  # it was there when it was looked up
            raise VerificationError(
                f"the Oxen server lacks the bytes of {found.path!r} in {found.repo}@{found.commit}",
                hint="Run `syncd verify` on this commit.",
            ) from error

    # Commits that exist are asked for once. Exceptions are not kept: what is not there may come.

    def _commit(self, repo: RepoRef, commit: str) -> None:
        if not self._files.has_commit(repo, commit):
            raise NotFoundError(f"no commit {commit} in {repo}")

    def _holds(self, repo: RepoRef, commit: str) -> bool:
        if not _COMMIT.fullmatch(commit):
            return False
        try:
            self._known_commit(repo, commit)
        except NotFoundError:
            return False
        return True

    def _heads(self, repo: RepoRef) -> dict[str, str]:
        try:
            heads = self._files.heads(repo)
        except NotFoundError as error:
            raise no_repository(repo) from error
        return {name: commit for name, commit in heads.items() if not name.startswith(OWN)}
