"""The dataset `product-search-dataset` in three versions, and the base model, logged as anybody logs.

    python data.py v1.0 | v1.1-cleaned | v1.2-synthetic-aug | base

There is no syncd in here: this is what a team has before it hears of Oxen. The numbers stand for
embeddings of product pictures, each with the product's category and its class within that.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import wandb

PROJECT = "product-search"
DATASET, BASE = "product-search-dataset", "clip-base"
CATEGORIES = ("chairs", "lamps", "mugs", "shoes")
CLASSES = 3  # in each category
SIZE = 24  # numbers of an embedding
TRAIN, HELD_OUT = 1200, 400  # rows
MISLABELLED = 0.2  # of v1.0's training rows
SYNTHETIC = 1200  # rows that v1.2 adds
SKEWED = ("lamps", "mugs")  # categories of which the generator had few pictures
Row = tuple[str, str, int, list[float]]  # picture, category, class, embedding


def center(category: str, kind: int) -> list[float]:
    """What the pictures of a class look like on average."""
    chance = random.Random(f"{category}/{kind}")
    return [chance.gauss(0, 1) for _ in range(SIZE)]


def rows(name: str, count: int, *, skewed: bool = False) -> Iterator[Row]:
    """Pictures of all classes; those of the generator look like another class where it is skewed."""
    chance = random.Random(name)
    for number in range(count):
        category, kind = CATEGORIES[number % 4], number // 4 % CLASSES
        middle = center(category, kind)
        if skewed and category in SKEWED:
            other = center(category, (kind + 1) % CLASSES)
            middle = [0.15 * own + 0.85 * wrong for own, wrong in zip(middle, other, strict=True)]
        values = [round(value + chance.gauss(0, 1.6), 4) for value in middle]
        yield f"{name}-{number:04}", category, kind, values


def mislabelled(given: Iterator[Row]) -> Iterator[Row]:
    """The same with some classes mixed up, as the first annotators left them."""
    chance = random.Random("annotators")
    for picture, category, kind, values in given:
        wrong = chance.random() < MISLABELLED
        yield picture, category, (kind + 1) % CLASSES if wrong else kind, values


def write(path: Path, given: Iterator[Row]) -> None:
    """Rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["picture", "category", "class", *(f"e{at}" for at in range(SIZE))])
        table.writerows([*names, *values] for *names, values in given)


def fill(folder: Path, version: str) -> None:
    """Write the files of a version of the dataset."""
    train = rows("train", TRAIN)
    write(folder / "train.csv", mislabelled(train) if version == "v1.0" else train)
    write(folder / "val.csv", rows("val", HELD_OUT))
    write(folder / "test.csv", rows("test", HELD_OUT))
    if version == "v1.2-synthetic-aug":
        (folder / "synthetic").mkdir()
        write(folder / "synthetic" / "shots.csv", rows("shots", SYNTHETIC, skewed=True))


def main(version: str) -> None:
    """Log one version."""
    with (
        TemporaryDirectory() as folder,
        wandb.init(project=PROJECT, id=f"log-{version}", job_type="data") as run,
    ):
        if version == "base":
            artifact = wandb.Artifact(
                BASE, "model", description="The model that everybody starts from"
            )
            chance = random.Random("base")
            weights = {
                f"{category}/{kind}": [
                    value + chance.gauss(0, 1.5) for value in center(category, kind)
                ]
                for category in CATEGORIES
                for kind in range(CLASSES)
            }
            Path(folder, "weights.json").write_text(json.dumps(weights), encoding="utf-8")
        else:
            artifact = wandb.Artifact(
                DATASET, "dataset", description=f"Product pictures, {version}"
            )
            fill(Path(folder), version)
        artifact.add_dir(folder)
        run.log_artifact(artifact, aliases=["latest", version]).wait()


if __name__ == "__main__":
    main(sys.argv[1])
