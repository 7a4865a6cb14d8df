"""What the callbacks of training libraries have in common: pins, one run, one publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncd.training.gathering import Files
from syncd.training.pins import Pins, pinned
from syncd.training.publishing import Publication, publish
from syncd.training.runs import record, start_run
from syncd.training.tracking import current

if TYPE_CHECKING:
    import wandb


class Session:
    """One training, from pinned commits to a published one.

    The environment is read here: a callback that refuses does so before anything is loaded.

    Args:
        collection: the W&B collection to publish to.
        pins: what the training uses; what the environment says when None.
        project: the W&B project, where the callback begins the run.
        aliases: of the published version.
        branch: the Oxen branch to commit to; the configured one when None.
        metadata: of the published version.
    """

    def __init__(
        self,
        collection: str,
        *,
        pins: Pins | None = None,
        project: str | None = None,
        aliases: Sequence[str] = (),
        branch: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.pins = pinned() if pins is None else pins
        self.publication: Publication | None = None
        self._collection, self._project = collection, project
        self._aliases, self._branch, self._metadata = aliases, branch, metadata
        self._run: wandb.Run | None = None

    def begin(self, run: wandb.Run | None = None) -> None:
        """Record the pins on a run: on this one, else on the one that goes on, else on a new one."""
        run = run or current()
        if run is None:
            run = start_run(self.pins, project=self._project)
        else:
            record(run, self.pins)
        self._run = run

    def publish(self, files: Files, metadata: Mapping[str, Any]) -> None:
        """Publish what came out."""
        assert self._run is not None, "a training begins before it ends"
        self.publication = publish(
            files,
            run=self._run,
            collection=self._collection,
            inputs=self.pins,
            aliases=self._aliases,
            branch=self._branch,
            metadata={**metadata, **(self._metadata or {})},
        )
