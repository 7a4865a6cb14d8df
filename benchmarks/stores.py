"""Committing a large manifest into both stores: the steps that `manifests.py` measures.

Contents are few and small: what is measured are trees. The server is `oxen_double`, in a process of
its own; the embedded store is liboxen in this one.
"""

from __future__ import annotations

import ctypes
import gc
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

from benchmarks.oxen_double import URL, OxenDouble
from syncd.blocks import batches, paired
from syncd.clients.commits import StoredContent
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.clients.oxen_server import ServerVersionStore
from syncd.clients.oxen_uploads import FILES_A_REQUEST
from syncd.clients.payload import Payload
from syncd.refs import ArtifactRef
from syncd.stages.commit import commit
from syncd.versions.plans import LINEAGE_PATH, Digest, PlannedEntry, TransferPlan

Work = Callable[[], object]
Plans = Callable[[str], TransferPlan]  # of a kind of manifest
_DATA = [f"content {number}".encode() for number in range(2000)]
_KNOWN_OF_256 = 8  # so many of 256 files have a known hash and are staged without their bytes
_PATH: Callable[[PlannedEntry], str] = attrgetter("entry.path")
_NEXT = ArtifactRef.parse("team/proj/ds:v2")


def _own(digests: Collection[Digest]) -> Mapping[Digest, StoredContent]:
    """Each file's own content."""
    return {digest: StoredContent.of(digest[1].encode()) for digest in digests}


def _few(digests: Collection[Digest]) -> Mapping[Digest, StoredContent]:
    """One of some contents: liboxen would need hours to store millions."""
    return {
        digest: StoredContent.of(_DATA[int(digest[1][:8], 16) % len(_DATA)]) for digest in digests
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Small:
    """A small file, as a store asks for it."""

    path: str
    data: bytes
    hash: str | None = None

    @property
    def key(self) -> str:
        return self.path

    @property
    def size(self) -> int | None:
        return len(self.data)

    def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
        del before
        yield self.data

    def part(self, begin: int, size: int) -> Iterator[bytes]:
        yield self.data[begin : begin + size]


def _fresh(plan: TransferPlan, before: TransferPlan | None, *, known: bool) -> Iterator[_Small]:
    """The files that a version has anew, those whose hash is known or the others."""
    pairs = paired(before.stored if before else (), plan.stored, _PATH, _PATH)
    for old, new in pairs:
        if new and (old is None or old.digest != new.digest):
            digest = new.digest[1]
            if (int(digest[:2], 16) < _KNOWN_OF_256) is known:
                yield _Small(path=new.entry.path, data=digest.encode())


def _bring(store: ServerVersionStore, plan: TransferPlan, files: Iterable[_Small]) -> None:
    for batch in batches(files, FILES_A_REQUEST):
        store.bring(plan.repo, batch)


def _next(plans: Plans) -> TransferPlan:
    """The version that has one file more for each hundred."""
    plan = plans("grown")
    return replace(plan, version=replace(plan.version, id="bmV4dA==", ref=_NEXT))


def server(folder: Path, plans: Plans, *, again: bool) -> Work:
    """A version into the server, or the next one, which has one per cent more.

    Answers with the number of requests.
    """
    double = OxenDouble()
    spool = folder / "spool"
    shutil.rmtree(spool, ignore_errors=True)
    store = ServerVersionStore(URL, "", cast("Payload", double), spool=spool, spool_limit=0)
    plan = plans("manifest")

    def put(plan: TransferPlan, fresh: Iterable[_Small]) -> dict[str, Any]:
        begin = double.requests
        hashes = (StoredContent.of(item.digest[1].encode()).hash for item in plan.stored)
        files = zip((item.entry.path for item in plan.stored), hashes, strict=True)
        store.expect(plan.repo, plan.branch, chain([(LINEAGE_PATH, "")], files))
        _bring(store, plan, fresh)
        brought = double.requests
        commit(store, plan, _own, run=None)
        return {"bringing": brought - begin, "committing": double.requests - brought}

    grown = _next(plans)
    _bring(store, plan, _fresh(plan, None, known=True))
    _bring(store, plan, _fresh(grown, plan, known=True))
    if not again:
        return partial(put, plan, _fresh(plan, None, known=False))
    put(plan, _fresh(plan, None, known=False))
    more = list(_fresh(grown, plan, known=False))
    del plan  # a mover of the next version does not have it
    forget_peak()
    return lambda: put(grown, more)


def embedded(folder: Path, plans: Plans, *, again: bool) -> Work:
    """The same into a directory.

    Answers with the peak memory before liboxen is at work: when all links are made.
    """
    root = folder / "store"
    shutil.rmtree(root, ignore_errors=True)
    peaks: dict[str, float] = {}

    def reached(point: str) -> None:
        if point == "commit.linked":
            peaks["mib_before_liboxen"] = peak()

    store = EmbeddedVersionStore(root, checkpoint=reached)
    plan = plans("manifest")
    for data in _DATA:
        store.put(plan.repo, [data])

    def put(plan: TransferPlan) -> dict[str, float]:
        commit(store, plan, _few, run=None)
        return peaks

    if not again:
        return lambda: put(plan)
    put(plan)
    grown = _next(plans)
    return lambda: put(grown)


def forget_peak() -> None:
    """Give back what is free, and take the memory of this moment for the peak (`man 5 proc`)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> float:
    """The peak memory of this process, in MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)
