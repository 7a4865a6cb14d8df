"""The HTTP interface of an Oxen server: one place for its routes, its errors and its token.

Routes and answers were read in the crate oxen-server 0.65.2 (`src/services`, `src/controllers`) and
tried against it. Long answers begin with newlines as heartbeats, which JSON allows; an answer
may also say `"status": "error"` under a 200, because its head was sent before the work was done.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BufferedReader, RawIOBase
from itertools import chain
from typing import Any, cast
from urllib.parse import quote

from syncd import retry
from syncd.clients.http import raise_for_status
from syncd.clients.payload import Body, Payload
from syncd.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidNameError,
    NotFoundError,
    PermanentError,
)
from syncd.refs import RepoRef

OLDEST = (0, 65)  # earlier servers take uploads over other routes
ABSENT = "f" * 32  # no content's hash: asking for it makes the answer a list, never the bytes
HASHES_A_REQUEST = 5000
DIR_PAGE = 2000  # entries, of about 800 bytes each
REMOVALS_A_REQUEST = 500  # some 2 ms each
CHUNK = 1 << 20
ERROR_BYTES = 65536  # of an error's text, at most
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
Json = dict[str, Any]
Part = tuple[str, bytes]  # file name, content


class OxenApi:
    """The calls that syncd makes to one server.

    Args:
        url: where the server is, without `/api`.
        token: the bearer token; empty for a server that asks for none.
        http: keeps the connections.
    """

    def __init__(self, url: str, token: str, http: Payload) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = http
        self._probed = False

    def probe(self) -> None:
        """Make sure that the server speaks what this client speaks; asked once.

        Raises:
            PermanentError: when it is too old, or no Oxen server.
        """
        if self._probed:
            return
        what = f"ask {self._url} for its version"
        text = str(self._json("GET", "/api/version", what).get("oxen_version", ""))
        numbers = re.match(r"(\d+)\.(\d+)", text)
        if numbers is None:
            raise PermanentError(
                f"{self._url} names no Oxen version", hint="Check [oxen] url: is it an Oxen server?"
            )
        if (int(numbers[1]), int(numbers[2])) < OLDEST:
            raise PermanentError(
                f"{self._url} is oxen-server {text}, and syncd needs 0.65 or later",
                hint="Upgrade the server; earlier ones take uploads over other routes.",
            )
        self._probed = True

    # --- repositories and branches

    def exists(self, repo: RepoRef) -> bool:
        """Whether the repository is there (and the token may see it)."""
        self.probe()
        try:
            self._repo_json("GET", repo, "", f"look for {repo}")
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
        _checked(repo)
        seed = {
            "path": file[0],
            "contents": file[1].decode(),
            "user": {"name": author, "email": email},
        }
        body = {"namespace": repo.namespace, "name": repo.repo, "files": [seed]}
        self._json("POST", "/api/repos", f"create {repo}", body)

    def remove_repository(self, repo: RepoRef) -> None:
        """Delete a repository with all it holds (oxen-server 0.65, `repositories::delete`)."""
        self._repo_json("DELETE", repo, "", f"remove {repo}")

    def branches(self, repo: RepoRef) -> dict[str, str]:
        """All branches with the commit each points at."""
        found = self._repo_json("GET", repo, "/branches", f"list the branches of {repo}")
        return {str(item["name"]): str(item["commit_id"]) for item in found["branches"]}

    def set_branch(self, repo: RepoRef, name: str, commit: str) -> None:
        """Point a branch at a commit, making or moving it."""
        path = f"/branches/{quote(name)}"
        self._repo_json("PUT", repo, path, f"move {name} of {repo}", {"commit_id": commit})

    def delete_branch(self, repo: RepoRef, name: str) -> None:
        """Delete a branch; nothing happens when there is none."""
        try:
            self._repo_json("DELETE", repo, f"/branches/{quote(name)}", f"delete {name} of {repo}")
        except NotFoundError:
            return

    def branch(self, repo: RepoRef, name: str) -> str | None:
        """The commit a branch points at."""
        try:
            found = self._repo_json(
                "GET", repo, f"/branches/{quote(name)}", f"look up {name} of {repo}"
            )
        except NotFoundError:
            return None
        return str(found["branch"]["commit_id"])

    def commit(self, repo: RepoRef, commit: str) -> Json | None:
        """What the server says of a commit."""
        try:
            found = self._repo_json("GET", repo, f"/commits/{quote(commit)}", f"look up {commit}")
        except NotFoundError:
            return None
        return cast(Json, found["commit"])

    # --- trees and contents

    def directory(self, repo: RepoRef, commit: str, path: str) -> Iterator[Json]:
        """The entries of one folder of a commit, by name; nothing when there is no such folder."""
        page, pages = 1, 1
        while page <= pages:
            query = f"?page={page}&page_size={DIR_PAGE}"
            where = f"/dir/{commit}/{quote(path)}{query}"
            try:
                found = self._repo_json(
                    "GET", repo, where, f"list {path or '/'} of {repo}@{commit}"
                )
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
            lines = "\n".join([ABSENT, *hashes[begin : begin + HASHES_A_REQUEST]])
            ask = partial(self._absent, repo, gzip.compress(lines.encode(), compresslevel=1))
            gone |= retry.call(ask, what=f"ask {repo} for contents")
        return gone - {ABSENT}

    def _absent(self, repo: RepoRef, body: bytes) -> set[str]:
        what = f"ask {repo} for contents"
        url = f"{self._base(repo)}/versions"
        headers = {**self._headers, "Content-Type": "application/gzip"}
        with self._http.request("QUERY", url, headers=headers, body=body, what=what) as answer:
            text = b"".join(answer.chunks(CHUNK)) if answer.status == 404 else b""  # noqa: PLR2004
            try:
                return set(json.loads(text)["error"]["missing_hashes"])
            except (ValueError, KeyError, TypeError):
                raise_for_status(what, answer.status, answer.headers, url, detail=_detail(text))
                raise PermanentError(
                    f"{what}: {self._url} did not answer with a list of missing contents",
                    hint="The server's interface may have changed; syncd knows 0.65.",
                ) from None

    def read(self, repo: RepoRef, commit: str, path: str) -> Iterator[bytes]:
        """The bytes of one file of a commit, in chunks.

        Raises:
            NotFoundError: when the server has no such commit, path or content.
            IntegrityError: when the answer ends early.
        """
        url = f"{self._base(repo)}/file/{commit}/{quote(path)}"
        what = f"read {path!r} of {repo}@{commit}"
        with self._http.request("GET", url, headers=self._headers, what=what) as answer:
            raise_for_status(what, answer.status, answer.headers, url)
            promised = answer.headers.get("content-length", "")
            count = 0
            for data in answer.chunks(CHUNK):
                count += len(data)
                yield data
        if promised.isdecimal() and int(promised) != count:
            raise IntegrityError(f"{what}: {count} of {promised} bytes arrived")

    def size(self, repo: RepoRef, content: str) -> int | None:
        """The bytes that the server has stored under a hash, None when there are none."""
        where = f"/versions/{quote(content)}/metadata"
        try:
            found = self._repo_json("GET", repo, where, f"look for {content} in {repo}")
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
        url, what = f"{self._base(repo)}/versions", f"read contents of {repo}"
        headers = {**self._headers, "Content-Type": "application/gzip"}
        body = gzip.compress("\n".join(hashes).encode(), compresslevel=1)
        with self._http.request("QUERY", url, headers=headers, body=body, what=what) as answer:
            raise_for_status(what, answer.status, answer.headers, url)
            reader = BufferedReader(_Stream(answer.chunks(CHUNK)), CHUNK)
            try:
                with tarfile.open(fileobj=reader, mode="r|gz") as archive:
                    for member in archive:
                        file = archive.extractfile(member)
                        if file is not None:
                            data = file.read(CHUNK)
                            yield member.name, data
                            while data := file.read(CHUNK):
                                yield member.name, data
            except (tarfile.TarError, EOFError, OSError) as error:
                raise IntegrityError(f"{what}: the answer is no archive") from error

    def remove_damaged(self, repo: RepoRef) -> None:
        """Let the server delete what is not what its hash says; it reads everything for that."""
        self._repo_json("DELETE", repo, "/versions", f"remove damaged contents of {repo}")

    def store(self, repo: RepoRef, parts: Sequence[Part]) -> None:
        """Store small contents under their hashes; no workspace and no commit names them yet.

        Raises:
            IntegrityError: when the server says that one is not what its name says.
        """
        what = f"store {len(parts)} files in {repo}"
        answer = self._multipart(repo, "/versions", parts, what)
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
        found = self._repo_json("POST", repo, "/versions/uploads", what, body)
        return None if found["file"] == "already_stored" else _awaited(found)

    def send_part(self, repo: RepoRef, upload: str, number: int, body: Body) -> bool:
        """Send one part, the first is number 1; whether the upload is complete with it.

        Raises:
            NotFoundError: when the server has forgotten the upload (after 60 s without a part).
        """
        path = f"/versions/uploads/{quote(upload)}/parts/{number}"
        what = f"upload part {number} to {repo}"
        headers = {"Content-Type": "application/octet-stream"}
        return bool(
            self._send("PUT", f"{self._base(repo)}{path}", what, body, headers)["completed"]
        )

    # --- workspaces

    def workspaces(self, repo: RepoRef) -> list[str]:
        """The ids of all workspaces."""
        found = self._repo_json("GET", repo, "/workspaces", f"list the workspaces of {repo}")
        return [str(item["id"]) for item in found["workspaces"]]

    def open_workspace(self, repo: RepoRef, workspace: str, branch: str) -> str:
        """Make a workspace on a branch, in an empty repository also that; its base commit."""
        body = {"branch_name": branch, "workspace_id": workspace}
        found = self._repo_json("PUT", repo, "/workspaces", f"open a workspace in {repo}", body)
        return str(found["workspace"]["commit"]["id"])

    def delete_workspace(self, repo: RepoRef, workspace: str) -> None:
        """Delete a workspace and what is staged in it; nothing happens when there is none."""
        path = f"/workspaces/{quote(workspace)}"
        try:
            self._repo_json("DELETE", repo, path, f"delete a workspace of {repo}")
        except NotFoundError:
            return

    def stage(self, repo: RepoRef, workspace: str, parts: Sequence[Part]) -> set[str]:
        """Store small files and stage them at their paths; the paths that were staged."""
        what = f"stage {len(parts)} files in {repo}"
        path = f"/workspaces/{quote(workspace)}/files/."
        return set(self._multipart(repo, path, parts, what)["paths"])

    def stage_stream(
        self, repo: RepoRef, workspace: str, path: str, chunks: Iterable[bytes]
    ) -> bool:
        """Store and stage one file in one pass, its size and hash unknown; whether it was staged.

        What `chunks` raises passes through, and the server keeps nothing.
        """
        url = f"{self._base(repo)}/workspaces/{quote(workspace)}/files/."
        boundary = uuid.uuid4().hex
        body = _framed(boundary, path, chunks)
        sent = self._send("POST", url, f"stream {path!r} to {repo}", body, _multipart(boundary))
        return path in sent["paths"]

    def remove(self, repo: RepoRef, workspace: str, paths: Sequence[str]) -> None:
        """Stage the removal of files and folders."""
        where = f"/workspaces/{quote(workspace)}/files"
        for begin in range(0, len(paths), REMOVALS_A_REQUEST):
            batch = list(paths[begin : begin + REMOVALS_A_REQUEST])
            self._repo_json("DELETE", repo, where, f"stage removals in {repo}", batch)

    def merge(
        self, repo: RepoRef, workspace: str, branch: str, *, message: str, author: str, email: str
    ) -> str:
        """Commit what is staged to the branch and end the workspace; the commit's id.

        Not repeated by itself: an answer that was lost may have been a commit.
        """
        url = f"{self._base(repo)}/workspaces/{quote(workspace)}/merge/{quote(branch)}"
        body = json.dumps({"message": message, "author": author, "email": email}).encode()
        found = self._send("POST", url, f"commit to {repo}", body, _JSON)
        return str(found["commit"]["id"])

    # --- requests

    def _base(self, repo: RepoRef) -> str:
        _checked(repo)
        return f"{self._url}/api/repos/{quote(repo.namespace)}/{quote(repo.repo)}"

    def _multipart(self, repo: RepoRef, path: str, parts: Sequence[Part], what: str) -> Json:
        boundary = uuid.uuid4().hex  # at random: no content can hold it on purpose
        heads = ((_head(boundary, name), data, b"\r\n") for name, data in parts)
        body = b"".join([*chain.from_iterable(heads), f"--{boundary}--\r\n".encode()])
        url, headers = f"{self._base(repo)}{path}", _multipart(boundary)
        return retry.call(lambda: self._send("POST", url, what, body, headers), what=what)

    def _repo_json(
        self, method: str, repo: RepoRef, path: str, what: str, body: object = None
    ) -> Json:
        return self._json(method, f"{self._base(repo)[len(self._url) :]}{path}", what, body)

    def _json(self, method: str, path: str, what: str, body: object = None) -> Json:
        """Send a request that may be repeated."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else _JSON
        return retry.call(
            lambda: self._send(method, f"{self._url}{path}", what, data, headers), what=what
        )

    def _send(
        self, method: str, url: str, what: str, body: Body | None, headers: Mapping[str, str]
    ) -> Json:
        sent = {**self._headers, **headers}
        with self._http.request(method, url, headers=sent, body=body, what=what) as answer:
            text = b"".join(answer.chunks(CHUNK))
            detail = _detail(text[:ERROR_BYTES]) if answer.status >= 400 else ""  # noqa: PLR2004
            raise_for_status(what, answer.status, answer.headers, url, detail=detail)
        try:
            found = json.loads(text)
        except ValueError as error:
            raise IntegrityError(f"{what}: {self._url} answered what is no JSON") from error
        if not isinstance(found, dict) or found.get("status") == "error":
            raise PermanentError(f"{what}: {self._url} refused: {_detail(text[:ERROR_BYTES])}")
        return found


class _Stream(RawIOBase):
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        """Nothing else."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase.readinto`."""
        data = self._rest or next(self._chunks, b"")
        count = min(len(buffer), len(data))
        buffer[:count], self._rest = data[:count], data[count:]
        return count


_JSON = {"Content-Type": "application/json"}


def _multipart(boundary: str) -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def check_url(url: str) -> str:
    """Return a server's URL without a slash at its end.

    Raises:
        ConfigurationError: when it holds a user, a query or a fragment.
    """
    if any(mark in url for mark in "?#@"):
        raise ConfigurationError(["oxen.url: a server's URL has no user, query or fragment"])
    return url.rstrip("/")


def _checked(repo: RepoRef) -> None:
    for name in (repo.namespace, repo.repo):
        if not _NAME.fullmatch(name):
            raise InvalidNameError(
                f"{name!r} cannot be an Oxen namespace or repository",
                hint="Letters, digits, '_', '-' and '.' (not first), at most 200.",
            )


def _awaited(found: Json) -> Json:
    if found["file"] != "awaiting_parts":
        raise PermanentError(f"an upload in the state {found['file']!r} is unknown to syncd")
    return found


def _head(boundary: str, name: str) -> bytes:
    r"""The head of one file of a multipart body; `\` and `"` in the name are escaped (RFC 2616)."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file[]"; filename="{escaped}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


def _framed(boundary: str, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield _head(boundary, name)
    yield from chunks
    yield f"\r\n--{boundary}--\r\n".encode()


def _detail(text: bytes) -> str:
    """What the server said about a failure, in one line."""
    try:
        found = json.loads(text)
        error = found.get("error") or {}
        said = [error.get("title"), error.get("detail"), found.get("status_description")]
        parts = [str(part) for part in said if part] or [str(found.get("status_message", ""))]
    except (ValueError, AttributeError):
        return ""
    return " ".join(": ".join(parts).split())[:300]
