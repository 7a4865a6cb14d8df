"""What every VersionStore promises. Stores and ways to break them: `conftest.HARNESSES`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.clients.protocols import Author, StoredContent, TreeEntry, VersionStore
from syncd.errors import InvalidNameError, NotFoundError, PermanentError, VerificationError
from syncd.refs import CommitRef, RepoRef
from syncd.testing import StoreHarness

REPO = RepoRef(namespace="team", repo="project-data")
OTHER = RepoRef(namespace="team", repo="other")
ANN = Author(name="Ann B. Müller", email="ann@example.com")
MESSAGE = "Dataset v0\n\nWandb-Artifact: team/project/data:v0\nWandb-Digest: 00ff"

HOSTILE = [
    "spaces in a name.bin",
    " leading and trailing ",
    "hash#mark",
    "question?mark",
    "percent%41%2F",
    "plus+plus",
    "amp&and=;,:@!$'()",
    '"quotes"',
    "new[1]*?.bin",
    "[a]*?",
    "]",
    "[!x]/**/{a,b}",
    "*",
    "-rf",
    "~",
    ".hidden",
    ".oxen.txt",
    "folder/.oxenignore",
    "ends with dot.",
    "dots.../file",
    "caf\u00e9",  # NFC
    "cafe\u0301",  # NFD
    "日本語/ファイル",
    "\U0001f600",
    "\u202eright to left",
    "line\u2028separator",
    "a",
    "A",
    "Data/x",
    "data/x",
    "x" * 240,
    "/".join(f"d{level}" for level in range(40)) + "/deep",
    "a.parquet",
    "b.csv",
    "c.png",
    "d.jsonl",
    "e.mp4",
    "f.xlsx",
]


def put(store: VersionStore, data: bytes, repo: RepoRef = REPO) -> StoredContent:
    """Store bytes in pieces."""
    return store.put(repo, iter([data[:3], b"", data[3:]]))


def commit(
    store: VersionStore,
    files: Mapping[str, bytes],
    *,
    branch: str = "main",
    message: str = MESSAGE,
    repo: RepoRef = REPO,
) -> CommitRef:
    """Store files and commit them as one tree."""
    tree = []
    for path, data in files.items():
        content = put(store, data, repo)
        tree.append(TreeEntry(path=path, hash=content.hash, size=content.size))
    return store.commit(repo, branch=branch, tree=tree, message=message, author=ANN)


def contents(store: VersionStore, ref: CommitRef) -> dict[str, bytes]:
    """Every file of a commit with its bytes, after the store itself found nothing wrong."""
    assert list(store.verify(ref)) == []
    return {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.tree(ref)}


def ancestors(store: VersionStore, ref: CommitRef) -> list[str]:
    """The commits below one, nearest first; a store may put its own in between."""
    found: list[str] = []
    commit = store.resolve(ref.repo, ref.commit)
    while commit is not None and commit.parents:
        found.append(commit.parents[0])
        commit = store.resolve(ref.repo, commit.parents[0])
    return found


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


# --- commits


def test_a_commit_gives_back_what_was_put(harness: StoreHarness) -> None:
    """Same paths, same bytes, also for another process later."""
    files = {"b/2.bin": b"two" * 100, "a.bin": b"one", "b/empty": b"", "z": b"one"}

    ref = commit(harness.store, files)

    assert contents(harness.store, ref) == files
    assert contents(harness.reopened(), ref) == files


def test_a_tree_is_sorted_by_path_and_names_hash_and_size(harness: StoreHarness) -> None:
    """By code points, whatever order it was given in."""
    files = {"b": b"1", "a/c": b"22", "a b": b"333", "a": b"", "ä": b"5", "Z": b"6"}
    del files["a"]

    entries = list(harness.store.tree(commit(harness.store, files)))

    assert [entry.path for entry in entries] == sorted(files)
    assert entries == [
        TreeEntry(
            path=path, hash=f"{xxhash.xxh3_128_intdigest(files[path]):x}", size=len(files[path])
        )
        for path in sorted(files)
    ]


def test_a_commit_keeps_message_author_and_parent(harness: StoreHarness) -> None:
    """The message to the byte: trailers are read from it."""
    first = commit(harness.store, {"a": b"1"})
    second = commit(harness.store, {"a": b"2"}, message="v1\n\nKey: wert — ü\n")

    for store in (harness.store, harness.reopened()):
        one, two = store.resolve(REPO, first.commit), store.resolve(REPO, "main")
        assert one is not None
        assert two is not None
        assert (one.ref, one.message, one.author, one.parents) == (first, MESSAGE, ANN, ())
        assert (two.ref, two.message) == (second, "v1\n\nKey: wert — ü\n")
        assert first.commit in ancestors(store, second)


def test_every_commit_is_one_commit(harness: StoreHarness) -> None:
    """Also when the tree is the same as before, or empty: a version is a commit."""
    trees: list[dict[str, bytes]] = [{}, {}, {"a": b"1"}, {"a": b"1"}, {}, {"d/e": b"1"}]

    refs = [commit(harness.store, tree, message=f"{n}") for n, tree in enumerate(trees)]

    assert len({ref.commit for ref in refs}) == len(trees)
    for number, (ref, tree) in enumerate(zip(refs, trees, strict=True)):
        assert contents(harness.store, ref) == tree
        older = ancestors(harness.store, ref)
        assert [r.commit in older for r in refs] == [n < number for n in range(len(refs))]


def test_every_commit_of_a_history_stays_readable(harness: StoreHarness) -> None:
    """Changes, additions, removals, and a file in the place of a folder and back."""
    history: list[dict[str, bytes]] = [
        {"a": b"1", "d/b": b"2", "d/c": b"3", "e/f/g": b"4"},
        {"a": b"1 changed", "d/b": b"2", "d/c": b"3", "e/f/g": b"4"},
        {"a": b"1 changed", "d/b": b"2", "n/m/o": b"5", "e/f/g": b"4"},
        {"a": b"1", "d": b"was a folder", "e": b"too", "n/m/o": b"5"},
        {"a/b": b"was a file", "d/b": b"2", "e/f/g": b"4"},
        {"x": b"2"},
        {"x": b"2", **{f"many/{n}": bytes([n]) for n in range(200)}},
        {"many/7": b"\x07"},
        {},
    ]

    refs = [commit(harness.store, tree) for tree in history]

    for ref, tree in zip(refs, history, strict=True):
        assert contents(harness.store, ref) == tree
        assert harness.checked_out(ref) == tree


@pytest.mark.parametrize(
    "history",
    [
        [{"k": b"k", "d/one": b"A"}, {"k": b"k"}, {"k": b"k", "d/two": b"A"}],
        [{"x": b"A", "y": b"A"}, {"y": b"A"}, {"x": b"A", "y": b"A"}, {"x": b"A"}],
        [
            {"d/x": b"A", "d/y": b"A", "k": b"1"},
            {"d/y": b"A", "k": b"1"},
            {"d/x": b"A", "d/y": b"A", "k": b"2"},
            {"d/x": b"A", "k": b"2"},
        ],
        [{"d/s/one": b"A"}, {"k": b"k"}, {"d/t/two": b"B"}, {}, {"d/s/three": b"A"}],
        [{"one": b"A"}, {"two": b"A"}, {"one": b"A"}, {"one": b"A"}],
        [{"d/a": b"A", "e/a": b"A"}, {"d/a": b"A"}, {"d/a": b"A", "e/b": b"A"}, {"e/a": b"A"}],
    ],
)
def test_a_later_commit_never_changes_an_earlier_one(
    harness: StoreHarness, history: list[dict[str, bytes]]
) -> None:
    """Equal bytes under other names, in folders that come and go: liboxen mixes these up."""
    refs = [commit(harness.store, tree, message=f"{n}") for n, tree in enumerate(history)]
    side = [
        commit(harness.store, tree, branch=f"side{n}", message=f"side {n}")
        for n, tree in enumerate(history)
    ]

    for ref, tree in zip([*refs, *side], [*history, *history], strict=True):
        assert contents(harness.store, ref) == tree
        assert harness.checked_out(ref) == tree


def test_swapped_contents_of_equal_size_are_seen(harness: StoreHarness) -> None:
    """Files that arrive in the same moment differ in nothing but their bytes."""
    first = commit(harness.store, {"x": b"A", "y": b"B", "z": b"C"})
    second = commit(harness.store, {"x": b"B", "y": b"A", "z": b"C"})
    third = commit(harness.store, {"x": b"C", "y": b"A", "z": b"B"})

    assert contents(harness.store, first) == {"x": b"A", "y": b"B", "z": b"C"}
    assert contents(harness.store, second) == {"x": b"B", "y": b"A", "z": b"C"}
    assert contents(harness.store, third) == {"x": b"C", "y": b"A", "z": b"B"}


def test_hostile_names_are_kept_exactly(harness: StoreHarness) -> None:
    """In a commit, in one that changes them, in one that removes every second, and at the end."""
    first = {path: path.encode() for path in HOSTILE}
    changed = {path: b"changed " + path.encode() for path in HOSTILE}
    fewer = dict(list(changed.items())[::2])
    history = [first, changed, fewer, {"only": b"this"}]

    refs = [commit(harness.store, tree) for tree in history]

    for ref, tree in zip(refs, history, strict=True):
        assert contents(harness.store, ref) == tree
        assert harness.checked_out(ref) == tree


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/absolute", "a//b", "a/", "../up", "a/../b", ".", "./a", "nul\x00", "new\nline",
        "tab\there", ".oxen", ".oxen/HEAD", "a/.OXEN/x", ".Oxen ", "oxen~1/x", ".oxen:stream",
        ".oxenignore", "back\\slash", "x" * 241, "/".join(["d" * 200] * 16), "lone\ud800surrogate",
    ],
)  # fmt: skip
def test_a_path_that_oxen_cannot_hold_is_refused(harness: StoreHarness, path: str) -> None:
    """Before anything is committed."""
    stored = put(harness.store, b"1")
    tree = [TreeEntry(path=path, hash=stored.hash, size=1)]

    with pytest.raises(InvalidNameError):
        harness.store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)

    assert harness.store.branches(REPO) == {}


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b", "a-b"]])
def test_a_tree_that_contradicts_itself_is_refused(harness: StoreHarness, paths: list[str]) -> None:
    """A path twice, or a file and a folder at once."""
    stored = put(harness.store, b"1")
    tree = [TreeEntry(path=path, hash=stored.hash, size=1) for path in paths]

    with pytest.raises(PermanentError, match=r"twice|folder"):
        harness.store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)


def test_a_tree_whose_contents_are_not_there_is_refused(harness: StoreHarness) -> None:
    """Missing, or of another size; the branch stays where it was."""
    ref = commit(harness.store, {"a": b"1"})
    stored = put(harness.store, b"12")

    for entry in (
        TreeEntry(path="b", hash="ab" * 16, size=1),
        TreeEntry(path="b", hash=stored.hash, size=3),
    ):
        with pytest.raises(PermanentError):
            harness.store.commit(REPO, branch="main", tree=[entry], message="m", author=ANN)

    assert harness.store.branches(REPO) == {"main": ref.commit}
    assert contents(harness.store, ref) == {"a": b"1"}


def test_five_thousand_files_and_a_small_change(harness: StoreHarness) -> None:
    """The size of an ordinary dataset."""
    store = harness.store
    stored = [put(store, f"content {n % 50}".encode()) for n in range(50)]
    tree = [
        TreeEntry(path=f"d{n % 40}/{n:05}", hash=stored[n % 50].hash, size=stored[n % 50].size)
        for n in range(5000)
    ]
    changed = put(store, b"changed")
    after = [
        TreeEntry(path=e.path, hash=changed.hash, size=changed.size) if n % 500 == 0 else e
        for n, e in enumerate(tree)
        if n % 700
    ]

    first = store.commit(REPO, branch="main", tree=tree, message="0", author=ANN)
    second = store.commit(REPO, branch="main", tree=after, message="1", author=ANN)

    assert list(store.tree(first)) == sorted(tree, key=lambda entry: entry.path)
    assert list(store.tree(second)) == sorted(after, key=lambda entry: entry.path)
    assert list(store.verify(second)) == []


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


@pytest.mark.parametrize("data", [b"bad", b"bad bytes and more", b"", None])
def test_verify_finds_bytes_of_another_length_and_missing_ones(
    harness: StoreHarness, data: bytes | None
) -> None:
    """Whatever is selected; and reading them fails instead of giving other bytes."""
    ref = commit(harness.store, {"good": b"good bytes", "d/bad": b"bad bytes"})
    harness.corrupt(REPO, put(harness.store, b"bad bytes").hash, data)

    for selection in (None, ["good"]):
        [problem] = harness.store.verify(ref, selection)
        assert "d/bad" in problem
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


# --- branches


def test_a_branch_is_made_and_moved_without_touching_commits(harness: StoreHarness) -> None:
    """Forward, back to an older commit, to the same one, with slashes in its name."""
    first, second, third = (commit(harness.store, {"a": data}) for data in (b"1", b"2", b"3"))

    for name in ("wandb/v0", "latest"):
        for ref in (second, first, third, third, first):
            harness.store.set_branch(ref, name)
            found = harness.reopened().resolve(REPO, name)
            assert found is not None
            assert found.ref == ref

    assert harness.store.branches(REPO) == {
        "main": third.commit,
        "wandb/v0": first.commit,
        "latest": first.commit,
    }
    for ref, data in ((first, b"1"), (second, b"2"), (third, b"3")):
        assert contents(harness.store, ref) == {"a": data}


def test_main_can_be_moved_back_and_goes_on_from_there(harness: StoreHarness) -> None:
    """The next commit's parent is the commit the branch points at."""
    first = commit(harness.store, {"a": b"1", "b": b"2"})
    second = commit(harness.store, {"b": b"3"})
    harness.store.set_branch(first, "main")

    third = commit(harness.store, {"a": b"1", "c": b"4"})

    older = ancestors(harness.store, third)
    assert first.commit in older
    assert second.commit not in older
    assert contents(harness.store, third) == {"a": b"1", "c": b"4"}
    assert contents(harness.store, second) == {"b": b"3"}


def test_a_commit_to_a_new_branch_begins_anew_and_leaves_others(harness: StoreHarness) -> None:
    """A branch is made on demand; set_branch before it gives it a past."""
    first = commit(harness.store, {"a": b"1"})
    alone = commit(harness.store, {"b": b"2"}, branch="side/line")
    harness.store.set_branch(first, "based")
    based = commit(harness.store, {"c": b"3"}, branch="based")

    assert first.commit not in ancestors(harness.store, alone)
    assert first.commit in ancestors(harness.store, based)
    assert harness.store.branches(REPO) == {
        "main": first.commit,
        "side/line": alone.commit,
        "based": based.commit,
    }
    assert contents(harness.store, alone) == {"b": b"2"}
    assert contents(harness.store, based) == {"c": b"3"}


@pytest.mark.parametrize(
    "name", ["", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a[", "a*", "a\\b", "@{x", "@", "x.", "HEAD"]
)  # fmt: skip
def test_a_name_that_oxen_refuses_for_a_branch_is_refused(harness: StoreHarness, name: str) -> None:
    """By set_branch and by commit."""
    ref = commit(harness.store, {"a": b"1"})

    with pytest.raises(InvalidNameError):
        harness.store.set_branch(ref, name)
    with pytest.raises(InvalidNameError):
        commit(harness.store, {"a": b"1"}, branch=name)

    assert harness.store.branches(REPO) == {"main": ref.commit}


# --- any history

SEGMENTS = st.sampled_from(["a", "b", "c d", "é", "[x]", "*", ".h"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.sampled_from([b"", b"A", b"B", b"CC"]), max_size=8)


def plausible(tree: dict[str, bytes]) -> dict[str, bytes]:
    """The tree without files that are also folders."""
    return {
        path: data
        for path, data in tree.items()
        if not any(other.startswith(f"{path}/") for other in tree)
    }


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(TREES.map(plausible), min_size=1, max_size=5))
def test_any_history_comes_back(harness: StoreHarness, history: list[dict[str, bytes]]) -> None:
    """Whatever follows whatever."""
    refs = [commit(harness.store, tree) for tree in history]

    for ref, tree in zip(refs, history, strict=True):
        assert contents(harness.store, ref) == tree
        assert harness.checked_out(ref) == tree
