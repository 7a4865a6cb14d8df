"""What an Oxen server answers to a mover that commits, from a process of its own, without bytes.

It keeps the hashes of contents and the trees of commits. So the peak memory of the
process that asks is the mover's own, and two million files are committed in minutes.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import re
import threading
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import xxhash

from syncd.blocks import Blocks, Builder, Row
from syncd.clients.payload import Body

Json = dict[str, Any]
PART = 10 << 20  # bytes
URL = "http://double.invalid"
_PART = re.compile(rb'filename="([^"]*)"\r\n.*?\r\n\r\n(.*?)\r\n--', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as `clients.payload.Answer` is one."""

    status: int
    headers: Mapping[str, str]
    _body: bytes

    def chunks(self, size: int) -> Iterator[bytes]:
        """All of it."""
        del size
        yield self._body


class OxenDouble:
    """Takes the place of `clients.payload.Payload`; the server begins empty.

    Args:
        requests: how many were made.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._lock = threading.Lock()
        self._ask, answer = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        context.Process(target=_serve, args=(answer,), daemon=True).start()
        answer.close()

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Iterator[Reply]:
        """See `clients.payload.Payload.request`."""
        del what, headers
        chunks = body[0] if isinstance(body, tuple) else body or b""
        data = chunks if isinstance(chunks, bytes) else b"".join(cast("Iterable[bytes]", chunks))
        with self._lock:
            self.requests += 1
            self._ask.send((method, url.removeprefix(URL), data))
            status, text = self._ask.recv()
        yield Reply(status, {}, text)


class _Tree:
    """A commit's files, and where those of each folder are."""

    def __init__(self, rows: Blocks) -> None:
        self.rows = rows
        self.files: dict[str, array[int]] = defaultdict(lambda: array("Q"))
        self.folders: dict[str, dict[str, None]] = defaultdict(dict)
        self._hashes: dict[str, Any] = defaultdict(xxhash.xxh3_128)
        for number, (path, content, _) in enumerate(rows):
            folder = path.rpartition("/")[0]
            if folder not in self.files:
                inner = folder
                while inner:
                    outer, _, name = inner.rpartition("/")
                    self.folders[outer][name] = None
                    inner = outer
            self.files[folder].append(number)
            while folder:
                self._hashes[folder].update(f"{path}\0{content}\0".encode())
                folder = folder.rpartition("/")[0]

    def page(self, folder: str, page: int, size: int) -> Json:
        files, folders = self.files.get(folder, array("Q")), list(self.folders.get(folder, ()))
        begin = (page - 1) * size
        entries = [
            {"filename": name, "is_dir": True, "hash": self._hash(folder, name), "size": 0}
            for name in folders[begin : begin + size]
        ]
        for number in files[max(begin - len(folders), 0) : max(begin + size - len(folders), 0)]:
            path, hash_, count = self.rows.at(number)
            name = path.rpartition("/")[2]
            entries.append({"filename": name, "is_dir": False, "hash": hash_, "size": count})
        return {"entries": entries, "total_pages": -(-(len(files) + len(folders)) // size)}

    def _hash(self, folder: str, name: str) -> str:
        return str(self._hashes[f"{folder}/{name}".lstrip("/")].hexdigest())


class _Server:
    def __init__(self) -> None:
        self._trees: dict[str, _Tree] = {}
        self._branches: dict[str, str] = {}
        self._commits: dict[str, Json] = {}
        self._workspaces: dict[str, tuple[str, Builder, set[str]]] = {}
        self._stored: set[int] = set()

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, Json]:
        parts = urlsplit(url)
        if parts.path == "/api/version":
            return 200, {"oxen_version": "0.65.2"}
        if parts.path == "/api/repos":
            file = json.loads(body)["files"][0]
            data = file["contents"].encode()
            rows = Builder()
            rows.add((file["path"], f"{xxhash.xxh3_128_intdigest(data):x}", len(data)))
            user = file["user"]
            self._branches["main"] = self._commit("", rows, "Begin", user["name"], user["email"])
            return 200, {}
        if not self._branches:
            return 404, {}
        path = parts.path.split("/", 5)[5:]
        noun, _, rest = path[0].partition("/") if path else ("", "", "")
        handler = getattr(self, f"_{method}_{noun}".lower())
        found = handler(unquote(rest), body, parse_qs(parts.query))
        return (404, {}) if found is None else (found.pop("code", 200), found)

    def _commit(self, parent: str, rows: Builder, message: str, author: str, email: str) -> str:
        commit = f"{len(self._commits) + 1:032x}"
        self._trees[commit] = _Tree(rows.build())
        self._commits[commit] = {
            "id": commit,
            "parent_ids": [parent] if parent else [],
            "message": message,
            "author": author,
            "email": email,
        }
        return commit

    def _get_(self, *_: object) -> Json:
        return {}

    def _get_branches(self, name: str, *_: object) -> Json | None:
        if name:
            found = self._branches.get(name)
            return {"branch": {"commit_id": found}} if found else None
        items = self._branches.items()
        return {"branches": [{"name": name, "commit_id": commit} for name, commit in items]}

    def _post_branches(self, _rest: str, body: bytes, *_: object) -> Json:
        said = json.loads(body)
        self._branches[said["new_name"]] = said["commit_id"]
        return {}

    def _put_branches(self, name: str, body: bytes, *_: object) -> Json:
        self._branches[name] = json.loads(body)["commit_id"]
        return {}

    def _delete_branches(self, name: str, *_: object) -> Json | None:
        return {} if self._branches.pop(name, None) else None

    def _get_commits(self, commit: str, *_: object) -> Json | None:
        return {"commit": self._commits[commit]} if commit in self._commits else None

    def _post_commits(self, rest: str, body: bytes, *_: object) -> Json:
        if rest == "upload":
            return {}
        said = json.loads(body)
        before = self._branches[said["branch_name"]]
        rows = Builder()
        rows.extend(self._trees[before].rows)
        made = self._commit(before, rows, said["message"], said["author"], said["email"])
        self._branches[said["branch_name"]] = made
        return {"commit": self._commits[made]}

    def _post_fsck(self, *_: object) -> Json:
        return {}

    def _get_dir(self, where: str, _body: bytes, query: Mapping[str, list[str]]) -> Json:
        commit, _, folder = where.partition("/")
        return self._trees[commit].page(folder, int(query["page"][0]), int(query["page_size"][0]))

    def _get_workspaces(self, *_: object) -> Json:
        return {"workspaces": []}

    def _put_workspaces(self, _rest: str, body: bytes, *_: object) -> Json:
        asked = json.loads(body)
        base = self._branches[asked["branch_name"]]
        self._workspaces[asked["workspace_id"]] = (base, Builder(), set())
        return {"workspace": {"commit": {"id": base}}}

    def _delete_workspaces(self, rest: str, body: bytes, _query: object) -> Json | None:
        name, _, files = rest.partition("/")
        if files:
            self._workspaces[name][2].update(json.loads(body))
            return {}
        return {} if self._workspaces.pop(name, None) else None

    def _post_workspaces(self, rest: str, body: bytes, _query: object) -> Json:
        name, verb, where = rest.split("/", 2)
        base, staged, removed = self._workspaces[name]
        if verb == "files":
            paths: list[str] = []
            for raw, data in _PART.findall(body):
                path = raw.decode()
                content = xxhash.xxh3_128_intdigest(data)
                self._stored.add(content)
                staged.add((path, f"{content:x}", len(data)))
                paths.append(path)
            return {"paths": paths}
        said: Json = json.loads(body)
        below = tuple(f"{path}/" for path in removed)
        rows = Builder()
        rows.extend(
            row
            for row in self._trees[base].rows
            if row[0] not in removed and not row[0].startswith(below)
        )
        rows.extend(staged.build())
        made = self._commit(base, rows, said["message"], said["author"], said["email"])
        self._branches[where] = made
        del self._workspaces[name]
        return {"commit": {"id": made}}

    def _query_versions(self, _rest: str, body: bytes, *_: object) -> Json:
        asked = gzip.decompress(body).decode().split("\n")
        missing = [content for content in asked if int(content, 16) not in self._stored]
        return {"code": 404, "error": {"missing_hashes": missing}}

    def _post_versions(self, rest: str, body: bytes, *_: object) -> Json:
        if rest != "uploads":
            self._stored.update(
                xxhash.xxh3_128_intdigest(data) for name, data in _PART.findall(body) if name
            )
            return {"err_files": []}
        asked = json.loads(body)
        if int(asked["hash"], 16) not in self._stored:
            parts = -(-asked["size"] // PART)
            upload = f"{asked['hash']}-{parts}"
            return {
                "file": "awaiting_parts",
                "upload_id": upload,
                "part_size": PART,
                "num_parts": parts,
            }
        if "destination" in asked:
            where = asked["destination"]
            row: Row = (where["path"], asked["hash"], asked["size"])
            self._workspaces[where["workspace_id"]][1].add(row)
        return {"file": "already_stored"}

    def _put_versions(self, rest: str, *_: object) -> Json:
        upload, number = rest.split("/")[1::2]
        content, parts = upload.split("-")
        if number == parts:
            self._stored.add(int(content, 16))
        return {"completed": number == parts}


def _serve(connection: Connection) -> None:
    server = _Server()
    while True:
        try:
            method, url, body = connection.recv()
        except EOFError:
            return
        status, found = server.answer(method, url, body)
        connection.send((status, json.dumps(found).encode()))
