"""The mover: looks for new versions when it is told to, and follows them to their end.

One thread does all of it, in the order in which it is told: polls, versions that ended, looks
after workflows that ended unheard. What a poll finds and is on its way already is passed over, so
that each version is moved once whatever comes twice. The poll is the truth; a hint only has one
collection looked at sooner, and all of it, because an alias may have moved between old versions. A
hint stays in the catalog until it has been acted on. Where versions of its collection are on their
way that is when they have ended: they take their aliases with them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from syncd import log
from syncd.catalog.pulse import Hint
from syncd.clients.artifacts import age
from syncd.durable.context import Outcome
from syncd.durable.handover import EndedUnheardError
from syncd.durable.lines import Lines
from syncd.durable.locks import Locks
from syncd.errors import NotFoundError, PermanentError, SyncdError, TransientError
from syncd.refs import CollectionName, Target
from syncd.runtime import Runtime
from syncd.service.hints import Hints
from syncd.service.patience import FIRST_WAIT, LONGEST_WAIT, Waiting
from syncd.service.polling import Polling, collections
from syncd.service.vitals import Vitals
from syncd.stages.discover import Discovered

LOOK_AGAIN = 30.0  # seconds between two looks after workflows that ended unheard
LOOK_AGAIN_SHARED = 1.0  # the same where other machines work, of which there is no news
LAG_SHARE = 50  # times as long as it took the oldest versions are not looked for again
AT_A_TIME = 50  # versions that are handed over to the engine before anything else is looked at
MANY = 50  # collections of a project that are hinted at; of more, W&B tells a hundred a request
FEW = 1000  # versions on their way that are searched whenever one has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class _Poll:
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    project: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    outcome: Outcome


_STOP, _SUSPECT = object(), object()


class Mover:
    """The thread that polls and queues.

    Args:
        runtime: open clients.
        vitals: told what goes on.
        patience: told when a service does not answer.
        died: told when the thread ends by a failure that nobody expected.
        locks: keep those apart who would change the same thing.
        shared: whether other machines may take what is queued here.
    """

    def __init__(
        self,
        runtime: Runtime,
        vitals: Vitals,
        patience: Waiting,
        died: Callable[[BaseException], None],
        *,
        locks: Locks,
        shared: bool = False,
    ) -> None:
        self._vitals, self._patience, self._died = vitals, patience, died
        self._lines = Lines(runtime)
        self._every = LOOK_AGAIN_SHARED if shared else LOOK_AGAIN
        self._told: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._waiting: set[Target] = set()  # polls that were asked for and have not begun
        self._hints = Hints(lambda project: self._told.put(_Look(project=project)))
        self._failing: dict[Target, str] = {}
        self._polling: Target | None = None
        self._stopped = False
        self._polls = Polling(self._lines, vitals, self._release, locks)
        self._oldest: dict[str, str] = {}  # by project, when the oldest that has not ended was made
        self._oldest_until = float("-inf")
        self._more = False  # whether there is more to hand over to the engine
        self._thread = threading.Thread(target=self._run, name="mover", daemon=True)

    # --- from any thread

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def poll(self, target: Target) -> None:
        """Look for new versions soon; asked twice before it began is once."""
        if target not in self._waiting:
            self._waiting.add(target)
            self._told.put(_Poll(target=target))

    def hinted(self, hints: Iterable[Hint]) -> None:
        """Look soon where W&B has said that something is new; many hints at one place are one look.

        Args:
            hints: what waits in the catalog; what is known already is passed over.
        """
        self._hints.add(hints)

    def ended(self, outcome: Outcome) -> None:
        """A version reached its end."""
        self._told.put(_Ended(outcome=outcome))

    def suspect(self) -> None:
        """Something failed that may be away: ask, in the thread that may wait for answers."""
        if not self._patience.away:
            self._told.put(_SUSPECT)

    def exchange(self, runtime: Runtime) -> None:
        """Work under another configuration from the next poll on."""
        self._lines.runtime = runtime
        self._vitals.watch(self._asked)

    def stop(self) -> None:
        """Begin nothing any more."""
        self._stopped = True
        self._told.put(_STOP)

    @property
    def phase(self) -> str:
        """What it does: waiting, polling or moving."""
        if self._polling is not None:
            return "polling"
        return "moving" if self._lines.running else "waiting"

    @property
    def queued(self) -> int:
        """Versions that are known and have not ended."""
        return len(self._lines.open)

    @property
    def busy(self) -> bool:
        """Whether anything should be going on."""
        return self._polling is not None or bool(self._lines.running)

    @property
    def failing(self) -> str | None:
        """Which polls fail, in words; None when none does."""
        found = sorted(self._failing.items(), key=str)
        return "; ".join(f"{target}: {why}" for target, why in found if self._asked(target)) or None

    def lag(self) -> dict[str, float]:
        """By project, the age of the oldest version that is known and has not ended, seconds."""
        began = time.monotonic()
        if began >= self._oldest_until:  # told every few seconds, also where millions are open
            oldest: dict[tuple[str, str], str] = {}
            for item in list(self._lines.open.values()):
                version = item.version
                name = (version.ref.entity, version.ref.project)
                oldest[name] = min(version.created_at, oldest.get(name, version.created_at))
            self._oldest = {"/".join(name): created_at for name, created_at in oldest.items()}
            self._oldest_until = began + LAG_SHARE * (time.monotonic() - began)
        now = time.time()
        found = dict.fromkeys(self._vitals.projects, 0.0)
        return found | {name: age(told, now) for name, told in self._oldest.items()}

    def _asked(self, target: Target) -> bool:
        """Whether the configuration names a target; it may have done so, and been changed."""
        projects = self._lines.runtime.config.wandb.projects
        return any(Target.parse(str(text)).covers(target) for text in projects)

    # --- in its thread

    def _run(self) -> None:
        look_at, asked, wait = time.monotonic() + self._every, time.monotonic(), FIRST_WAIT
        try:
            while not self._stopped:
                away = bool(self._patience.away)
                with suppress(queue.Empty):
                    patience = 0.0 if self._more else wait if away else self._every
                    self._take(self._told.get(timeout=patience))
                if self._more:  # a hundred thousand take an hour, and nobody is to wait so long
                    self._release()
                now = time.monotonic()
                if not self._patience.away:
                    wait = FIRST_WAIT
                elif now - asked >= wait:
                    asked, wait = now, min(wait * 2, LONGEST_WAIT)
                    self._patience.ask()
                if away and not self._patience.away:
                    self._go_on()
                if now >= look_at:
                    self._look_after()
                    cost = time.monotonic() - now  # grows with what is queued
                    look_at = time.monotonic() + max(self._every, 10 * cost)
        except BaseException as error:  # noqa: BLE001 the process must not go on without it
            self._died(error)

    def _go_on(self) -> None:
        """What was put off while something was away is done as soon as it is back."""
        self._release()
        self._failing = {
            target: why for target, why in self._failing.items() if self._asked(target)
        }
        for target in self._failing:
            if target.collection is None:
                self.poll(target)
        self._hints.again()

    def _release(self) -> None:
        self._hand_over(lambda: self._lines.release(AT_A_TIME))

    def _hand_over(self, work: Callable[[], bool | None]) -> None:
        """Put versions in the queue, unless that is for later; see `Lines`."""
        self._more = False
        if self._stopped or self._patience.away:
            return
        try:
            self._more = bool(work())
        except TransientError as error:
            log.get().warning(log.Life.CALL_RETRIED, error=str(error), hint=error.hint)
            self._patience.ask()

    def _take(self, told: object) -> None:
        match told:
            case _Poll(target=target) if self._patience.away:
                self._waiting.discard(target)
                self._failing = {
                    target: "nothing is asked while something is away",
                    **self._failing,
                }
            case _Poll(target=target) if not self._asked(target):
                self._waiting.discard(target)
            case _Poll(target=target):
                self._waiting.discard(target)
                with self._at(target):
                    self._poll(target)
            case _Look(project=project):
                with self._at(project):
                    self._look(project)
            case _Ended(outcome=outcome):
                self._vitals.ended(outcome)
                if self._end(outcome["artifact_id"]):
                    self._release()
            case _ if told is _SUSPECT:
                self._patience.ask()

    @contextmanager
    def _at(self, target: Target) -> Iterator[None]:
        self._polling = target
        try:
            yield
        finally:
            self._polling = None

    def _end(self, artifact_id: str) -> bool:
        """A version reached its end; whether it was on its way."""
        item = self._lines.open.get(artifact_id)
        if item is not None:  # what is to be done now the next poll says, of all in the collection
            self._polls.forget(item)
        was_open = self._lines.ended(artifact_id)
        if self._hints.later and len(self._lines.open) <= FEW:
            self._hints.ready(collections(self._lines))
        return was_open

    def _look_after(self) -> None:
        """Let go of what ended unheard, elsewhere or by a failure, and begin anew what was cancelled."""
        for artifact_id, end in self._lines.over().items():
            self._vitals.progressed()
            if end is None:
                self._hand_over(partial(self._lines.again, artifact_id))
                continue
            if isinstance(end, EndedUnheardError):  # the next poll finds the version not moved
                log.get().error(log.Life.WORKFLOW_FAILED, error=str(end), hint=end.hint)
            self._end(artifact_id)
        self._release()  # where an earlier attempt at that failed
        if self._hints.later:
            self._hints.ready(collections(self._lines))

    # hints

    def _look(self, project: Target) -> None:
        """Look at what was hinted at in a project."""
        hints, pulse = self._hints.take(project), self._lines.runtime.catalog.pulse
        if not self._asked(project) or not project.project:
            self._hints.acted(hints.values(), pulse)
            return
        if self._patience.away:
            self._hints.put_off(project, hints)
            return
        moving = collections(self._lines) if hints else set()
        for name in list(hints):
            place = (project.entity, project.project, name)
            if place in moving:  # what is new there has to wait for them anyway
                self._hints.set_aside(place, hints.pop(name))
        targets = [project] if hints else []
        if "" not in hints and len(hints) <= MANY:
            targets = [replace(project, collection=name) for name in hints]
        for target in targets:
            chosen = [target.collection] if target.collection else list(hints)
            names = [(project.entity, project.project, name) for name in chosen if name]
            if not self._poll(target, names):
                self._hints.put_off(project, hints)  # until it is back, or a poll went through
                return
            self._hints.acted([hints.pop(name) for name in chosen], pulse)

    # polls

    def _poll(self, target: Target, hinted: Collection[CollectionName] = ()) -> bool:
        """Look, queue, and see after runs; what goes wrong with one thing does not stop the others.

        Args:
            target: a project, all of an entity, or a collection, of which nothing else is looked at.
            hinted: collections that are read whatever W&B tells of them.

        Returns:
            Whether it need not be done again: nothing was away.
        """
        runtime, new = self._lines.runtime, list[Discovered]()
        problems: list[SyncdError] = []
        for work in self._polls.works(runtime, target, new, problems, hinted):
            problem = _attempt(work, target)
            if target.collection and isinstance(problem, NotFoundError):
                continue  # anybody may name what is not there
            if problem is not None:
                problems.append(problem)
            if isinstance(problem, TransientError):
                self._patience.ask()
                break
        if problems:
            for item in new:  # some of them may not have been queued
                self._polls.forget(item)
            self._fail(target, problems[0])
            return not any(isinstance(problem, TransientError) for problem in problems)
        # A hint asks for a single project of those that are polled together otherwise.
        # One of a collection makes nothing else good.
        covers = target.__eq__ if target.collection else target.covers
        for other in filter(covers, list(self._failing)):
            self._failing = {item: why for item, why in self._failing.items() if item != other}
            log.get().info(log.Life.POLL_RECOVERED, target=str(other))
        if target.collection is None:
            if self._asked(target):
                self._vitals.polled(target)
            self._hints.again(target.covers)
        return True

    def _fail(self, target: Target, error: SyncdError) -> None:
        """Tell of a poll that failed, once for each reason."""
        if self._failing.get(target) != str(error):
            log.get().warning(
                log.Life.POLL_FAILED, target=str(target), error=str(error), hint=error.hint
            )
        self._failing = self._failing | {target: str(error)}


def _attempt(work: Callable[[], None], target: Target) -> SyncdError | None:
    """Do a part of a poll; why it failed."""
    try:
        work()
    except SyncdError as error:
        return error
    except Exception as error:  # noqa: BLE001 a bug in one poll must not end the process
        log.get().debug(log.Life.POLL_FAILED, target=str(target), exc_info=error)
        hint = "This looks like a bug in syncd. Report it with the debug log."
        return PermanentError(f"{type(error).__name__}: {error}", hint=hint)
    return None
