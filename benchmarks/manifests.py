"""What large manifests cost: seconds and peak memory of each step of a version's path.

`python benchmarks/manifests.py [--entries N]` prints one JSON object. Each step runs in a process of its own, with all
that `syncd backfill` imports, so that its peak memory is what a mover would have; a step's seconds leave out what it
had to make before.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import oxen  # type: ignore[import-untyped]
import wandb

from benchmarks import stores
from benchmarks.stores import peak
from syncd.blocks import Builder, batches
from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.clients.protocols import VersionStore
from syncd.config import Config
from syncd.documents import read_manifest
from syncd.durable import workflow
from syncd.footprint import keep_small
from syncd.manifest import Manifest, compare, json_chunks
from syncd.refs import ArtifactRef, CommitRef, RepoRef
from syncd.stages.plan import plan
from syncd.stages.replace import reference_manifest
from syncd.stages.verify import verify
from syncd.versions.commit_texts import lineage
from syncd.versions.plans import BATCH, Digest, TransferPlan

_CHUNK = 1 << 20
_LINES = 500
_COMMIT = CommitRef(repo=RepoRef(namespace="team", repo="proj-ds"), commit="0123456789abcdef" * 2)
_CONFIG = Config.model_validate({"references": {"base_url": "https://data.example"}})
_VERSION = Version(
    id="QXJ0aWZhY3Q6MQ==",
    ref=ArtifactRef.parse("team/proj/ds:v1"),
    type="dataset",
    digest="",
    size=0,
    file_count=0,
    created_at="2026-01-01T00:00:00Z",
)
_IMPORTED = (oxen, wandb, workflow)


# --- what is measured


def _entry(number: int, kind: str) -> str:
    path = f"train/class_{number // 1000:04d}/image_{number:09d}.jpeg"
    changed = kind == "changed" and number % 100 == 0
    raw = hashlib.md5(f"{number} {changed}".encode(), usedforsecurity=False).digest()
    item: dict[str, Any] = {"size": 1_000_000 + number * 7919 % 1_000_003 * 10}
    if kind == "references":
        item["digest"] = raw.hex()
        item["extra"] = {"etag": f'"{raw.hex()}"'}
        item["ref"] = f"https://data.example/api/repos/team/proj-ds/file/{_COMMIT.commit}/{path}"
    else:
        item["digest"] = base64.b64encode(raw).decode()
        item["birthArtifactID"] = "QXJ0aWZhY3Q6MTIzNDU2Nzg5"
    return f"{json.dumps(path)}:{json.dumps(item)}"


def _write(folder: Path, entries: int, kind: str) -> None:
    numbers = list(range(entries + entries // 100 * (kind == "grown")))
    if kind == "shuffled":
        random.Random(1).shuffle(numbers)  # noqa: S311 an order, not a secret
    with (folder / kind).open("w") as file:
        file.write('{"version":1,"storagePolicyConfig":{"storageLayout":"V2"},"contents":{')
        for count, batch in enumerate(batches(numbers, _LINES)):
            file.write("," if count else "")
            file.write(",".join(_entry(number, kind) for number in batch))
        file.write("}}")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _read(folder: Path, kind: str = "manifest") -> Manifest:
    return read_manifest(_chunks(folder / kind))


def _planned(folder: Path, kind: str = "manifest") -> TransferPlan:
    return plan(_VERSION, _read(folder, kind), _CONFIG)


def _contents(digests: Collection[Digest]) -> Mapping[Digest, StoredContent]:
    return {digest: StoredContent(hash=digest[1], size=1) for digest in digests}


class _Store:
    """A store that holds one commit: its lineage file on disk, its tree packed."""

    def __init__(self, folder: Path) -> None:
        self._lineage = folder / "lineage"
        rows = Builder()
        with self._lineage.open("wb") as file:
            for chunk in lineage(
                _planned(folder),
                _contents,
                None,
                lambda item, content: rows.add((item.entry.path, content.hash, content.size)),
            ):
                file.write(chunk)
        self._rows = rows.build()

    def verify(self, _commit: CommitRef, **_: object) -> Iterator[str]:
        yield from ()

    def read(self, _commit: CommitRef, _path: str) -> Iterator[bytes]:
        return _chunks(self._lineage)

    def tree(self, _commit: CommitRef) -> Iterator[TreeEntry]:
        return (TreeEntry(path=path, hash=name, size=size) for path, name, size in self._rows)


class _Proved:
    """A catalog that knows all contents to be proved."""

    def verified(self, _repo: RepoRef, hashes: Collection[str]) -> set[str]:
        return set(hashes)

    def mark_read_back(self, *_: object, **__: object) -> None:
        pass


# --- the steps: each makes what it needs and answers with what is to be timed

Work = Callable[[], object]


def _lineage(folder: Path) -> Work:
    planned = _planned(folder)
    rows = Builder()

    def work() -> None:
        for _ in lineage(
            planned,
            _contents,
            None,
            lambda item, content: rows.add((item.entry.path, content.hash, content.size)),
        ):
            pass
        rows.build()

    return work


def _compared(folder: Path) -> Work:
    left, right = _read(folder), _read(folder, "changed")

    def work() -> None:
        found = compare(left, right)
        assert 0 < len(found.changed) <= found.ok, "one per cent was changed"

    return work


def _replaced(folder: Path) -> Work:
    planned = _planned(folder)

    def work() -> None:
        made = reference_manifest(
            planned, _COMMIT, _contents, _CONFIG.references.base_url, etags=True
        )
        made.digest()
        for _ in range(2):  # once for length and MD5, once to send
            for _ in json_chunks(made):
                pass

    return work


def _verified(folder: Path) -> Work:
    store, catalog = cast("VersionStore", _Store(folder)), cast("Catalog", _Proved())

    def work() -> None:
        assert verify(store, catalog, _COMMIT).problems == ()

    return work


def _looked_up(folder: Path) -> Work:
    planned = _planned(folder)
    catalog = Catalog(f"sqlite:///{folder}/catalog.db")

    def work() -> None:
        for batch in planned.stored.batches(BATCH):
            digests = {item.digest for item in batch}
            catalog.learn(_contents(digests))
            assert len(catalog.known(digests)) == len(digests)

    return work


def _digested(folder: Path) -> Work:
    return _read(folder).digest


def _planning(folder: Path) -> Work:
    manifest = _read(folder)
    return lambda: plan(_VERSION, manifest, _CONFIG)


_STEPS: dict[str, Callable[[Path], Work]] = {
    "import": lambda _: lambda: None,
    "read": lambda folder: lambda: _read(folder),
    "read references": lambda folder: lambda: _read(folder, "references"),
    "read shuffled": lambda folder: lambda: _read(folder, "shuffled"),
    "digest": _digested,
    "plan": _planning,
    "plan references": lambda folder: lambda: _planned(folder, "references"),
    "compare": _compared,
    "lineage and tree": _lineage,
    "verify": _verified,
    "replacement": _replaced,
    "learn and look up": _looked_up,
    "into a server": lambda folder: stores.server(folder, _plans(folder), again=False),
    "one per cent more into a server": lambda folder: stores.server(
        folder, _plans(folder), again=True
    ),
    "into a directory": lambda folder: stores.embedded(folder, _plans(folder), again=False),
    "one per cent more into a directory": lambda folder: stores.embedded(
        folder, _plans(folder), again=True
    ),
}


def _plans(folder: Path) -> Callable[[str], TransferPlan]:
    return lambda kind: _planned(folder, kind)


def main() -> None:
    """Run every step, or the one of this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--only", help="steps whose names hold this", default="")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        keep_small()
        work = _STEPS[options.step](options.folder)
        begin = time.monotonic()
        held = work()
        seconds = round(time.monotonic() - begin, 2)
        more = held if isinstance(held, dict) else {}
        print(json.dumps({"seconds": seconds, "peak_mib": peak()} | more))  # noqa: T201
        del held
        return
    report: dict[str, Any] = {"entries": options.entries}
    with tempfile.TemporaryDirectory() as name:
        steps = [step for step in _STEPS if options.only in step]
        for kind in ("manifest", "changed", "grown", "references", "shuffled"):
            if kind in {"manifest", "changed", "grown"} or any(kind in step for step in steps):
                _write(Path(name), options.entries, kind)
        for step in steps:
            answer = subprocess.run(  # noqa: S603 this very script
                [sys.executable, __file__, "--step", step, "--folder", name],
                check=True,
                stdout=subprocess.PIPE,
            )
            report[step] = json.loads(answer.stdout.splitlines()[-1])  # liboxen prints, too
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main()
