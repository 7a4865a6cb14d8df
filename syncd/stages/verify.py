"""Verify: what was committed is read back from Oxen by commit and held against what W&B promised.

The tree must be exactly the expected one, proved by the store; each content that was not read back
from this repository before is read, and its W&B digest and its Oxen hash are computed anew.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from operator import attrgetter, itemgetter

import xxhash

from syncd.blocks import Blocks, Builder, Row, batches, paired
from syncd.catalog.catalog import Catalog
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.clients.protocols import VersionStore
from syncd.errors import PermanentError
from syncd.refs import CommitRef
from syncd.versions.contents import groups
from syncd.versions.lineages import MALFORMED, Lineage
from syncd.versions.plans import BATCH, Receipt, VerifyReport, lineage_in

Progress = Callable[[int], None]  # bytes read back
REMEMBERED = 100_000  # contents read back that are not read again, where the catalog is not asked
TOLD = 1000  # problems of a commit; a store that is gone has one for each of millions of files
_Pair = tuple[Row | None, TreeEntry | None]  # what is expected, what is there
_path: Callable[[Row], str] = itemgetter(0)
_IDENTITY = ("algorithm", "digest", "hash")  # what a lineage file says of a file's content


def verify(
    store: VersionStore,
    catalog: Catalog,
    commit: CommitRef,
    *,
    prefix: str = "",
    everything: bool = False,
    concurrency: int = 4,
    progress: Progress = lambda _bytes: None,
    kept: Callable[[], None] = lambda: None,
) -> VerifyReport:
    """Prove a commit, or list what is wrong with it.

    Args:
        store: Oxen.
        catalog: knows which contents were read back before; learns the new ones.
        commit: the commit.
        prefix: the folder of the tree that the version lies in.
        everything: also read again what was read back before.
        concurrency: files, or groups of small ones, read at a time.
        progress: told of bytes as they are read.
        kept: told when something was read back that is not read again after a kill.
    """
    problems = _Problems()
    problems.add(store.verify(commit, paths=()))
    lineage_path = lineage_in(prefix)
    try:
        files = _expected(store.read(commit, lineage_path), prefix)
    except (PermanentError, *MALFORMED) as error:
        problems.add([f"{lineage_path}: cannot be read back ({error})"])
        files = Builder().build()
    receipt = _Receipt()
    tree = receipt.taking(_within(store.tree(commit), prefix))
    pairs = paired(files, tree, _path, attrgetter("path"))
    with ThreadPoolExecutor(concurrency, thread_name_prefix="verify") as pool:
        proof = _Proof(store, catalog, commit, pool, progress, kept, everything=everything)
        try:
            for batch in batches(pairs, BATCH):
                problems.add(proof.problems(batch))
        except PermanentError as error:
            problems.add([f"{lineage_path}: cannot be read back ({error})"])
            receipt = _Receipt()
    problems.add(receipt.problems)
    return VerifyReport(problems=problems.told(), receipt=receipt.of(commit))


def _expected(chunks: Iterable[bytes], prefix: str) -> Blocks:
    """What a lineage file says of each file: path in the tree, algorithm, digest, hash.

    Raises:
        ValueError: when it is not JSON.
        KeyError, TypeError, AttributeError: when it is no lineage file.
    """
    lineage = Lineage(chunks)
    builder = Builder()
    for name, members in lineage.files():
        for path, item in members.items() if name == "files" else ():
            identity = [str(item[key]) for key in _IDENTITY]
            builder.add((f"{prefix}/{path}" if prefix else path, *identity))
    lineage.member("files").items()  # an object, and there
    return builder.build()


def _within(tree: Iterable[TreeEntry], prefix: str) -> Iterator[TreeEntry]:
    return (entry for entry in tree if not prefix or entry.path.startswith(f"{prefix}/"))


class _Problems:
    """What is wrong, as far as anybody reads it, and how much more there is."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._untold = 0

    def add(self, found: Iterable[str]) -> None:
        """Take more."""
        for problem in found:
            if len(self._told) < TOLD:
                self._told.append(problem)
            else:
                self._untold += 1

    def told(self) -> tuple[str, ...]:
        """All of it in sentences."""
        more = (f"and {self._untold} more problems",) if self._untold else ()
        return (*self._told, *more)


class _Proof:
    """Reads contents back, each once as far as is remembered, and notes in the catalog how it was."""

    def __init__(  # noqa: PLR0917
        self,
        store: VersionStore,
        catalog: Catalog,
        commit: CommitRef,
        pool: Executor,
        progress: Progress,
        kept: Callable[[], None],
        *,
        everything: bool,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._commit = commit
        self._pool = pool
        self._everything = everything
        self._progress, self._kept = progress, kept
        self._good: set[str] = set()  # read back lately

    def problems(self, batch: Sequence[_Pair]) -> list[str]:
        """What is wrong with these paths."""
        repo = self._commit.repo
        hashes = {entry.hash for _, entry in batch if entry is not None}
        proved = set() if self._everything else self._catalog.verified(repo, hashes)
        if len(self._good) > REMEMBERED:
            self._good.clear()  # what is met again is read again
        found: list[str] = []
        unread: dict[str, tuple[TreeEntry, Row | None]] = {}
        for expected, entry in batch:
            if entry is None:
                assert expected is not None, "a pair has at least one side"
                found.append(f"{expected[0]}: not in the commit")
            elif expected is not None and entry.hash != expected[3]:
                found.append(
                    f"{entry.path}: the commit names content {entry.hash}, not {expected[3]}"
                )
            elif entry.hash not in proved and entry.hash not in self._good:
                unread.setdefault(entry.hash, (entry, expected))
        good: set[str] = set()
        bad: set[str] = set()
        for group in self._pool.map(self._read, groups(unread.values(), lambda item: item[0].size)):
            for entry, problem in group:
                self._progress(entry.size)
                (bad if problem else good).add(entry.hash)
                found += [problem] if problem else []
        self._good |= good
        self._catalog.mark_read_back(repo, good, good=True)
        if good and not self._everything:
            self._kept()
        self._catalog.mark_read_back(repo, bad, good=False)  # the next transfer brings them again
        return found

    def _read(self, group: Sequence[tuple[TreeEntry, Row | None]]) -> list[tuple[TreeEntry, str]]:
        """What is wrong with each of a group; empty where nothing is."""
        small = [entry for entry, _ in group] if len(group) > 1 else []
        data = self._store.read_small(self._commit, small) if small else {}
        results: list[tuple[TreeEntry, str]] = []
        for entry, expected in group:
            read = [data[entry.hash]] if entry.hash in data else None
            chunks = read or self._store.read(self._commit, entry.path)
            results.append((entry, _problem(chunks, entry, expected)))
        return results


def _problem(chunks: Iterable[bytes], entry: TreeEntry, expected: Row | None) -> str:
    """What is wrong with one file's bytes; empty when nothing is."""
    xxh = xxhash.xxh3_128()
    # The other algorithm is the one that Oxen uses, too.
    md5 = hashlib.md5(usedforsecurity=False) if expected and expected[1] == "MD5" else None
    size = 0
    try:
        for chunk in chunks:
            xxh.update(chunk)
            if md5 is not None:
                md5.update(chunk)
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
    digest = (md5 or xxh).digest()
    if base64.b64encode(digest).decode() != expected[2]:
        return f"{entry.path}: the bytes read back have another digest than W&B's manifest"
    return ""


class _Receipt:
    """Sums a tree up while it passes."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._hasher = hashlib.sha256()
        self._files = 0
        self._bytes = 0

    def taking(self, tree: Iterable[TreeEntry]) -> Iterator[TreeEntry]:
        """Pass a tree on; one out of order is no proof, for files might be missed."""
        previous = ""
        for entry in tree:
            if entry.path <= previous and not self.problems:
                self.problems.append(f"{entry.path}: the commit's tree is not sorted by path")
            previous = entry.path
            self._hasher.update(f"{entry.path} {entry.hash} {entry.size}\n".encode())
            self._files += 1
            self._bytes += entry.size
            yield entry

    def of(self, commit: CommitRef) -> Receipt:
        """The receipt for what has passed."""
        return Receipt(
            commit=commit,
            files=self._files,
            bytes=self._bytes,
            tree=self._hasher.hexdigest(),
            verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
