"""A model in several versions on the doubles, and a desk to promote them at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moved_project import MovedProject

from syncd.clients.artifacts import Version
from syncd.errors import NotFoundError
from syncd.promotion import located
from syncd.promotion.journal import Journal, home
from syncd.promotion.promote import Desk, Promoted, promote, rollback
from syncd.refs import RepoRef, Target
from syncd.replacements import replacement_of
from syncd.versions.events import Event

MODEL = "team/proj/model"
SUBJECT = f"{MODEL}:production"
REPO = RepoRef(namespace="team", repo="proj-model")
REGISTRY = "org/wandb-registry-models/best"
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


class Models:
    """The versions of a model, and who promotes them.

    Args:
        moved: the project on the doubles.
    """

    def __init__(self, moved: MovedProject) -> None:
        self.moved, self.source, self.store = moved, moved.source, moved.store
        self.made: list[Version] = []
        self._ids = 0

    def make(self, count: int = 1, **fields: Any) -> list[Version]:
        """Log and move further versions; their replacements."""
        for _ in range(count):
            files = {"weights.bin": f"weights {len(self.made)}".encode()}
            self.made.append(
                self.moved.log_and_move("model", files, **{"kind": "model", **fields})[1]
            )
        return self.made[-count:]

    @property
    def desk(self) -> Desk:
        """What a process has that is started now."""
        runtime = self.moved.runtime
        return Desk(
            source=runtime.source,
            store=runtime.store,
            journal=Journal(self.store, home(runtime.config, "team"), runtime.catalog.mirror),
            config=runtime.config,
            by="ann",
            clock=self._now,
            new_id=self._id,
        )

    def _now(self) -> datetime:
        return BEGAN + timedelta(minutes=self._ids)

    def _id(self) -> str:
        self._ids += 1
        return f"event-{self._ids}"

    def promote(self, version: Version | str, alias: str = "production") -> Promoted:
        """Promote, as a process of its own."""
        wanted = located.from_ref(self.source, self.store, str(getattr(version, "ref", version)))
        return promote(self.desk, wanted, alias)

    def rollback(self, alias: str = "production") -> Promoted:
        """Roll back, as a process of its own."""
        return rollback(self.desk, MODEL, alias)

    def events(self) -> list[Event]:
        """What the journal in Oxen holds."""
        return self.desk.journal.events()

    def holder(self, alias: str = "production") -> str:
        """The name of the version that W&B's alias names; empty for none."""
        target = Target.parse(f"{MODEL}:{alias}")
        try:
            return str(next(iter(self.source.versions(target))).ref)
        except NotFoundError:
            return ""

    def branch(self, alias: str = "production") -> str:
        """The commit that Oxen's branch is at; empty for none."""
        return self.store.branches(REPO).get(alias, "")

    def commit(self, version: Version) -> str:
        """The commit of a version."""
        now = self.source.version(version.id)
        link = replacement_of(now.metadata, now.digest)
        assert link is not None
        return link.commit.commit

    def logged(self, version: Version) -> str:
        """What a reference version was called when it was logged."""
        return self.moved.link(version).source_version

    def agree_on(self, version: Version) -> bool:
        """Whether both sides are at a version."""
        return self.holder() == str(version.ref) and self.branch() == self.commit(version)

    def shown(self) -> Mapping[str, str]:
        """Both sides, in words."""
        return {"wandb": self.holder(), "oxen": self.branch()}
