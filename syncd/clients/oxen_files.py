"""The routes of an Oxen server that give single files.

Bytes come by the route for ranges: that for whole files takes the server four times the processor's
time for each byte, and 40 ms for each file. Read in the crate oxen-server 0.65.2 (`src/controllers/{metadata,dir,entries,commits,branches}.rs`)
and tried against it. Nothing is tried for long: whoever asks
the gateway asks again by himself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote

from syncd import retry
from syncd.clients.oxen_wire import CHUNK, Wire
from syncd.clients.payload import Answer, Payload
from syncd.errors import IntegrityError, NotFoundError, PermanentError
from syncd.refs import HASH, RepoRef

PIECE = 4 << 20  # bytes asked for at once; the server takes as much memory
PAGE = 2000  # entries of a folder, of about 800 bytes each
# A kept connection that the server has just closed costs the first attempt.
ONCE_MORE = retry.Policy(attempts=2, first_wait=0.1, total=5.0)


class OxenFiles:
    """The calls that reading single files takes; each raises what `raise_for_status` does.

    Args:
        url: the server, without `/api`.
        token: the bearer token; empty for a server that asks for none.
        http: keeps the connections.
    """

    def __init__(self, url: str, token: str, http: Payload) -> None:
        self._wire = Wire(url, token, http)

    def has_commit(self, repo: RepoRef, commit: str) -> bool:
        """Whether a commit has exactly this id; the server also takes it with zeros before it."""
        try:
            found = self._json(
                repo, f"commits/{quote(commit, safe='')}", f"look up {commit}", "commit"
            )
        except NotFoundError:
            return False
        return bool(found["commit"]["id"] == commit)

    def heads(self, repo: RepoRef) -> dict[str, str]:
        """All branches with the commit each points at.

        Raises:
            NotFoundError: when there is no such repository, or none for this token.
        """
        found = self._json(repo, "branches", f"list the branches of {repo}", "branches")
        return {str(item["name"]): str(item["commit_id"]) for item in found["branches"]}

    def entry(self, repo: RepoRef, commit: str, path: str) -> tuple[str, int] | None:
        """Hash and size of a file of a commit; None when there is no file."""
        what = f"look up {path!r} in {repo}@{commit}"
        try:
            entry = self._json(repo, f"meta/{commit}/{quote(path)}", what, "entry")["entry"]
        except NotFoundError:
            return None
        return None if entry["is_dir"] else _content(entry, what)

    def folder(
        self, repo: RepoRef, commit: str, path: str, page: int
    ) -> tuple[list[tuple[str, str, int]], int]:
        """A page of the files in a folder, name, hash and size of each, and how many pages it has.

        The first page is page 1; of what is no folder there is none.
        """
        what = f"list {path or '/'} of {repo}@{commit}"
        place = f"dir/{commit}/{quote(path)}?page={page}&page_size={PAGE}"
        try:
            found = self._json(repo, place, what, "entries", "total_pages")
        except NotFoundError:
            return [], 0
        files = [item for item in found["entries"] if not item["is_dir"]]
        entries = [(str(item["filename"]), *_content(item, what)) for item in files]
        return entries, int(found["total_pages"])

    def range(
        self,
        repo: RepoRef,
        commit: str,
        path: str,
        begin: int,
        end: int,
        *,
        piece: Callable[[], int] = lambda: CHUNK,
    ) -> Iterator[bytes]:
        """The bytes of a file from one place up to another, both inside of it.

        Args:
            repo: the repository.
            commit: the commit.
            path: of the file.
            begin: the first byte.
            end: behind the last one.
            piece: tells how many bytes to give at once, when it is asked for.

        Raises:
            IntegrityError: when another number of bytes came.
        """
        for at in range(begin, end, PIECE):
            size = min(PIECE, end - at)
            yield from self._piece(repo, commit, path, at, size, chunk=piece())

    def _piece(
        self, repo: RepoRef, commit: str, path: str, begin: int, size: int, *, chunk: int
    ) -> Iterator[bytes]:
        """A range of a file, which the server holds in memory; it must lie inside the file.

        Raises:
            IntegrityError: when another number of bytes came.
        """
        what = f"read {path!r} of {repo}@{commit}"
        place = f"chunk/{commit}/{quote(path)}?chunk_start={begin}&chunk_size={size}"
        count = 0
        with ExitStack() as stack:
            answer = retry.call(
                lambda: stack.enter_context(self._opened(repo, place, what)),
                what=what,
                policy=ONCE_MORE,
            )
            for data in answer.chunks(chunk):
                count += len(data)
                yield data
        if count != size:
            raise IntegrityError(f"{what}: {count} bytes came instead of {size}")

    def _json(self, repo: RepoRef, place: str, what: str, *keys: str) -> dict[str, Any]:
        def ask() -> bytes:
            with self._opened(repo, place, what) as answer:
                return b"".join(answer.chunks(CHUNK))

        try:
            found = json.loads(retry.call(ask, what=what, policy=ONCE_MORE))
        except ValueError as error:
            raise IntegrityError(f"{what}: the Oxen server answered what is no JSON") from error
        if not isinstance(found, dict) or not found.keys() >= set(keys):
            raise PermanentError(f"{what}: the Oxen server answered without {' and '.join(keys)}")
        return found

    @contextmanager
    def _opened(self, repo: RepoRef, place: str, what: str) -> Iterator[Answer]:
        # Whatever a stranger asks the gateway for: the server knows no repository of a wrong name.
        name = f"{quote(repo.namespace, safe='')}/{quote(repo.repo, safe='')}"
        path = f"/api/repos/{name}/{place}"
        with self._wire.opened("GET", path, what) as answer:
            self._wire.check(answer, path, what)
            yield answer


def _content(entry: dict[str, Any], what: str) -> tuple[str, int]:
    content, size = str(entry["hash"]), int(entry["size"])
    if not HASH.fullmatch(content):
        raise PermanentError(f"{what}: {content[:80]!r} is no hash")
    return content, size
