"""A candidate beside production: where it is worse, and what may be why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from moved_project import MovedProject
from promoted_project import MODEL, Models

from syncd.config import Config
from syncd.promotion import located
from syncd.promotion.candidate import Comparison, Directions, compare, metrics, settings
from syncd.runtime import Runtime

UNSAID = Directions()


@pytest.fixture
def compared(models: Models) -> Comparison:
    """Two versions, trained on two versions of a dataset, with other settings."""
    source, moved = models.source, models.moved
    files = {"train.bin": b"first rows", "test.bin": b"test rows"}
    summaries = (
        {"loss": 0.4, "recall": {"shoes": 0.91, "hats": 0.85}, "steps": 100, "_step": 9},
        {"loss": 0.3, "recall": {"shoes": 0.88, "hats": 0.86}, "steps": 120, "note": "a"},
    )
    for number, summary in enumerate(summaries):
        old, data = moved.log_and_move("ds", files, kind="dataset")
        files = {"train.bin": b"more first rows", "test.bin": b"test rows", "new.bin": b"shots"}
        config = {"lr": 0.1, "epochs": 3 + number, "oxen": number, "dataset_commit": number}
        run = source.add_run(f"train-{number}", config=config, summary=summary)
        source.record_use(run, old)
        source.record_use(run, data)
        models.make(run=run)
    models.promote(models.made[0])
    sides = [
        located.from_ref(source, models.store, text)
        for text in (f"{MODEL}:production", str(models.made[1].ref))
    ]
    runtime = moved.runtime
    return compare(runtime.source, runtime.store, runtime.config, (sides[0], sides[1]), UNSAID)


def test_categories_in_which_the_candidate_is_worse_are_marked(compared: Comparison) -> None:
    """Each of its own, also where the metric as a whole is better."""
    verdicts = {item.name: item.verdict for item in compared.metrics}

    assert [item.name for item in compared.worse] == ["recall.shoes"]
    assert verdicts["loss"] == "better"
    assert verdicts["recall.hats"] == "better"
    assert verdicts["steps"] == ""
    assert "note" not in verdicts
    assert compared.document()["worse"] == ["recall.shoes"]


def test_what_differs_around_the_runs_is_told(compared: Comparison) -> None:
    """Settings, not where data lies; data by files; weights."""
    [setting] = compared.config
    [data] = compared.data
    assert (setting.key, setting.before, setting.after) == ("epochs", 3, 4)
    assert data.before is not None
    assert data.after is not None
    assert (data.before.artifact, data.after.artifact) == ("team/proj/ds:v0", "team/proj/ds:v2")
    assert data.difference is not None
    assert (data.difference.added.files, data.difference.changed.files) == (1, 1)
    assert compared.weights.changed.files == 1
    assert (compared.before.run, compared.after.run) == (
        "team/proj/runs/train-0",
        "team/proj/runs/train-1",
    )


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("val_loss", -1),
        ("CrossEntropyLoss", -1),
        ("top1 error", -1),
        ("test/accuracy", 1),
        ("recall@10/shoes", 1),
        ("mAP", 1),
        ("f1", 1),
        ("eval.f1-macro", 1),
        ("learning_rate", 0),
        ("epoch", 0),
        ("mapping", 0),
        ("mine/up", 1),
        ("accuracy/inverted", -1),
    ],
)
def test_a_name_says_whether_more_is_better_unless_somebody_does(name: str, direction: int) -> None:
    """Where neither does, nothing is guessed."""
    said = Directions(higher=["mine/*"], lower=["*/inverted"])

    assert said.of(name) == direction


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None, True, [1]])
def test_what_is_no_number_is_no_metric(value: Any) -> None:
    """W&B keeps what a script logs, whatever it is."""
    assert list(metrics({"recall": value}, {}, UNSAID)) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "NaN", "-Infinity"])
def test_a_metric_that_is_no_number_any_more_is_worse(value: Any) -> None:
    """A training that diverged must not pass a check; whichever way the metric goes."""
    for name in ("loss", "accuracy"):
        [metric] = metrics({name: 0.5}, {name: value}, UNSAID)
        [back] = metrics({name: value}, {name: 0.5}, UNSAID)
        assert (metric.verdict, back.verdict, metric.delta) == ("worse", "better", None)
    [unknown] = metrics({"steps": 5}, {"steps": value}, UNSAID)
    assert unknown.verdict == ""
    assert list(metrics({"loss": value}, {"loss": value}, UNSAID)) == []


def test_a_setting_that_is_no_number_on_both_sides_is_the_same() -> None:
    """NaN is not equal to itself, and W&B knows it in configs."""
    nan, inf = float("nan"), float("inf")
    assert (
        list(settings({"fill": nan, "clip": [inf, nan]}, {"fill": nan, "clip": [inf, nan]})) == []
    )
    (found,) = settings({"clip": 1.0}, {"clip": inf})
    assert (found.before, found.after) == (1.0, inf)


def test_a_metric_or_setting_of_one_side_alone_is_shown() -> None:
    """And nothing is said about better or worse."""
    [metric] = metrics({"recall": 1}, {}, UNSAID)
    [setting] = settings({}, {"model": {"depth": 3}})

    assert (metric.before, metric.after, metric.delta, metric.verdict) == (1, None, None, "")
    assert (setting.key, setting.before, setting.after) == ("model.depth", None, 3)


def test_a_run_that_was_deleted_leaves_the_rest(models: Models) -> None:
    """Weights are compared all the same."""
    [first, second] = models.make(2)
    runtime = models.moved.runtime
    sides = [located.from_ref(models.source, models.store, str(v.ref)) for v in (first, second)]
    found = compare(runtime.source, models.store, runtime.config, (sides[0], sides[1]), UNSAID)

    assert (found.metrics, found.config, found.data) == ((), (), ())
    assert found.weights.changed.files == 1


class Folders(MovedProject):
    """A project in one repository, a folder for each collection."""

    @property
    def runtime(self) -> Runtime:
        """See `MovedProject.runtime`."""
        oxen = {"repo": "{project}", "path": "{collection}"}
        config = {"oxen": oxen, "select": {"min_file_size": 4}}
        return replace(super().runtime, config=Config.model_validate(config))


def test_weights_of_two_collections_are_compared_where_each_lies(moved: MovedProject) -> None:
    """Also where both lie in folders of one repository."""
    folders = Folders(moved.catalog)
    files = {"weights": b"the same", "config": b"another"}
    sides = []
    for name in ("large", "small"):
        _, made = folders.log_and_move(name, {**files, "config": name.encode()}, kind="model")
        sides.append(located.from_ref(folders.source, folders.store, str(made.ref)))
    runtime = folders.runtime
    found = compare(runtime.source, runtime.store, runtime.config, (sides[0], sides[1]), UNSAID)

    assert (found.weights.changed.files, found.weights.unchanged.files) == (1, 1)
    assert found.weights.added.files == 0
