"""The daemon with doubles at both ends: what it waits for, and what it does only once.

The engine, the scheduler and the signals are the real ones; the test's own process is the daemon.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dbos._sys_db import SystemDatabase
from sqlalchemy.exc import OperationalError
from unit_world import World

from syncd.catalog.catalog import State
from syncd.catalog.descent import INPUT
from syncd.catalog.pulse import Hint, Pulse
from syncd.config import Config
from syncd.durable import fleet, handover
from syncd.durable.fleet import LOCAL, Member
from syncd.durable.locks import Locks
from syncd.errors import DiskFullError, ServiceUnavailableError, StateUnavailableError
from syncd.refs import CommitRef
from syncd.service import daemon as module
from syncd.service import patience, scheduler
from syncd.service.daemon import Daemon, Settings
from syncd.service.notify import Notifier
from syncd.testing import Damage, Fault, MemoryArtifactSource, MemoryVersionStore

ALWAYS = 1 << 20
CONFIG: dict[str, Any] = {"wandb": {"projects": ["team/*"]}, "schedule": {"poll": "1s"}}
DEADLINE = 60.0  # seconds


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look around often, and wait shortly."""
    monkeypatch.setattr(module, "TICK", 0.02)
    monkeypatch.setattr(patience, "FRESH", 0.0)


def nobody_asks() -> Config:
    """In the place of what reads the configuration again."""
    raise AssertionError("nobody sent the signal")


def settings(*face: str, load: Callable[[], Config] = nobody_asks) -> Settings:
    """What a daemon is started with."""
    return Settings(face=face, load=load, log_as=lambda _config: None, version="0")


def live(
    world: World,
    until: Callable[[], bool],
    *face: str,
    environ: Any = None,
    load: Callable[[], Config] = nobody_asks,
) -> None:
    """Be a daemon until something is true, and then drain."""
    alone = Member(executor_id=LOCAL, locks=Locks())
    made = Daemon(world.runtime, settings(*face, load=load), alone, Notifier(environ or {}))
    failed: list[str] = []
    deaf = signal.getsignal(signal.SIGTERM)

    def end() -> None:
        deadline = time.monotonic() + DEADLINE
        while signal.getsignal(signal.SIGTERM) is deaf or not until():
            if time.monotonic() > deadline:
                failed.append("it never happened")
                break
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=end)
    watcher.start()
    try:
        made.run()
    finally:
        watcher.join()
        _release(made._patience)
    assert failed == []


class _Over:
    """In the place of a condition: whoever waits for it ends."""

    def wait(self) -> None:
        """End the thread."""
        raise SystemExit


def _release(held: patience.Waiting) -> None:
    """End the threads that a drained daemon holds back until its process ends: this one goes on."""
    condition = held._state
    with condition:
        held._state = _Over()  # type: ignore[assignment]
        condition.notify_all()


@contextmanager
def opened(world: World) -> Iterator[World]:
    """Close it afterwards."""
    yield world
    world.catalog.close()


def states(world: World) -> list[State]:
    """Where all versions stand."""
    return [record.state for record in world.catalog.records()]


def moved(world: World, count: int) -> Callable[[], bool]:
    """Whether so many were replaced."""
    return lambda: states(world).count(State.REPLACED) == count


def told(captured: str, event: str) -> list[dict[str, Any]]:
    """What the log says of an event."""
    lines = [json.loads(line) for line in captured.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_a_full_disk_is_waited_out(tmp_path: Path) -> None:
    """The version is moved when there is room, and was never set aside."""
    full = DiskFullError("no space left on device")
    store = MemoryVersionStore(
        faults=[Fault(method="put", error=full, at=number) for number in range(1, 9)]
    )
    with opened(World(tmp_path, store=store, **CONFIG)) as world:
        world.source.log("ds", {"a": b"payload"})
        live(world, moved(world, 1))

        assert states(world) == [State.REPLACED]
        assert list(world.catalog.quarantined()) == []
        assert store.calls["put"] > 8


def test_a_version_that_was_born_in_oxen_enters_the_lineage(tmp_path: Path) -> None:
    """There is nothing to move of it, and what it was trained on is known all the same."""
    commit = CommitRef.parse("oxen://team/proj-model@0123456789abcdef0123456789abcdef")
    with opened(World(tmp_path, **CONFIG)) as world:
        run = world.source.add_run("train")
        world.source.record_use(run, world.source.log("ds", {"tiny": b"no"}))
        world.published(run, commit)
        descent = world.catalog.descent
        live(world, lambda: len(list(descent.versions_of([str(run)], INPUT))) == 1)

        assert descent.commit(commit) is not None


def test_a_disk_with_little_room_lets_nothing_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until there is room again."""
    room: list[int] = []  # how often anything had been stored when room was made

    def check(_folders: object, _least: int) -> None:
        if not room:
            raise DiskFullError("little is left")

    monkeypatch.setattr(patience, "check_room", check)
    with opened(World(tmp_path, **CONFIG)) as world:
        world.source.log("ds", {"a": b"payload"})

        def noticed() -> bool:
            beats = {beat.name: beat.detail for beat in world.catalog.pulse.beats()}
            waiting = beats.get("engine:local", {}).get("waiting_for") or ""
            if "the disk is away since" in waiting and not room:
                room.append(world.store.calls["put"])
            return moved(world, 1)()

        live(world, noticed)

        assert room == [0]
        assert states(world) == [State.REPLACED]


def test_wandb_away_in_the_middle_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each stage that met it is done again, and the version counts as one that never failed."""
    away = ServiceUnavailableError("W&B did not answer")
    calls = [("with_manifest", 1), ("log_replacement", 1), ("probe", 1), ("probe", 2)]
    source = MemoryArtifactSource(
        faults=[Fault(method=name, error=away, at=number) for name, number in calls]
    )
    with opened(World(tmp_path, source, **CONFIG)) as world:
        world.source.log("ds", {"a": b"payload"})
        live(world, moved(world, 1))

        assert list(world.catalog.quarantined()) == []
    captured = capsys.readouterr().err
    assert len(told(captured, "service.away")) == len(told(captured, "service.back")) == 1
    assert told(captured, "transfer.failed") == []


def test_a_version_that_fails_for_good_is_tried_again_only_when_it_is_due(tmp_path: Path) -> None:
    """Others go on; a poll every second does not try it every second."""
    damage = Damage(path="bad", change=lambda data: data[:-1], times=ALWAYS)
    with opened(World(tmp_path, MemoryArtifactSource(damages=[damage]), **CONFIG)) as world:
        bad = world.source.log("ds", {"bad": b"payload"})
        world.source.log("other", {"good": b"payload"})
        polls: set[float] = set()

        def polled_thrice() -> bool:
            for beat in world.catalog.pulse.beats():
                polls.update(beat.detail.get("last_poll", {}).values())
            return State.QUARANTINED in states(world) and len(polls) > 3

        live(world, polled_thrice)
        record = world.catalog.get(bad.id)

        assert sorted(states(world)) == [State.QUARANTINED, State.REPLACED]
        assert record is not None
        assert record.attempts == 1
        # Whoever lets it out of quarantine has it tried at once.
        world.catalog.note(bad, State.WAITING)
        live(world, lambda: _attempts(world, bad.id) == 2)


def _attempts(world: World, artifact_id: str) -> int:
    record = world.catalog.get(artifact_id)
    return record.attempts if record else 0


def test_hints_and_polls_that_come_together_move_a_version_once(tmp_path: Path) -> None:
    """Whatever comes twice."""
    with opened(World(tmp_path, **CONFIG)) as world:
        for number in range(5):
            world.source.log("ds", {"a": b"payload %d" % number})

        def hinted() -> bool:
            world.catalog.pulse.hint("team/proj", "ds", at=time.time())
            world.catalog.pulse.hint("team/other", "ds", at=time.time())
            return moved(world, 5)()

        live(world, hinted)

        assert world.source.calls["log_replacement"] == 5
        assert {record.attempts for record in world.catalog.records()} == {1}


def test_systemd_is_told_and_the_face_lives_as_long_as_the_daemon(tmp_path: Path) -> None:
    """Ready when it is, alive while it is, stopping before it stops."""
    mark = tmp_path / "face"
    script = f"import time; open({str(mark)!r}, 'a').close(); time.sleep(600)"
    with (
        opened(World(tmp_path, **CONFIG)) as world,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
    ):
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        heard: list[str] = []

        def listen() -> bool:
            try:
                while True:
                    heard.append(channel.recv(4096).decode())
            except BlockingIOError:
                return mark.exists() and heard.count("WATCHDOG=1") >= 3

        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        live(world, listen, sys.executable, "-c", script, environ=environ)
        listen()

        assert heard[0] == "READY=1"
        [end] = [line for line in heard if line.startswith("STOPPING=1\n")]
        drain = Config.model_validate(CONFIG).engine.drain.total_seconds()
        assert int(end.partition("EXTEND_TIMEOUT_USEC=")[2]) > drain * 1e6
        assert any(line.startswith("STATUS=") for line in heard)


def test_the_face_is_told_of_new_projects(tmp_path: Path) -> None:
    """Once; of other changes it has no need to hear."""
    there, heard = tmp_path / "there", tmp_path / "heard"
    script = (
        "import pathlib, signal, time\n"
        f"heard = pathlib.Path({str(heard)!r})\n"
        "signal.signal(signal.SIGUSR1, lambda *_: heard.open('a').write('x'))\n"
        f"pathlib.Path({str(there)!r}).touch()\n"
        "while True: time.sleep(1)\n"
    )
    with opened(World(tmp_path, **CONFIG)) as world:
        old = world.runtime.config
        poll = old.schedule.model_copy(update={"poll": timedelta(seconds=2)})
        wandb = old.wandb.model_copy(update={"projects": ("team/*", "other/*")})
        changes: list[dict[str, Any]] = [{"schedule": poll}, {"schedule": poll, "wandb": wandb}]
        loaded: list[Config] = []

        def load() -> Config:
            loaded.append(old.model_copy(update=changes[len(loaded)]))
            return loaded[-1]

        asked: list[int] = []

        def reloaded() -> bool:
            if there.exists() and len(asked) == len(loaded) < len(changes):
                asked.append(1)
                os.kill(os.getpid(), signal.SIGHUP)
            return heard.exists() and heard.read_text() != ""

        live(world, reloaded, sys.executable, "-c", script, load=load)

    assert (len(loaded), heard.read_text()) == (2, "x")


def test_a_clock_that_was_set_back_stops_no_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is due is counted anew."""
    again: list[bool] = []
    monkeypatch.setattr(scheduler.Scheduler, "again", lambda _self: again.append(True))
    real = time.time
    shift = [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])
    with opened(World(tmp_path, **CONFIG)) as world:

        def jumped() -> bool:
            shift[0] = -7200.0
            return bool(again)

        live(world, jumped)

    assert told(capsys.readouterr().err, "clock.jumped")[0]["seconds"] == pytest.approx(
        -7200, abs=1
    )
    assert again == [True]


def test_a_catalog_that_does_not_answer_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one on another machine may; hints that nobody could read are read later."""
    hints, asked = Pulse.hints, [0]

    def unanswered(self: Pulse) -> list[Hint]:
        asked[0] += 1
        if asked[0] <= 10:
            raise ServiceUnavailableError("the database does not answer")
        return hints(self)

    with opened(World(tmp_path, **CONFIG)) as world:
        world.source.log("ds", {"a": b"payload"})
        monkeypatch.setattr(Pulse, "hints", unanswered)
        live(world, moved(world, 1))

    captured = capsys.readouterr().err
    assert {line["service"] for line in told(captured, "service.away")} == {"the catalog"}
    assert len(told(captured, "service.back")) == len(told(captured, "service.away"))


def test_a_catalog_that_another_program_has_locked_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup or a viewer of databases holds it for longer than anybody waits for a lock."""
    monkeypatch.setattr("syncd.catalog.database.BUSY_TIMEOUT", 0.02)
    refused: list[bool] = []
    begins = StateUnavailableError.__init__

    def counted(self: StateUnavailableError, *arguments: Any, **named: Any) -> None:
        refused.append(True)
        begins(self, *arguments, **named)

    monkeypatch.setattr(StateUnavailableError, "__init__", counted)
    with (
        opened(World(tmp_path, **CONFIG)) as world,
        closing(_unshared(tmp_path / "syncd.db")) as other,
    ):
        world.source.log("ds", {"a": b"payload"})

        def over() -> bool:
            if other.in_transaction:
                if len(refused) >= 3:
                    other.execute("ROLLBACK")
                return False
            return moved(world, 1)()

        other.execute("BEGIN IMMEDIATE")
        live(world, over)

        assert list(world.catalog.quarantined()) == []


def _unshared(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


@pytest.mark.parametrize(
    "cause",
    [
        sqlite3.OperationalError("database or disk is full"),
        psycopg.errors.DiskFull("could not extend file: No space left on device"),
        psycopg.OperationalError("the database system is in recovery mode"),
    ],
)
@pytest.mark.parametrize("write", ["update_workflow_outcome", "record_operation_result"])
def test_a_disk_that_was_full_at_the_wrong_moment_holds_up_no_repository(
    write: str,
    cause: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The engine could not write what was done: it looks unfinished, and nobody is at it."""
    monkeypatch.setattr(handover, "STRAY", 0.5)
    monkeypatch.setattr(fleet, "RECOVER", 0.05)
    written = getattr(SystemDatabase, write)
    # What was done, and that it failed.
    refused = iter(["disk is full"] * (2 if write == "record_operation_result" else 1))
    outcome = SystemDatabase.update_workflow_outcome

    def full(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: SystemDatabase, *arguments: Any, **named: Any) -> Any:
            if next(refused, None):
                raise OperationalError("UPDATE workflow_status", {}, cause)
            return real(self, *arguments, **named)

        return call

    monkeypatch.setattr(SystemDatabase, "update_workflow_outcome", full(outcome))
    if write == "record_operation_result":
        monkeypatch.setattr(SystemDatabase, write, full(written))
    with opened(World(tmp_path, **CONFIG)) as world:
        for number in range(3):
            world.source.log("ds", {"a": b"payload %d" % number})
        live(world, moved(world, 3))

        assert world.source.calls["log_replacement"] == 3
    captured = capsys.readouterr().err
    assert told(captured, "workflow.lost")
    assert '.failed"' not in captured  # nor was any version set aside for it


@pytest.mark.parametrize("stage", ["transfer", "annotate"])
def test_an_engine_that_stops_before_it_noted_what_a_stage_did_sets_no_version_aside(
    stage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The stage ended in time, and its thread finds no engine behind it; the next start goes on."""
    ended, stopped, again = threading.Event(), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []
    record, stop = SystemDatabase.record_operation_result, SystemDatabase.destroy

    def late(self: SystemDatabase, result: Any, *arguments: Any, **named: Any) -> Any:
        if result["function_name"] == stage and not ended.is_set():
            threads.append(threading.current_thread())
            ended.set()
            assert stopped.wait(DEADLINE)
            raise OperationalError("INSERT", {}, Exception("the connection is gone"))
        recorded = record(self, result, *arguments, **named)
        if result["function_name"] == "annotate":
            again.set()
        return recorded

    def destroy(self: SystemDatabase) -> None:
        stop(self)
        if ended.is_set():
            stopped.set()

    monkeypatch.setattr(SystemDatabase, "record_operation_result", late)
    monkeypatch.setattr(SystemDatabase, "destroy", destroy)
    with opened(World(tmp_path, **CONFIG)) as world:
        world.source.log("ds", {"a": b"payload"})
        live(world, ended.is_set)
        threads[0].join(DEADLINE)
        assert not threads[0].is_alive()
        assert list(world.catalog.quarantined()) == []
        live(world, again.is_set)

        assert states(world) == [State.REPLACED]
        assert world.source.calls["log_replacement"] == 1
    captured = capsys.readouterr().err
    assert '.failed"' not in captured
    assert not any(
        json.loads(line)["level"] == "error"
        for line in captured.splitlines()
        if line.startswith("{")
    )


def test_a_hangup_while_it_drains_changes_nothing(tmp_path: Path) -> None:
    """What is due is no business of its any more, and neither is whether it can be read."""
    with opened(World(tmp_path, **CONFIG)) as world:
        alone = Member(executor_id=LOCAL, locks=Locks())
        made = Daemon(world.runtime, settings(), alone, Notifier({}))
        made._draining = True
        made._told.put(signal.SIGHUP)
        made._tick()
