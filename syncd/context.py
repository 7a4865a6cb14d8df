"""What the workflows of a process work with: the open clients, and plans they need more than once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from syncd import errors, log
from syncd.catalog.catalog import Catalog
from syncd.clients.protocols import ArtifactSource, StoredContent, VersionStore
from syncd.config import Config
from syncd.limiter import Limiter
from syncd.plans import Digest, TransferPlan
from syncd.stages import plan

PLANS_KEPT = 16
Outcome = dict[str, Any]


def _ignore(*_: object) -> None:
    pass


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
    """

    source: ArtifactSource
    store: VersionStore
    catalog: Catalog
    config: Config
    etagged: Callable[[str], bool]
    progress: Callable[[str, log.Stage, int], None] = _ignore
    finished: Callable[[Outcome], None] = _ignore
    plans: Callable[[str], TransferPlan] = field(init=False)
    limiter: Limiter = field(init=False)  # one for all transfers of the process

    def __post_init__(self) -> None:
        self.plans = lru_cache(PLANS_KEPT)(self._plan)
        limit = self.config.transfer.bandwidth_limit
        self.limiter = Limiter(
            self.config.transfer.concurrency, rate=limit.now if limit else lambda: None
        )

    def _plan(self, artifact_id: str) -> TransferPlan:
        version = self.source.version(artifact_id)
        return plan.plan(version, self.source.manifest(version), self.config)

    def contents(self, planned: TransferPlan) -> dict[Digest, StoredContent]:
        """What Oxen holds for each moved or kept entry of a plan.

        Raises:
            TransientError: when the catalog was lost since the transfer.
        """
        known = self.catalog.known(planned.digests)
        if planned.digests - known.keys():
            raise errors.TransientError(
                f"{planned.version.ref}: the state was lost between transfer and commit"
            )
        return known
