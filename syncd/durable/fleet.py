"""Many processes that share one PostgreSQL: who is there, who is not, and what becomes of their work.

Each process has an executor id that stays when it starts again: its machine's name and its state
directory. It holds a lock of that name over one connection, which is gone when the process, its
machine or the network between is. So a lock that can be had tells of work that nobody is at: whoever
looks takes the lock, gives the work back to the queue, and lets go. A process that finds its own
connection gone stops at once, before the server gives up waiting for it, because another one may take
its work over from then on.

Oxen allows one writer per repository. The queue starts one workflow at a time in each; a lock by the
repository's name, taken before the first byte is written, holds where the queue cannot know better:
two programs of different versions see different heads of its line, and a process that comes back
from a pause does not know that it was given up.

Programs of one path (`engine.PATH_VERSION`) run each other's workflows, whatever their version. A
workflow of another path is run by whoever speaks that path; when nobody is left who does, it is
cancelled, and the next look makes a new one. Every stage finds its earlier effect, so that costs
requests and no bytes.

A folder of repositories has one owner: with one nobody joins, or joins alone. SQLite is for one
process anyway, which the state directory's lock keeps alone.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from syncd import log
from syncd.catalog.database import room
from syncd.catalog.presence import LOOK, Presence
from syncd.config import Config
from syncd.durable import handover, steps
from syncd.durable.engine import PATH_VERSION
from syncd.durable.locks import Locks
from syncd.errors import ConfigurationError, ServiceUnavailableError, StoreLockedError

LOCAL = "local"  # the executor of a process that is alone
JOIN_PATIENCE = 5.0  # seconds; whoever looks for orphans holds a lock for a moment
AGAIN = 0.1  # seconds between two tries to join
RECOVER = 5.0  # seconds between two looks after members that are gone
UNAVAILABLE = 5  # exit code of a process that lost its place
Lost = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """This process, as the others see it.

    Args:
        executor_id: the name under which DBOS keeps its work.
        locks: by name, among all members.
        presence: what its locks hang on; None on a machine that is alone.
        strays: work that it has begun and lost.
    """

    executor_id: str
    locks: Locks
    presence: Presence | None = None
    strays: handover.Strays = field(default_factory=handover.Strays)


def shared(config: Config) -> bool:
    """Whether several processes may share the work: whether the database is PostgreSQL."""
    return not str(config.engine.database).startswith("sqlite:")


def check_shared(config: Config) -> None:
    """Make sure that a second process has something to do here.

    Raises:
        ConfigurationError: when the work is one process's alone.
    """
    problems = []
    if not shared(config):
        problems.append(
            "engine.database: is a file, which one process at a time works on; several need a "
            "PostgreSQL, postgresql://host/database"
        )
    if folder := config.oxen.directory:
        problems.append(
            f"oxen.url: is the folder {folder}, which one process at a time may have; several need "
            "an Oxen server"
        )
    if problems:
        raise ConfigurationError(problems)


def default_executor_id(config: Config) -> str:
    """This process's name in the fleet; the same when it starts again."""
    return f"{socket.gethostname()}:{config.engine.state_dir}" if shared(config) else LOCAL


def end_process(cause: str) -> None:
    """Stop at once, in the middle of whatever runs: another machine may be at it from now on."""
    log.get().error(log.Life.WORKER_LOST, error=cause)
    sys.stderr.flush()
    os._exit(UNAVAILABLE)


@contextmanager
def joined(config: Config, executor_id: str = "", *, lost: Lost = end_process) -> Iterator[Member]:
    """Be a member of the fleet for the block; on SQLite, alone, at no cost.

    The engine is launched within the block, under `Member.executor_id`, and is stopped in it.

    Args:
        config: the configuration.
        executor_id: this process's name; by default the one of its machine and state directory.
        lost: called with the cause, in another thread, when others may take this one's work.

    Raises:
        StoreLockedError: when a process of this name is there, or the Oxen store is a folder and
            anybody is there.
        ServiceUnavailableError: when PostgreSQL does not answer.
    """
    name = executor_id or default_executor_id(config)
    if not shared(config):
        yield Member(executor_id=name, locks=Locks())
        return
    presence = Presence(str(config.engine.database))
    over = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(presence, over, lost), name="presence", daemon=True
    )
    try:
        _enter(presence, config, name)
        watch.start()
        yield Member(executor_id=name, locks=Locks(presence), presence=presence)
    finally:
        over.set()
        presence.wake()
        if watch.ident is not None:
            watch.join()
        presence.close()


def recover(member: Member) -> list[str]:
    """Give the work of members that are gone back to the queue; the names of those it belonged to.

    Likewise what this process has begun and no thread of it is at, and what was left behind on a
    path that nobody speaks. To be called every `RECOVER` seconds, by anybody, after the engine was
    launched. Twice is once.

    Args:
        member: this process.

    Raises:
        ServiceUnavailableError: when PostgreSQL does not answer.
        DiskFullError: when there is no room under SQLite's file.
    """
    for lost in member.strays.give_back(member.executor_id, steps.here().at_work):
        log.get().warning(log.Life.WORKFLOW_LOST, workflow=lost)
    if member.presence is None:
        with room("the engine's database"):
            for path in sorted(handover.other_paths()):
                handover.abandon(path)  # a file has one process: nobody else speaks any
        return []
    gone: list[str] = []
    for name in sorted(handover.pending_executors() - {member.executor_id}):
        with _vacant(member.presence, _executor(name)) as vacant:
            if vacant:
                handover.recover(name)
                gone.append(name)
    for path in sorted(handover.other_paths()):
        with _vacant(member.presence, _path(path)) as vacant:
            if vacant:
                handover.abandon(path)
    for name in gone:
        log.get().warning(log.Life.WORKER_LOST, executor=name)
    return gone


def _enter(presence: Presence, config: Config, name: str) -> None:
    """Take the locks by which the others know this process.

    Raises:
        StoreLockedError: when one of them is not to be had.
    """
    folder = config.oxen.directory
    if not _taken(presence, "store", shared=folder is None):
        problem = (
            f"[oxen] url is the folder {folder}, which one process at a time may have, and others are "
            "at work on this database"
            if folder
            else "another process works on this database with a folder as its [oxen] url"
        )
        raise StoreLockedError(
            problem, hint="Name an Oxen server in [oxen] url on all machines, or stop the others."
        )
    if not _taken(presence, _path(PATH_VERSION), shared=True):
        raise StoreLockedError("another process does not let go of the work of earlier versions")
    if not _taken(presence, _executor(name), shared=False):
        raise StoreLockedError(
            f"another syncd called {name} is at work on this database",
            hint="Stop it, or give each process a state directory, and each machine a host name, of "
            "its own.",
        )


def _taken(presence: Presence, name: str, *, shared: bool) -> bool:
    end = time.monotonic() + JOIN_PATIENCE
    while not presence.take(name, shared=shared):
        if time.monotonic() > end:
            return False
        time.sleep(AGAIN)
    return True


@contextmanager
def _vacant(presence: Presence, name: str) -> Iterator[bool]:
    """Whether nobody holds a lock; within the block nobody gets it, either."""
    taken = presence.take(name)
    try:
        yield taken
    finally:
        if taken:
            presence.drop(name)


def _watch(presence: Presence, over: threading.Event, lost: Lost) -> None:
    while not over.is_set():
        try:
            presence.confirm()
            presence.wait(LOOK)
        except (ServiceUnavailableError, OSError) as error:
            if not over.is_set():
                lost(str(error))
            return


def _executor(name: str) -> str:
    return f"executor {name}"


def _path(version: str) -> str:
    return f"path {version}"
