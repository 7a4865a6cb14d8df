"""A project with both ends as doubles and the engine on a database of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.clients.wandb import WandbSource
from syncd.config import Config
from syncd.manifest import Entry
from syncd.operations.backfill import Follower, Report, Scope, backfill
from syncd.refs import CommitRef, RunRef, Target
from syncd.replacements import Published
from syncd.runtime import Runtime
from syncd.stages.plan import plan
from syncd.testing import MemoryArtifactSource, MemoryVersionStore
from syncd.versions.plans import LINEAGE_PATH

PROJECT = Target.parse("team/proj")


class Recorder(Follower):
    """Remembers what a follower is told."""

    def __init__(self) -> None:
        self.announced: tuple[int, int] | None = None
        self.ends: list[str] = []

    def found(self, versions: int, size: int) -> None:
        """How much there is to do."""
        self.announced = (versions, size)

    def ended(self, outcome: dict[str, Any]) -> None:
        """A version's end."""
        self.ends.append(outcome["version"].rpartition("/")[2])


class World:
    """Both ends and the state between them.

    Args:
        folder: of the state.
        source: W&B, an empty one by default.
        store: Oxen, likewise.
        sections: of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        source: MemoryArtifactSource | None = None,
        store: MemoryVersionStore | None = None,
        **sections: Any,
    ) -> None:
        self.source = source or MemoryArtifactSource()
        self.store = store or MemoryVersionStore()
        self.catalog = Catalog(f"sqlite:///{folder}/syncd.db")
        self.told = Recorder()
        self.runtime = Runtime(
            config=Config.model_validate(
                {
                    "select": {"min_file_size": 4},
                    "engine": {"state_dir": str(folder)},
                    **sections,
                }
            ),
            source=cast("WandbSource", self.source),
            store=self.store,
            catalog=self.catalog,
            etagged=lambda _url: True,
        )

    def backfill(self, **scope: Any) -> Report:
        """Move the project."""
        return backfill(self.runtime, Scope(**{"targets": [PROJECT], **scope}), self.told)

    def published(self, run: RunRef, commit: CommitRef) -> Version:
        """A model that was born in Oxen: what a run logs then are references to a commit."""
        entry = Entry(path="w", digest="12ab34", size=7, ref=f"https://data.example/{commit}/w")
        made = self.source.log("model", {}, run=run, kind="model", references=[entry])
        link = Published(commit=commit, url="https://data.example/lineage", digest=made.digest)
        self.source.update_metadata(made, link.into({}))
        return self.source.version(made.id)

    def lineage(self, version: Version) -> dict[str, Any]:
        """The lineage file of a moved version."""
        planned = plan(version, self.source.manifest(version), self.runtime.config)
        head = self.store.resolve(planned.repo, f"wandb/v{version.index}")
        assert head is not None
        found: dict[str, Any] = json.loads(b"".join(self.store.read(head.ref, LINEAGE_PATH)))
        return found
