"""What only the embedded store promises: its directory, kills, locks, lost indexes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncd.clients import oxen_recovery
from syncd.clients.commits import Author, TreeEntry
from syncd.clients.oxen_index import CommitIndex, RepoIndex
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.clients.oxen_lock import exclusive
from syncd.clients.oxen_repo import ONE_NODE, OxenRepository
from syncd.errors import (
    DiskFullError,
    PermanentError,
    ServiceUnavailableError,
    StoreLockedError,
)
from syncd.refs import CommitRef, RepoRef

CHILD = Path(__file__).parent / "support" / "embedded_child.py"
REPO = RepoRef(namespace="team", repo="data")
ANN = Author(name="Ann", email="ann@example.com")
FIRST = ("a", "d/b", "d/c", "gone/x", "was/folder")
SECOND = ("a", "d/b", "new/e/f", "new/g", "was")


def commit(store: EmbeddedVersionStore, paths: tuple[str, ...], message: str = "m") -> CommitRef:
    """Commit files that hold their own names."""
    tree = []
    for path in sorted(paths):
        content = store.put(REPO, [path.encode()])
        tree.append(TreeEntry(path=path, hash=content.hash, size=content.size))
    return store.commit(REPO, branch="main", tree=tree, message=message, author=ANN)


def holds(store: EmbeddedVersionStore, ref: CommitRef, paths: tuple[str, ...]) -> bool:
    """Whether a commit is proved and has exactly these files."""
    found = {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.tree(ref)}
    return list(store.verify(ref)) == [] and found == {path: path.encode() for path in paths}


@contextmanager
def child(root: Path, point: str, action: str) -> Iterator[subprocess.Popen[str]]:
    """A process that stands at a point, killed afterwards."""
    command = [sys.executable, str(CHILD), str(root), point, action]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "reached\n", process.stderr.read()
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the branch `latest` at FIRST and `main` at SECOND, made by another process."""
    root = tmp_path_factory.mktemp("prepared") / "store"
    commits = ["commit:" + ",".join(paths) for paths in (FIRST, SECOND)]
    actions = [commits[0], "branch:latest:main", commits[1]]
    command = [sys.executable, str(CHILD), str(root), "", *actions]
    subprocess.run(command, check=True, capture_output=True)
    return root


@pytest.fixture
def root(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it that this process has not opened."""
    shutil.copytree(prepared, tmp_path / "store")
    return tmp_path / "store"


def published(root: Path) -> dict[str, CommitRef]:
    """The branches as a reader finds them."""
    branches = RepoIndex(root, REPO).branches()
    assert branches is not None
    return {name: CommitRef(repo=REPO, commit=head) for name, head in branches.heads.items()}


# --- the directory


def test_the_work_tree_and_the_stage_are_empty_after_everything(tmp_path: Path) -> None:
    """The contents lie in the version store alone, each once."""
    store = EmbeddedVersionStore(tmp_path)
    for paths in (FIRST, SECOND, FIRST):
        list(store.verify(commit(store, paths)))
    index = RepoIndex(tmp_path, REPO)

    assert [entry.name for entry in index.worktree.iterdir()] == [".oxen"]
    assert not (index.oxen / "staged").exists()
    assert list(index.tmp.iterdir()) == []
    assert (index.oxen / "HEAD").read_text() == "main"
    links = [index.content(e.hash).stat().st_nlink for e in store.tree(commit(store, SECOND))]
    assert set(links) == {1}


class _Counted:
    """A repository of liboxen that counts how often its branches are listed."""

    listed = 0

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        _Counted.listed += name == "branches"
        return getattr(self._library, name)


def test_branches_are_listed_once_as_long_as_nothing_moves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one for each version, and each version's path asks some ten times where a branch is."""
    store = EmbeddedVersionStore(tmp_path / "store")
    made = commit(store, FIRST)
    open_library = OxenRepository._open
    monkeypatch.setattr(
        OxenRepository, "_open", lambda self, path: _Counted(open_library(self, path))
    )
    _Counted.listed = 0
    found = store.resolve(REPO, "main")
    assert found is not None
    assert found.ref == made
    assert _Counted.listed == 1

    _Counted.listed = 0
    store.set_branch(made, "latest")
    assert _Counted.listed == 2
    assert store.branches(REPO) == {"main": made.commit, "latest": made.commit}


def test_the_users_own_configuration_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever HOME is."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    commit(EmbeddedVersionStore(tmp_path / "store"), FIRST)

    assert list(home.iterdir()) == []


def test_the_working_directory_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when it lies in the repository, and the store's path is relative."""
    monkeypatch.chdir(tmp_path)
    store = EmbeddedVersionStore(Path("store [x]"))
    commit(store, FIRST)
    place = tmp_path / "store [x]" / "team" / "data" / ".oxen"
    (place / "a").write_text("not this")
    monkeypatch.chdir(place)

    second = commit(store, ("d/b", "new/e/f"))

    assert holds(store, second, ("d/b", "new/e/f"))


def test_a_large_commit_is_made_in_parts(tmp_path: Path) -> None:
    """Of two files each here; every commit is proved, and no branch ever shows a part."""
    store = EmbeddedVersionStore(tmp_path, at_once=2)
    paths = ("a", "d/a", "d/b", "d/c", "d/e/a", "f/a", "g")
    history: list[dict[str, bytes]] = [
        {path: path.encode() for path in paths},
        {path: b"2 " + path.encode() for path in paths},  # modified, in parts too
        {path: b"2 " + path.encode() for path in (*paths, "h/a", "h/b", "h/c")},  # new folder
        {path: b"2 " + path.encode() for path in (*paths, "h/a")},
    ]

    refs = []
    for files in history:
        tree = []
        for path, data in sorted(files.items()):
            content = store.put(REPO, [data])
            tree.append(TreeEntry(path=path, hash=content.hash, size=content.size))
        refs.append(store.commit(REPO, branch="main", tree=tree, message="m", author=ANN))

    assert store.branches(REPO) == {"main": refs[-1].commit}
    for ref, files in zip(refs, history, strict=True):
        assert {e.path: b"".join(store.read(ref, e.path)) for e in store.tree(ref)} == files
        assert list(store.verify(ref)) == []
    for ref in refs[:2]:
        made = store.resolve(REPO, ref.commit)
        assert made is not None
        part = store.resolve(REPO, made.parents[0])
        assert part is not None
        assert part.message.startswith("Part 3 of 4\n")


def test_swapped_contents_with_equal_times_are_seen(tmp_path: Path) -> None:
    """As files have that are written within one tick of the clock."""
    store = EmbeddedVersionStore(tmp_path)
    one, two = (store.put(REPO, [data]) for data in (b"A", b"B"))
    refs = []
    for turn in range(4):
        for content in (one, two):
            os.utime(RepoIndex(tmp_path, REPO).content(content.hash), ns=(10**18, 10**18))
        tree = [
            TreeEntry(path=path, hash=content.hash, size=1)
            for path, content in zip("xy", (one, two)[:: 1 - 2 * (turn % 2)], strict=True)
        ]
        refs.append(store.commit(REPO, branch="main", tree=tree, message=f"{turn}", author=ANN))

    index = RepoIndex(tmp_path, REPO)
    with exclusive(index):  # by liboxen alone, for the store's index is right in any case
        opened = OxenRepository(index, tmp_path / ".syncd" / "config", lambda _: None)
        found = [
            b"".join(file.read_bytes() for _, file in opened.files(ref.commit)) for ref in refs
        ]
        opened.rest()

    assert found == [b"AB", b"BA", b"AB", b"BA"]
    assert [list(store.verify(ref)) for ref in refs] == [[], [], [], []]


def test_folders_are_kept_whole(tmp_path: Path) -> None:
    """Also in repositories that others made: see `oxen_repo`, "node names"."""
    store = EmbeddedVersionStore(tmp_path)
    commit(store, FIRST)
    settings = RepoIndex(tmp_path, REPO).oxen / "config.toml"
    assert f"vnode_size = {ONE_NODE}\n" in settings.read_text()
    settings.write_text(settings.read_text().replace(str(ONE_NODE), "2"))

    refs = [commit(store, paths) for paths in (SECOND, FIRST)]

    assert f"vnode_size = {ONE_NODE}\n" in settings.read_text()
    assert holds(store, refs[0], SECOND)
    assert holds(store, refs[1], FIRST)


def test_an_incremental_commit_stages_only_what_changed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By what liboxen itself says it did."""
    store = EmbeddedVersionStore(tmp_path)
    paths = tuple(f"d{number % 5}/{number}" for number in range(100))
    commit(store, paths)
    capfd.readouterr()

    second = commit(store, (*paths[3:], "d1/new", "top"))

    said = [line for line in capfd.readouterr().out.splitlines() if "🐂 oxen" in line]
    added = sum(int(line.split()[3]) for line in said if line.startswith("🐂 oxen added"))
    removed = sum(int(line.split()[3]) for line in said if line.startswith("🐂 oxen removed"))
    assert removed == 3
    assert added == 2 + 2  # and one in each folder that only lost a file
    assert holds(store, second, (*paths[3:], "d1/new", "top"))


def test_a_whole_folder_is_removed_in_one_step(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And many scattered removals become one step too."""
    store = EmbeddedVersionStore(tmp_path)
    paths = tuple(f"folder/{number % 7}/{number}" for number in range(500))
    commit(store, (*paths, "kept"))
    capfd.readouterr()

    first = commit(store, ("kept",))
    steps = capfd.readouterr().out.count("oxen removed")
    commit(store, (*paths, "kept"))
    capfd.readouterr()
    second = commit(store, (*paths[::4], "kept"))
    more_steps = capfd.readouterr().out.count("oxen removed")

    assert (steps, more_steps) == (1, 1)
    assert holds(store, first, ("kept",))
    assert holds(store, second, (*paths[::4], "kept"))


# --- the index


def test_a_lost_index_is_made_again_from_the_repository(tmp_path: Path) -> None:
    """The directory beside the repositories is a cache."""
    store = EmbeddedVersionStore(tmp_path)
    first, second = commit(store, FIRST), commit(store, SECOND)
    store.set_branch(first, "latest")
    before = [list(store.tree(ref)) for ref in (first, second)]
    shutil.rmtree(tmp_path / "team" / ".syncd")

    again = EmbeddedVersionStore(tmp_path)

    assert again.branches(REPO) == {"main": second.commit, "latest": first.commit}
    found = again.resolve(REPO, "latest")
    assert found is not None
    assert (found.ref, found.author, found.message) == (first, ANN, "m")
    assert [list(again.tree(ref)) for ref in (first, second)] == before
    assert holds(again, first, FIRST)
    assert holds(again, commit(again, FIRST), FIRST)


def test_a_damaged_index_is_found(tmp_path: Path) -> None:
    """Whether cut off, emptied, or changed within."""
    store = EmbeddedVersionStore(tmp_path)
    ref = commit(store, FIRST)
    path = RepoIndex(tmp_path, REPO).index_path(ref.commit)
    whole = path.read_bytes()

    path.write_bytes(whole.replace(b"d/b\t", b"d/B\t"))
    assert "damaged" in next(store.verify(ref))
    for part in (b"", whole[:-20], whole[: len(whole) // 2]):
        path.write_bytes(part)
        with pytest.raises(PermanentError, match="damaged"):
            CommitIndex(path)


def test_every_path_is_found_in_an_index_and_no_other(tmp_path: Path) -> None:
    """The binary search, at every position."""
    store = EmbeddedVersionStore(tmp_path)
    paths = tuple(sorted({f"{'x' * (n % 7)}/{n}" if n % 7 else f"top {n}" for n in range(64)}))
    ref = commit(store, paths)
    index = RepoIndex(tmp_path, REPO).open(ref.commit)
    assert index is not None

    with index:
        found = [index.find(path) for path in paths]
        assert [entry and entry.path for entry in found] == list(paths)
        for path in paths:
            for other in (path[:-1], path + "0 ", path + "\t", "", "~"):
                entry = index.find(other)
                assert entry is None or entry.path == other


# --- kills


POINTS = [
    "put.stored", "commit.pending", "commit.removed", "commit.linked", "commit.staged",
    "commit.committed", "commit.proved", "commit.indexed", "branch.intended", "branch.moved",
]  # fmt: skip
THIRD = ("a", "d/b", "gone/x", "new", "was/folder")


@pytest.mark.parametrize("point", ["init.made", *POINTS])
def test_a_kill_in_the_middle_of_the_first_commit_is_harmless(tmp_path: Path, point: str) -> None:
    """The next process finds the commit made or not made, and making it again works."""
    with child(tmp_path, point, "commit:" + ",".join(THIRD)):
        pass
    store = EmbeddedVersionStore(tmp_path)

    heads = store.branches(REPO)

    assert set(heads) == ({"main"} if point.startswith("branch.") else set())
    for head in heads.values():
        assert holds(store, CommitRef(repo=REPO, commit=head), THIRD)
    assert holds(store, commit(store, THIRD, "again"), THIRD)
    assert list(RepoIndex(tmp_path, REPO).tmp.iterdir()) == []


@pytest.mark.parametrize("point", [*POINTS, "branch.deleted"])
def test_a_kill_in_the_middle_of_a_later_commit_is_harmless(
    root: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also to what was committed before; folders become files here and files folders."""
    monkeypatch.setattr(oxen_recovery, "LEFT", -1.0)  # an hour later
    before = published(root)
    with child(root, point, "commit:" + ",".join(THIRD)):
        pass
    store = EmbeddedVersionStore(root)

    made = store.resolve(REPO, "main")

    assert made is not None
    if point.startswith("branch."):
        assert made.ref != before["main"]
        assert holds(store, made.ref, THIRD)
    else:
        assert made.ref == before["main"]
    assert store.branches(REPO) == {"main": made.ref.commit, "latest": before["latest"].commit}
    assert holds(store, commit(store, THIRD, "again"), THIRD)
    assert holds(store, before["latest"], FIRST)
    assert holds(store, before["main"], SECOND)
    assert list(RepoIndex(root, REPO).tmp.iterdir()) == []


@pytest.mark.parametrize("point", ["branch.intended", "branch.deleted", "branch.moved"])
def test_a_kill_in_the_middle_of_a_branch_move_moves_it(root: Path, point: str) -> None:
    """What was intended durably happens."""
    before = published(root)

    with child(root, point, "branch:latest:main"):
        pass

    head = before["main"].commit
    assert EmbeddedVersionStore(root).branches(REPO) == {"main": head, "latest": head}


# --- locks


def test_a_second_process_is_told_who_is_at_work(root: Path) -> None:
    """It may read meanwhile, and write when the first is gone."""
    store = EmbeddedVersionStore(root)
    second = published(root)["main"]

    with child(root, "commit.staged", "commit:" + ",".join(THIRD)) as process:
        with pytest.raises(StoreLockedError, match=f"process {process.pid}"):
            commit(store, THIRD)
        with pytest.raises(StoreLockedError):
            list(store.verify(second))
        assert store.branches(REPO)["main"] == second.commit
        assert [entry.path for entry in store.tree(second)] == sorted(SECOND)
        assert b"".join(store.read(second, "a")) == b"a"
        found = store.resolve(REPO, "main")
        assert found is not None
        assert found.ref == second

    assert holds(store, commit(store, THIRD), THIRD)


def test_a_process_that_liboxen_keeps_out_is_told_so(root: Path) -> None:
    """It holds a repository open between calls; nothing is touched then either."""
    holder = (
        "import sys, oxen\n"
        f"repo = oxen.Repo({str(root / 'team' / 'data')!r})\n"
        "repo.branches()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        store = EmbeddedVersionStore(root)

        with pytest.raises(StoreLockedError, match="in use by"):
            commit(store, THIRD)

        process.kill()
    assert holds(store, commit(store, THIRD), THIRD)


def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cause in the message, and nothing left behind."""
    store = EmbeddedVersionStore(tmp_path)
    commit(store, FIRST)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError, match="No space left"):
            store.put(REPO, [b"more"])

    assert list(RepoIndex(tmp_path, REPO).tmp.iterdir()) == []


def test_a_folder_whose_disk_went_away_is_not_begun_anew(tmp_path: Path) -> None:
    """A process that has worked in it makes no repository in the mount point."""
    root, unplugged = tmp_path / "store", tmp_path / "unplugged"
    store = EmbeddedVersionStore(root)
    made = commit(store, FIRST)
    root.rename(unplugged)
    root.mkdir()
    with pytest.raises(ServiceUnavailableError, match="may not be mounted"):
        store.put(REPO, [b"x"])
    assert list(root.iterdir()) == []
    root.rmdir()
    unplugged.rename(root)
    assert holds(store, made, FIRST)
