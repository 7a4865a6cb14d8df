"""Transfer: bytes arrive whole or not at all, and none moves twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

import pytest
import xxhash

from syncd import retry
from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.clients.commits import SMALL, Content, StoredContent
from syncd.config import Config
from syncd.errors import (
    IntegrityError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    SizeMismatchError,
    SyncdError,
)
from syncd.limiter import Limiter
from syncd.manifest import Algorithm, Manifest
from syncd.refs import CommitRef, RepoRef
from syncd.stages import transfer as module
from syncd.stages.plan import plan
from syncd.stages.transfer import batches, recall, transfer
from syncd.testing import Damage, Fault, MemoryArtifactSource, MemoryVersionStore
from syncd.versions.contents import GROUP_FILES
from syncd.versions.plans import TransferPlan, TransferResult

PlanOf = Callable[[MemoryArtifactSource, Version], TransferPlan]
Committed = Callable[[MemoryArtifactSource, MemoryVersionStore, TransferPlan], CommitRef]
ATTEMPTS = retry.DEFAULT.attempts
ALWAYS = 1000


def oxen_hash(data: bytes) -> str:
    """As Oxen writes it."""
    return f"{xxhash.xxh3_128_intdigest(data):x}"


class Bench:
    """A source, a store and a catalog, with a transfer between them."""

    def __init__(
        self,
        catalog: Catalog,
        plan_of: PlanOf,
        source: MemoryArtifactSource,
        store: MemoryVersionStore | None = None,
    ) -> None:
        self.catalog = catalog
        self.plan_of = plan_of
        self.source = source
        self.store = store or MemoryVersionStore()
        self.told = 0

    def known(self, version: Version) -> list[StoredContent]:
        """What the catalog knows of a version's contents, by size."""
        digests = {item.digest for item in self.plan_of(self.source, version).stored}
        return sorted(self.catalog.known(digests).values(), key=lambda stored: stored.size)

    def transfer(self, version: Version, *, concurrency: int = 1) -> TransferResult:
        """Plan and transfer."""
        return self.bring(self.plan_of(self.source, version), concurrency=concurrency)

    def bring(self, planned: TransferPlan, *, concurrency: int = 1) -> TransferResult:
        """Transfer what is planned."""

        def tell(done: int) -> None:
            self.told += done

        return transfer(
            self.source,
            self.store,
            self.catalog,
            planned,
            concurrency=concurrency,
            progress=tell,
        )


Bench_ = Callable[..., Bench]


@pytest.fixture
def bench(catalog: Catalog, plan_of: PlanOf) -> Bench_:
    """Makes the bench around a source and a store."""

    def make(
        source: MemoryArtifactSource | None = None, store: MemoryVersionStore | None = None
    ) -> Bench:
        return Bench(catalog, plan_of, source or MemoryArtifactSource(chunk_size=3), store)

    return make


# --- what moves


@pytest.mark.parametrize("concurrency", [1, 4])
def test_moved_and_kept_files_are_brought_and_nothing_else(concurrency: int, bench: Bench_) -> None:
    """The commit's tree is to be complete; what Oxen cannot hold stays."""
    here = bench()
    version = here.source.log("ds", {"big": b"payload", "small": b"abc", "a\\b": b"omitted"})
    planned = here.plan_of(here.source, version)
    result = here.bring(planned, concurrency=concurrency)

    assert result.failed == ()
    assert (result.downloaded, result.uploaded, result.deduplicated) == (10, 10, 0)
    for data in (b"payload", b"abc"):
        assert here.store.stored(planned.repo, oxen_hash(data)) == data
    assert here.store.missing(planned.repo, [oxen_hash(b"omitted")])
    assert [stored.size for stored in here.known(version)] == [3, 7]
    assert here.told == 10


def test_equal_files_move_once(bench: Bench_) -> None:
    """Whatever their names, one download and one upload."""
    here = bench()
    version = here.source.log("ds", {"a": b"payload", "b": b"payload", "c": b"payload"})
    result = here.transfer(version)

    assert (here.source.calls["read"], here.store.calls["put"]) == (1, 1)
    assert (result.downloaded, result.deduplicated) == (7, 14)
    assert here.told == 21  # of 21 bytes, all are done with


def test_known_content_moves_nothing(bench: Bench_) -> None:
    """A second version with the same files costs no byte."""
    here = bench()
    here.transfer(here.source.log("ds", {"a": b"payload", "b": b"other"}))
    second = here.source.log("ds", {"a2": b"payload", "b2": b"other", "c": b"new!"})
    again = here.transfer(second)

    assert (again.downloaded, again.uploaded, again.deduplicated) == (4, 4, 12)
    assert here.source.calls["read"] == 3
    assert len(here.known(second)) == 3


def test_the_same_transfer_again_moves_nothing(bench: Bench_) -> None:
    """A stage is a no-op on repeat."""
    here = bench()
    version = here.source.log("ds", {"a": b"payload"})
    here.transfer(version)
    known = here.known(version)

    assert here.transfer(version).downloaded == 0
    assert here.known(version) == known


def test_content_that_only_another_repository_holds_is_brought(bench: Bench_) -> None:
    """Repositories do not share bytes."""
    here = bench()
    here.transfer(here.source.log("ds", {"a": b"payload"}))
    result = here.transfer(here.source.log("other", {"a": b"payload"}))

    assert result.downloaded == 7


def test_content_that_the_store_has_lost_is_brought_again(bench: Bench_) -> None:
    """The catalog is believed only as far as the store agrees."""
    here = bench()
    version = here.source.log("ds", {"a": b"payload"})
    here.transfer(version)
    here.store.corrupt(here.plan_of(here.source, version).repo, oxen_hash(b"payload"), None)

    assert here.transfer(version).downloaded == 7


def test_content_that_was_read_back_wrong_is_brought_again(bench: Bench_) -> None:
    """The store has a file of the name, with other bytes in it."""
    here = bench()
    version = here.source.log("ds", {"a": b"payload"})
    planned = here.plan_of(here.source, version)
    content = oxen_hash(b"payload")
    here.transfer(version)
    here.store.corrupt(planned.repo, content, b"pAyload")
    here.catalog.mark_read_back(planned.repo, [content], good=False)

    assert here.transfer(version).downloaded == 7
    assert here.store.stored(planned.repo, content) == b"payload"
    assert here.catalog.damaged(planned.repo, [content]) == set()


# --- what does not arrive as it was promised


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a flipped byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "truncated": lambda data: data[:-1],
    "nothing at all": lambda _data: b"",
    "one byte too many": lambda data: data + b"\0",
    "another file of the same size": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_bytes_are_fetched_again(damage: str, algorithm: Algorithm, bench: Bench_) -> None:
    """The next transfer is usually whole."""
    here = bench(
        MemoryArtifactSource(damages=[Damage(path="a", change=DAMAGES[damage])], chunk_size=3)
    )
    version = here.source.log("ds", {"a": b"payload"}, algorithm=algorithm)
    result = here.transfer(version)

    assert result.failed == ()
    assert here.source.calls["read"] == 2
    assert [stored.hash for stored in here.known(version)] == [oxen_hash(b"payload")]


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_bytes_that_stay_damaged_fail_while_other_files_go_on(
    damage: str, algorithm: Algorithm, bench: Bench_
) -> None:
    """One entry in `failed` with the cause; nothing of it is kept or learned."""
    change = DAMAGES[damage]
    here = bench(
        MemoryArtifactSource(damages=[Damage(path="b", change=change, times=ALWAYS)], chunk_size=3)
    )
    files = {"a": b"first", "b": b"payload", "c": b"third"}
    planned = here.plan_of(here.source, here.source.log("ds", files, algorithm=algorithm))
    result = here.bring(planned)
    bad = next(item.digest for item in planned.entries if item.entry.path == "b")

    [failure] = result.failed
    assert failure.path == "b"
    assert isinstance(failure.error, IntegrityError)
    assert "manifest says" in str(failure.error)
    assert here.source.calls["read"] == 2 + ATTEMPTS
    assert len(here.known(planned.version)) == 2
    assert here.catalog.known([bad]) == {}
    assert here.store.missing(planned.repo, [oxen_hash(change(b"payload"))])


def test_bytes_of_unknown_size_are_still_hashed(bench: Bench_, config: Config) -> None:
    """A manifest need not say how many there are."""
    here = bench(
        MemoryArtifactSource(damages=[Damage(path="a", change=lambda _: b"x", times=ALWAYS)])
    )
    version = here.source.log("ds", {"a": b"payload", "b": b"other"})
    entries = here.source.manifest(version).entries
    unsized = Manifest(entries={path: replace(e, size=None) for path, e in entries.items()})
    result = here.bring(plan(version, unsized, config))

    assert [failure.path for failure in result.failed] == ["a"]
    assert [stored.size for stored in here.known(version)] == [5]


@pytest.mark.parametrize("where", ["source", "store"])
def test_a_service_that_fails_for_a_while_is_asked_again(where: str, bench: Bench_) -> None:
    """On either side, and the file arrives once."""
    down = ServiceUnavailableError("503")
    here = bench(
        MemoryArtifactSource(faults=[Fault(method="read", error=down)] * (where == "source")),
        MemoryVersionStore(faults=[Fault(method="put", error=down)] * (where == "store")),
    )
    result = here.transfer(here.source.log("ds", {"a": b"payload"}))

    assert result.failed == ()
    assert (result.downloaded, here.source.calls["read"]) == (7, 2)


def test_a_service_that_stays_down_is_a_failure_of_that_file(bench: Bench_) -> None:
    """With the cause; the other file is brought."""
    down = ServiceUnavailableError("503")
    reads = [1, *range(3, ATTEMPTS + 2)]  # the second one is of the other file
    faults = [Fault(method="read", error=down, at=number) for number in reads]
    here = bench(MemoryArtifactSource(faults=faults))
    result = here.transfer(here.source.log("ds", {"a": b"first", "b": b"other"}))

    assert [(failure.path, failure.error) for failure in result.failed] == [("a", down)]
    assert here.source.calls["read"] == ATTEMPTS + 1
    assert (result.downloaded, result.deduplicated) == (5, 0)


def test_what_will_never_work_is_tried_once(bench: Bench_) -> None:
    """A file that W&B has lost stays lost."""
    gone = NotFoundError("gone")
    here = bench(MemoryArtifactSource(faults=[Fault(method="read", error=gone)]))
    result = here.transfer(here.source.log("ds", {"a": b"first"}))

    assert [failure.error for failure in result.failed] == [gone]
    assert here.source.calls["read"] == 1


def test_after_a_failure_only_what_failed_is_brought(bench: Bench_) -> None:
    """Run it again to resume."""
    damage = Damage(path="b", change=lambda _: b"", times=ATTEMPTS)
    here = bench(MemoryArtifactSource(damages=[damage]))
    version = here.source.log("ds", {"a": b"first", "b": b"payload", "c": b"third"})
    first, second = here.transfer(version), here.transfer(version)

    assert len(first.failed) == 1
    assert second.failed == ()
    assert second.downloaded == len(b"payload")


# --- many and large files


class Watched(MemoryVersionStore):
    """A store that notes what it was asked for."""

    def __init__(self, fails: Mapping[str, SyncdError] = MappingProxyType({})) -> None:
        super().__init__()
        self.brought: list[list[str]] = []
        self.hashes: dict[str, str | None] = {}
        self.asked: list[int] = []
        self.expected: list[tuple[str, dict[str, str]]] = []
        self._fails = dict(fails)

    def expect(self, repo: RepoRef, branch: str, files: Iterable[tuple[str, str]]) -> None:
        """Note it."""
        del repo
        self.expected.append((branch, dict(files)))

    def missing(self, repo: RepoRef, hashes: Iterable[str]) -> set[str]:
        """Note how many."""
        wanted = list(hashes)
        self.asked.append(len(wanted))
        return super().missing(repo, wanted)

    def bring(
        self, repo: RepoRef, contents: Sequence[Content]
    ) -> Sequence[StoredContent | SyncdError]:
        """Note it, and fail once for the paths that are to fail."""
        self.brought.append([content.path for content in contents])
        self.hashes |= {content.path: content.hash for content in contents}
        whole = [content for content in contents if content.path not in self._fails]
        stored = iter(super().bring(repo, whole))
        return [
            self._fails.pop(content.path) if content.path in self._fails else next(stored)
            for content in contents
        ]


def test_small_files_go_together_and_large_ones_alone(bench: Bench_) -> None:
    """By number, and by size."""
    here = bench(store=Watched())
    small = {f"s{number:04}": f"{number}".encode() * 2 for number in range(GROUP_FILES + 2)}
    version = here.source.log("ds", {"large": bytes(SMALL + 1), **small})
    result = here.transfer(version)

    assert isinstance(here.store, Watched)
    assert sorted(len(paths) for paths in here.store.brought) == [1, 2, GROUP_FILES]
    assert ["large"] in here.store.brought
    assert result.failed == ()
    assert len(here.source.signed) == 1


def test_of_a_group_only_what_failed_is_brought_again(bench: Bench_) -> None:
    """The others stay where they are; their bytes are not fetched again."""
    here = bench(store=Watched({"b": ServiceUnavailableError("503", retry_after=0.01)}))
    result = here.transfer(here.source.log("ds", {"a": b"first", "b": b"other", "c": b"third"}))

    assert isinstance(here.store, Watched)
    assert here.store.brought == [["a", "b", "c"], ["b"]]
    assert (result.failed, result.downloaded) == ((), 15)


def test_a_file_that_the_store_refuses_for_good_is_one_failure(bench: Bench_) -> None:
    """With its path and cause."""
    refused = PermanentError("no")
    here = bench(store=Watched({"b": refused}))
    result = here.transfer(here.source.log("ds", {"a": b"first", "b": b"other"}))

    assert [(failure.path, failure.error) for failure in result.failed] == [("b", refused)]
    assert isinstance(here.store, Watched)
    assert here.store.brought == [["a", "b"]]


def test_an_increment_asks_for_the_urls_of_what_is_new_alone(bench: Bench_) -> None:
    """One percent more costs one percent."""
    here = bench(store=Watched())
    files = {f"f{number:03}": f"content {number}".encode() for number in range(100)}
    here.transfer(here.source.log("ds", files))
    here.transfer(here.source.log("ds", {**files, "new": b"new one"}))
    here.transfer(here.source.log("ds", {**files, "new": b"new one"}))

    assert [len(paths) for paths in here.source.signed] == [100, 1]
    assert isinstance(here.store, Watched)
    assert len(here.store.expected) == 2  # not where nothing is missing
    hashes = {path: f"{xxhash.xxh3_128_intdigest(data):x}" for path, data in files.items()}
    assert here.store.expected[1] == ("main", {**hashes, "new": "", ".syncd/lineage.json": ""})


def test_contents_are_looked_up_and_signed_in_batches(
    bench: Bench_, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of bounded size, the first one small; equal files of different batches move once."""
    monkeypatch.setattr("syncd.stages.transfer.FIRST", 4)
    monkeypatch.setattr("syncd.stages.transfer.BATCH", 10)
    here = bench(store=Watched())
    files = {f"f{number:03}": f"content {number % 20}".encode() for number in range(45)}
    first = here.transfer(here.source.log("ds", files), concurrency=3)
    here.transfer(here.source.log("ds", files))

    assert [len(paths) for paths in here.source.signed] == [4, 10, 6]
    assert (here.source.calls["read"], first.failed) == (20, ())
    assert first.downloaded == sum(len(f"content {number}") for number in range(20))
    assert first.deduplicated == sum(map(len, files.values())) - first.downloaded
    assert here.told == 2 * sum(map(len, files.values()))
    assert isinstance(here.store, Watched)
    assert max(here.store.asked) <= 10
    assert len(here.store.expected) == 1  # or what is staged would be given up with each batch


def test_a_batch_is_bounded_though_all_its_files_are_equal(
    bench: Bench_, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millions of empty files are one content."""
    monkeypatch.setattr("syncd.stages.transfer.FIRST", 4)
    monkeypatch.setattr("syncd.stages.transfer.BATCH", 10)
    here = bench()
    version = here.source.log("ds", {f"f{number:03}": b"same" for number in range(45)})
    found = list(batches(here.plan_of(here.source, version)))

    assert [len(batch) for batch in found] == [8, 20, 17]


def test_a_content_that_failed_is_one_failure_though_later_files_have_it_too(
    bench: Bench_, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not fetched again for each of them."""
    monkeypatch.setattr("syncd.stages.transfer.FIRST", 2)
    monkeypatch.setattr("syncd.stages.transfer.BATCH", 2)
    monkeypatch.setattr("syncd.stages.transfer.LEFT", 0)
    here = bench(
        MemoryArtifactSource(damages=[Damage(path="a", change=lambda _: b"", times=ALWAYS)])
    )
    files = {"a": b"payload", "b": b"other", "c": b"third", "d": b"payload"}
    result = here.transfer(here.source.log("ds", files))

    assert [failure.path for failure in result.failed] == ["a"]
    assert here.source.calls["read"] == ATTEMPTS + 2


def test_a_store_that_takes_nothing_is_a_failure_of_each_file(
    bench: Bench_, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files travel together, and each is named."""
    refused = PermanentError("refused")

    def bring(*_: object) -> None:
        raise refused

    here = bench()
    monkeypatch.setattr(here.store, "bring", bring)
    result = here.transfer(here.source.log("ds", {"a": b"first", "b": b"other", "c": b"third"}))

    assert [(item.path, item.error) for item in result.failed] == [(p, refused) for p in "abc"]
    assert (result.downloaded, result.deduplicated) == (0, 0)


def test_each_small_file_is_a_request_and_each_group_has_its_room(bench: Bench_) -> None:
    """However many versions travel at once, the process stays as small as it is told to be."""
    rooms: list[int] = []
    requests: list[bool] = []

    class Told(Limiter):
        @contextmanager
        def room(self, size: int) -> Iterator[None]:
            rooms.append(size)
            with super().room(size):
                yield

        @contextmanager
        def request(
            self, *, small: bool = False
        ) -> Iterator[Callable[[ServiceUnavailableError], None]]:
            requests.append(small)
            with super().request(small=small) as busy:
                yield busy

    here = bench()
    files = {"a": b"first", "b": b"other", "large": bytes(SMALL + 1)}
    planned = here.plan_of(here.source, here.source.log("ds", files))
    result = transfer(
        here.source, here.store, here.catalog, planned, concurrency=1, limiter=Told(4)
    )

    assert result.failed == ()
    assert sorted(rooms) == [10, SMALL + 1]
    assert sorted(requests) == [False, False, True, True]


def test_a_hash_that_is_known_beforehand_is_told_to_the_store(bench: Bench_) -> None:
    """From the manifest, or from the catalog that learned it with another repository."""
    here = bench(store=Watched())
    here.transfer(here.source.log("ds", {"x": b"payload"}, algorithm="XXH128"))
    here.transfer(here.source.log("ds", {"m": b"by md5", "n": b"unheard of"}))
    here.transfer(here.source.log("other", {"m2": b"by md5"}))

    assert isinstance(here.store, Watched)
    assert here.store.hashes == {
        "x": oxen_hash(b"payload"),
        "m": None,
        "n": None,
        "m2": oxen_hash(b"by md5"),
    }


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
def test_a_size_that_is_not_the_known_contents_is_not_believed(
    algorithm: Algorithm, bench: Bench_, config: Config
) -> None:
    """The manifest is wrong, and the bytes tell: no version refers to a file of another size."""
    here = bench()
    version = here.source.log("ds", {"a": b"payload"}, algorithm=algorithm)
    here.transfer(version)
    entries = here.source.manifest(version).entries
    wrong = Manifest(entries={path: replace(e, size=6) for path, e in entries.items()})
    result = here.bring(plan(version, wrong, config))

    assert [(item.path, type(item.error)) for item in result.failed] == [("a", SizeMismatchError)]
    assert "W&B's manifest says 6 bytes, and W&B sends more" in str(result.failed[0].error)
    assert [stored.size for stored in here.known(version)] == [7]


def test_a_hash_whose_size_nobody_tells_is_found_out(bench: Bench_, config: Config) -> None:
    """What is learned of a content has its size."""
    here = bench()
    version = here.source.log("ds", {"a": b"payload"}, algorithm="XXH128")
    entries = here.source.manifest(version).entries
    unsized = Manifest(entries={path: replace(e, size=None) for path, e in entries.items()})
    planned = plan(version, unsized, config)
    for downloaded in (7, 0):
        result = here.bring(planned)
        assert (result.failed, result.downloaded) == ((), downloaded)
        assert [stored.size for stored in here.known(version)] == [7]


def test_urls_that_cannot_be_had_for_a_while_are_asked_for_again(bench: Bench_) -> None:
    """As files are."""
    down = ServiceUnavailableError("503")
    here = bench(MemoryArtifactSource(faults=[Fault(method="sign", error=down)]))
    result = here.transfer(here.source.log("ds", {"a": b"first"}))

    assert (result.failed, result.downloaded) == ((), 5)


def test_a_version_of_which_very_many_files_fail_is_given_up(
    bench: Bench_, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is set aside anyway: the causes of millions fill the memory, and asking for them takes days."""
    monkeypatch.setattr(module, "FIRST", 4)
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "LEFT", 0)
    monkeypatch.setattr(module, "GIVE_UP", 4)
    gone = [Fault(method="read", error=NotFoundError("gone"), at=at) for at in range(1, 100)]
    here = bench(MemoryArtifactSource(faults=gone))
    files = {f"{number:03}": f"content {number}".encode() for number in range(40)}
    result = here.transfer(here.source.log("ds", files))

    assert 4 <= len(result.failed) <= 8
    assert here.source.calls["read"] == len(result.failed)


def test_urls_that_cannot_be_had_fail_the_transfer(bench: Bench_) -> None:
    """There is nothing to go on with."""
    gone = NotFoundError("gone")
    here = bench(MemoryArtifactSource(faults=[Fault(method="sign", error=gone)]))
    version = here.source.log("ds", {"a": b"first"})
    with pytest.raises(NotFoundError):
        here.transfer(version)


def test_a_busy_service_slows_all_transfers_of_the_process(bench: Bench_) -> None:
    """The limiter is theirs together."""
    here = bench(store=Watched({"a": ServiceUnavailableError("429", retry_after=7)}))
    slept: list[float] = []
    now = [100.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    limiter = Limiter(8, clock=lambda: now[0], sleep=sleep)
    planned = here.plan_of(here.source, here.source.log("ds", {"a": b"first"}))
    result = transfer(
        here.source, here.store, here.catalog, planned, concurrency=1, limiter=limiter
    )

    assert result.failed == ()
    assert slept == [7.0]
    assert limiter.pressure.allowed == 4


# --- digests of the store's own family


def test_content_named_by_xxh128_is_asked_for_in_oxen_first(bench: Bench_) -> None:
    """It is the store's own hash: an empty catalog costs nothing."""
    here = bench()
    here.transfer(here.source.log("ds", {"a": b"payload"}))
    version = here.source.log("ds", {"a": b"payload"}, algorithm="XXH128")
    result = here.transfer(version)

    assert (result.downloaded, result.deduplicated) == (0, 7)
    assert here.source.calls["read"] == 1


def test_a_hash_that_begins_with_zero_is_found(bench: Bench_) -> None:
    """Oxen writes it without zero padding, W&B writes all 16 bytes."""
    data = next(
        text
        for text in (f"payload {number}".encode() for number in range(1000))
        if len(oxen_hash(text)) < 32
    )
    here = bench()
    here.transfer(here.source.log("ds", {"a": data}))
    version = here.source.log("ds", {"a": data}, algorithm="XXH128")

    assert here.transfer(version).downloaded == 0
    assert here.known(version) == [StoredContent(hash=oxen_hash(data), size=len(data))]


# --- a lost catalog


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
def test_a_lost_catalog_is_filled_again_from_the_lineage_file(
    algorithm: Algorithm, bench: Bench_, committed: Committed, catalog: Catalog
) -> None:
    """The version's own commit says which content each digest stands for."""
    here = bench()
    files = {"a": b"payload", "b": b"abc"}
    planned = here.plan_of(here.source, here.source.log("ds", files, algorithm=algorithm))
    committed(here.source, here.store, planned)
    _lose(catalog)
    recall(here.store, catalog, planned)

    assert here.bring(planned).downloaded == 0
    assert catalog.known([planned.entries[0].digest]) == {
        planned.entries[0].digest: StoredContent(hash=oxen_hash(b"payload"), size=7)
    }


def test_the_version_before_tells_what_a_new_one_has_in_common(
    bench: Bench_, committed: Committed, catalog: Catalog
) -> None:
    """The head of the branch, for a version that is not committed yet."""
    here = bench()
    first = here.source.log("ds", {"a": b"payload", "b": b"other"})
    committed(here.source, here.store, here.plan_of(here.source, first))
    _lose(catalog)
    second = here.source.log("ds", {"a": b"payload", "c": b"new!"})
    planned = here.plan_of(here.source, second)
    recall(here.store, catalog, planned)

    assert here.bring(planned).downloaded == 4
    other = here.plan_of(here.source, first).entries[1]
    assert catalog.known([other.digest]) == {}  # what nobody asked for is not learned


def test_a_version_that_is_committed_is_known_though_main_has_moved_on(
    bench: Bench_, committed: Committed, catalog: Catalog
) -> None:
    """Its own branch tells; nothing of it travels twice."""
    here = bench()
    planned = here.plan_of(here.source, here.source.log("ds", {"a": b"payload"}))
    committed(here.source, here.store, planned)
    second = here.source.log("ds", {"b": b"other"})
    committed(here.source, here.store, here.plan_of(here.source, second))
    _lose(catalog)
    recall(here.store, catalog, planned)

    assert here.bring(planned).downloaded == 0


def test_nothing_is_read_from_oxen_when_the_catalog_knows_all(
    bench: Bench_, committed: Committed, catalog: Catalog
) -> None:
    """The common case costs no request."""
    here = bench()
    planned = here.plan_of(here.source, here.source.log("ds", {"a": b"payload"}))
    committed(here.source, here.store, planned)
    before = dict(here.store.calls)
    recall(here.store, catalog, planned)

    assert here.store.calls == before


@pytest.mark.parametrize(
    "lineage",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"files": []}',
        b'{"files": {"a": {}}}',
        b'{"files": {"a": {"algorithm": "MD5", "digest": "?", "hash": "1", "size": "x"}}}',
        b"\xff",
    ],
)
def test_a_lineage_file_that_cannot_be_read_only_costs_the_transfer(
    lineage: bytes, bench: Bench_, committed: Committed, catalog: Catalog
) -> None:
    """It is a cache of a cache."""
    here = bench()
    planned = here.plan_of(here.source, here.source.log("ds", {"a": b"payload"}))
    made = committed(here.source, here.store, planned)
    tree = [entry for entry in here.store.tree(made) if entry.path == "a"]
    stored = here.store.put(planned.repo, [lineage])
    file = replace(tree[0], path=".syncd/lineage.json", hash=stored.hash, size=stored.size)
    here.store.falsify(made, [file, *tree])
    _lose(catalog)
    recall(here.store, catalog, planned)

    assert here.bring(planned).downloaded == 7


def _lose(catalog: Catalog) -> None:
    """Forget all contents."""
    with catalog._database._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM syncd_contents")
