"""What a training script imports: inputs pinned to Oxen commits, and weights published to Oxen.

from syncd import training

pins = training.pinned()                                   # or the script ends here, and says why
with training.start_run(pins, project="clip") as run:      # wandb.init, with the commits in its config
data = training.fetch(pins.dataset)                    # a folder: cached, verified
...
training.publish("checkpoints/best", collection="clip", run=run, inputs=pins)
"""

from __future__ import annotations

from syncd.training.files import fetch
from syncd.training.pins import PinError, Pins, pinned
from syncd.training.publishing import Publication, publish
from syncd.training.runs import record, start_run

__all__ = [
    "PinError",
    "Pins",
    "Publication",
    "fetch",
    "pinned",
    "publish",
    "record",
    "start_run",
]
