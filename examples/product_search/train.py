"""Training that names its data: it refuses to run without the commits it is pinned to.

    export OXEN_DATASET_REPO=oxen://shop/product-search-product-search-dataset OXEN_DATASET_COMMIT=...
    export OXEN_MODEL_REPO=oxen://shop/product-search-clip-base OXEN_MODEL_COMMIT=...
    python train.py NAME --runs 50 --publish v1.0

Each run says in its config on which commits it stands. The best one's weights are committed to Oxen,
where the commit names data, config and run; W&B gets a version that refers to them.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from syncd import training

PROJECT, MODEL = "product-search", "clip-product-search"
Weights = dict[str, list[float]]  # by category and class, the middle of its embeddings
Rows = list[tuple[str, str, list[float]]]  # category, category and class, embedding


def read(path: Path) -> Rows:
    """The rows of a split."""
    with path.open(newline="", encoding="utf-8") as file:
        _, *lines = csv.reader(file)
    return [(line[1], f"{line[1]}/{line[2]}", list(map(float, line[3:]))) for line in lines]


def fit(base: Weights, train: Rows, config: Mapping[str, float]) -> Weights:
    """Move the base model's middles to those of the data, as far as `pull` says."""
    chance = random.Random(config["seed"])
    seen: dict[str, list[list[float]]] = {name: [] for name in base}
    for _, name, values in train:
        if chance.random() < config["keep"]:
            seen[name].append(values)
    pull = config["pull"]
    return {
        name: [
            (1 - pull) * begin + pull * sum(column) / len(column)
            for begin, column in zip(base[name], zip(*found, strict=True), strict=True)
        ]
        for name, found in seen.items()
    }


def score(weights: Weights, rows: Rows) -> dict[str, float]:
    """How many are put into their class, altogether and by category."""
    right: dict[str, list[bool]] = {}
    for category, name, values in rows:
        nearest = min(
            (other for other in weights if other.startswith(f"{category}/")),
            key=lambda other: sum(
                (a - b) ** 2 for a, b in zip(weights[other], values, strict=True)
            ),
        )
        right.setdefault(category, []).append(nearest == name)
    everything = [hit for hits in right.values() for hit in hits]
    return {
        "accuracy": sum(everything) / len(everything),
        **{
            f"accuracy/{category}": sum(hits) / len(hits)
            for category, hits in sorted(right.items())
        },
    }


def main() -> None:
    """Train some times, and publish the best."""
    options = argparse.ArgumentParser()
    options.add_argument("name")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--publish", metavar="ALIAS", required=True)
    asked = options.parse_args()

    pins = training.pinned()  # or the script ends here, and says why
    data = training.fetch(pins.dataset)
    base: Weights = json.loads((training.fetch(pins["model"]) / "weights.json").read_text())
    train, val, test = (read(data / f"{split}.csv") for split in ("train", "val", "test"))
    for extra in sorted(data.glob("synthetic/*.csv")):
        train += read(extra)

    results = []
    for number in range(asked.runs):
        config = {"pull": round((number % 10 + 1) / 10, 1), "keep": 0.8, "seed": number}
        run_id = f"{asked.name}-{number:02}"
        with training.start_run(
            pins, project=PROJECT, id=run_id, name=run_id, config=config
        ) as run:
            weights = fit(base, train, config)
            found = {"val": score(weights, val), "test": score(weights, test)}
            run.log(
                {f"{split}/{key}": v for split, told in found.items() for key, v in told.items()}
            )
        results.append((found["val"]["accuracy"], run_id, config, weights))

    _, run_id, config, weights = max(results, key=lambda result: result[0])
    with (
        TemporaryDirectory() as folder,
        training.start_run(pins, project=PROJECT, id=run_id, resume="must", config=config) as run,
    ):
        Path(folder, "weights.json").write_text(json.dumps(weights), encoding="utf-8")
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        made = training.publish(
            folder, run=run, collection=MODEL, inputs=pins, aliases=[asked.publish]
        )
    print(f"{run_id}: {made.version} {made.commit}")


if __name__ == "__main__":
    main()
