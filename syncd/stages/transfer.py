"""Transfer: the bytes go from W&B's signed URLs into the Oxen repository, hashed on their way.

While the bytes pass, the manifest's digest (MD5 or XXH128) is computed here and Oxen's xxh3-128 by
the store. Content that Oxen is known to hold is not downloaded, nor is a URL asked for it. Equal
files are moved once. A plan is worked through in batches and never held as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from operator import attrgetter

from syncd import retry
from syncd.catalog.catalog import Catalog
from syncd.clients.commits import StoredContent
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.errors import PermanentError, ServiceUnavailableError, SyncdError, TransientError
from syncd.limiter import SMALL, Limiter
from syncd.naming import version_branch
from syncd.refs import RepoRef
from syncd.replacements import linked_content
from syncd.versions import candidates
from syncd.versions.contents import EntryContent, groups, memory
from syncd.versions.lineages import Lineage, contents
from syncd.versions.plans import (
    LINEAGE_PATH,
    Decision,
    Digest,
    Failure,
    PlannedEntry,
    TransferPlan,
    TransferResult,
)

BATCH = 5000  # contents looked up at a time; W&B signs as many in a request
FIRST = 500  # of them at first, which travel while the next ones are looked up
LEFT = BATCH // 2  # contents of a batch that may be under way when the next one is looked up
KEPT_ABOVE = 8 << 20  # bytes; of larger files the stores keep what arrived when a process dies
GIVE_UP = 1000  # files that failed; there may be millions more, and the version is set aside anyway
Progress = Callable[[int], None]  # bytes that are done with, moved or found in Oxen
Outcome = StoredContent | SyncdError


def transfer(
    source: ArtifactSource,
    store: VersionStore,
    catalog: Catalog,
    plan: TransferPlan,
    *,
    concurrency: int,
    limiter: Limiter | None = None,
    progress: Progress = lambda _bytes: None,
    kept: Callable[[], None] = lambda: None,
) -> TransferResult:
    """Bring every entry whose bytes W&B holds into the plan's repository.

    Args:
        source: W&B.
        store: Oxen.
        catalog: what is known of contents; learns the new ones.
        plan: what to bring.
        concurrency: files at a time; see `limiter.SMALL` for small ones.
        limiter: shared with all other transfers; one of its own when None.
        progress: told of bytes as they are done with.
        kept: told, by many threads, when bytes came that are not asked for again after a kill.
    """
    work = _Transfer(source, store, catalog, plan, limiter or Limiter(concurrency), progress)
    work.kept = kept
    work.fetchers = concurrency * SMALL
    with (
        ThreadPoolExecutor(concurrency, thread_name_prefix="transfer") as work.groups,
        ThreadPoolExecutor(work.fetchers, thread_name_prefix="fetch") as work.files,
    ):
        try:
            for batch in batches(plan):
                if len(work.failed) >= GIVE_UP:
                    break
                work.take(batch)
            work.settle(leave=0)
        except BaseException:
            work.groups.shutdown(cancel_futures=True)
            raise
    return TransferResult(
        failed=tuple(work.failed),
        downloaded=work.downloaded,
        uploaded=work.downloaded,
        deduplicated=0 if work.failed else work.total - work.downloaded,
    )


class _Transfer:
    """One transfer on its way; its counts are written by the thread that called `transfer` alone."""

    groups: ThreadPoolExecutor
    files: ThreadPoolExecutor
    fetchers: int  # threads of `files`
    kept: Callable[[], None]

    def __init__(  # noqa: PLR0917
        self,
        source: ArtifactSource,
        store: VersionStore,
        catalog: Catalog,
        plan: TransferPlan,
        limiter: Limiter,
        progress: Progress,
    ) -> None:
        self._source, self._store, self._catalog = source, store, catalog
        self._plan, self._limiter, self._progress = plan, limiter, progress
        self._expected = False
        self._arrived = 0
        self._under_way: dict[Future[list[Outcome]], Sequence[EntryContent]] = {}
        self._copies: dict[Digest, int] = {}  # of what is under way
        self._lost: set[Digest] = set()
        self.failed: list[Failure] = []
        self.downloaded = self.total = 0

    def take(self, batch: Sequence[PlannedEntry]) -> None:
        """Look up which of these are needed, and let them be brought."""
        wanted: dict[Digest, PlannedEntry] = {}
        copies: dict[Digest, int] = {}
        for item in batch:
            self.total += item.entry.size or 0
            digest = item.digest
            if digest in self._copies:
                self._copies[digest] += 1
            elif digest not in self._lost:
                wanted.setdefault(digest, item)
                copies[digest] = copies.get(digest, 0) + 1
        sizes = {digest: item.entry.size for digest, item in wanted.items()}
        known = _known(self._catalog, sizes)
        present = _present(self._store, self._catalog, self._plan.repo, sizes, known)
        # By its own hash a file may be found that was never learned, and the commit asks the catalog.
        self._catalog.learn({d: found for d, found in present.items() if d[0] == "XXH128"})
        for digest in present:
            self._progress((wanted[digest].entry.size or 0) * copies[digest])
        missing = {digest: item for digest, item in wanted.items() if digest not in present}
        if not missing:
            return
        self._expect()
        what = f"sign the files of {self._plan.version.ref}"
        paths = [item.entry.path for item in missing.values()]
        retry.call(lambda: self._source.sign(self._plan.version, paths), what=what)
        self._copies.update((digest, copies[digest]) for digest in missing)
        contents = (self._content(item, known.get(digest)) for digest, item in missing.items())
        for group in groups(contents, attrgetter("size")):
            self._under_way[self.groups.submit(self._bring, group)] = group
        self.settle(leave=LEFT)

    def settle(self, *, leave: int) -> None:
        """Wait until no more contents are under way, and note what became of the others."""
        while len(self._copies) > leave:
            done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
            for future in done:
                for content, outcome in zip(
                    self._under_way.pop(future), future.result(), strict=True
                ):
                    self._note(content, outcome)

    def _note(self, content: EntryContent, outcome: Outcome) -> None:
        digest = content.digest
        copies = self._copies.pop(digest)
        if isinstance(outcome, SyncdError):
            self._lost.add(digest)
            self.failed.append(Failure(path=content.entry.path, error=outcome))
            return
        self.downloaded += outcome.size
        self._progress(outcome.size * copies)
        self.kept()

    def _expect(self) -> None:
        """Tell the store once what the commit will hold."""
        if self._expected:
            return
        plan = self._plan
        candidates.begin(self._store, plan)
        self._store.expect(plan.repo, plan.branch, self._files())
        self._expected = True

    def _files(self) -> Iterator[tuple[str, str]]:
        """What the commit will hold, as far as it is known."""
        plan = self._plan
        for batch in plan.stored.batches():
            known = _known(self._catalog, {item.digest: item.entry.size for item in batch})
            for item in batch:
                content = known.get(item.digest)
                yield plan.tree_path(item.entry.path), content.hash if content else ""
        for item in plan.of(Decision.OXEN):
            yield plan.tree_path(item.entry.path), linked_content(item.entry) or ""
        yield plan.tree_path(LINEAGE_PATH), ""

    def _content(self, item: PlannedEntry, known: StoredContent | None) -> EntryContent:
        usable = known is not None and item.entry.size in {None, known.size}
        small = item.entry.size is None or item.entry.size <= KEPT_ABOVE
        return EntryContent(
            source=self._source,
            version=self._plan.version,
            entry=item.entry,
            path=self._plan.tree_path(item.entry.path),
            hash=known.hash if known and usable else None,
            pace=self._limiter.pace if small else self._large,
        )

    def _large(self, count: int) -> None:
        """Bytes of a large file arrived; a later attempt at it goes on behind them."""
        self._limiter.pace(count)
        self._arrived += count  # threads may lose some of it: it only tells that there were many
        if self._arrived >= KEPT_ABOVE:
            self._arrived = 0
            self.kept()

    # --- in threads

    def _bring(self, group: Sequence[EntryContent]) -> list[Outcome]:
        """Bring a group; what fails for now is tried again without what arrived."""
        outcomes: dict[int, Outcome] = {}

        def attempt() -> None:
            left = [n for n in range(len(group)) if n not in outcomes or _passes(outcomes[n])]
            outcomes.update(zip(left, self._once([group[n] for n in left]), strict=True))
            passing = [error for error in outcomes.values() if _passes(error)]
            if passing:
                raise _longest(passing)

        what = f"transfer {self._plan.version.ref} {group[0].entry.path}"
        if len(group) > 1:
            what += f" and {len(group) - 1} more"
        with suppress(TransientError):  # it stands among the outcomes
            retry.call(attempt, what=what, progress=lambda: sum(item.reached for item in group))
        return [outcomes[number] for number in range(len(group))]

    def _once(self, group: Sequence[EntryContent]) -> list[Outcome]:
        """One attempt: fetch what is small side by side, hand over what came."""
        with self._limiter.room(memory(group)):
            try:
                causes = self._fetched(group)
                whole = [c for c, cause in zip(group, causes, strict=True) if cause is None]
                stored = iter(self._hand_over(whole) if whole else ())
            finally:
                for content in group:
                    content.drop()
        outcomes = [next(stored) if cause is None else cause for cause in causes]
        learned = {
            content.digest: outcome
            for content, outcome in zip(group, outcomes, strict=True)
            if isinstance(outcome, StoredContent)
        }
        if learned:
            self._catalog.learn(learned)
            hashes = {outcome.hash for outcome in learned.values()}
            self._catalog.forget_read_back(self._plan.repo, hashes)
        return outcomes

    def _fetched(self, group: Sequence[EntryContent]) -> Sequence[SyncdError | None]:
        """Fetch what is small, and tell what went wrong with each.

        As many threads as there are take the next file in turn: a future for each file costs as
        much as asking for it.
        """
        causes: list[SyncdError | None] = [None] * len(group)
        small = [number for number, content in enumerate(group) if content.is_small]
        turn = iter(small)  # one `next` at a time: it holds the interpreter's lock

        def work() -> None:
            for number in turn:
                causes[number] = self._fetch(group[number])

        workers = min(len(small), self.fetchers)
        for worker in [self.files.submit(work) for _ in range(workers)]:
            worker.result()
        return causes

    def _fetch(self, content: EntryContent) -> SyncdError | None:
        try:
            with self._limiter.request(small=True):
                content.fetch()
        except SyncdError as error:
            return error
        return None

    def _hand_over(self, contents: Sequence[EntryContent]) -> Sequence[Outcome]:
        try:
            with self._limiter.request() as busy:
                outcomes = self._store.bring(self._plan.repo, contents)
                for outcome in outcomes:
                    if isinstance(outcome, ServiceUnavailableError):
                        busy(outcome)
                return outcomes
        except SyncdError as error:
            return [error] * len(contents)


def batches(plan: TransferPlan) -> Iterator[list[PlannedEntry]]:
    """The entries of a plan whose bytes go to Oxen, so many different contents at a time."""
    batch: list[PlannedEntry] = []
    digests: set[Digest] = set()
    most = FIRST
    for item in plan.stored:
        digests.add(item.digest)
        batch.append(item)
        if len(digests) == most or len(batch) == 2 * most:
            yield batch
            batch, digests = [], set()
            most = BATCH
    if batch:
        yield batch


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
    for branch in (version_branch(plan.version.index, plan.prefix), plan.main):
        commit = store.resolve(plan.repo, branch)
        if commit is None:
            continue
        try:
            for name, files in Lineage(store.read(commit.ref, path)).files():
                found = contents(files) if name == "files" else {}
                catalog.learn(
                    {
                        digest: stored
                        for digest, stored in found.items()
                        if marks[int(digest[1], 16) % len(marks)]
                    }
                )
        except (PermanentError, ValueError, KeyError, TypeError, AttributeError):
            continue  # not a lineage file of ours: the bytes are moved again, and hashed
        return


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
    return _present(store, catalog, repo, sizes, _known(catalog, sizes))


def _known(catalog: Catalog, sizes: Mapping[Digest, int | None]) -> dict[Digest, StoredContent]:
    """What Oxen calls these contents, where that is known."""
    known = catalog.known(sizes.keys())
    for digest, size in sizes.items():
        if digest[0] == "XXH128" and size is not None and digest not in known:
            # The same hash family; Oxen writes it without zero padding. What was learned of it has the
            # size that it has, and not what this manifest says.
            known[digest] = StoredContent(hash=f"{int(digest[1], 16):x}", size=size)
    return known


def _present(
    store: VersionStore,
    catalog: Catalog,
    repo: RepoRef,
    sizes: Mapping[Digest, int | None],
    known: Mapping[Digest, StoredContent],
) -> dict[Digest, StoredContent]:
    hashes = {stored.hash for stored in known.values()}
    if not hashes:
        return {}
    missing = store.missing(repo, hashes) | catalog.damaged(repo, hashes)
    # A size that is not the known content's is a wrong manifest: the download will say so.
    return {
        digest: stored
        for digest, stored in known.items()
        if stored.hash not in missing and sizes[digest] in {None, stored.size}
    }


def _passes(outcome: Outcome) -> bool:
    return isinstance(outcome, TransientError)


def _longest(outcomes: Sequence[Outcome]) -> TransientError:
    """Of several failures the one whose service wants to be left alone for longest."""
    errors = [outcome for outcome in outcomes if isinstance(outcome, TransientError)]
    return max(errors, key=lambda error: error.retry_after or 0.0)
