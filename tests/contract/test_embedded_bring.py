"""What only the embedded store promises of contents on their way in: kills, healing, the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from contract_contents import CHUNK, Bytes, named, noise
from contract_files import ANN, REPO, commit, contents

from syncd.clients import oxen_contents, spool
from syncd.clients.commits import TreeEntry
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.clients.spool import Spool
from syncd.errors import DiskFullError, PermanentError, TransientError

CHILD = Path(__file__).parent / "support" / "bring_child.py"
MIB = 1 << 20
LARGE = oxen_contents.LARGE + MIB


def partial_files(root: Path) -> list[Path]:
    """What waits to be gone on with."""
    return sorted((RepoIndex(root, REPO).tmp / "partial").glob("*"))


def temporary_files(root: Path) -> list[Path]:
    """What else is under way."""
    return [path for path in RepoIndex(root, REPO).tmp.glob("*") if path.is_file()]


def test_a_kill_at_nine_tenths_of_a_file_costs_the_last_tenth(tmp_path: Path) -> None:
    """The next process hashes what is there and asks for the rest; healing leaves it alone."""
    size = 40 * MIB
    cut = size * 9 // 10 // CHUNK * CHUNK
    command = [sys.executable, str(CHILD), str(tmp_path), str(size), str(cut)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "reached\n", process.stderr.read()
        finally:
            process.kill()
    data = noise(size)
    store = EmbeddedVersionStore(tmp_path)
    assert store.branches(REPO) == {}  # opens, and so heals
    content = Bytes(data=data)
    [stored] = store.bring(REPO, [content])

    assert stored == named(data)
    assert content.asked <= size - cut + MIB
    assert partial_files(tmp_path) == temporary_files(tmp_path) == []
    tree = [TreeEntry(path="a", hash=named(data).hash, size=size)]
    ref = store.commit(REPO, branch="main", tree=tree, message="m", author=ANN)
    assert contents(store, ref) == {"a": data}


def test_a_partial_file_that_is_too_old_is_deleted(tmp_path: Path) -> None:
    """Nobody will ask for it any more; a younger one stays."""
    store = EmbeddedVersionStore(tmp_path)
    for number in (1, 2):
        store.bring(REPO, [Bytes(data=noise(LARGE, number), cut=MIB)])
    old, young = partial_files(tmp_path)
    long_ago = time.time() - spool.KEPT - 60
    os.utime(old, (long_ago, long_ago))
    EmbeddedVersionStore(tmp_path).branches(REPO)

    assert partial_files(tmp_path) == [young]


def test_a_batch_of_small_files_waits_for_the_disk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last of them is written, and before the first has its name."""
    steps: list[str] = []
    monkeypatch.setattr(oxen_contents, "sync", lambda _path: steps.append("sync"))
    monkeypatch.setattr(os, "fsync", lambda _handle: steps.append("fsync"))
    store = EmbeddedVersionStore(tmp_path, checkpoint=steps.append)
    given = [
        Bytes(data=noise(1000, n), path=f"f{n}", watch=lambda _byte: steps.append("read"))
        for n in range(50)
    ]
    store.bring(REPO, given[:1])
    steps.clear()
    store.bring(REPO, given[1:])

    assert steps == ["read"] * 49 + ["bring.written", "sync"] + ["put.stored"] * 49


def test_a_large_file_is_durable_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And costs no second copy: it is the same file."""
    store = EmbeddedVersionStore(tmp_path)
    data = noise(LARGE)
    store.bring(REPO, [Bytes(data=data, cut=MIB)])
    [partial] = partial_files(tmp_path)
    inode = partial.stat().st_ino
    target = RepoIndex(tmp_path, REPO).content(named(data).hash)
    there: list[bool] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        if os.fstat(handle).st_ino == inode:
            there.append(target.exists())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    store.bring(REPO, [Bytes(data=data)])

    assert there == [False]
    assert target.stat().st_ino == inode


def test_a_disk_that_refuses_is_the_outcome_of_what_it_meets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named, and nothing is left behind."""
    store = EmbeddedVersionStore(tmp_path)
    store.bring(REPO, [Bytes(data=b"first")])

    def full(handle: int, data: memoryview) -> int:
        if bytes(data) == b"too much":
            raise OSError(28, "No space left on device")
        return write(handle, data)

    write = os.write
    monkeypatch.setattr(os, "write", full)
    outcomes = store.bring(REPO, [Bytes(data=b"too much"), Bytes(data=b"fits", path="b")])

    assert isinstance(outcomes[0], DiskFullError)
    assert "No space left" in str(outcomes[0])
    assert outcomes[1] == named(b"fits")
    assert temporary_files(tmp_path) == []


def test_who_locks_a_partial_file_too_late_does_not_write_into_what_it_became(
    tmp_path: Path,
) -> None:
    """It was opened, then moved to its place by whoever had it, and only then locked."""
    folder = Spool(tmp_path, limit=MIB)
    first = folder.partial("md5-a", 4)
    assert first is not None
    late = spool.Partial(tmp_path / "partial" / "md5-a", folder, 0)
    first.append(b"data")
    first.move(tmp_path / "stored")
    first.close()

    with late:
        assert not late.lock()
    assert (tmp_path / "stored").read_bytes() == b"data"


def test_while_a_thread_is_at_a_large_file_another_brings_it_on_its_own(tmp_path: Path) -> None:
    """And neither spoils the other's."""
    store = EmbeddedVersionStore(tmp_path)
    data = noise(LARGE)
    half, go_on = threading.Event(), threading.Event()
    outcomes: list[object] = []

    def watch(begin: int) -> None:
        if begin >= MIB:
            half.set()
            assert go_on.wait(60)

    slow = threading.Thread(
        target=lambda: outcomes.extend(store.bring(REPO, [Bytes(data=data, watch=watch)]))
    )
    slow.start()
    assert half.wait(60)
    [quick] = store.bring(REPO, [Bytes(data=data)])
    [other] = store.bring(REPO, [Bytes(data=data, cut=2 * MIB)])
    go_on.set()
    slow.join()

    assert quick == named(data)
    assert isinstance(other, TransientError)
    assert outcomes == [named(data)]
    assert partial_files(tmp_path) == temporary_files(tmp_path) == []
    assert RepoIndex(tmp_path, REPO).content(named(data).hash).read_bytes() == data


def test_a_spool_that_the_disk_refuses_gives_its_room_back(tmp_path: Path) -> None:
    """Else large files would travel without it until the next start."""
    folder = Spool(tmp_path, limit=100)
    (tmp_path / "partial" / "md5-a").mkdir(parents=True)  # whatever opening it meets
    with pytest.raises(PermanentError, match="cannot use the spool"):
        folder.partial("md5-a", 80)
    (tmp_path / "partial" / "md5-a").rmdir()
    partial = folder.partial("md5-a", 80)
    assert partial is not None
    partial.close()


def test_what_another_process_is_bringing_is_left_alone(tmp_path: Path) -> None:
    """Whoever opens the repository puts right what was left long ago, and nothing younger."""
    commit(EmbeddedVersionStore(tmp_path), {"a": b"1"})
    tmp = RepoIndex(tmp_path, REPO).tmp
    young, old = tmp / "another-process-1", tmp / "another-process-2"
    for file in (young, old):
        file.write_bytes(b"on its way")
    os.utime(old, (1, 1))
    commit(EmbeddedVersionStore(tmp_path), {"a": b"2"})
    assert (young.exists(), old.exists()) == (True, False)
