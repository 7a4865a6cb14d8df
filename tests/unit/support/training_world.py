"""A script's surroundings on the doubles: a run of the project in memory, and Oxen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moved_project import PROJECT, MovedProject

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.clients.commits import Author, TreeEntry
from syncd.config import Config
from syncd.manifest import manifest_digest
from syncd.refs import CommitRef, RepoRef, RunRef
from syncd.runtime import Runtime
from syncd.stages.discover import Discovered, discover
from syncd.testing import MemoryArtifactSource, MemoryVersionStore
from syncd.testing.project import TEAM
from syncd.training.publishing import Order, Publication, place_order
from syncd.training.tracking import Draft
from syncd.training.writer import Here, Writer

BASE = "https://data.example"


class MemoryTracker:
    """A `Tracker` of a run in memory.

    Args:
        source: W&B.
        run_id: the run's id; it is made.
        before: called before each version is logged.
    """

    def __init__(
        self,
        source: MemoryArtifactSource,
        run_id: str = "train",
        *,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._before = before
        self.ref: RunRef = source.add_run(run_id, state="running")
        self.name, self.url, self.server, self.author = (
            "brave run",
            "https://w/1",
            "https://w",
            "ann",
        )
        self.said: list[str] = []

    @property
    def config(self) -> Mapping[str, Any]:
        """See `Tracker.config`."""
        return self._source.run(self.ref).config

    def configure(self, values: Mapping[str, Any]) -> None:
        """See `Tracker.configure`."""
        self._source.update_config(self.ref, values, ())

    def use(self, version: Version) -> None:
        """See `Tracker.use`."""
        self._source.record_use(self.ref, version)

    def log(self, draft: Draft) -> str:
        """See `Tracker.log`."""
        self._before()
        names = replace(self._source._next_ref(TEAM, self.ref.project, draft.collection), alias="")
        digest = manifest_digest(draft.manifest.entries.values())
        held = self._source._held(names, digest)  # W&B makes no second version of the same content
        if held is None:
            held = self._source.log(
                draft.collection,
                {},
                run=self.ref,
                kind=draft.type,
                references=draft.manifest.entries.values(),
                metadata=draft.metadata,
                description=draft.description,
                aliases=("latest", *draft.aliases),
                tags=draft.tags,
            )
        return held.id

    def say(self, text: str) -> None:
        """See `Tracker.say`."""
        self.said.append(text)


class TrainingWorld(MovedProject):
    """Both ends, syncd, and scripts between them.

    Args:
        folder: of the state and of what scripts write.
        store: Oxen, where a test wants one with faults.
        sections: of the configuration.
    """

    def __init__(
        self, folder: Path, *, store: MemoryVersionStore | None = None, **sections: Any
    ) -> None:
        super().__init__(Catalog(f"sqlite:///{folder}/syncd.db"))
        self.store = store or self.store
        self.folder = folder
        self.etags = True
        self._sections = {
            "select": {"min_file_size": 4},
            "engine": {"state_dir": str(folder)},
            "references": {"base_url": BASE},
            **sections,
        }

    @property
    def runtime(self) -> Runtime:
        """The parts."""
        return replace(super().runtime, config=Config.model_validate(self._sections))

    def moved(self, name: str, files: Mapping[str, bytes], kind: str = "dataset") -> Version:
        """What stands in the place of a version that was logged and moved."""
        return self.move(self.source.log(name, files, kind=kind))

    def seen(self) -> list[Discovered]:
        """What `syncd backfill` finds in the project."""
        return list(discover(self.source, [PROJECT], self.runtime.config.select))

    def tracker(self, run_id: str = "train") -> MemoryTracker:
        """A run that goes on."""
        return MemoryTracker(self.source, run_id)

    def written(self, files: Mapping[str, bytes], name: str = "out") -> dict[str, Path]:
        """Files of the disk, as an order names them."""
        found = {}
        for path, data in files.items():
            place = self.folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            found[path] = place
        return found

    def publish(
        self,
        tracker: MemoryTracker,
        files: Mapping[str, bytes],
        *,
        writer: Writer | None = None,
        **order: Any,
    ) -> Publication:
        """Publish files of these contents."""
        return place_order(
            Order(files=self.written(files), **{"collection": "clip", **order}),
            tracker,
            self.source,
            writer or Here(store=self.store),
            self.runtime.config,
            etagged=lambda _url: self.etags,
        )

    def committed(
        self,
        files: Mapping[str, bytes],
        *,
        repo: str = "data",
        branch: str = "main",
        message: str = "by hand",
    ) -> CommitRef:
        """A commit that somebody made without syncd."""
        place = RepoRef(namespace="team", repo=repo)
        tree = []
        for path, data in sorted(files.items()):
            stored = self.store.put(place, [data])
            tree.append(TreeEntry(path=path, hash=stored.hash, size=stored.size))
        author = Author(name="eve", email="eve@example.com")
        return self.store.commit(place, branch=branch, tree=tree, message=message, author=author)
