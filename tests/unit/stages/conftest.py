"""What the stages work with: a configuration in which four bytes are large, and an empty catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace as changed
from pathlib import Path

import pytest

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.config import Config
from syncd.refs import CommitRef
from syncd.stages.commit import commit
from syncd.stages.plan import plan
from syncd.stages.replace import complete, conclude, replace
from syncd.stages.transfer import transfer
from syncd.stages.verify import verify
from syncd.testing import MemoryArtifactSource, MemoryVersionStore
from syncd.versions.plans import TransferPlan

PlanOf = Callable[[MemoryArtifactSource, Version], TransferPlan]
Committed = Callable[[MemoryArtifactSource, MemoryVersionStore, TransferPlan], CommitRef]
BASE = "https://data.example"


@pytest.fixture
def config() -> Config:
    """Files of four bytes and more move, one repository per collection."""
    return Config.model_validate(
        {"select": {"min_file_size": 4}, "references": {"base_url": "https://data.example"}}
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog that knows nothing."""
    made = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    yield made
    made.close()


@pytest.fixture
def plan_of(config: Config) -> Callable[[MemoryArtifactSource, Version], TransferPlan]:
    """Plans a version as it is now."""

    def make(source: MemoryArtifactSource, version: Version) -> TransferPlan:
        now = source.version(version.id)
        return plan(now, source.manifest(now), config)

    return make


@pytest.fixture
def committed(
    catalog: Catalog,
) -> Callable[[MemoryArtifactSource, MemoryVersionStore, TransferPlan], CommitRef]:
    """Transfers and commits what is planned."""

    def make(
        source: MemoryArtifactSource, store: MemoryVersionStore, planned: TransferPlan
    ) -> CommitRef:
        moved = transfer(source, store, catalog, planned, concurrency=1)
        assert moved.failed == ()
        run = planned.version.run
        return commit(store, planned, catalog.known, run=source.run(run) if run else None)

    return make


@pytest.fixture
def move(catalog: Catalog, plan_of: PlanOf, committed: Committed) -> Callable[..., Version]:
    """Takes a version along the whole path."""
    store = MemoryVersionStore()

    def make(
        source: MemoryArtifactSource,
        version: Version,
        *,
        existing: Version | None = None,
        before: Callable[[], None] = lambda: None,
        etags: bool = True,
    ) -> Version:
        planned = plan_of(source, version)
        assert transfer(source, store, catalog, planned, concurrency=1).failed == ()
        made = committed(source, store, planned)
        report = verify(store, catalog, made)
        assert report.problems == ()
        before()
        replacement = replace(
            source,
            planned,
            made,
            changed(report.receipt, verified_at="2026-01-02"),
            contents=catalog.known,
            base_url=BASE,
            etagged=lambda _url: etags,
            now=source.now,
            existing=existing,
        )
        conclude(source, planned, replacement.id)
        complete(source, replacement.id)
        return source.version(replacement.id)

    return make
