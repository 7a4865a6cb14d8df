"""Hints that wait for the mover: merged by collection, and forgotten when they have been acted on.

They stay in the catalog until then, so that a process that is killed loses none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

from syncd.catalog.pulse import Hint, Pulse
from syncd.errors import TransientError
from syncd.refs import CollectionName, Target


class Hints:
    """What W&B has said; safe from any thread.

    Args:
        tell: called with a project of which something is to be looked at.
    """

    def __init__(self, tell: Callable[[Target], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting: dict[Target, dict[str, Hint]] = {}  # by project, and collection or ""
        self._later: dict[
            CollectionName, Hint
        ] = {}  # of collections that have versions on their way
        self._known: dict[int, float] = {}  # those that were not acted on, when each was said

    @property
    def later(self) -> bool:
        """Whether any was set aside."""
        return bool(self._later)

    def add(self, hints: Iterable[Hint]) -> None:
        """Take what is new of this.

        Args:
            hints: what waits in the catalog; what is known already is passed over.
        """
        for hint in hints:
            with self._lock:
                if self._known.get(hint.id) == hint.at:
                    continue
                self._known[hint.id] = hint.at
            self._put(hint)

    def take(self, project: Target) -> dict[str, Hint]:
        """What waits of a project, by collection; the empty name stands for all of it."""
        with self._lock:
            return self._waiting.pop(project, {})

    def put_off(self, project: Target, hints: Mapping[str, Hint]) -> None:
        """Keep what could not be acted on, unless the same was said again meanwhile."""
        with self._lock:
            self._waiting[project] = {**hints, **self._waiting.get(project, {})}

    def again(self, wanted: Callable[[Target], bool] = lambda _project: True) -> None:
        """Tell of the projects of which something was put off."""
        with self._lock:
            projects = [project for project, hints in self._waiting.items() if hints]
        for project in filter(wanted, projects):
            self._tell(project)

    def set_aside(self, place: CollectionName, hint: Hint) -> None:
        """Keep one until its collection has no versions on their way."""
        with self._lock:
            self._later[place] = hint

    def ready(self, moving: Collection[CollectionName]) -> None:
        """Let those go on that were set aside for collections which are not among these any more."""
        with self._lock:
            places = [place for place in self._later if place not in moving]
            hints = [self._later.pop(place) for place in places]
        for hint in hints:
            self._put(hint)

    def acted(self, hints: Iterable[Hint], pulse: Pulse) -> None:
        """Forget these; one that was said again meanwhile stays.

        Args:
            hints: what was acted on.
            pulse: where they are taken out; where that fails they are told again, which does no harm.
        """
        done = list(hints)
        with suppress(TransientError):
            pulse.taken(done)
        with self._lock:
            for hint in done:
                if self._known.get(hint.id) == hint.at:
                    del self._known[hint.id]

    def _put(self, hint: Hint) -> None:
        entity, _, name = hint.project.partition("/")
        project = Target(entity=entity, project=name)
        with self._lock:
            waiting = self._waiting.setdefault(project, {})
            is_first = not waiting
            key = hint.collection or ""
            if key not in waiting or waiting[key].at <= hint.at:
                waiting[key] = hint
        if is_first:
            self._tell(project)
