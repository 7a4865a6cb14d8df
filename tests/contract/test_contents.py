"""What every VersionStore promises of contents, reading and proof. Stores: `conftest.HARNESSES`."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import xxhash
from contract_files import OTHER, REPO, commit, contents, put

from syncd.clients.commits import Author, StoredContent, TreeEntry
from syncd.errors import NotFoundError, VerificationError
from syncd.refs import CommitRef, RepoRef
from syncd.testing import StoreHarness

# --- contents


@pytest.mark.parametrize("data", [b"", b"x", b"some bytes" * 1000], ids=["empty", "one", "many"])
def test_put_names_bytes_by_their_xxh3_128(harness: StoreHarness, data: bytes) -> None:
    """In lower-case hex without zero padding, with their number."""
    stored = put(harness.store, data)

    expected = f"{xxhash.xxh3_128_intdigest(data):x}"
    assert StoredContent(hash=expected, size=len(data)) == stored


def test_what_was_put_is_not_missing(harness: StoreHarness) -> None:
    """And what was not, is; in a repository that does not exist, everything is."""
    stored = put(harness.store, b"bytes")
    hashes = [stored.hash, "ab" * 16]

    assert harness.store.missing(REPO, hashes) == {"ab" * 16}
    assert harness.store.missing(OTHER, hashes) == set(hashes)
    assert harness.reopened().missing(REPO, hashes) == {"ab" * 16}


def test_put_makes_no_commit(harness: StoreHarness) -> None:
    """Bytes that no commit names are visible to nobody."""
    put(harness.store, b"bytes")

    assert harness.store.branches(REPO) == {}
    assert harness.store.resolve(REPO, "main") is None


def test_bytes_that_end_in_an_error_are_not_kept(harness: StoreHarness) -> None:
    """The error passes through as it is."""

    def broken() -> Iterator[bytes]:
        yield b"the first half"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        harness.store.put(REPO, broken())

    half = f"{xxhash.xxh3_128_intdigest(b'the first half'):x}"
    assert harness.store.missing(REPO, [half]) == {half}


def test_known_bytes_are_not_written_again(harness: StoreHarness) -> None:
    """Neither by a put nor by commits that name them under other paths."""
    stored = put(harness.store, b"known")
    before = harness.stored(REPO, stored.hash)

    put(harness.store, b"known")
    commit(harness.store, {"a": b"known"})
    commit(harness.store, {"a": b"known", "copy/of/a": b"known"})

    assert harness.stored(REPO, stored.hash) == before


def test_putting_damaged_bytes_again_makes_them_whole(harness: StoreHarness) -> None:
    """So that a version can be moved anew after its verification failed."""
    ref = commit(harness.store, {"a": b"whole bytes"})
    stored = put(harness.store, b"whole bytes")

    for damaged in (b"whole bytez", b"whole", None):
        harness.corrupt(REPO, stored.hash, damaged)
        put(harness.store, b"whole bytes")

        assert contents(harness.store, ref) == {"a": b"whole bytes"}


def test_put_works_from_many_threads(harness: StoreHarness) -> None:
    """Also of equal bytes at the same time, and in several repositories."""
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                put(harness.store, b"same")
                put(harness.store, f"{number} {turn}".encode(), (REPO, OTHER)[number % 2])
        except Exception as error:  # noqa: BLE001 reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_commits_to_several_repositories_run_side_by_side(harness: StoreHarness) -> None:
    """One writer per repository; different ones do not disturb each other."""
    failures: list[Exception] = []
    repos = [RepoRef(namespace="team", repo=f"r{number}") for number in range(4)]

    def work(repo: RepoRef) -> None:
        try:
            for turn in range(4):
                files = {f"f{turn}": f"{repo} {turn}".encode(), "same": b"same"}
                author = Author(name=repo.repo, email="a@b")
                tree = [
                    TreeEntry(path=path, hash=found.hash, size=found.size)
                    for path, data in files.items()
                    for found in [put(harness.store, data, repo)]
                ]
                ref = harness.store.commit(
                    repo, branch="main", tree=tree, message=f"{turn}", author=author
                )
                found_commit = harness.store.resolve(repo, ref.commit)
                assert found_commit is not None
                assert found_commit.author == author
                assert contents(harness.store, ref) == files
        except Exception as error:  # noqa: BLE001 reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(repo,)) for repo in repos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


# --- reading


def test_what_does_not_exist_is_said_to(harness: StoreHarness) -> None:
    """None from resolve, NotFoundError where a commit is given, a sentence from verify."""
    ref = commit(harness.store, {"a": b"1"})
    nowhere = CommitRef(repo=REPO, commit="ab" * 16)

    assert harness.store.resolve(REPO, "no-branch") is None
    assert harness.store.resolve(REPO, nowhere.commit) is None
    assert harness.store.resolve(OTHER, "main") is None
    assert harness.store.branches(OTHER) == {}
    for call in (
        lambda: list(harness.store.tree(nowhere)),
        lambda: list(harness.store.read(nowhere, "a")),
        lambda: list(harness.store.read(ref, "b")),
        lambda: list(harness.store.tree(CommitRef(repo=OTHER, commit=ref.commit))),
        lambda: harness.store.set_branch(nowhere, "x"),
    ):
        with pytest.raises(NotFoundError):
            call()
    assert len(list(harness.store.verify(nowhere))) == 1


def test_asking_makes_nothing(harness: StoreHarness) -> None:
    """A repository comes into being with its first bytes, not with a question."""
    harness.store.missing(OTHER, ["ab" * 16])
    harness.store.resolve(OTHER, "main")

    assert harness.store.branches(OTHER) == {}


# --- proof


def test_verify_finds_a_flipped_byte(harness: StoreHarness) -> None:
    """And names the file."""
    ref = commit(harness.store, {"good": b"good bytes", "d/bad": b"bad bytes"})
    harness.corrupt(REPO, put(harness.store, b"bad bytes").hash, b"bad bytez")

    [problem] = harness.store.verify(ref)

    assert "d/bad" in problem


@pytest.mark.parametrize("data", [b"bad", b"worse bytes and more", b"", None])
def test_verify_finds_bytes_of_another_length_and_missing_ones(
    harness: StoreHarness, data: bytes | None
) -> None:
    """Whatever is selected; and reading them fails instead of giving other bytes."""
    ref = commit(harness.store, {"good": b"good bytes", "d/bad": b"bad bytes"})
    harness.corrupt(REPO, put(harness.store, b"bad bytes").hash, data)

    for selection in (None, ["good"] if harness.knows_lengths or data is None else ["d/bad"]):
        [problem] = harness.store.verify(ref, selection)
        assert "d/bad" in problem
    if harness.knows_lengths or data is None or len(data) < len(b"bad bytes"):
        with pytest.raises(VerificationError):
            list(harness.store.read(ref, "d/bad"))


@pytest.mark.parametrize(
    "tree",
    [
        {"a": b"2", "b": b"1", "d/c": b"3"},  # two swapped
        {"a": b"1", "b": b"2"},  # one lost
        {"a": b"1", "b": b"2", "d/c": b"3", "d/e": b"1"},  # one added
        {"a": b"1", "b": b"2", "d/x": b"3"},  # one renamed
        {},
    ],
)
def test_verify_finds_a_wrong_tree(harness: StoreHarness, tree: dict[str, bytes]) -> None:
    """Each content is whole, but the paths do not name the right ones."""
    ref = commit(harness.store, {"a": b"1", "b": b"2", "d/c": b"3"})
    assert list(harness.store.verify(ref)) == []
    entries = [
        TreeEntry(path=path, hash=found.hash, size=found.size)
        for path, data in sorted(tree.items())
        for found in [put(harness.store, data)]
    ]

    harness.falsify(ref, entries)

    assert list(harness.store.verify(ref)) != []


def test_verify_reads_only_the_selected_bytes(harness: StoreHarness) -> None:
    """And says when a selected path does not exist."""
    ref = commit(harness.store, {"good": b"good bytes", "bad": b"bad bytes"})
    harness.corrupt(REPO, put(harness.store, b"bad bytes").hash, b"bad bytez")

    assert list(harness.store.verify(ref, ["good"])) == []
    assert list(harness.store.verify(ref, [])) == []
    assert len(list(harness.store.verify(ref, ["bad"]))) == 1
    assert len(list(harness.store.verify(ref, ["absent"]))) == 1
