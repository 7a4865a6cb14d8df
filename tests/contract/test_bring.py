"""What every VersionStore promises of contents that it asks for itself. Stores: `conftest.HARNESSES`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pytest
from contract_contents import Bytes, named, noise
from contract_files import ANN, REPO, contents

from syncd.clients import oxen_contents, oxen_uploads
from syncd.clients.commits import TreeEntry
from syncd.errors import IntegrityError, NotFoundError, SyncdError, TransientError
from syncd.testing import StoreHarness

MIB = 1 << 20
LARGE = 3 * MIB  # with the thresholds below, what is gone on with


@pytest.fixture(autouse=True)
def _low_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a large file has a few MiB."""
    monkeypatch.setattr(oxen_contents, "LARGE", 2 * MIB)
    monkeypatch.setattr(oxen_uploads, "LARGE", 2 * MIB)


def test_each_content_has_its_outcome_in_order(harness: StoreHarness) -> None:
    """And is there, in a repository that did not exist."""
    given = [Bytes(data=f"content {number}".encode(), path=f"f{number}") for number in range(20)]
    outcomes = harness.store.bring(REPO, given)

    assert list(outcomes) == [named(content.data) for content in given]
    assert harness.store.missing(REPO, [named(content.data).hash for content in given]) == set()
    assert harness.store.branches(REPO) == {}


def test_nothing_to_bring_is_no_mistake(harness: StoreHarness) -> None:
    """No content, no outcome."""
    assert list(harness.store.bring(REPO, [])) == []


@pytest.mark.parametrize("size", [0, 1, 5000, MIB + 1, LARGE])
def test_a_content_of_any_size_is_committed_as_it_came(size: int, harness: StoreHarness) -> None:
    """The empty one too."""
    data = noise(size)
    [stored] = harness.store.bring(REPO, [Bytes(data=data)])

    assert stored == named(data)
    tree = [TreeEntry(path="a", hash=named(data).hash, size=size)]
    ref = harness.store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)
    assert contents(harness.store, ref) == {"a": data}


@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_bad_content_does_not_spoil_its_batch(position: int, harness: StoreHarness) -> None:
    """It has its own cause, and leaves nothing behind."""
    for bad, cause in [
        (Bytes(data=b"promised", path="bad", arriving=b"arrived!"), IntegrityError),
        (Bytes(data=b"promised", path="bad", cut=0), TransientError),
    ]:
        given = [Bytes(data=b"one", path="one"), Bytes(data=b"two", path="two")]
        given.insert(position, bad)
        outcomes = list(harness.store.bring(REPO, given))

        failed = outcomes.pop(position)
        assert isinstance(failed, SyncdError)
        assert type(failed) is cause
        assert outcomes == [named(b"one"), named(b"two")]
        lost = {named(b"promised").hash, named(b"arrived!").hash}
        assert harness.store.missing(REPO, lost) == lost


def test_a_cause_that_stays_is_told_as_it_is(harness: StoreHarness) -> None:
    """Who asked decides what to do about it."""
    gone = NotFoundError("gone from W&B")

    class Gone(Bytes):
        def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
            raise gone
            yield from before

    assert list(harness.store.bring(REPO, [Gone(data=b"x"), Bytes(data=b"y", path="y")])) == [
        gone,
        named(b"y"),
    ]


def test_equal_contents_of_a_batch_are_stored_alike(harness: StoreHarness) -> None:
    """Whatever their names."""
    given = [Bytes(data=b"same", path=path) for path in ("a", "b", "d/c")]

    assert list(harness.store.bring(REPO, given)) == [named(b"same")] * 3


@pytest.mark.parametrize("known", [False, True])
def test_a_content_that_was_cut_off_goes_on_where_it_stopped(
    known: bool, harness: StoreHarness
) -> None:
    """Also in another process: what arrived is not asked for again."""
    data = noise(LARGE)
    digest = named(data).hash if known else None
    first = Bytes(data=data, cut=2 * MIB, hash=digest)
    [failed] = harness.store.bring(REPO, [first])
    second = Bytes(data=data, hash=digest)
    [stored] = harness.reopened().bring(REPO, [second])

    assert isinstance(failed, TransientError)
    assert stored == named(data)
    if not known:  # of a known one a server keeps whole parts, and this has but one
        assert first.asked + second.asked == len(data)
        assert second.begins == [2 * MIB]


def test_a_content_that_is_cut_off_again_and_again_comes_once(harness: StoreHarness) -> None:
    """Each attempt goes on behind the one before."""
    data = noise(LARGE)
    content = Bytes(data=data)
    for cut in range(MIB // 2, LARGE, MIB // 2):
        content.cut = cut
        [failed] = harness.store.bring(REPO, [content])
        assert isinstance(failed, TransientError)
    content.cut = None

    assert list(harness.store.bring(REPO, [content])) == [named(data)]
    assert content.asked == len(data)


def test_what_turns_out_wrong_is_not_gone_on_with(harness: StoreHarness) -> None:
    """Neither when it came at once nor when it is the first half that was wrong."""
    data = noise(LARGE)
    wrong = b"\0" + data[1:]
    [cut] = harness.store.bring(REPO, [Bytes(data=data, arriving=wrong, cut=2 * MIB)])
    [bad] = harness.store.bring(REPO, [Bytes(data=data)])
    last = Bytes(data=data)
    [stored] = harness.store.bring(REPO, [last])

    assert type(cut) is TransientError
    assert isinstance(bad, IntegrityError)
    assert harness.store.missing(REPO, [named(wrong).hash])
    assert (stored, last.begins) == (named(data), [0])


@pytest.mark.parametrize("size", [100, LARGE])
def test_bringing_damaged_bytes_again_makes_them_whole(size: int, harness: StoreHarness) -> None:
    """So that a version can be moved anew after its verification failed."""
    data = noise(size)
    harness.store.bring(REPO, [Bytes(data=data)])
    tree = [TreeEntry(path="a", hash=named(data).hash, size=size)]
    ref = harness.store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)
    harness.corrupt(REPO, named(data).hash, b"\0" + data[1:])
    harness.store.bring(REPO, [Bytes(data=data)])

    assert contents(harness.store, ref) == {"a": data}


@pytest.mark.parametrize("size", [5000, LARGE])
def test_bring_works_from_many_threads(size: int, harness: StoreHarness) -> None:
    """Also of the same content at the same time."""
    outcomes: list[tuple[bytes, object]] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        for data in (noise(size), noise(size, number + 1)):
            [stored] = harness.store.bring(REPO, [Bytes(data=data, path=f"f{number}")])
            outcomes.append((data, stored))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outcomes) == 12
    assert [found for found in outcomes if found[1] != named(found[0])] == []
    files = {f"f{number}": noise(size, number) for number in range(7)}
    tree = [TreeEntry(path=path, hash=named(data).hash, size=size) for path, data in files.items()]
    ref = harness.store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)
    assert contents(harness.store, ref) == files
