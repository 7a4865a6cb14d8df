"""Versions that end the process that moves them: found, moved alone, and set aside.

liboxen may want more memory than there is, or crash. No exception tells of it: the process is gone, and
the next one would begin with the same version again, for ever, and with it end whatever moves beside
it. So each process writes down what it moves, and takes it back when that ended, or when it ends itself
on purpose (SIGTERM, Ctrl-C, a command that is done). Whoever finds a version that was not taken back
knows of a death, and counts it:

- **Only without progress.** A version that stands in another stage than at the death before, of which
  bytes came into Oxen since, or were read back from there, is counted from none again. All of this is
  kept when a process dies and is not done again, so there is an end to it: nothing dies for ever so.
- **Only alone it is to blame.** What merely moved beside a culprit is counted with it. So after
  `TOGETHER` deaths, or after one with a known cause, a version is a suspect: it waits until nothing
  moves in this process, and nothing begins beside it. An innocent one then simply ends. Several that
  were too much for the memory together end one by one.
- **A cause makes it sure.** The kernel counts the processes that it killed for want of memory, and
  Python leaves a trace of a fatal signal. After `EXPLAINED` deaths alone with such a cause a version goes
  into quarantine. Without one the process may have been killed by a person, by a service manager that
  ran out of patience, or by a power cut: then it takes `UNEXPLAINED` of them, at the same place, with not
  a byte of progress. It is that many because syncd may be killed at any time and any number of times;
  it is not none because not every system tells (a container's sandbox, a daemon that kills for the kernel).

What was set aside keeps its count: tried again by itself it moves alone, and one more death of the kind
sets it aside again. A person who retries it gives it a whole new chance, alone. The count is in
the catalog, which a fleet shares; a fatal signal is told by the machine where it happened, and
where another one was faster to take the version over, it stays unexplained.
"""

from __future__ import annotations

import faulthandler
import functools
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from syncd import log
from syncd.catalog.catalog import Catalog, State
from syncd.catalog.deaths import NONE, Deaths
from syncd.clients.disk import disk
from syncd.errors import PermanentError, SyncdError

TOGETHER = 2  # deaths after which a version moves alone
EXPLAINED = 3  # deaths alone, with a known cause, after which it is set aside
UNEXPLAINED = 10  # deaths alone, whatever the cause
TRACE = "crash.txt"  # in the state directory: where Python writes of a fatal signal
KEPT = "crash-last.txt"  # the last one that had something to tell
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_EVENTS = Path("/proc/vmstat")


class DeadlyError(PermanentError):
    """A version with which the process that moves it dies, again and again.

    Args:
        message: how often, and how.
        stage: where the version stood.
    """

    default_hint = (
        "Nothing was changed in W&B. Look for the end of the process in the kernel's log (`journalctl -k`, "
        "`dmesg`) and in the service's. Out of memory: give it more, or lower [transfer] concurrency. A crash: "
        "report it as a bug. `syncd quarantine retry` then tries the version again, with nothing beside it."
    )

    def __init__(self, message: str, *, stage: log.Stage) -> None:
        super().__init__(message)
        self.stage = stage


class Watch:
    """Counts deaths, and tells of those of this process; safe from any thread.

    Args:
        catalog: remembers.
        life: names this process; another name is injected by tests.
    """

    def __init__(self, catalog: Catalog, life: str = "") -> None:
        self._catalog, self._table, self._life = catalog, catalog.deaths, life or _this_life()
        self._moves: dict[str, Deaths] = {}
        self._lock = threading.Lock()
        self._over = False

    def look(self, artifact_id: str) -> Deaths:
        """What is known of a version that is about to move; a death since the last look is counted.

        Raises:
            DeadlyError: when the process died with it too often.
        """
        found = self._table.get(artifact_id)
        if found is None or found.life in {"", self._life}:
            return found or Deaths(artifact_id=artifact_id)
        record = self._catalog.get(artifact_id)
        counted = count(found, record.state if record else State.WAITING)
        self._table.put(counted)
        log.get().warning(
            log.Life.PROCESS_DIED,
            artifact=str(record.ref) if record else artifact_id,
            at=str(_stage(counted.stage)),
            times=counted.times,
            alone=found.alone,
            cause=_cause(found) or "unknown",
        )
        if found.alone and (
            counted.times_explained >= EXPLAINED or counted.times_alone >= UNEXPLAINED
        ):
            raise DeadlyError(_story(counted, _cause(found)), stage=_stage(counted.stage))
        return counted

    def begin(self, known: Deaths) -> None:
        """A version moves from now on; its turn has come."""
        machine, oom_kills = _kernel()
        with self._lock:
            life = "" if self._over else self._life
            begun = replace(
                known,
                life=life,
                alone=known.suspect,
                machine=machine,
                oom_kills=oom_kills,
                crashed=False,
            )
            self._table.put(begun)
            self._moves[known.artifact_id] = begun

    def progressed(self, artifact_id: str) -> None:
        """Something of a version was done that no later process has to do again."""
        known = self._moves.get(artifact_id)
        if known is not None and known.times:
            # Nobody's failure: what cannot be written now is written with the next bytes.
            with suppress(SyncdError):
                self._table.forgive(artifact_id)
                self._moves[artifact_id] = replace(known, **NONE)

    def end(self, artifact_id: str) -> None:
        """A version ended, however it did."""
        if self._moves.pop(artifact_id, None) is not None:
            with suppress(SyncdError):  # a death too many, at most
                self._table.forget(artifact_id)

    def let_go(self) -> None:
        """This process is about to end on purpose: whatever it still moves was not its death."""
        with self._lock:
            self._over = True
            with suppress(SyncdError):
                self._table.let_go(self._life)


def count(found: Deaths, state: State) -> Deaths:
    """What is known of a version after the process that moved it died.

    Args:
        found: what that process wrote.
        state: where the version stands.
    """
    stage = str(state)
    before = found if found.stage == stage else Deaths(artifact_id=found.artifact_id)
    explained = bool(_cause(found))
    times = before.times + 1
    return replace(
        found,
        life="",
        crashed=False,
        stage=stage,
        times=times,
        times_alone=before.times_alone + found.alone,
        times_explained=before.times_explained + (found.alone and explained),
        suspect=before.suspect or explained or times >= TOGETHER,
    )


@functools.cache
def _this_life() -> str:
    """Names this process, from the first time it is asked: one that forks before bears others."""
    return uuid.uuid4().hex


@contextmanager
def witnessed(folder: Path, catalog: Catalog) -> Iterator[None]:
    """Leave word of a fatal signal within the block, and tell the catalog of the last process's.

    Args:
        folder: the state directory, whose lock the caller holds.
        catalog: told of a process that crashed.

    Raises:
        DiskFullError: when there is no room for it.
    """
    trace = folder / TRACE
    with disk(f"cannot use {folder}"):
        _tell(trace, catalog)
        file = trace.open("w")
    with file:
        file.write(f"{_this_life()}\n")
        file.flush()
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            if sys.__stderr__ is not None:
                with suppress(OSError, ValueError):  # it may be closed
                    faulthandler.enable(sys.__stderr__)


def _tell(trace: Path, catalog: Catalog) -> None:
    try:
        life, _, told = trace.read_text(errors="replace").partition("\n")
    except FileNotFoundError:
        return
    if told.strip():
        catalog.deaths.crashed(life)
        trace.replace(trace.with_name(KEPT))


def _cause(found: Deaths) -> str:
    """What is known of why a process died, in words; empty for nothing."""
    if found.crashed:
        return f"a crash in native code, of which {KEPT} in the state directory tells"
    machine, oom_kills = _kernel()
    if machine and machine == found.machine and oom_kills > found.oom_kills:
        return "the kernel killed for want of memory meanwhile"
    return ""


def _kernel() -> tuple[str, int]:
    """The name of this kernel's start, and how many processes it has killed for want of memory."""
    try:
        events = dict(line.split() for line in _EVENTS.read_text().splitlines())
        return _BOOT.read_text().strip(), int(events["oom_kill"])
    except (OSError, ValueError, KeyError):
        return "", 0


def _stage(state: str) -> log.Stage:
    """The stage that a version is in which stands so."""
    if state == State.REPLACED:  # what follows is told with it
        return log.Stage.REPLACE
    return next((stage for stage in log.Stage if str(stage) == state), log.Stage.PLAN)


def _story(counted: Deaths, cause: str) -> str:
    why = cause or "nothing tells why: out of memory, a crash, or somebody who killed it"
    return (
        f"the process ended {counted.times} times while it was moving this version, without any progress "
        f"between, {counted.times_alone} times with nothing else moving beside it; the last time: {why}"
    )
