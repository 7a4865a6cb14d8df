"""Deaths: which count, which do not, and what becomes of a version that gathers them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd import log
from syncd.catalog.catalog import Catalog, State
from syncd.clients.artifacts import Version
from syncd.durable import deaths as module
from syncd.durable.deaths import EXPLAINED, TOGETHER, UNEXPLAINED, DeadlyError, Watch, witnessed
from syncd.durable.turns import Turns
from syncd.testing import MemoryArtifactSource


class Ward:
    """A version, and processes that die with it one after the other.

    Args:
        url: of the catalog.
    """

    def __init__(self, url: str) -> None:
        self.catalog = Catalog(url)
        self.version: Version = MemoryArtifactSource().log("ds", {"d": b"payload"})
        self.lives = 0

    def start(self) -> Watch:
        """A new process that moves it."""
        self.lives += 1
        watch = Watch(self.catalog, f"life{self.lives}")
        watch.begin(watch.look(self.version.id))
        return watch

    def stand(self, state: State) -> None:
        """The version comes to a stage."""
        self.catalog.note(self.version, state)

    def die(self, times: int) -> None:
        """So many processes die with it."""
        for _ in range(times):
            self.start()

    @property
    def suspect(self) -> bool:
        """Whether the next process will move it alone."""
        return Watch(self.catalog, "looks").look(self.version.id).suspect


@pytest.fixture
def ward(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    """In the commit; the kernel has killed nobody."""
    kernel(monkeypatch, 0)
    made = Ward(database)
    made.stand(State.COMMIT)
    yield made
    made.catalog.close()


def kernel(monkeypatch: pytest.MonkeyPatch, oom_kills: int, boot: str = "boot") -> None:
    """What the kernel tells."""
    monkeypatch.setattr(module, "_kernel", lambda: (boot, oom_kills))


def test_processes_that_die_for_no_known_reason_are_many_before_a_version_is_blamed(
    ward: Ward,
) -> None:
    """And it moved alone in most of them."""
    ward.die(TOGETHER)
    assert not Watch(ward.catalog, "x").look("another").suspect
    ward.die(UNEXPLAINED)
    with pytest.raises(DeadlyError, match=f"ended {TOGETHER + UNEXPLAINED} times") as caught:
        ward.start()
    assert caught.value.stage is log.Stage.COMMIT
    assert "nothing tells why" in str(caught.value)


def test_what_the_kernel_killed_for_want_of_memory_is_known_sooner(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one makes it a suspect; only those that it died alone in count for the verdict."""
    for number in range(1 + EXPLAINED):
        ward.start()
        kernel(monkeypatch, number + 1)
    with pytest.raises(DeadlyError, match="for want of memory"):
        ward.start()


def test_another_kernel_s_count_says_nothing(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine, or the same one after a power cut."""
    for number in range(1 + EXPLAINED):
        ward.start()
        kernel(monkeypatch, number + 1, boot=f"boot {number}")
    ward.start()


@pytest.mark.parametrize("progress", ["stage", "bytes"])
def test_a_version_that_progresses_is_counted_from_none_again(ward: Ward, progress: str) -> None:
    """However often the process dies."""
    for number in range(3 * (TOGETHER + UNEXPLAINED)):
        watch = ward.start()
        if progress == "bytes":
            watch.progressed(ward.version.id)
        elif number % 2:
            ward.stand([State.COMMIT, State.VERIFY][number // 2 % 2])
    assert ward.lives == 3 * (TOGETHER + UNEXPLAINED)


@pytest.mark.parametrize("begins", [False, True])
def test_a_process_that_ends_on_purpose_did_not_die(ward: Ward, begins: bool) -> None:
    """Nor does what it begins while it drains count."""
    for _ in range(TOGETHER + UNEXPLAINED + 1):
        watch = ward.start()
        watch.let_go()
        if begins:
            watch.begin(watch.look(ward.version.id))
    assert not ward.suspect


def test_what_ended_is_forgotten(ward: Ward) -> None:
    """Whatever it died of before."""
    ward.die(TOGETHER)
    ward.start().end(ward.version.id)
    assert ward.catalog.deaths.get(ward.version.id) is None
    assert not ward.suspect


@pytest.mark.parametrize("by", ["person", "itself"])
def test_set_aside_it_gets_a_whole_chance_of_a_person_and_one_death_of_itself(
    ward: Ward, by: str
) -> None:
    """Either way it moves alone."""
    ward.die(TOGETHER + UNEXPLAINED)
    with pytest.raises(DeadlyError) as caught:
        ward.start()
    ward.catalog.fail(ward.version, stage="commit", reason=str(caught.value), hint="")
    if by == "person":
        assert ward.catalog.release(ward.version.id)
    ward.stand(State.WAITING)
    assert ward.suspect
    ward.start()
    ward.stand(State.COMMIT)
    if by == "person":
        ward.die(UNEXPLAINED - 1)
    with pytest.raises(DeadlyError):
        ward.start()


def test_a_fatal_signal_leaves_word_for_the_next_process(tmp_path: Path) -> None:
    """And a process that ended without one leaves none."""
    script = """
import faulthandler, os, signal, sys
from pathlib import Path
from syncd.catalog.catalog import Catalog
from syncd.durable.deaths import Watch, witnessed
folder = Path(sys.argv[1])
catalog = Catalog(f"sqlite:///{folder}/syncd.db")
with witnessed(folder, catalog):
    watch = Watch(catalog)
    watch.begin(watch.look("v"))
    os.kill(os.getpid(), int(sys.argv[2]))
"""
    catalog = Catalog(f"sqlite:///{tmp_path}/syncd.db")
    seen = []
    for number in (9, 11):
        command = [sys.executable, "-c", script, str(tmp_path), str(number)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == -number
        with witnessed(tmp_path, catalog):
            found = catalog.deaths.get("v")
        assert found is not None
        seen.append(found.crashed)
    catalog.close()
    assert seen == [False, True]
    assert "Segmentation fault" in (tmp_path / module.KEPT).read_text()


def test_a_suspect_moves_alone_and_does_not_wait_for_ever() -> None:
    """Nobody begins before it whose turn came later."""
    turns, told = Turns(), list[str]()
    first_in, first_out, alone_in, alone_out = (threading.Event() for _ in range(4))

    def first() -> None:
        with turns.taken(alone=False):
            first_in.set()
            first_out.wait(10)
            told.append("first")

    def alone() -> None:
        with turns.taken(alone=True):
            alone_in.set()
            alone_out.wait(10)
            told.append("alone")

    def later() -> None:
        with turns.taken(alone=False):
            told.append("later")

    threads = [threading.Thread(target=work, daemon=True) for work in (first, alone, later)]
    threads[0].start()
    assert first_in.wait(10)
    threads[1].start()
    while not turns._asking:
        pass
    threads[2].start()
    threads[2].join(0.1)
    assert (told, alone_in.is_set()) == ([], False)
    first_out.set()
    assert alone_in.wait(10)
    threads[2].join(0.1)
    assert told == ["first"]
    alone_out.set()
    for thread in threads:
        thread.join(10)
    assert told == ["first", "alone", "later"]
