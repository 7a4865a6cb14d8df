"""Logs the demo's project as a team would, with the plain wandb SDK.

`python -m syncd.demo.project FOLDER ORGANIZATION`, the latter one that the team is in.

The handwritten digits that scikit-learn ships become a dataset in three versions (raw, cleaned,
relabelled); two training runs use two of them and log real weights; an evaluation picks the better
model for `production` and links it to the organization's registry. A fourth collection holds nothing
but references.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.model_selection import cross_val_predict  # type: ignore[import-untyped]
from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-untyped]
from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped]

PROJECT = "digits"
REGISTRY, SHELF = "models", "digit-readers"
SEED = 7
TEST_SHARE = 4  # every fourth image is kept for testing
EPOCHS = 12
Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def main(folder: Path, organization: str) -> None:
    """Log everything; files are written below `folder` first."""
    wandb.Api().create_registry(REGISTRY, visibility="organization", organization=organization)
    images, labels = load_digits(return_X_y=True)
    raw: Arrays = (images.astype(np.float32), labels.astype(np.int64))
    cleaned = _cleaned(raw)
    relabelled, fixes = _relabelled(cleaned)
    _dataset(folder / "raw", raw, "raw", "As scanned.", {"rows": len(raw[1])})
    _dataset(
        folder / "cleaned",
        cleaned,
        "cleaned",
        "Duplicates removed, pixels scaled to 0..1.",
        {"rows": len(cleaned[1]), "removed": len(raw[1]) - len(cleaned[1])},
    )
    _dataset(
        folder / "relabelled",
        relabelled,
        "relabelled",
        "Labels fixed where all neighbours disagree.",
        {"rows": len(relabelled[1]), "labels_fixed": fixes},
    )
    _references(folder / "sources")
    _train(folder / "small", "digits:cleaned", layers=(64,))
    _train(folder / "large", "digits:relabelled", layers=(256, 128))
    _evaluate(folder / "report")


def _cleaned(data: Arrays) -> Arrays:
    images, labels = data
    _, first = np.unique(images, axis=0, return_index=True)
    rows = np.sort(first)
    return images[rows] / np.float32(16.0), labels[rows]


def _relabelled(data: Arrays) -> tuple[Arrays, int]:
    images, labels = data
    votes = cross_val_predict(KNeighborsClassifier(5), images, labels, cv=5, method="predict_proba")
    sure = votes.max(axis=1) == 1.0
    suggested = votes.argmax(axis=1)
    wrong = sure & (suggested != labels)
    fixed = np.where(wrong, suggested, labels)
    return (images, fixed.astype(np.int64)), int(wrong.sum())


def _dataset(
    folder: Path, data: Arrays, alias: str, description: str, metadata: dict[str, Any]
) -> None:
    images, labels = data
    test = np.arange(len(labels)) % TEST_SHARE == 0
    for name, rows in (("train", ~test), ("test", test)):
        split = folder / "splits" / name
        split.mkdir(parents=True)
        np.save(split / "images.npy", images[rows])
        np.save(split / "labels.npy", labels[rows])
        header = ",".join([f"p{index}" for index in range(images.shape[1])] + ["label"])
        table = np.column_stack([images[rows], labels[rows]])
        np.savetxt(split / "rows.csv", table, delimiter=",", header=header, fmt="%g", comments="")
    (folder / "README.md").write_text(f"# Handwritten digits, {alias}\n\n{description}\n")
    config = {"seed": SEED, "step": alias}
    name = f"prepare-{alias}"
    with wandb.init(project=PROJECT, job_type="prepare", name=name, config=config) as run:
        artifact = wandb.Artifact(
            "digits", type="dataset", description=description, metadata=metadata
        )
        artifact.add_dir(str(folder))
        preview = wandb.Table(
            columns=["label", "ink"],
            data=[[int(labels[row]), float(images[row].sum())] for row in range(20)],
        )
        artifact.add(preview, "preview")
        run.log_artifact(artifact, aliases=[alias], tags=["digits"]).wait()
        run.summary["rows"] = len(labels)


def _references(folder: Path) -> None:
    folder.mkdir(parents=True)
    source = folder / "scans.txt"
    source.write_text("The scans come from the UCI repository of handwritten digits.\n")
    with wandb.init(project=PROJECT, job_type="register", name="register-sources") as run:
        artifact = wandb.Artifact("scan-sources", type="dataset")
        artifact.add_reference(source.as_uri())
        run.log_artifact(artifact).wait()


def _train(folder: Path, dataset: str, *, layers: tuple[int, ...]) -> None:
    folder.mkdir(parents=True)
    model = MLPClassifier(hidden_layer_sizes=layers, random_state=SEED)
    config = {"layers": list(layers), "epochs": EPOCHS, "seed": SEED}
    name = f"train-{folder.name}"
    with wandb.init(project=PROJECT, job_type="train", name=name, config=config) as run:
        data = Path(run.use_artifact(dataset).download())
        images, labels = _split(data, "train")
        for epoch in range(EPOCHS):
            model.partial_fit(images, labels, classes=np.arange(10))
            run.log({"epoch": epoch, "train/accuracy": model.score(images, labels)})
        accuracy = float(model.score(*_split(data, "test")))
        run.summary["test/accuracy"] = accuracy
        np.savez(folder / "weights.npz", *model.coefs_, *model.intercepts_)
        (folder / "config.json").write_text(json.dumps({**config, "dataset": dataset}))
        artifact = wandb.Artifact(
            "digits-classifier", type="model", metadata={"test_accuracy": accuracy}
        )
        artifact.add_dir(str(folder))
        run.log_artifact(artifact, aliases=[folder.name]).wait()


def _split(data: Path, name: str) -> Arrays:
    folder = data / "splits" / name
    return np.load(folder / "images.npy"), np.load(folder / "labels.npy")


def _evaluate(folder: Path) -> None:
    folder.mkdir(parents=True)
    with wandb.init(project=PROJECT, job_type="evaluate", name="evaluate") as run:
        run.use_artifact("digits:relabelled")
        models = [run.use_artifact(f"digits-classifier:{alias}") for alias in ("small", "large")]
        scores = {model.version: model.metadata["test_accuracy"] for model in models}
        best = max(models, key=lambda model: float(model.metadata["test_accuracy"]))
        best.aliases.append("production")
        best.save()
        run.link_artifact(best, f"wandb-registry-{REGISTRY}/{SHELF}", aliases=["production"])
        run.summary["production"] = best.version
        (folder / "scores.json").write_text(json.dumps(scores))
        artifact = wandb.Artifact("comparison", type="evaluation", metadata=scores)
        artifact.add_dir(str(folder))
        artifact.add(
            wandb.Table(columns=["model", "accuracy"], data=list(scores.items())), "scores"
        )
        run.log_artifact(artifact).wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
