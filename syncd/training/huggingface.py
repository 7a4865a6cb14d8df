"""A callback for the Hugging Face `Trainer`: pinned when it is made, published when training ends.

    from syncd.training.huggingface import PublishCallback

    publish = PublishCallback("clip")                # refuses here, before a model is loaded
    trainer = Trainer(..., callbacks=[publish])
    trainer.train()
    print(publish.publication)

What is published is the best checkpoint, where the trainer keeps track of one, else the last one, else
the model as it is, without what only a resumed training needs.
"""

from __future__ import annotations

import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

try:
    from transformers import (  # type: ignore[import-not-found]  # not among the locked packages
        TrainerCallback,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )
except ImportError as error:
    raise ImportError(
        "syncd.training.huggingface needs transformers: pip install transformers torch accelerate"
    ) from error

from syncd.training.gathering import gathered
from syncd.training.publishing import Publication
from syncd.training.session import Session

# What a checkpoint has for whoever resumes it (transformers 5.24, `trainer.py`, and DeepSpeed).
RESUMES = (
    "optimizer*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*",
    "trainer_state.json",
    "training_args.bin",
    "global_step*",
    "latest",
    "zero_to_fp32.py",
)


class PublishCallback(TrainerCallback):  # type: ignore[misc]  # the library has no types here
    """Publishes what a `Trainer` makes.

    Args:
        collection: the W&B collection to publish to.
        options: see `session.Session`.

    Raises:
        PinError: when the environment does not say what to train on.
    """

    def __init__(self, collection: str, **options: Any) -> None:
        self._session = Session(collection, **options)

    @property
    def publication(self) -> Publication | None:
        """What was published; None before the end, and in all processes but the first."""
        return self._session.publication

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the pins on the trainer's run, or begin one."""
        del args, control, kwargs
        if state.is_world_process_zero:
            self._session.begin()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Publish the best or the last checkpoint."""
        del control
        if not state.is_world_process_zero:
            return
        metadata = {"global_step": state.global_step, "epoch": state.epoch}
        if state.best_metric is not None:
            metadata["best_metric"] = state.best_metric
        last = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        found = [Path(path) for path in (state.best_model_checkpoint, last) if path]
        checkpoint = next((path for path in found if path.is_dir()), None)
        if checkpoint is not None:
            files = {
                path: place
                for path, place in gathered(checkpoint).items()
                if not any(fnmatchcase(path, pattern) for pattern in RESUMES)
            }
            self._session.publish(files, metadata)
            return
        with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
            kwargs["model"].save_pretrained(folder)
            if kwargs.get("processing_class") is not None:
                kwargs["processing_class"].save_pretrained(folder)
            self._session.publish(folder, metadata)
