"""What the workflows of a process work with: the open clients, and plans they need more than once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from syncd import errors, log
from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Run
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.durable.deaths import Watch
from syncd.durable.locks import Alone, Locks
from syncd.durable.turns import Turns
from syncd.limiter import Limiter
from syncd.refs import RunRef
from syncd.stages import plan
from syncd.versions.plans import TransferPlan

PLANS_KEPT = 16
ENTRIES_KEPT = 500_000  # of all plans but the latest
CROWD = 200  # versions around a run, above which its config is written once for all
Outcome = dict[str, Any]


def _ignore(*_: object) -> None:
    pass


class Patience:
    """What happens when a service is away or a disk full: here nothing, and the version fails."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """A stage runs within the block; whoever has patience lets it begin when it can."""
        yield

    def again(self, error: errors.TransientError, own: int) -> int | None:
        """Wait for what is away; None when there is no sense in another attempt.

        Args:
            error: why a stage failed.
            own: failures so far that were nobody's absence.

        Returns:
            `own`, one more when this failure was nobody's absence either.
        """
        del error, own
        return None


@dataclass(slots=True, kw_only=True)
class Context:
    """What the workflows of this process work with.

    Args:
        source: W&B.
        store: Oxen.
        catalog: the local state.
        config: the configuration.
        etagged: whether what is served under a URL comes with its hash as ETag.
        progress: told of a version's stage and payload bytes done with.
        finished: told of each outcome, also of workflows that an earlier process began.
        entered: told of a version's plan when a stage of it begins.
        patience: waits for what is away.
        locks: keep those apart, also on other machines, who would change the same thing.
    """

    source: ArtifactSource
    store: VersionStore
    catalog: Catalog
    config: Config
    etagged: Callable[[str], bool]
    progress: Callable[[str, log.Stage, int], None] = _ignore
    finished: Callable[[Outcome], None] = _ignore
    entered: Callable[[TransferPlan, log.Stage], None] = _ignore
    patience: Patience = field(default_factory=Patience)
    locks: Locks = field(default_factory=Locks)
    limiter: Limiter = field(init=False)  # one for all transfers of the process
    # Portfolios link versions of many collections: one version at a time moves its links.
    linking: Alone = field(init=False)
    deaths: Watch = field(init=False)
    turns: Turns = field(init=False, default_factory=Turns)
    # Runs around so many versions that to read one for each would be the square of them.
    crowded: set[RunRef] = field(init=False, default_factory=set)
    _plans: OrderedDict[str, TransferPlan] = field(init=False, default_factory=OrderedDict)
    _begun: dict[str, Config] = field(init=False, default_factory=dict)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.linking = self.locks.alone("links")
        self.deaths = Watch(self.catalog)
        self.limiter = Limiter(self.config.transfer.concurrency, rate=self._rate)

    def _rate(self) -> int | None:
        limit = self.config.transfer.bandwidth_limit
        return limit.now() if limit else None

    @contextmanager
    def deciding(self, artifact_id: str) -> Iterator[None]:
        """Keep the configuration for a version's whole path, also when another one comes meanwhile."""
        with self._lock:
            self._begun[artifact_id] = self.config
        try:
            yield
        finally:
            with self._lock:
                self._begun.pop(artifact_id, None)
                self._plans.pop(artifact_id, None)  # another configuration may decide next time

    def met(self, run: Run) -> None:
        """A run was read; its lineage is kept."""
        if len(run.inputs) + len(run.outputs) > CROWD:
            self.crowded.add(run.ref)
        self.catalog.descent.keep(run)

    def at_work(self, artifact_id: str) -> bool:
        """Whether a thread of this process is on a version's path."""
        with self._lock:
            return artifact_id in self._begun

    @property
    def busy(self) -> int:
        """Versions that a thread of this process is on the path of."""
        with self._lock:
            return len(self._begun)

    def config_of(self, artifact_id: str) -> Config:
        """The configuration that a version's path began under."""
        with self._lock:
            return self._begun.get(artifact_id, self.config)

    def plans(self, artifact_id: str) -> TransferPlan:
        """The plan of a version; made once, as long as it is among the latest ones."""
        with self._lock:
            found = self._plans.get(artifact_id)
            if found is not None:
                self._plans.move_to_end(artifact_id)
                return found
        version, manifest = self.source.with_manifest(artifact_id)
        made = plan.plan(version, manifest, self.config_of(artifact_id))
        with self._lock:
            self._plans[artifact_id] = made
            self._plans.move_to_end(artifact_id)
            entries = sum(len(kept.entries) for kept in self._plans.values())
            while len(self._plans) > 1 and (
                len(self._plans) > PLANS_KEPT or entries > ENTRIES_KEPT
            ):
                entries -= len(self._plans.popitem(last=False)[1].entries)
        return made
