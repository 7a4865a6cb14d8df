"""The HTTP interface of an Oxen server: one place for its routes.

Routes and answers were read in the crate oxen-server 0.65.2 (`src/services`, `src/controllers`) and
tried against it. How requests are written and answers are read: `oxen_wire`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import cast
from urllib.parse import quote

from syncd import retry
from syncd.blocks import batches
from syncd.clients.oxen_branches import BranchRoutes
from syncd.clients.oxen_wire import (
    AS_GZIP,
    AS_JSON,
    CHUNK,
    Json,
    Part,
    Wire,
    said,
    unpacked,
    zipped,
)
from syncd.clients.payload import Body
from syncd.errors import IntegrityError, NotFoundError, PermanentError
from syncd.refs import RepoRef

OLDEST = (0, 65)  # earlier servers take uploads over other routes
ABSENT = "f" * 32  # no content's hash: asking for it makes the answer a list, never the bytes
HASHES_A_REQUEST = 5000
DIR_PAGE = 10_000  # entries, of about 800 bytes each; the server reads the whole folder for each
REMOVALS_A_REQUEST = 500  # some 2 ms each
UNSTAGED_A_REQUEST = 10_000  # some 0.05 ms each
_BYTES = {"Content-Type": "application/octet-stream"}


class OxenApi(BranchRoutes):
    """The calls that syncd makes to one server.

    Args:
        wire: how the server is spoken to.
    """

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self._version = ""

    def probe(self) -> None:
        """Make sure that the server speaks what this client speaks; see `version`."""
        self.version()

    def version(self) -> str:
        """The server's version, as `0.65.2`; asked once.

        Raises:
            PermanentError: when it is too old, or no Oxen server.
        """
        if self._version:
            return self._version
        url = self._wire.url
        what = f"ask {url} for its version"
        try:
            text = str(self._wire.json("GET", "/api/version", what).get("oxen_version", ""))
        except (NotFoundError, IntegrityError) as error:
            raise PermanentError(
                f"{url} is no Oxen server: {error}", hint="Check [oxen] url."
            ) from error
        numbers = re.match(r"(\d+)\.(\d+)", text)
        if numbers is None:
            raise PermanentError(
                f"{url} names no Oxen version", hint="Check [oxen] url: is it an Oxen server?"
            )
        if (int(numbers[1]), int(numbers[2])) < OLDEST:
            raise PermanentError(
                f"{url} is oxen-server {text}, and syncd needs 0.65 or later",
                hint="Upgrade the server; earlier ones take uploads over other routes.",
            )
        self._version = text
        return text

    # --- repositories

    def exists(self, repo: RepoRef) -> bool:
        """Whether the repository is there (and the token may see it)."""
        self.probe()
        try:
            self._json("GET", repo, "", f"look for {repo}")
        except NotFoundError:
            return False
        return True

    def create(self, repo: RepoRef, file: Part, *, author: str, email: str) -> None:
        """Make the repository with a first commit of one text file, on its branch `main`.

        Without a file the server would make an empty first commit when it needs one, whose tree
        oxenai 0.65.1 cannot find: a clone of the whole history fails (tried).

        Raises:
            PermanentError: when it exists, or cannot be.
        """
        self.probe()
        self._wire.place(repo)  # its name is a good one
        seed = {
            "path": file[0],
            "contents": file[1].decode(),
            "user": {"name": author, "email": email},
        }
        body = {"namespace": repo.namespace, "name": repo.repo, "files": [seed]}
        self._wire.json("POST", "/api/repos", f"create {repo}", body)

    def remove_repository(self, repo: RepoRef) -> None:
        """Delete a repository with all it holds (oxen-server 0.65, `repositories::delete`)."""
        self._json("DELETE", repo, "", f"remove {repo}")

    def repositories(self, namespace: str) -> list[RepoRef]:
        """The repositories of a namespace, by name; none when it does not exist."""
        self.probe()
        place = self._wire.place(RepoRef(namespace=namespace, repo="any")).rpartition("/")[0]
        try:
            found = self._wire.json("GET", place, f"list the repositories of {namespace}")
        except NotFoundError:
            return []
        items = found["repositories"]
        return sorted(RepoRef(namespace=namespace, repo=str(item["name"])) for item in items)

    def commit(self, repo: RepoRef, commit: str) -> Json | None:
        """What the server says of a commit."""
        try:
            found = self._json("GET", repo, f"/commits/{quote(commit)}", f"look up {commit}")
        except NotFoundError:
            return None
        return cast(Json, found["commit"])

    def rebuild_index(self, repo: RepoRef, commit: str) -> None:
        """Let the server make a commit's folder index from its tree, all of which it reads."""
        path = f"/fsck/rebuild-dir-hashes?commit_id={quote(commit)}"
        self._json("POST", repo, path, f"index {commit} of {repo}")

    # --- trees and contents

    def directory(self, repo: RepoRef, commit: str, path: str) -> Iterator[Json]:
        """The entries of one folder of a commit, by name; nothing when there is no such folder."""
        page, pages = 1, 1
        while page <= pages:
            query = f"?page={page}&page_size={DIR_PAGE}"
            where = f"/dir/{commit}/{quote(path)}{query}"
            try:
                found = self._json("GET", repo, where, f"list {path or '/'} of {repo}@{commit}")
            except NotFoundError:
                if page > 1:
                    raise
                return  # an empty commit has no root folder
            yield from found["entries"]
            page, pages = page + 1, int(found["total_pages"])

    def missing(self, repo: RepoRef, hashes: Sequence[str]) -> set[str]:
        """Which of these contents the server does not hold.

        The download of many contents is refused as a whole, with a list, when one is not there.
        """
        gone: set[str] = set()
        for begin in range(0, len(hashes), HASHES_A_REQUEST):
            body = zipped([ABSENT, *hashes[begin : begin + HASHES_A_REQUEST]])
            gone |= retry.call(partial(self._absent, repo, body), what=f"ask {repo} for contents")
        return gone - {ABSENT}

    def _absent(self, repo: RepoRef, body: bytes) -> set[str]:
        what = f"ask {repo} for contents"
        path = f"{self._wire.place(repo)}/versions"
        with self._wire.opened("QUERY", path, what, body=body, headers=AS_GZIP) as answer:
            text = b"".join(answer.chunks(CHUNK)) if answer.status == 404 else b""  # noqa: PLR2004
            try:
                return set(json.loads(text)["error"]["missing_hashes"])
            except (ValueError, KeyError, TypeError):
                self._wire.check(answer, path, what, said(text))
                raise PermanentError(
                    f"{what}: {self._wire.url} did not answer with a list of missing contents",
                    hint="The server's interface may have changed; syncd knows 0.65.",
                ) from None

    def size(self, repo: RepoRef, content: str) -> int | None:
        """The bytes that the server has stored under a hash, None when there are none."""
        where = f"/versions/{quote(content)}/metadata"
        try:
            found = self._json("GET", repo, where, f"look for {content} in {repo}")
        except NotFoundError:
            return None
        return int(found["version"]["size"])

    def content(self, repo: RepoRef, content: str) -> Iterator[bytes]:
        """The bytes that the server has stored under a hash, whatever they are."""
        for _, data in self.contents(repo, [content]):
            yield data

    def contents(self, repo: RepoRef, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes under each of these hashes, as they are, in one answer.

        For small contents: a GET of one takes some 40 ms on a kept connection, because the server
        sends it in two packets, and the second waits for the first one's delayed receipt.

        Yields:
            A hash and a piece of what is stored under it, piece after piece; of an empty one, b"".
        """
        path, what = f"{self._wire.place(repo)}/versions", f"read contents of {repo}"
        body = zipped(hashes)
        with self._wire.opened("QUERY", path, what, body=body, headers=AS_GZIP) as answer:
            self._wire.check(answer, path, what)
            yield from unpacked(answer.chunks(CHUNK), what)

    def remove_damaged(self, repo: RepoRef) -> None:
        """Let the server delete what is not what its hash says; it reads everything for that."""
        self._json("DELETE", repo, "/versions", f"remove damaged contents of {repo}")

    def store(self, repo: RepoRef, parts: Sequence[Part]) -> None:
        """Store small contents under their hashes; no workspace and no commit names them yet.

        Raises:
            IntegrityError: when the server says that one is not what its name says.
        """
        what = f"store {len(parts)} files in {repo}"
        answer = self._wire.multipart(f"{self._wire.place(repo)}/versions", parts, what)
        if answer["err_files"]:
            first = answer["err_files"][0]
            raise IntegrityError(f"{what}: {first.get('error')} ({first.get('hash')})")

    def begin_upload(
        self, repo: RepoRef, content: str, size: int, destination: tuple[str, str] | None = None
    ) -> Json | None:
        """Begin to send a content in parts, or stage what is there already.

        Args:
            repo: the repository.
            content: its hash.
            size: bytes, at least 1.
            destination: a workspace and the path to stage it at.

        Returns:
            upload_id, part_size (bytes) and num_parts; None when the server has the content.
        """
        body: Json = {"hash": content, "size": size}
        if destination is not None:
            body["destination"] = {"workspace_id": destination[0], "path": destination[1]}
        what = f"upload {content} to {repo}"
        found = self._json("POST", repo, "/versions/uploads", what, body)
        return None if found["file"] == "already_stored" else _awaited(found)

    def send_part(self, repo: RepoRef, upload: str, number: int, body: Body) -> bool:
        """Send one part, the first is number 1; whether the upload is complete with it.

        Raises:
            NotFoundError: when the server has forgotten the upload (after 60 s without a part).
        """
        path = f"{self._wire.place(repo)}/versions/uploads/{quote(upload)}/parts/{number}"
        what = f"upload part {number} to {repo}"
        return bool(self._wire.send("PUT", path, what, body, _BYTES)["completed"])

    # --- workspaces

    def workspaces(self, repo: RepoRef) -> dict[str, Json]:
        """The ids of all workspaces, and the commit that each is based on."""
        found = self._json("GET", repo, "/workspaces", f"list the workspaces of {repo}")
        return {str(item["id"]): item["commit"] for item in found["workspaces"]}

    def open_workspace(self, repo: RepoRef, workspace: str, branch: str) -> str:
        """Make a workspace on a branch, in an empty repository also that; its base commit."""
        body = {"branch_name": branch, "workspace_id": workspace}
        found = self._json("PUT", repo, "/workspaces", f"open a workspace in {repo}", body)
        return str(found["workspace"]["commit"]["id"])

    def delete_workspace(self, repo: RepoRef, workspace: str) -> None:
        """Delete a workspace and what is staged in it; nothing happens when there is none."""
        path = f"/workspaces/{quote(workspace)}"
        try:
            self._json("DELETE", repo, path, f"delete a workspace of {repo}")
        except NotFoundError:
            return

    def stage(self, repo: RepoRef, workspace: str, parts: Sequence[Part]) -> set[str]:
        """Store small files and stage them at their paths; the paths that were staged."""
        what = f"stage {len(parts)} files in {repo}"
        path = f"{self._wire.place(repo)}/workspaces/{quote(workspace)}/files/."
        return set(self._wire.multipart(path, parts, what)["paths"])

    def stage_stream(
        self, repo: RepoRef, workspace: str, path: str, chunks: Iterable[bytes], size: int | None
    ) -> bool:
        """Store and stage one file of unknown hash in one pass; whether it was staged.

        What `chunks` raises passes through, and the server keeps nothing.
        """
        where = f"{self._wire.place(repo)}/workspaces/{quote(workspace)}/files/."
        sent = self._wire.stream(where, path, chunks, size, f"stream {path!r} to {repo}")
        return path in sent["paths"]

    def remove(self, repo: RepoRef, workspace: str, paths: Iterable[str]) -> None:
        """Stage the removal of files and folders."""
        where = f"/workspaces/{quote(workspace)}/files"
        for batch in batches(paths, REMOVALS_A_REQUEST):
            self._json("DELETE", repo, where, f"stage removals in {repo}", batch)

    def unstage(self, repo: RepoRef, workspace: str, paths: Iterable[str]) -> None:
        """Take back what is staged at these very paths; no tables, of which the server keeps rows."""
        where = f"/workspaces/{quote(workspace)}/changes"
        for batch in batches(paths, UNSTAGED_A_REQUEST):
            self._json("DELETE", repo, where, f"unstage files in {repo}", batch)

    def merge(
        self, repo: RepoRef, workspace: str, branch: str, *, message: str, author: str, email: str
    ) -> str:
        """Commit what is staged to the branch and end the workspace; the commit's id.

        Not repeated by itself: an answer that was lost may have been a commit.
        """
        path = f"{self._wire.place(repo)}/workspaces/{quote(workspace)}/merge/{quote(branch)}"
        body = json.dumps({"message": message, "author": author, "email": email}).encode()
        found = self._wire.send("POST", path, f"commit to {repo}", body, AS_JSON)
        return str(found["commit"]["id"])


def _awaited(found: Json) -> Json:
    if found["file"] != "awaiting_parts":
        raise PermanentError(f"an upload in the state {found['file']!r} is unknown to syncd")
    return found
