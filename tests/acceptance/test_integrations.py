"""The callbacks under the libraries themselves, on tiny models: what training ends with is published.

The libraries are too large to be locked. Without them these tests are skipped, and the last lines of
the tests say so.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest
from acceptance_world import World

BEGIN = """
import pathlib
os.environ.update(json.loads(sys.argv[1]))
os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_PROJECT": "p"}
import torch
from syncd import training
"""
HUGGINGFACE = """
from syncd.training.huggingface import PublishCallback
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

publish = PublishCallback("tiny", aliases=["best"])
size = dict(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=16, num_labels=2)
rows = [{"input_ids": torch.arange(8) + n, "labels": n % 2} for n in range(8)]
trainer = Trainer(
    BertForSequenceClassification(BertConfig(**size)),
    TrainingArguments("out", max_steps=4, save_steps=2, eval_steps=2, eval_strategy="steps",
                      use_cpu=True, load_best_model_at_end=True, report_to=["wandb"],
                      learning_rate=1e-2, disable_tqdm=True),
    train_dataset=rows, eval_dataset=rows, callbacks=[publish])
trainer.train()
run = wandb.run.id
wandb.finish()
folder = training.fetch(publish.publication.commit)
loaded = BertForSequenceClassification.from_pretrained(folder)
same = all(torch.equal(a, b) for a, b in zip(
    loaded.state_dict().values(), trainer.model.state_dict().values(), strict=True))
"""
LIGHTNING = """
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from syncd.training.lightning import PublishCallback

class Tiny(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, _index):
        loss = self.layer(batch).pow(2).mean()
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

publish = PublishCallback("tiny", aliases=["best"])
model = Tiny()
keeper = [ModelCheckpoint(monitor="loss", dirpath="out")] if sys.argv[2] == "kept" else []
trainer = Trainer(max_epochs=2, accelerator="cpu", logger=WandbLogger(project="p"),
                  enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
                  enable_checkpointing=bool(keeper), callbacks=[publish, *keeper])
trainer.fit(model, torch.utils.data.DataLoader(torch.ones(8, 4)))
run = wandb.run.id
wandb.finish()
folder = training.fetch(publish.publication.commit)
loaded = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
same = all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
"""
END = """
emit({"version": publish.publication.version, "commit": str(publish.publication.commit),
      "run": run, "same": same, "files": sorted(path.name for path in folder.iterdir())})
"""
LOOK = """
made = wandb.Api().artifact("p/tiny:best")
run = made.logged_by()
emit({"run": run.id, "config": run.config, "metadata": made.metadata})
"""


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers not found")
def test_a_trainer_of_hugging_face_publishes_its_best_checkpoint(small: World) -> None:
    """It can be loaded again, and has nothing that only a resumed training needs."""
    pins = small.pins({"DATASET": "ds:best", "MODEL": "model:production"})
    made = small.sdk(BEGIN + HUGGINGFACE + END, json.dumps(pins))

    assert made["same"]
    assert set(made["files"]) == {"config.json", "model.safetensors"}
    _told(small, made, pins)


@pytest.mark.skipif(find_spec("lightning") is None, reason="lightning not found")
@pytest.mark.parametrize("kept", ["kept", "not kept"])
def test_a_trainer_of_lightning_publishes_its_checkpoint(small: World, kept: str) -> None:
    """The one that its own callback keeps, or the weights as they are."""
    pins = small.pins({"DATASET": "ds:best", "MODEL": "model:production"})
    made = small.sdk(BEGIN + LIGHTNING + END, json.dumps(pins), kept)

    assert made["same"]
    assert made["files"] == ["model.ckpt"]
    _told(small, made, pins)


def _told(small: World, made: dict[str, Any], pins: dict[str, str]) -> None:
    """The trainer's run says what went in and came out."""
    seen = small.sdk(LOOK)
    config = seen["config"]

    assert seen["run"] == made["run"]
    assert config["dataset_commit"] == pins["OXEN_DATASET_COMMIT"]
    assert config["base_model_commit"] == pins["OXEN_MODEL_COMMIT"]
    assert f"{config['output_model_repo']}@{config['output_model_commit']}" == made["commit"]
    assert seen["metadata"]["global_step"] > 0
