"""Verify: what was committed is read back from Oxen by commit and held against what W&B promised.

The tree must be exactly the expected one, proved by the store; each content that was not read back
from this repository before is read, and its W&B digest and its Oxen hash are computed anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import xxhash

from syncd.catalog.catalog import Catalog
from syncd.clients.protocols import StoredContent, TreeEntry, VersionStore
from syncd.errors import PermanentError
from syncd.plans import LINEAGE_PATH, Receipt, VerifyReport
from syncd.refs import CommitRef

Progress = Callable[[int], None]  # bytes read back
_IDENTITY = ("algorithm", "digest", "hash")  # what a lineage file says of a file's content


def verify(
    store: VersionStore,
    catalog: Catalog,
    commit: CommitRef,
    *,
    prefix: str = "",
    everything: bool = False,
    progress: Progress = lambda _bytes: None,
) -> VerifyReport:
    """Prove a commit, or list what is wrong with it.

    Args:
        store: Oxen.
        catalog: knows which contents were read back before; learns the new ones.
        commit: the commit.
        prefix: the folder of the tree that the version lies in.
        everything: also read again what was read back before.
        progress: told of bytes as they are read.
    """
    problems = list(store.verify(commit, paths=()))
    tree: dict[str, TreeEntry] = {}
    files: Mapping[str, Mapping[str, str]] = {}
    lineage_path = f"{prefix}/{LINEAGE_PATH}" if prefix else LINEAGE_PATH
    try:
        tree = {
            entry.path: entry
            for entry in store.tree(commit)
            if not prefix or entry.path.startswith(f"{prefix}/")
        }
        document = json.loads(b"".join(store.read(commit, lineage_path)))
        files = {
            (f"{prefix}/{path}" if prefix else path): {key: str(item[key]) for key in _IDENTITY}
            for path, item in document["files"].items()
        }
    except (PermanentError, ValueError, KeyError, TypeError, AttributeError) as error:
        problems.append(f"{lineage_path}: cannot be read back ({error})")
    problems += [f"{path}: not in the commit" for path in sorted(files.keys() - tree.keys())]
    proved = set() if everything else catalog.verified(commit.repo, {e.hash for e in tree.values()})
    good: set[str] = set()
    bad: set[str] = set()
    for path, entry in tree.items():
        expected = files.get(path)
        if expected is not None and entry.hash != expected["hash"]:
            problems.append(
                f"{path}: the commit names content {entry.hash}, not {expected['hash']}"
            )
            continue
        if entry.hash in proved or entry.hash in good:
            continue
        problem = _read_back(store, commit, entry, expected)
        progress(entry.size)
        if problem:
            problems.append(problem)
            bad.add(entry.hash)
        else:
            good.add(entry.hash)
    catalog.mark_read_back(commit.repo, good, good=True)
    catalog.mark_read_back(commit.repo, bad, good=False)  # the next transfer brings them again
    return VerifyReport(problems=tuple(problems), receipt=_receipt(commit, tree))


def _read_back(
    store: VersionStore,
    commit: CommitRef,
    entry: TreeEntry,
    expected: Mapping[str, str] | None,
) -> str:
    """What is wrong with one file's bytes; empty when nothing is."""
    md5 = hashlib.md5(usedforsecurity=False)
    xxh = xxhash.xxh3_128()
    size = 0
    try:
        for chunk in store.read(commit, entry.path):
            md5.update(chunk)
            xxh.update(chunk)
            size += len(chunk)
    except PermanentError as error:
        return f"{entry.path}: cannot be read back ({error})"
    stored = StoredContent(hash=f"{xxh.intdigest():x}", size=size)
    if stored != StoredContent(hash=entry.hash, size=entry.size):
        return (
            f"{entry.path}: {size} bytes with hash {stored.hash} were read back, "
            f"the commit names {entry.size} bytes with hash {entry.hash}"
        )
    if expected is None:
        return ""
    digest = md5.digest() if expected["algorithm"] == "MD5" else xxh.digest()
    if base64.b64encode(digest).decode() != expected["digest"]:
        return f"{entry.path}: the bytes read back have another digest than W&B's manifest"
    return ""


def _receipt(commit: CommitRef, tree: Mapping[str, TreeEntry]) -> Receipt:
    hasher = hashlib.sha256()
    for path in sorted(tree):
        hasher.update(f"{path} {tree[path].hash} {tree[path].size}\n".encode())
    return Receipt(
        commit=commit,
        files=len(tree),
        bytes=sum(entry.size for entry in tree.values()),
        tree=hasher.hexdigest(),
        verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
