"""Fetch: the commit's bytes and no others, each read from Oxen once."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import Queue

import pytest
from training_world import TrainingWorld

from syncd.clients.commits import SMALL, TreeEntry
from syncd.entry import Entry
from syncd.errors import (
    IntegrityError,
    InvalidNameError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    UsageError,
)
from syncd.refs import CommitRef
from syncd.testing import Fault, MemoryVersionStore
from syncd.training import cache as caching
from syncd.training import fetch, files
from syncd.training.cache import FORSAKEN, PART, Cache

FILES = {
    "train/a.bin": b"first" * 900_000,  # above what goes together
    "train/b.bin": b"second",
    "test/a.bin": b"third",
    "README.md": b"",
    ".syncd/lineage.json": b"{}",
}
SHOWN = {path: data for path, data in FILES.items() if not path.startswith(".syncd")}


def there(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def data(world: TrainingWorld) -> CommitRef:
    """A commit with syncd's own file in it."""
    return world.committed(FILES)


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    """A user with an empty cache."""
    return {"SYNCD_CACHE_DIR": str(tmp_path / "cache")}


def test_a_folder_holds_the_files_of_the_commit(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str]
) -> None:
    """All of them, except syncd's own, in a folder of the commit's own."""
    folder = fetch(str(data), environ=environ, store=world.store)

    assert there(folder) == SHOWN
    assert data.commit in str(folder)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("train", {"train/a.bin", "train/b.bin"}),
        ("*/a.bin", {"train/a.bin", "test/a.bin"}),
        (["README.md", "test/"], {"README.md", "test/a.bin"}),
        (".syncd", {".syncd/lineage.json"}),
    ],
)
def test_only_what_is_named_comes(
    world: TrainingWorld,
    data: CommitRef,
    environ: Mapping[str, str],
    paths: str | list[str],
    expected: set[str],
) -> None:
    """A path, a folder, a pattern; nothing else is read."""
    folder = fetch(data, paths=paths, environ=environ, store=world.store)

    assert set(there(folder)) == expected
    assert world.store.calls["read"] == len(expected)


def test_a_name_of_nothing_is_refused(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str]
) -> None:
    """A slip of the pen is not an empty training set."""
    with pytest.raises(NotFoundError, match="'trian/\\*'"):
        fetch(data, paths="trian/*", environ=environ, store=world.store)
    with pytest.raises(UsageError, match="names nothing"):
        fetch(data, paths=[], environ=environ, store=world.store)


@pytest.mark.parametrize(("paths", "told"), [(None, True), ("a", False)])
def test_files_that_a_commit_lacks_are_told_of(
    world: TrainingWorld,
    environ: Mapping[str, str],
    capfd: pytest.CaptureFixture[str],
    paths: str | None,
    told: bool,
) -> None:
    """References to elsewhere are no part of a tree; a script that downloaded them before misses them."""
    reference = Entry(path="link", digest="etag", ref="s3://b/k", size=3)
    logged = world.source.log("ds", {"a": b"bytes"}, references=[reference])
    commit = world.link(world.move(logged)).commit
    folder = fetch(commit, paths=paths, environ=environ, store=world.store)

    assert there(folder) == {"a": b"bytes"}
    said = capfd.readouterr().err
    assert ("fetch.partial" in said and "team/proj/ds:v0" in said) == told


def test_a_content_is_read_once_whoever_asks(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Neither again, nor for another folder, nor for another commit with the same content."""
    fetch(data, environ=environ, store=world.store)
    reads = world.store.calls["read"]
    fetch(data, environ=environ, store=world.store)
    fetch(data, to=tmp_path / "mine", environ=environ, store=world.store)
    later = world.committed({"other": FILES["train/a.bin"]})
    other = fetch(later, environ=environ, store=world.store)

    assert there(tmp_path / "mine") == SHOWN
    assert there(other) == {"other": FILES["train/a.bin"]}
    assert world.store.calls["read"] == reads == len(SHOWN)


def test_processes_of_one_training_read_each_file_once(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str]
) -> None:
    """They wait for the first, and find all of it."""
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch, data, environ=environ, store=world.store) for _ in range(4)]

    assert [there(job.result()) == SHOWN for job in jobs] == [True] * 4
    assert world.store.calls["read"] == len(SHOWN)


def test_processes_that_waited_look_together(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Eight of them with a million files would else wait for each other for longer than they may."""
    folder = fetch(data, environ=environ, store=world.store)
    with ExitStack() as others, ThreadPoolExecutor(1) as pool:
        for path in (tmp_path / "cache" / "locks").iterdir():
            fcntl.flock(others.enter_context(path.open()), fcntl.LOCK_SH)  # another one looks
        found = pool.submit(fetch, data, environ=environ, store=world.store)
        try:
            assert found.result(timeout=30) == folder
        finally:
            others.close()


def test_who_waits_for_long_says_for_what(
    world: TrainingWorld,
    data: CommitRef,
    environ: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine that shares the disk may have died with a lock."""
    fetch(data, environ=environ, store=world.store)
    told: Queue[str] = Queue()
    monkeypatch.setattr(caching, "SILENCE", 0.0)
    monkeypatch.setattr(caching, "_tell_of_waiting", told.put)
    with ExitStack() as others, ThreadPoolExecutor(1) as pool:
        locks = sorted((tmp_path / "cache" / "locks").iterdir())
        for path in locks:
            fcntl.flock(others.enter_context(path.open()), fcntl.LOCK_EX)
        found = pool.submit(fetch, data, environ=environ, store=world.store)
        assert told.get(timeout=30) in map(str, locks)
        others.close()
        assert there(found.result(timeout=30)) == SHOWN


def test_a_process_that_waited_for_something_else_fetches_what_it_wants(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Another part of the commit, or what somebody wrote into meanwhile."""
    fetch(data, paths="test", environ=environ, store=world.store)
    locks = list((tmp_path / "cache" / "locks").iterdir())
    with ExitStack() as others, ThreadPoolExecutor(1) as pool:
        for path in locks:
            fcntl.flock(others.enter_context(path.open()), fcntl.LOCK_SH)
        found = pool.submit(fetch, data, environ=environ, store=world.store)
        others.close()
        assert there(found.result(timeout=30)) == SHOWN


def test_damaged_bytes_reach_no_folder(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """They are hashed while they pass; what is wrong leaves nothing behind."""
    [entry] = [e for e in world.store.tree(data) if e.path == "test/a.bin"]
    world.store.corrupt(data.repo, entry.hash, b"drith")
    with pytest.raises(IntegrityError, match=r"test/a\.bin"):
        fetch(data, to=tmp_path / "mine", environ=environ, store=world.store)

    assert not Cache(tmp_path / "cache").has(entry.hash, entry.size)
    assert not (tmp_path / "mine").exists()
    assert not list((tmp_path / "cache").rglob(".syncd-part-*"))


def test_what_somebody_wrote_into_the_cache_is_fetched_again(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str]
) -> None:
    """A folder's file is a link to the cache; a script that changes it spoils nothing for others."""
    folder = fetch(data, environ=environ, store=world.store)
    victim = folder / "train" / "b.bin"
    victim.chmod(0o644)
    victim.write_bytes(b"SECOND")

    assert there(fetch(data, environ=environ, store=world.store)) == SHOWN


def test_what_came_before_a_break_is_not_read_again(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    """The same call goes on where it was."""
    away = ServiceUnavailableError("nobody answers")
    world = TrainingWorld(
        tmp_path,
        store=MemoryVersionStore(
            faults=[Fault(method="read", error=away, at=at) for at in range(3, 20)]
        ),
    )
    data = world.committed({f"{n}.bin": b"%d" % n * 600_000 for n in range(4)})
    with pytest.raises(ServiceUnavailableError):
        fetch(data, environ=environ, store=world.store)
    kept = len([p for p in (tmp_path / "cache" / "contents").rglob("*") if p.is_file()])
    world.store._call.count["read"] = 100
    assert len(there(fetch(data, environ=environ, store=world.store))) == 4

    assert kept == 2
    assert world.store.calls["read"] - 100 == 2
    world.catalog.close()


def test_a_path_that_leads_out_is_refused(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Names come from a server."""
    [entry, *_] = world.store.tree(data)
    outside = TreeEntry(path="../outside", hash=entry.hash, size=entry.size)
    world.store.falsify(data, [outside])
    with pytest.raises(InvalidNameError):
        fetch(data, to=tmp_path / "a" / "b", environ=environ, store=world.store)

    assert not (tmp_path / "a").exists()


def test_a_folder_of_another_commit_is_refused(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """What lay there would be trained on, too."""
    old = world.committed({"train/gone.bin": b"old"})
    fetch(old, to=tmp_path / "mine", environ=environ, store=world.store)
    with pytest.raises(PermanentError, match=r"train/gone\.bin"):
        fetch(data, to=tmp_path / "mine", environ=environ, store=world.store)


def test_a_part_of_another_commit_is_brought_up_to_date(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """A folder never holds two commits' bytes, also where only a part was asked for."""
    old = world.committed({"train/b.bin": b"an older second"})
    fetch(old, to=tmp_path / "mine", environ=environ, store=world.store)
    fetch(data, paths="test", to=tmp_path / "mine", environ=environ, store=world.store)

    expected = {path: FILES[path] for path in ("test/a.bin", "train/b.bin")}
    assert there(tmp_path / "mine") == expected


def test_a_link_in_the_folder_is_not_followed(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """A folder that is a link leads elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermanentError, match="train"):
        fetch(data, to=tmp_path / "mine", environ=environ, store=world.store)

    assert not list((tmp_path / "elsewhere").iterdir())


def test_another_disk_gets_copies(
    world: TrainingWorld,
    data: CommitRef,
    environ: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no link can be made, a copy is, once."""

    def refused(_path: Path, _target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    folder = fetch(data, to=tmp_path / "mine", environ=environ, store=world.store)
    before = (folder / "train/a.bin").stat().st_ino
    fetch(data, to=folder, environ=environ, store=world.store)

    assert there(folder) == SHOWN
    assert (folder / "train/a.bin").stat().st_ino == before


def test_two_commits_that_are_fetched_into_one_folder_at_a_time_do_not_mix(
    world: TrainingWorld, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """One of two trainings is refused; it would have trained on the other's data."""
    commits = [
        world.committed({"train.bin": name, f"only-{n}": name})
        for n, name in enumerate((b"A", b"B"))
    ]
    begun = threading.Barrier(2)

    def one(commit: CommitRef) -> Path | PermanentError:
        begun.wait()
        try:
            return fetch(commit, to=tmp_path / "mine", environ=environ, store=world.store)
        except PermanentError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(one, commits))
    assert sorted(isinstance(end, PermanentError) for end in ends) == [False, True]
    held = there(tmp_path / "mine")
    assert len(held) == 2
    assert len(set(held.values())) == 1


# --- half files, locks, names


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has written for as long as a download that lives never waits."""
    monkeypatch.setattr(caching, "FORSAKEN", -1.0)


def half(folder: Path, name: str = "x") -> Path:
    """What a download leaves that is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{PART}{name}"
    path.write_bytes(b"half")
    return path


def test_what_a_killed_download_left_goes_with_the_next_one(
    world: TrainingWorld, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Whoever is killed takes nothing away himself; what he wrote may be as large as a disk."""
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from syncd.training.cache import Cache\n"
        "def chunks():\n"
        "    yield b'half'\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Cache(Path({str(tmp_path / 'cache')!r})).keep('abc', 8, chunks(), 'x')\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode < 0
    [left] = list((tmp_path / "cache").rglob(f"{PART}*"))
    fetch(world.committed({"a": b"1"}), environ=environ, store=world.store)
    assert left.exists()  # nobody can tell yet, where locks do not
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caching, "FORSAKEN", -1.0)
        fetch(world.committed({"a": b"2"}), environ=environ, store=world.store)

    assert not left.exists()


@pytest.mark.usefixtures("later")
def test_what_another_process_writes_stays_however_long_nothing_came(
    world: TrainingWorld, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """A machine may have slept for a night in the middle of a download."""
    parts = tmp_path / "cache" / "contents" / "parts"
    going, reached = threading.Event(), threading.Event()
    data = b"whole" * 3

    def chunks() -> Iterator[bytes]:
        yield data[:4]
        reached.set()
        assert going.wait(30)
        yield data[4:]

    commit = world.committed({"slow": data})
    [entry] = world.store.tree(commit)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(Cache(tmp_path / "cache").keep, entry.hash, entry.size, chunks(), "slow")
        assert reached.wait(30)
        dead = half(parts)
        fetch(world.committed({"a": b"1"}), environ=environ, store=world.store)
        assert not dead.exists()
        going.set()
        slow.result()

    assert Cache(tmp_path / "cache").has(entry.hash, entry.size)
    assert list(parts.iterdir()) == []


@pytest.mark.usefixtures("later")
def test_what_an_older_syncd_left_beside_the_contents_goes_too(
    world: TrainingWorld, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Caches are older than programs."""
    dead = half(tmp_path / "cache" / "contents" / "3f")
    whole = tmp_path / "cache" / "contents" / "3f" / "content"
    whole.write_bytes(b"whole")
    fetch(world.committed({"a": b"1"}), environ=environ, store=world.store)

    assert (dead.exists(), whole.exists()) == (False, True)


@pytest.mark.usefixtures("later")
def test_half_files_in_a_folder_go_and_no_others(
    world: TrainingWorld, data: CommitRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Copies to another disk are as large; a link of that name is somebody else's."""
    dead = half(tmp_path / "mine" / "train")
    link = tmp_path / "mine" / f"{PART}link"
    link.symlink_to(tmp_path / "elsewhere")
    fetch(data, to=tmp_path / "mine", environ=environ, store=world.store)

    assert not dead.exists()
    assert link.is_symlink()


def test_a_half_file_that_is_written_to_counts_by_the_clock_of_its_disk(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Not by its own time, which is the fixed one just before it has its name."""
    fresh = half(tmp_path / "cache" / "contents" / "parts")
    os.utime(fresh, (caching.STAMP, caching.STAMP))
    Cache(Path(environ["SYNCD_CACHE_DIR"])).tidy()

    assert time.time() - caching.STAMP > FORSAKEN
    assert fresh.exists()


@pytest.mark.usefixtures("later")
def test_a_disk_without_locks_says_so_and_names_the_way_out(
    world: TrainingWorld,
    data: CommitRef,
    environ: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As some parallel file systems are mounted."""

    def refused(_file: object, _how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(PermanentError, match="cannot lock") as caught:
        fetch(data, environ=environ, store=world.store)

    assert "SYNCD_CACHE_DIR" in caught.value.hint


def test_the_first_failure_stops_what_is_on_its_way(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Nobody waits an hour for a file that is of no use any more, and the cause is what is told."""
    world = TrainingWorld(tmp_path)
    failed = threading.Event()
    unstopped: list[str] = []

    class Endless(MemoryVersionStore):
        """One file comes to no end, and another one fails when it has begun."""

        def read(self, commit: CommitRef, path: str) -> Iterator[bytes]:
            del commit
            if path == "broken":
                assert failed.wait(30)
                raise NotFoundError("it is gone")
            end = time.monotonic() + 10
            while time.monotonic() < end:
                failed.set()
                yield b"x"
            unstopped.append(path)

    world.store = Endless()
    size = SMALL + 1  # what goes alone
    data = world.committed({"endless": b"x" * size, "broken": b"y" * size, "waits": b"z" * size})
    with pytest.raises(NotFoundError, match="it is gone"):
        fetch(data, environ=environ, store=world.store)

    assert unstopped == []
    assert not list((tmp_path / "cache").rglob(f"{PART}*"))
    world.catalog.close()


@pytest.mark.parametrize(
    "names", [("a/X.bin", "a/x.bin"), ("Train/a", "train/b"), ("caf\u00e9", "cafe\u0301")]
)
def test_names_that_a_disk_takes_for_one_are_refused_there(
    world: TrainingWorld,
    environ: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, str],
) -> None:
    """One file would hide the other, and nobody would know which one was trained on."""
    data = world.committed({names[0]: b"1", names[1]: b"2"})
    there_ = fetch(data, environ=environ, store=world.store)
    monkeypatch.setattr(files, "_are_one", lambda _folder: True)
    with pytest.raises(PermanentError, match="for one name"):
        fetch(data, to=tmp_path / "mine", environ=environ, store=world.store)

    assert there(there_) == {names[0]: b"1", names[1]: b"2"}
    assert there(tmp_path / "mine") == {}
