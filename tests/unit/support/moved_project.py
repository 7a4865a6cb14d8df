"""A project on the doubles, whose versions are moved as the path moves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from syncd.catalog.catalog import Catalog, State
from syncd.clients.artifacts import Version
from syncd.clients.wandb import WandbSource
from syncd.config import Config
from syncd.errors import NotFoundError
from syncd.operations import restoration, sweep
from syncd.refs import Target
from syncd.replacements import Replacement, replacement_of
from syncd.runtime import Runtime
from syncd.stages.commit import commit
from syncd.stages.plan import plan
from syncd.stages.replace import complete, replace
from syncd.stages.transfer import transfer
from syncd.stages.verify import verify
from syncd.testing import MemoryArtifactSource, MemoryVersionStore

PROJECT = Target.parse("team/proj")
FIRST = "2026-01-01T00:00:00+00:00"
NOW = datetime(2026, 3, 1, tzinfo=UTC)  # long after everything was logged


class MovedProject:
    """The two ends and syncd between them.

    Args:
        catalog: the local state.
        source: W&B, where a test wants one with faults.
    """

    def __init__(self, catalog: Catalog, source: MemoryArtifactSource | None = None) -> None:
        self.source, self.store = source or MemoryArtifactSource(), MemoryVersionStore()
        self.catalog = catalog
        self.terms: dict[str, Any] = {"policy": "delete", "grace": "14d", "pinned": "30d"}

    @property
    def runtime(self) -> Runtime:
        """The parts, configured as the terms are now."""
        return Runtime(
            config=Config.model_validate(
                {
                    "select": {"min_file_size": 4},
                    "wandb": {"projects": ["team/proj"]},
                    "references": {"base_url": "https://data.example"},
                    "reclaim": self.terms,
                }
            ),
            source=cast("WandbSource", self.source),
            store=self.store,
            catalog=self.catalog,
            etagged=lambda _url: True,
        )

    def move(self, old: Version, *, at: str = FIRST) -> Version:
        """Take a version along the whole path; its replacement, proved at a time."""
        planned = plan(self.source.version(old.id), self.source.manifest(old), self.runtime.config)
        assert not planned.skip
        assert transfer(self.source, self.store, self.catalog, planned, concurrency=1).failed == ()
        run = self.source.run(old.run) if old.run else None
        made = commit(self.store, planned, self.catalog.known, run=run)
        new = replace(
            self.source,
            planned,
            made,
            changed(verify(self.store, self.catalog, made).receipt, verified_at=at),
            contents=self.catalog.known,
            base_url=self.runtime.config.references.base_url,
            etagged=lambda _url: True,
            now=self.source.now,
        )
        complete(self.source, new.id)
        self.catalog.note(old, State.REPLACED, replacement_id=new.id, replacement=str(new.ref))
        return self.source.version(new.id)

    def log_and_move(
        self, name: str, files: Mapping[str, bytes], **fields: Any
    ) -> tuple[Version, Version]:
        """Log a version and move it; both as they are then."""
        old = self.source.log(name, files, **fields)
        new = self.move(old)
        return self.source.version(old.id), new

    def reclaim(self, *targets: Target, now: datetime = NOW) -> dict[str, Any]:
        """Plan and execute; the document."""
        planned = sweep.plan(self.runtime, targets or (PROJECT,), now)
        return sweep.execute(planned, self.runtime, lambda: now).document()

    def stays(self, *, now: datetime = NOW) -> dict[str, list[str]]:
        """Why each version stays, by its name, after nothing was removed."""
        document = self.reclaim(now=now)
        assert document["removals"] == []
        return {item["source"]: item["reasons"] for item in document["stays"]}

    def restore(
        self, text: str = "team/proj", *, now: datetime = NOW + timedelta(days=1)
    ) -> dict[str, Any]:
        """Restore a target; the document."""
        return restoration.restore_target(self.runtime, Target.parse(text), lambda: now).document()

    def link(self, version: Version) -> Replacement:
        """What a replacement says of itself now."""
        made = self.source.version(version.id)
        link = replacement_of(made.metadata, made.digest)
        assert link is not None
        return link

    def say(self, version: Version, **values: Any) -> None:
        """Change what a replacement says."""
        made = self.source.version(version.id)
        self.source.update_metadata(made, changed(self.link(version), **values).into(made.metadata))

    def there(self, version: Version) -> bool:
        """Whether W&B has a version."""
        try:
            self.source.version(version.id)
        except NotFoundError:
            return False
        return True

    def files(self, version: Version) -> dict[str, bytes]:
        """What a client that knows no Oxen reads of a version."""
        return {
            path: b"".join(self.source.read(version, entry))
            for path, entry in self.source.manifest(version).entries.items()
            if not entry.is_reference
        }
