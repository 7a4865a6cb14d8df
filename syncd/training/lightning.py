"""A callback for Lightning's `Trainer`: pinned when it is made, published when fitting ends.

    from syncd.training.lightning import PublishCallback

    publish = PublishCallback("clip")                # refuses here, before a model is loaded
    trainer = Trainer(..., logger=WandbLogger(project="clip"), callbacks=[publish])
    trainer.fit(model)
    print(publish.publication)

What is published is the checkpoint that `ModelCheckpoint` calls the best, else its last one, else the
weights as they are; in the version it is called `model.ckpt`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

try:
    from lightning.pytorch import (  # type: ignore[import-not-found]  # not among the locked packages
        Callback,
        LightningModule,
        Trainer,
    )
    from lightning.pytorch.loggers import WandbLogger  # type: ignore[import-not-found]
except ImportError as error:
    raise ImportError(
        "syncd.training.lightning needs lightning: pip install lightning torch"
    ) from error

from syncd.training.gathering import gathered
from syncd.training.publishing import Publication
from syncd.training.session import Session

NAME = "model.ckpt"


class PublishCallback(Callback):  # type: ignore[misc]  # the library has no types here
    """Publishes what a `Trainer` makes.

    Args:
        collection: the W&B collection to publish to.
        options: see `session.Session`.

    Raises:
        PinError: when the environment does not say what to train on.
    """

    def __init__(self, collection: str, **options: Any) -> None:
        super().__init__()
        self._session = Session(collection, **options)

    @property
    def publication(self) -> Publication | None:
        """What was published; None before the end, and in all processes but the first."""
        return self._session.publication

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the pins on the run of the trainer's W&B logger, or begin one."""
        del pl_module
        if not trainer.is_global_zero:
            return
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        self._session.begin(loggers[0].experiment if loggers else None)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish the best or the last checkpoint."""
        del pl_module
        metadata = {"global_step": trainer.global_step, "epoch": trainer.current_epoch}
        keeper = trainer.checkpoint_callback
        kept = [getattr(keeper, name, "") for name in ("best_model_path", "last_model_path")]
        checkpoint = next((Path(path) for path in kept if path and Path(path).exists()), None)
        if checkpoint is not None:
            if trainer.is_global_zero:
                files = gathered(checkpoint) if checkpoint.is_dir() else {NAME: checkpoint}
                self._session.publish(files, metadata)
            return
        with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
            place = Path(folder) / NAME
            trainer.save_checkpoint(place, weights_only=True)  # all processes take part
            if trainer.is_global_zero:
                self._session.publish({NAME: place}, metadata)
