"""Transfer: the bytes go from W&B's signed URLs into the Oxen repository, hashed on their way.

While the bytes pass, the manifest's digest (MD5 or XXH128) is computed here and Oxen's xxh3-128 by
the store. Content that Oxen is known to hold is not downloaded. Equal files are moved once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import xxhash

from syncd import retry
from syncd.catalog.catalog import Catalog
from syncd.clients.protocols import ArtifactSource, StoredContent, VersionStore
from syncd.documents import Document
from syncd.errors import IntegrityError, PermanentError, SyncdError
from syncd.manifest import Entry, Hasher, md5
from syncd.plans import (
    LINEAGE_PATH,
    Digest,
    Failure,
    PlannedEntry,
    TransferPlan,
    TransferResult,
)
from syncd.refs import RepoRef, version_branch

Progress = Callable[[int], None]  # bytes that are done with, moved or found in Oxen


def transfer(
    source: ArtifactSource,
    store: VersionStore,
    catalog: Catalog,
    plan: TransferPlan,
    *,
    concurrency: int,
    progress: Progress = lambda _bytes: None,
) -> TransferResult:
    """Bring every entry whose bytes W&B holds into the plan's repository.

    Args:
        source: W&B.
        store: Oxen.
        catalog: what is known of contents; learns the new ones.
        plan: what to bring.
        concurrency: files at a time.
        progress: told of bytes as they are done with.
    """
    wanted: dict[Digest, PlannedEntry] = {}
    copies: dict[Digest, int] = {}
    for item in plan.stored:
        wanted.setdefault(item.digest, item)
        copies[item.digest] = copies.get(item.digest, 0) + 1
    present = present_contents(store, catalog, plan)
    for digest in present:
        progress((wanted[digest].entry.size or 0) * copies[digest])
    catalog.learn(present)  # also what W&B itself names by a hash of Oxen's kind
    failed: list[Failure] = []
    downloaded = 0

    def fetch(item: PlannedEntry) -> tuple[Digest, StoredContent | SyncdError]:
        try:
            what = f"transfer {plan.version.ref} {item.entry.path}"
            stored = retry.call(lambda: _bring(source, store, plan, item.entry), what=what)
        except SyncdError as error:
            return item.digest, error
        catalog.learn({item.digest: stored})
        catalog.forget_read_back(plan.repo, [stored.hash])
        return item.digest, stored

    missing = [item for digest, item in wanted.items() if digest not in present]
    with ThreadPoolExecutor(concurrency, thread_name_prefix="transfer") as pool:
        for digest, outcome in pool.map(fetch, missing):
            if isinstance(outcome, SyncdError):
                failed.append(Failure(path=wanted[digest].entry.path, error=outcome))
                continue
            downloaded += outcome.size
            progress(outcome.size * copies[digest])
    total = sum(item.entry.size or 0 for item in plan.stored)
    return TransferResult(
        failed=tuple(failed),
        downloaded=downloaded,
        uploaded=downloaded,
        deduplicated=0 if failed else total - downloaded,
    )


def recall(store: VersionStore, catalog: Catalog, plan: TransferPlan) -> None:
    """Learn again, from the newest lineage files in Oxen, what a lost catalog knew.

    Args:
        store: Oxen.
        catalog: learns.
        plan: the version whose own commit, or whose branch's head, is read.
    """
    if all(
        digests <= catalog.known(digests).keys()
        for digests in ({item.digest for item in batch} for batch in plan.stored.batches())
    ):
        return
    # Marks for the plan's digests, a few bytes each: something that nobody asked for may pass.
    marks = bytearray(max(1 << 16, 8 * len(plan.stored)))
    for item in plan.stored:
        marks[int(item.digest[1], 16) % len(marks)] = 1
    path = plan.tree_path(LINEAGE_PATH)
    for branch in (version_branch(plan.version.index, plan.prefix), plan.branch):
        commit = store.resolve(plan.repo, branch)
        if commit is None:
            continue
        try:
            document = Document(store.read(commit.ref, path), {"files", "references"})
            for name, files in document.pieces():
                contents = {
                    (item["algorithm"], base64.b64decode(item["digest"]).hex()): StoredContent(
                        hash=str(item["hash"]), size=int(item["size"])
                    )
                    for item in (files.values() if name == "files" else ())
                }
                catalog.learn(
                    {
                        digest: stored
                        for digest, stored in contents.items()
                        if marks[int(digest[1], 16) % len(marks)]
                    }
                )
        except (PermanentError, ValueError, KeyError, TypeError, AttributeError):
            continue  # not a lineage file of ours: the bytes are moved again, and hashed
        return


def present_contents(
    store: VersionStore, catalog: Catalog, plan: TransferPlan
) -> dict[Digest, StoredContent]:
    """Contents of a plan that its repository holds already, as far as their Oxen hash is known."""
    # Of equal files the first one's size counts, as it is the one that would be downloaded.
    sizes = {item.digest: item.entry.size for item in reversed(list(plan.stored))}
    return held(store, catalog, plan.repo, sizes)


def held(
    store: VersionStore, catalog: Catalog, repo: RepoRef, sizes: Mapping[Digest, int | None]
) -> dict[Digest, StoredContent]:
    """Which of some contents a repository holds already, as far as their Oxen hash is known.

    Args:
        store: Oxen.
        catalog: what is known of contents.
        repo: the repository.
        sizes: bytes of each content as W&B has it, None where it does not say; some thousand.
    """
    known = catalog.known(sizes.keys())
    for digest, size in sizes.items():
        if digest[0] == "XXH128" and size is not None:
            # The same hash family; Oxen writes it without zero padding.
            known[digest] = StoredContent(hash=f"{int(digest[1], 16):x}", size=size)
    hashes = {stored.hash for stored in known.values()}
    missing = store.missing(repo, hashes) | catalog.damaged(repo, hashes)
    # A size that is not the known content's is a wrong manifest: the download will say so.
    return {
        digest: stored
        for digest, stored in known.items()
        if stored.hash not in missing and sizes[digest] in {None, stored.size}
    }


def _bring(
    source: ArtifactSource, store: VersionStore, plan: TransferPlan, entry: Entry
) -> StoredContent:
    return store.put(plan.repo, _checked(source.read(plan.version, entry), entry))


def _checked(chunks: Iterator[bytes], entry: Entry) -> Iterator[bytes]:
    """Pass chunks on; at their end, raise unless they are what the manifest promises."""
    hasher: Hasher = md5() if entry.algorithm == "MD5" else xxhash.xxh3_128()
    size = 0
    for chunk in chunks:
        hasher.update(chunk)
        size += len(chunk)
        yield chunk
    if entry.size is not None and size != entry.size:
        raise IntegrityError(f"{entry.path}: {size} bytes arrived, the manifest says {entry.size}")
    if hasher.hexdigest() != entry.hex_digest:
        raise IntegrityError(
            f"{entry.path}: the bytes have {entry.algorithm} {hasher.hexdigest()}, "
            f"the manifest says {entry.hex_digest}"
        )
