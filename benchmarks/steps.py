"""The steps of a measurement, each a process of its own: `python -m benchmarks.steps NAME ARGUMENTS`.

Arguments and results are JSON. The libraries are imported by the step that measures them, before its
clock runs. The baseline is the script that a user would write without syncd.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import xxhash

from benchmarks.cases import COLLECTION, ENTITY, FLIGHT, MIB, Case
from benchmarks.http_libraries import Standard
from benchmarks.machine import emit
from benchmarks.oxen_http import OxenHttp
from syncd.manifest import md5

_URLS = """
query Urls($project: String!, $collection: String!, $first: Int, $after: String) {
  project(name: $project, entityName: "sandbox") {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: "v0") {
        files(first: $first, after: $after) {
          pageInfo { endCursor hasNextPage }
          edges { node { name directUrl } }
        }
      }
    }
  }
}
"""
_PAGE = 5000


def _library(name: str) -> Any:
    return importlib.import_module(name)


def _fill(folder: Path, number: int, size: int) -> None:
    """Write one file of random bytes; a thousand to a folder."""
    path = folder / f"{number // 1000:03d}" / f"{number:06d}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for begin in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - begin)))


def log(*, source: str, cases: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Make the files, and log every version with the SDK."""
    wandb = _library("wandb")
    for case in (Case(**fields) for fields in cases):
        folder = Path(source) / case.folder
        if not folder.exists():
            for number in range(case.files):
                _fill(folder, number, case.size)
        with wandb.init(project=case.name) as run:
            for version in range(case.versions):
                for fresh in range(case.fresh if version else 0):
                    _fill(folder, (version * case.fresh + fresh) % case.files, case.size)
                artifact = wandb.Artifact(COLLECTION, "dataset", digest_algorithm=case.digest)
                artifact.add_dir(str(folder), policy="immutable", skip_cache=True)
                run.log_artifact(artifact).wait()
    return {}


def _urls(project: str) -> list[str]:
    httpx = _library("httpx")
    found: list[str] = []
    after: str | None = None
    while True:
        variables = {"project": project, "collection": COLLECTION, "first": _PAGE, "after": after}
        answer = httpx.post(
            f"{os.environ['WANDB_BASE_URL']}/graphql",
            json={"query": _URLS, "variables": variables},
            auth=("api", os.environ["WANDB_API_KEY"]),
            timeout=60,
        ).json()
        collection = answer["data"]["project"]["artifactCollection"]
        page = collection["artifactMembership"]["files"]
        found += [edge["node"]["directUrl"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def _wait(ready: str, go: str) -> None:
    """Say that all is ready, and begin when the others are."""
    Path(ready).touch()
    while not Path(go).exists():
        time.sleep(0.001)


def get(*, project: str, ready: str, go: str) -> Mapping[str, Any]:
    """Read all that W&B signed URLs for, to nowhere."""
    jobs = [(url, None) for url in _urls(project)]
    client = Standard()
    _wait(ready, go)
    start = time.time()
    got = client.run(jobs, FLIGHT)
    return {"begin": start, "end": time.time(), "bytes": got}


def put(*, url: str, repo: str, source: str, small: bool, ready: str, go: str) -> Mapping[str, Any]:
    """Send the same bytes to the server: parts of what is large, batches of what is small."""
    files = sorted(path for path in Path(source).rglob("*") if path.is_file())
    oxen = OxenHttp(url, repo)
    oxen.create()
    if small:
        batches = [files[begin : begin + 250] for begin in range(0, len(files), 250)]
        jobs: list[Callable[[], int]] = [oxen.batch(batch) for batch in batches]
    else:
        jobs = [oxen.parts(path) for path in files]
    _wait(ready, go)
    start = time.time()
    with ThreadPoolExecutor(FLIGHT) as pool:
        sent = sum(pool.map(lambda job: job(), jobs))
    return {"begin": start, "end": time.time(), "bytes": sent}


def digest(*, algorithm: str, files: int, size: int, ready: str, go: str) -> Mapping[str, Any]:
    """Hash as many bytes as W&B's manifest asks whoever moves them to hash."""
    chunk = os.urandom(min(MIB, size))
    _wait(ready, go)
    start = time.time()

    def one(_number: int) -> int:
        hasher = md5() if algorithm == "MD5" else xxhash.xxh3_128()
        for _ in range(size // len(chunk)):
            hasher.update(chunk)
        return size

    with ThreadPoolExecutor(FLIGHT) as pool:
        hashed = sum(pool.map(one, range(files)))
    return {"begin": start, "end": time.time(), "bytes": hashed}


def baseline(*, project: str, versions: int, work: str, url: str, repo: str) -> Mapping[str, Any]:
    """Download with the SDK, then add, commit and push; without a URL nothing is pushed."""
    wandb, oxen = _library("wandb"), _library("oxen")
    oxen.user.config_user("bench", "bench@example.org")
    folder = Path(work)
    times = dict.fromkeys(("download", "add", "commit", "push"), 0.0)

    def timed(name: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        times[name] += time.perf_counter() - start

    begin = time.perf_counter()
    api = wandb.Api()
    local = oxen.Repo(str(folder), mkdir=True)
    local.init()
    if url:
        remote = oxen.RemoteRepo(repo, host=urlsplit(url).netloc, scheme="http")
        remote.create(empty=True)
        local.set_remote("origin", f"{url}/{repo}")
    for version in range(versions):
        artifact = api.artifact(f"{ENTITY}/{project}/{COLLECTION}:v{version}")
        shutil.rmtree(folder / "data", ignore_errors=True)
        timed("download", lambda a=artifact: a.download(root=str(folder / "data")))  # type: ignore[misc]
        timed("add", lambda: local.add("data"))
        timed("commit", lambda n=version: local.commit(f"v{n}"))  # type: ignore[misc]
        if url:
            timed("push", lambda: local.push("origin", "main"))
    return {"seconds": time.perf_counter() - begin, **times}


STEPS: dict[str, Callable[..., Mapping[str, Any]]] = {
    "log": log,
    "get": get,
    "put": put,
    "digest": digest,
    "baseline": baseline,
}

if __name__ == "__main__":
    emit(STEPS[sys.argv[1]](**json.loads(sys.argv[2])))
