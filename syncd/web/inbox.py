"""What webhooks said, between the request that is answered at once and the catalog.

A request puts a notice into a bounded dict and is done; a thread of its own writes what is new into
the catalog as hints (`catalog.pulse`), from where the mover takes it. What does not fit is told of
its project as a whole, and in the end forgotten: the mover polls anyway.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from syncd import log
from syncd.catalog.catalog import Catalog
from syncd.operations.webhooks import FACE

NOTICES = 1_000  # that wait to be written; beyond, they are told by project
REMEMBERED = 4_096  # collections whose last body would be known again
WINDOW = 600.0  # seconds in which it would
BEAT = 5.0  # seconds between two signs of life
AGAIN = 1.0  # seconds after which a write that failed is tried again
HEARD = 16  # the last tests that are told of
Key = tuple[str, str, str]  # project, collection, artifact id; the last two empty for all


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """That something is new.

    Args:
        project: `entity/project`.
        collection: its name; empty when all of the project is meant.
        artifact_id: GraphQL id of the version; empty when it is not told.
        test: what `syncd webhook test` will ask for; empty for W&B's own.
    """

    project: str
    collection: str = ""
    artifact_id: str = ""
    test: str = ""


class Seen:
    """The last body of each collection: W&B tries again, and others may send what they have overheard.

    Only the last one is a repetition: an alias that goes to another version and comes back within
    minutes is told in the same words as the first time.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: OrderedDict[tuple[str, str], tuple[bytes, float]] = OrderedDict()

    def before(self, place: tuple[str, str], body: bytes) -> bool:
        """Whether this body was the last of its place, within the window; it is from now on.

        Args:
            place: `entity/project` and the collection's name, which may be empty.
            body: as it came.
        """
        key, moment = hashlib.sha256(body).digest(), self._clock()
        said, at = self._last.get(place, (b"", 0.0))
        if said == key and moment - at < WINDOW:
            return True
        self._last[place] = key, moment
        self._last.move_to_end(place)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
        return False


class Inbox:
    """Notices on their way into the catalog; safe from any thread.

    Args:
        catalog: where hints and signs of life go.
        clock: Unix seconds.
    """

    def __init__(self, catalog: Catalog, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._clock = clock
        self._waiting: dict[Key, float] = {}
        self._tests: list[str] = []
        self._heard: deque[str] = deque(maxlen=HEARD)
        self._news = threading.Condition()
        self._ending = False
        self._problem = ""
        self.outcomes: Counter[str] = Counter()  # of requests, by what became of them

    @property
    def problem(self) -> str:
        """Why the catalog cannot be written to; empty when it can."""
        return self._problem

    def put(self, notice: Notice) -> bool:
        """Take a notice; False when there is no room for it."""
        key = (notice.project, notice.collection, notice.artifact_id)
        with self._news:
            if len(self._waiting) >= NOTICES and key not in self._waiting:
                key = (notice.project, "", "")
                if len(self._waiting) >= 2 * NOTICES and key not in self._waiting:
                    return False
            self._waiting[key] = self._clock()
            if notice.test and len(self._tests) < HEARD:
                self._tests.append(notice.test)
            self._news.notify()
        return True

    def count(self, outcome: str) -> None:
        """Count a request by what became of it."""
        with self._news:
            self.outcomes[outcome] += 1

    # --- the thread

    def run(self) -> None:
        """Write what comes, and a sign of life every few seconds, until `end` is called."""
        beaten = float("-inf")
        while True:
            with self._news:
                if not (self._waiting or self._tests or self._ending):
                    self._news.wait(max(0.0, beaten + BEAT - time.monotonic()))
                if self._ending and not self._waiting:
                    return
                notices, self._waiting = self._waiting, {}
                tests, self._tests = self._tests, []
            due = bool(tests) or time.monotonic() - beaten >= BEAT
            try:
                self._write(notices)
                self._heard.extend(tests)
                if due:
                    self._catalog.pulse.beat(FACE, self.detail(), at=self._clock())
            except Exception as error:  # noqa: BLE001 whatever a database may raise; /readyz tells it
                self._failed(notices, tests, error)
                if self._ending:
                    return
                continue
            self._problem = ""
            if due:
                beaten = time.monotonic()

    def end(self) -> None:
        """Let the thread write what waits and end."""
        with self._news:
            self._ending = True
            self._news.notify()

    def detail(self) -> Mapping[str, Any]:
        """What the sign of life says."""
        with self._news:
            return {"webhooks": dict(self.outcomes), "tests": list(self._heard)}

    def _write(self, notices: Mapping[Key, float]) -> None:
        ours = self._catalog.panels.replacements({key[2] for key in notices if key[2]})
        wanted: dict[tuple[str, str | None], float] = {}
        for (project, collection, artifact_id), at in notices.items():
            if artifact_id in ours:
                self.count("own")  # our own replacement: nothing is new
            else:
                place = project, collection or None
                wanted[place] = max(at, wanted.get(place, at))
        for place, at in wanted.items():
            self._catalog.pulse.hint(*place, at=at)
            log.get().info(log.Life.WEBHOOK_ACCEPTED, project=place[0], collection=place[1])

    def _failed(self, notices: Mapping[Key, float], tests: list[str], error: Exception) -> None:
        """Keep what could not be written, tell why, and wait a moment."""
        if not self._problem:
            log.get().error(log.Life.CATALOG_FAILED, error=str(error))
        self._problem = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        with self._news:
            self._waiting = {**notices, **self._waiting}
            self._tests = [*tests, *self._tests]
            if not self._ending:
                self._news.wait_for(lambda: self._ending, AGAIN)
