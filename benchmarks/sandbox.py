"""What the sandbox holds: many versions, a huge manifest, many files, many clients, one big download.

`python benchmarks/sandbox.py [--quick]` starts a server on a temporary folder, drives it by raw HTTP and prints a
table, then one JSON object as the last line. Client and server share the machine, so ratios say more than seconds.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import json
import math
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wandb.sdk.artifacts._generated import ARTIFACT_MEMBERSHIP_BY_NAME_GQL

_ROOT = Path(__file__).parents[1]
_MIB = 1 << 20
_OK = 200
_PROJECT = "bench"
_WRITERS = 4
_UPLOADERS = 16
_CLIENTS = 64
_PAGE = 100
_FILES_PAGE = 5000
_BATCH = 250
_ROUNDS = 5
_IDLE = 10.0

_CREATE = """
mutation CreateArtifact($input: CreateArtifactInput!) { createArtifact(input: $input) { artifact { id } } }
"""
_MANIFEST = """
mutation CreateArtifactManifest($input: CreateArtifactManifestInput!) {
  createArtifactManifest(input: $input) { artifactManifest { id file { id uploadUrl uploadHeaders } } }
}
"""
_FILES = """
mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) {
  createArtifactFiles(input: $input) { files { edges { node { name uploadUrl uploadHeaders } } } }
}
"""
_COMMIT = """
mutation CommitArtifact($id: ID!) {
  commitArtifact(input: {artifactID: $id}) { artifact { id versionIndex fileCount } }
}
"""
_VERSIONS = """
query Versions($project: String!, $collection: String!, $first: Int, $after: String) {
  project(name: $project, entityName: "sandbox") {
    artifactCollection(name: $collection) {
      artifacts(first: $first, after: $after) {
        pageInfo { endCursor hasNextPage }
        edges { node { id digest versionIndex state createdAt aliases { alias } } }
      }
    }
  }
}
"""
_URLS = """
query Urls($project: String!, $collection: String!, $first: Int, $after: String) {
  project(name: $project, entityName: "sandbox") {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: "v0") {
        artifact { currentManifest { file { directUrl } } }
        files(first: $first, after: $after) {
          pageInfo { endCursor hasNextPage }
          edges { node { name directUrl } }
        }
      }
    }
  }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything."""

    versions: int = 10_000
    entries: int = 1_000_000
    files: int = 100_000
    seconds: float = 15.0
    big_mib: int = 1024


_QUICK = Scale(versions=1000, entries=50_000, files=5000, seconds=3.0, big_mib=128)


@dataclass(slots=True)
class Figures:
    """What was measured."""

    values: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, value: float, unit: str = "") -> None:
        """Keep a figure and show it."""
        self.values[name] = round(value, 3)
        _say(f"{name:<34} {value:>14,.2f} {unit}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


class Peer:
    """One connection to the server. Built on `http.client`: it costs the shared machine the least."""

    def __init__(self, base_url: str, api_key: str) -> None:
        address = urlsplit(base_url)
        self._http = http.client.HTTPConnection(address.hostname or "", address.port, timeout=600)
        self._used = time.monotonic()
        token = base64.b64encode(f"api:{api_key}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        self.buffer = bytearray(_MIB)

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        if time.monotonic() - self._used > _IDLE:
            # The server closes what lies idle for long; the next request opens it again.
            self._http.close()
        self._http.request(method, path, body, headers or {})
        response = self._http.getresponse()
        self._used = time.monotonic()
        return response

    def gql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL request that has to succeed."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        response = self._request("POST", "/graphql", body, self._headers)
        answer = json.loads(response.read())
        if response.status != _OK or "errors" in answer:
            raise RuntimeError(str(answer)[:500])
        data: dict[str, Any] = answer["data"]
        return data

    def put(self, node: dict[str, Any], content: bytes | Iterable[bytes], size: int) -> None:
        """Upload to where a file node says."""
        address = urlsplit(node["uploadUrl"])
        headers = dict(header.split(":", 1) for header in node["uploadHeaders"])
        headers["Content-Length"] = str(size)
        response = self._request("PUT", f"{address.path}?{address.query}", content, headers)
        response.read()
        if response.status != _OK:
            raise RuntimeError(f"upload: {response.status}")

    def get(self, url: str) -> int:
        """Download and throw away; the number of bytes."""
        address = urlsplit(url)
        response = self._request("GET", f"{address.path}?{address.query}")
        if response.status != _OK:
            raise RuntimeError(f"download: {response.status}")
        total = 0
        while count := response.readinto(self.buffer):
            total += count
        return total


@dataclass(slots=True, kw_only=True)
class Server:
    """A running sandbox."""

    base_url: str
    api_key: str
    pid: int
    _local: threading.local = field(default_factory=threading.local)

    def peer(self) -> Peer:
        """This thread's connection."""
        found: Peer | None = getattr(self._local, "peer", None)
        if found is None:
            found = self._local.peer = Peer(self.base_url, self.api_key)
        return found

    def peak_mib(self) -> float:
        """The most memory the server ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


@contextmanager
def _server(data: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "syncd.sandbox", "--data", str(data)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  our own
        try:
            assert process.stdout is not None
            info = json.loads(process.stdout.readline())
            yield Server(base_url=info["base_url"], api_key=info["api_key"], pid=process.pid)
        finally:
            process.terminate()


def _begin(peer: Peer, collection: str, digest: str) -> str:
    asked = {
        "entityName": "sandbox",
        "projectName": _PROJECT,
        "artifactTypeName": "dataset",
        "artifactCollectionName": collection,
        "digest": digest,
        "enableDigestDeduplication": True,
        "aliases": [{"artifactCollectionName": collection, "alias": "latest"}],
    }
    begun: str = peer.gql(_CREATE, input=asked)["createArtifact"]["artifact"]["id"]
    return begun


def _manifest(contents: dict[str, Any]) -> bytes:
    head = {"version": 1, "storagePolicy": "wandb-storage-policy-v1"}
    config = {"storagePolicyConfig": {"storageLayout": "V2"}}
    return json.dumps({**head, **config, "contents": contents}).encode()


def _send_manifest(peer: Peer, artifact: str, content: bytes) -> None:
    asked = {
        "artifactID": artifact,
        "entityName": "sandbox",
        "projectName": _PROJECT,
        "name": "wandb_manifest.json",
        "type": "FULL",
        "digest": _md5(content),
    }
    made = peer.gql(_MANIFEST, input=asked)["createArtifactManifest"]["artifactManifest"]
    peer.put(made["file"], content, len(content))


def _finish(peer: Peer, artifact: str, contents: dict[str, Any]) -> None:
    _send_manifest(peer, artifact, _manifest(contents))
    peer.gql(_COMMIT, id=artifact)


def _reference(number: int) -> dict[str, Any]:
    ref = f"s3://bucket/some/folder/{number:07d}.bin"
    return {"digest": f"etag-{number:07d}", "ref": ref, "size": 100}


def _upload(
    peer: Peer, artifact: str, files: Sequence[tuple[str, bytes]]
) -> dict[str, dict[str, Any]]:
    """Announce and upload a batch; its manifest entries."""
    digests = [_md5(content) for _, content in files]
    specs = [
        {"artifactID": artifact, "name": name, "md5": digest}
        for (name, _), digest in zip(files, digests, strict=True)
    ]
    made = peer.gql(_FILES, input={"artifactFiles": specs})["createArtifactFiles"]["files"]
    entries = {}
    for edge, (name, content), digest in zip(made["edges"], files, digests, strict=True):
        if edge["node"]["uploadUrl"] is not None:
            peer.put(edge["node"], content, len(content))
        entries[name] = {"digest": digest, "size": len(content), "birthArtifactID": artifact}
    return entries


def _pages(peer: Peer, query: str, collection: str, size: int) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        variables = {"project": _PROJECT, "collection": collection}
        data = peer.gql(query, **variables, first=size, after=after)
        found = data["project"]["artifactCollection"]
        page = found.get("artifacts") or found["artifactMembership"]["files"]
        yield page
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]


def _versions(server: Server, scale: Scale, figures: Figures) -> None:
    """(a) One collection of many versions."""
    done: list[float] = []

    def log(collection: str, number: int) -> None:
        peer = server.peer()
        artifact = _begin(peer, collection, f"{number:032x}")
        _finish(peer, artifact, {"data.bin": _reference(number)})
        done.append(time.perf_counter())

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(lambda number: log("warm", number), range(100)))
        done.clear()
        start = time.perf_counter()
        list(pool.map(lambda number: log("many", number), range(scale.versions)))
    part = scale.versions // 10
    figures.note("versions.logged", scale.versions)
    figures.note("versions.per_second", scale.versions / (done[-1] - start), "/s")
    ratio = (done[-1] - done[-1 - part]) / (done[part - 1] - start)
    figures.note("versions.last_tenth_over_first", ratio, "x (1 is best)")
    moments = [time.perf_counter()]
    listed = 0
    for page in _pages(server.peer(), _VERSIONS, "many", _PAGE):
        listed += len(page["edges"])
        moments.append(time.perf_counter())
    assert listed == scale.versions
    figures.note("versions.list_seconds", moments[-1] - moments[0], "s")
    figures.note("versions.list_requests", len(moments) - 1)


def _huge_manifest(server: Server, scale: Scale, figures: Figures) -> None:
    """(b) One version of many references."""
    peer = server.peer()
    content = _manifest({f"f/{n:07d}.bin": _reference(n) for n in range(scale.entries)})
    size = len(content)
    artifact = _begin(peer, "huge", "0" * 32)
    figures.note("manifest.entries", scale.entries)
    figures.note("manifest.mib", size / _MIB, "MiB")
    figures.note("manifest.rss_before_mib", server.peak_mib(), "MiB")
    start = time.perf_counter()
    _send_manifest(peer, artifact, content)
    figures.note("manifest.upload_seconds", time.perf_counter() - start, "s")
    del content
    start = time.perf_counter()
    peer.gql(_COMMIT, id=artifact)
    figures.note("manifest.commit_seconds", time.perf_counter() - start, "s")
    figures.note("manifest.rss_peak_mib", server.peak_mib(), "MiB")
    given = {"project": _PROJECT, "collection": "huge", "first": 0}
    data = peer.gql(_URLS, **given)["project"]["artifactCollection"]["artifactMembership"]
    start = time.perf_counter()
    assert peer.get(data["artifact"]["currentManifest"]["file"]["directUrl"]) == size
    figures.note("manifest.fetch_seconds", time.perf_counter() - start, "s")
    moments = [time.perf_counter()]
    listed = 0
    for page in _pages(peer, _URLS, "huge", _FILES_PAGE):
        listed += len(page["edges"])
        moments.append(time.perf_counter())
    assert listed == scale.entries
    figures.note("manifest.urls_seconds", moments[-1] - moments[0], "s")
    figures.note("manifest.urls_requests", len(moments) - 1)
    if len(moments) > _ROUNDS:
        ratio = (moments[-1] - moments[-4]) / (moments[3] - moments[0])
        figures.note("manifest.last_page_over_first", ratio, "x (1 is best)")


def _many_files(server: Server, scale: Scale, figures: Figures) -> None:
    """(c) One version of many small files."""
    artifact = _begin(server.peer(), "files", "1" * 32)
    salt = os.urandom(8).hex()

    def send(first: int) -> dict[str, dict[str, Any]]:
        numbers = range(first, min(first + _BATCH, scale.files))
        files = [(f"d/{n:06d}", f"{salt}{n:084d}".encode()) for n in numbers]
        return _upload(server.peer(), artifact, files)

    start = time.perf_counter()
    entries: dict[str, Any] = {}
    with ThreadPoolExecutor(_UPLOADERS) as pool:
        for part in pool.map(send, range(0, scale.files, _BATCH)):
            entries.update(part)
    seconds = time.perf_counter() - start
    figures.note("files.uploaded", len(entries))
    figures.note("files.per_second", len(entries) / seconds, "/s")
    start = time.perf_counter()
    _finish(server.peer(), artifact, entries)
    figures.note("files.commit_seconds", time.perf_counter() - start, "s")


def _quantile(sorted_values: Sequence[float], share: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, math.ceil(share * len(sorted_values)) - 1)]


def _attempts(
    server: Server, actions: Sequence[Callable[[Peer], object]], until: float
) -> tuple[list[float], int]:
    """One client: do what comes until the time is up."""
    peer = Peer(server.base_url, server.api_key)
    times: list[float] = []
    errors = 0
    dice = random.Random()  # noqa: S311  not a secret
    while (start := time.perf_counter()) < until:
        try:
            dice.choice(actions)(peer)
        except (RuntimeError, OSError, http.client.HTTPException):
            errors += 1
            peer = Peer(server.base_url, server.api_key)
        times.append(time.perf_counter() - start)
    return times, errors


def _many_clients(server: Server, scale: Scale, figures: Figures) -> None:
    """(d) Names and small downloads, asked for by many at once."""
    peer = server.peer()
    files = [(f"s/{n:02d}", os.urandom(10_000)) for n in range(50)]
    artifact = _begin(peer, "small", "2" * 32)
    _finish(peer, artifact, _upload(peer, artifact, files))
    page = next(_pages(peer, _URLS, "small", len(files)))
    urls = [edge["node"]["directUrl"] for edge in page["edges"]]
    dice = random.Random(1)  # noqa: S311  not a secret

    def name(client: Peer) -> None:
        wanted = f"many:v{dice.randrange(scale.versions)}"
        variables = {"entity": "sandbox", "project": _PROJECT, "name": wanted}
        found = client.gql(ARTIFACT_MEMBERSHIP_BY_NAME_GQL, **variables)
        if found["project"]["artifactCollectionMembership"] is None:
            raise RuntimeError("no such version")

    def download(client: Peer) -> None:
        if client.get(dice.choice(urls)) != len(files[0][1]):
            raise RuntimeError("cut short")

    def together(seconds: float) -> list[tuple[list[float], int]]:
        until = time.perf_counter() + seconds
        with ThreadPoolExecutor(_CLIENTS) as pool:
            jobs = [
                pool.submit(_attempts, server, (name, download), until) for _ in range(_CLIENTS)
            ]
            return [job.result() for job in jobs]

    together(0.5)  # warm-up
    results = together(scale.seconds)
    times = sorted(value for values, _ in results for value in values)
    figures.note("clients.parallel", _CLIENTS)
    figures.note("clients.requests_per_second", len(times) / scale.seconds, "/s")
    figures.note("clients.errors", sum(errors for _, errors in results), "(must be 0)")
    figures.note("clients.p50_ms", _quantile(times, 0.5) * 1000, "ms")
    figures.note("clients.p99_ms", _quantile(times, 0.99) * 1000, "ms")


def _plain_server(path: str, pipe: Connection) -> None:
    """The bare system calls: sendfile for `/sendfile`, else reads and writes. On loopback either may be the faster."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            with connection, Path(path).open("rb", buffering=0) as file:
                while head := connection.recv(65536):
                    file.seek(0)
                    length = os.fstat(file.fileno()).st_size
                    connection.sendall(
                        f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
                    )
                    if b"/sendfile" in head:
                        connection.sendfile(file)
                    else:
                        while chunk := file.read(_MIB):
                            connection.sendall(chunk)


@contextmanager
def _plain(path: Path) -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_plain_server, args=(str(path), theirs), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


def _big_download(server: Server, scale: Scale, figures: Figures, data: Path) -> None:
    """(e) One big file, against the bare system calls on the same file."""
    peer = server.peer()
    block = os.urandom(_MIB)
    size = scale.big_mib * _MIB
    md5 = hashlib.md5(usedforsecurity=False)
    for _ in range(scale.big_mib):
        md5.update(block)
    digest = base64.b64encode(md5.digest()).decode()
    artifact = _begin(peer, "big", "3" * 32)
    specs = [{"artifactID": artifact, "name": "big.bin", "md5": digest}]
    made = peer.gql(_FILES, input={"artifactFiles": specs})["createArtifactFiles"]["files"]
    start = time.perf_counter()
    peer.put(made["edges"][0]["node"], (block for _ in range(scale.big_mib)), size)
    figures.note("big.mib", scale.big_mib, "MiB")
    figures.note("big.upload_mb_per_second", size / 1e6 / (time.perf_counter() - start), "MB/s")
    entry = {"digest": digest, "size": size, "birthArtifactID": artifact}
    _finish(peer, artifact, {"big.bin": entry})
    page = next(_pages(peer, _URLS, "big", 1))
    url = page["edges"][0]["node"]["directUrl"]
    blob = data / "blobs" / "files" / md5.hexdigest()[:2] / md5.hexdigest()

    def speed(client: Peer, address: str) -> float:
        begun = time.perf_counter()
        assert client.get(address) == size
        return size / 1e6 / (time.perf_counter() - begun)

    with _plain(blob) as plain_url:
        plain_peer = Peer(plain_url, "")
        rounds = [
            (
                speed(peer, url),
                speed(plain_peer, f"{plain_url}/sendfile"),
                speed(plain_peer, f"{plain_url}/copy"),
            )
            for _ in range(_ROUNDS + 1)
        ]
    ours, sendfile, copy = (statistics.median(values) for values in zip(*rounds[1:], strict=True))
    figures.note("big.download_mb_per_second", ours, "MB/s")
    figures.note("big.sendfile_mb_per_second", sendfile, "MB/s")
    figures.note("big.read_write_mb_per_second", copy, "MB/s")
    figures.note("big.download_over_sendfile", ours / sendfile, "x")
    figures.note("big.download_over_best", ours / max(sendfile, copy), "x (1 is best)")


def main() -> None:
    """Measure everything in one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth or less of everything")
    scale = _QUICK if parser.parse_args().quick else Scale()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="sandbox-benchmark-") as folder:
        data = Path(folder)
        start = time.perf_counter()
        with _server(data) as server:
            _versions(server, scale, figures)
            _huge_manifest(server, scale, figures)
            _many_files(server, scale, figures)
            _many_clients(server, scale, figures)
            _big_download(server, scale, figures, data)
            figures.note("server.rss_peak_mib", server.peak_mib(), "MiB")
        figures.note("run.seconds", time.perf_counter() - start, "s")
    _say(json.dumps(figures.values))


if __name__ == "__main__":
    main()
