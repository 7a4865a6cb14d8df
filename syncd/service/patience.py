"""Patience: what is away is waited for, hours if need be, and stages go on when it is back.

A stage that fails because nobody answered asks for everything that may be away. If something is,
it waits with growing pauses until all answer, and does not count; if everything answers, the
failure was the version's own, and after a few of them it is quarantined like any other. A full disk
is always waited for. While anything is away no stage begins. Each absence is told once when it
begins and once when it ends.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from syncd import log
from syncd.config.units import format_size
from syncd.durable.context import Patience
from syncd.errors import (
    DiskFullError,
    ServiceUnavailableError,
    StateUnavailableError,
    SyncdError,
    TransientError,
)
from syncd.outages import OUTAGES
from syncd.refs import Target
from syncd.runtime import Runtime, check_store, probe_oxen

FIRST_WAIT = 1.0  # seconds before it is asked again, doubled each time
LONGEST_WAIT = 60.0  # seconds
OWN_FAILURES = 3  # of a stage while everything answers, before the version is quarantined
ATTEMPTS = 2  # of a probe: one request may always go wrong
FRESH = 1.0  # seconds that an answer counts for all threads
DISK = "the disk"
STORE = "the folder of repositories"
ALWAYS = frozenset({DISK, STORE})  # ask no service, and what they ask tells before every stage
Probe = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Something is away.

    Args:
        why: in words.
        service: the server, as `syncd.outages` names it; empty where it is none.
        since: Unix seconds.
        began: the same moment on a clock that is never set.
    """

    why: str
    service: str = ""
    since: float
    began: float


class Waiting(Patience):
    """The patience of a process that lasts; safe from any thread.

    Args:
        probes: by the name of what may be away, something that raises `TransientError` while it is.
        always: those that cost so little that every stage asks them before it begins.
        clock: seconds, never set back; injected by tests.
        first_wait: seconds; injected by tests.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe],
        *,
        always: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        self._probes, self._always = dict(probes), always & probes.keys()
        self._clock, self._first_wait = clock, first_wait
        self._away: dict[str, Absence] = {}
        self._asking = threading.Lock()
        self._asked = float("-inf")
        self._state = threading.Condition()
        self._busy = 0
        self._closed = False

    @property
    def away(self) -> Mapping[str, Absence]:
        """What is away now, by name."""
        return dict(self._away)

    @property
    def busy(self) -> int:
        """Stages that run."""
        return self._busy

    def describe(self) -> str | None:
        """What is waited for, in words; None when nothing is."""
        parts = [
            f"{name} is away since {_moment(found.since)}: {found.why}"
            for name, found in sorted(self.away.items())
        ]
        return "; ".join(parts) or None

    # --- as stages see it

    @contextmanager
    def working(self) -> Iterator[None]:
        """See `Patience.working`; after `close` nobody comes in any more."""
        while True:
            self.look()
            self.until_back()
            with self._state:
                while self._closed:
                    self._state.wait()
                if not self._away:
                    self._busy += 1
                    break
        try:
            yield
        finally:
            with self._state:
                self._busy -= 1
                self._state.notify_all()

    def again(self, error: TransientError, own: int) -> int | None:
        """See `Patience.again`."""
        self.ask()
        if self._away:
            self.until_back()
            return own
        # There is room, but not for this one; or the catalog can be read, and not written.
        if isinstance(error, (DiskFullError, StateUnavailableError)):
            log.get().warning(log.Life.CALL_RETRIED, error=str(error))
            self._pause(self._wait_after(own))
            return own + 1
        if own + 1 >= OWN_FAILURES:
            return None
        self._pause(self._wait_after(own))
        return own + 1

    # --- asking

    def ask(self) -> bool:
        """Ask everything that may be away; whether all of it is there."""
        with self._asking:
            if self._clock() - self._asked >= FRESH:
                for name, probe in self._probes.items():
                    self._note(name, _failure(probe))
                self._asked = self._clock()
        return not self._away

    def look(self) -> bool:
        """Ask what costs little; whether all of that is there."""
        with self._asking:
            for name in self._always:
                self._note(name, _failure(self._probes[name]))
            return not self._always & self._away.keys()

    def until_back(self) -> None:
        """Wait while anything is away."""
        wait = self._first_wait
        while self._away and not self._closed:
            self._pause(wait)
            wait = min(wait * 2, LONGEST_WAIT)
            self.ask()

    def close(self) -> None:
        """Let no stage begin any more; those that run may end."""
        with self._state:
            self._closed = True
            self._state.notify_all()

    def quiet(self, timeout: float) -> bool:
        """Wait at most so many seconds for stages that run; whether none does."""
        with self._state:
            return self._state.wait_for(lambda: not self._busy, timeout)

    def _wait_after(self, failures: int) -> float:
        return min(self._first_wait * 2.0 ** min(failures, 60), LONGEST_WAIT)

    def _pause(self, seconds: float) -> None:
        with self._state:
            self._state.wait_for(lambda: self._closed, seconds)

    def _note(self, name: str, error: TransientError | None) -> None:
        found = self._away.get(name)
        if error is not None and found is None:
            why, service = str(error), getattr(error, "service", "")
            absence = Absence(why=why, service=service, since=time.time(), began=self._clock())
            self._away = self._away | {name: absence}
            if service:
                OUTAGES.take_over(service)
            log.get().warning(log.Life.SERVICE_AWAY, service=name, error=why)
        elif found is not None and error is None:
            self._away = {other: item for other, item in self._away.items() if other != name}
            seconds = round(self._clock() - found.began, 1)
            untold = OUTAGES.over(found.service) if found.service else 0
            log.get().info(log.Life.SERVICE_BACK, service=name, seconds=seconds, untold=untold)


def probes(runtime: Runtime) -> dict[str, Probe]:
    """What may be away, and how it is asked.

    Args:
        runtime: open clients.
    """
    config = runtime.config
    entities = [Target.parse(str(target)).entity for target in config.wandb.projects]
    folders = [config.engine.state_dir, config.transfer.spool_dir]
    if config.oxen.directory is not None:
        folders.append(config.oxen.directory)
    found: dict[str, Probe] = {
        DISK: lambda: check_room(folders, config.engine.min_free),
        "the catalog": lambda: _ignore(runtime.catalog.pulse.hints()),
        "Oxen": lambda: probe_oxen(runtime.store, config),
    }
    if config.oxen.directory is not None:
        found[STORE] = lambda: check_store(runtime)
    if entities:
        found["W&B"] = lambda: runtime.source.probe(entities[0])
    return found


def _ignore(_answer: object) -> None:
    pass


def check_room(folders: Sequence[Path], least: int) -> None:
    """Make sure that the disks under these folders have room.

    Args:
        folders: those that are not there yet are looked at where they will be.
        least: bytes.

    Raises:
        DiskFullError: when one has not.
        ServiceUnavailableError: when one does not answer, as one on the network may.
    """
    for folder in folders:
        try:
            place = next(path for path in (folder, *folder.parents) if path.exists())
            free = shutil.disk_usage(place).free
        except OSError as error:
            raise ServiceUnavailableError(
                f"the disk under {folder} cannot be looked at: {error.strerror or error}",
                hint="Look whether it is mounted, and whether this user may enter the folder.",
            ) from error
        if free < least:
            raise DiskFullError(
                f"the disk under {folder} has {format_size(free)} left, less than "
                f"[engine] min_free = {format_size(least)}"
            )


def _failure(probe: Probe) -> TransientError | None:
    """Why something is away; None when it answers, however unkindly, the second time at least."""
    why: TransientError | None = None
    for _ in range(ATTEMPTS):
        try:
            probe()
        except TransientError as error:
            why = error
        except SyncdError:
            return None  # it is there; whoever needs it tells what it does not like
        else:
            return None
    return why


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
