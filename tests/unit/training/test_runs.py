"""Runs: their config and W&B's graph say what they use, and nobody's words are written over."""

from __future__ import annotations

from typing import Any

import pytest
from training_world import TrainingWorld

from syncd.clients.artifacts import Run
from syncd.errors import UsageError
from syncd.refs import CommitRef, RepoRef, RunRef, Target
from syncd.replacements import commit_of
from syncd.stages.annotate import run_config
from syncd.training import Pins, record, runs, start_run
from syncd.training.runs import add_output, note, run_keys, standing_for
from syncd.versions.relatives import named_inputs


def moved(world: TrainingWorld, name: str = "data", kind: str = "dataset") -> CommitRef:
    """The commit of a version that was moved."""
    replacement = world.moved(name, {"d": b"bytes of " + name.encode()}, kind)
    commit = commit_of(replacement.metadata, replacement.digest)
    assert commit is not None
    return commit


def test_a_run_becomes_a_consumer_of_what_it_is_pinned_to(world: TrainingWorld) -> None:
    """Of the version that refers to the commit; its config has the old name, as syncd writes it."""
    data = moved(world)
    model = world.publish(world.tracker("before"), {"w": b"weights"}).commit
    tracker = world.tracker()
    note(tracker, Pins(commits={"dataset": data, "model": model}), world.store, world.source)
    run = world.source.run(tracker.ref)

    assert {str(version.ref) for version in run.inputs} == {
        "team/proj/data:v1",
        "team/proj/clip:v0",
    }
    assert run.config["dataset_commit"] == data.commit
    assert run.config["base_model_repo"] == str(model.repo)
    assert run.config["oxen"]["inputs"] == {
        "team/proj/data:v0": str(data),
        "team/proj/clip:v0": str(model),
    }
    assert tracker.said == []
    assert run_config(run) == ({}, [])


def test_a_commit_that_wandb_does_not_know_is_told_once(world: TrainingWorld) -> None:
    """The run goes on; its config names the commits, and one line says what is missing."""
    data, model = world.committed({"a": b"1"}), world.committed({"b": b"2"}, repo="model")
    tracker = world.tracker()
    note(tracker, Pins(commits={"dataset": data, "model": model}), world.store, world.source)

    [said] = tracker.said
    assert str(data) in said
    assert str(model) in said
    assert tracker.config["oxen"]["inputs"] == {str(c.repo): str(c) for c in (data, model)}


@pytest.mark.parametrize(
    "message",
    ["x\n\nWandb-Artifact: elsewhere/proj/gone:v3", "by hand", "x\n\nWandb-Artifact: a/b"],
)
def test_a_commit_of_another_wandb_stands_for_nothing(world: TrainingWorld, message: str) -> None:
    """Its trailers name what is not here."""
    commit = world.committed({"a": b"1"}, message=message)

    assert standing_for(world.store, world.source, commit) is None


def test_pins_stay_true_whatever_else_a_run_used(world: TrainingWorld) -> None:
    """syncd, annotating the run later, adds what it knows and takes nothing back, twice."""
    data, other = moved(world), moved(world, "other")
    tracker = world.tracker()
    note(tracker, Pins(commits={"dataset": data}), world.store, world.source)
    *_, replacement = world.source.versions(Target.parse("team/proj/other"))
    world.source.record_use(tracker.ref, replacement)
    values, unset = run_config(world.source.run(tracker.ref))
    world.source.update_config(tracker.ref, values, unset)
    again = run_config(world.source.run(tracker.ref))
    config = tracker.config

    assert (config["dataset_commit"], unset) == (data.commit, [])
    assert set(config["oxen"]["inputs"].values()) == {str(data), str(other)}
    assert again == ({}, [])


def test_a_pin_without_a_version_outlives_annotating(world: TrainingWorld) -> None:
    """W&B does not know the dataset; what the script wrote about it is no mistake of a person's."""
    data = world.committed({"a": b"1"})
    model = moved(world, "model", "model")
    tracker = world.tracker()
    note(tracker, Pins(commits={"dataset": data}), world.store, world.source)
    *_, replacement = world.source.versions(Target.parse("team/proj/model"))
    world.source.record_use(tracker.ref, replacement)
    values, unset = run_config(world.source.run(tracker.ref))

    assert unset == []
    assert "dataset_commit" not in values
    assert values["base_model_commit"] == model.commit
    assert values["oxen"]["inputs"][str(data.repo)] == str(data)


@pytest.mark.parametrize("key", ["dataset_commit", "base_model_repo"])
def test_a_config_that_says_otherwise_is_refused(key: str) -> None:
    """Neither is written over: a person decides which one is right."""
    commit = CommitRef(repo=RepoRef(namespace="team", repo="data"), commit="1" * 32)
    pins = Pins(commits={"dataset": commit, "model": commit})
    config: dict[str, Any] = {**run_keys(pins), key: "another"}
    with pytest.raises(UsageError, match=f"{key}='another'"):
        start_run(pins, config=config)


TWO = {"dataset": "1", "validation": "2"}


class Config(dict[str, Any]):
    """A run's config, as the wandb client has it."""

    def update(self, values: dict[str, Any], *, allow_val_change: bool) -> None:  # type: ignore[override]
        """Set keys."""
        assert allow_val_change
        super().update(values)


class Offline:
    """A run that is logged to this disk alone."""

    entity = project = "team"
    id = "run"
    offline, disabled = True, False

    def __init__(self, **config: Any) -> None:
        self.config = Config(config)


def pins_of(**commits: str) -> Pins:
    """Pins of repositories of their names."""
    return Pins(
        commits={
            name: CommitRef(repo=RepoRef(namespace="team", repo=name), commit=commit)
            for name, commit in commits.items()
        }
    )


def test_an_offline_run_says_all_that_it_is_pinned_to() -> None:
    """It is all there is when the run is sent to the server days later; also further datasets."""
    run = Offline()
    pins = pins_of(dataset="1" * 32, validation="2" * 32)
    record(run, pins)  # type: ignore[arg-type]

    assert run.config["dataset_commit"] == "1" * 32
    assert run.config["oxen"] == {
        "inputs": {str(pins[name].repo): str(pins[name]) for name in pins},
        "outputs": {},
        "pinned": {name: str(pins[name]) for name in pins},
    }


def test_a_run_that_is_resumed_on_other_data_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was trained on until then would stand nowhere any more."""
    earlier, now = pins_of(dataset="1" * 32), pins_of(dataset="2" * 32)
    run = Offline(**run_keys(earlier))

    def begin(_project: str | None, config: dict[str, Any], _options: object) -> Offline:
        run.config |= config  # as wandb.init does with a run that is there
        return run

    monkeypatch.setattr(runs, "begin", begin)
    with pytest.raises(UsageError, match="dataset_commit") as caught:
        start_run(now, config={"epochs": 3}, resume="must", id="run")
    assert "begin another run" in caught.value.hint
    assert run.config["dataset_commit"] == "1" * 32

    start_run(earlier, resume="must", id="run")
    assert run.config["oxen"]["pinned"] == {"dataset": str(earlier.dataset)}
    start_run(now, fork_from="run?_step=200")
    assert run.config["dataset_commit"] == "2" * 32
    assert run.config["oxen"]["pinned"] == {"dataset": str(now.dataset)}


def test_a_run_that_goes_on_with_another_further_dataset_is_refused() -> None:
    """It has no short key; the map says what it was."""
    run = Offline()
    record(run, pins_of(dataset="1" * 32, validation="2" * 32))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="OXEN_VALIDATION_COMMIT"):
        record(run, pins_of(dataset="1" * 32, validation="3" * 32))  # type: ignore[arg-type]
    record(run, pins_of(dataset="1" * 32, validation="2" * 32))  # type: ignore[arg-type]

    assert run.config["oxen"]["pinned"]["validation"].endswith("2" * 32)


def test_two_commits_of_one_repository_are_two_inputs() -> None:
    """Training and validation may be two states of the same data."""
    repo = RepoRef(namespace="team", repo="data")
    commits = {name: CommitRef(repo=repo, commit=end * 32) for name, end in TWO.items()}
    run = Offline()
    for _ in range(2):
        record(run, Pins(commits=commits))  # type: ignore[arg-type]
    ended = Run(
        id="1", ref=RunRef.parse("team/proj/runs/r"), name="", state="finished", url="",
        config=run.config, inputs=(), outputs=(),
    )  # fmt: skip

    assert set(run.config["oxen"]["inputs"].values()) == {str(item) for item in commits.values()}
    assert {item.commit for item in named_inputs(ended)} == set(commits.values())
    assert {item.type for item in named_inputs(ended)} == {"dataset"}
    assert run_config(ended) == ({}, [])


@pytest.mark.parametrize("own", ["a word", {"temperature": 3}])
def test_a_key_of_our_name_that_a_person_uses_is_left_alone(
    world: TrainingWorld, own: object
) -> None:
    """Neither inputs nor outputs are written there; the short keys say the same."""
    data = moved(world)
    tracker = world.tracker()
    tracker.configure({"oxen": own})
    note(tracker, Pins(commits={"dataset": data}), world.store, world.source)
    made = world.publish(tracker, {"w": b"weights"})
    version = next(world.source.versions(Target.parse("team/proj/clip")))
    add_output(tracker, version, made.commit)

    assert tracker.config["oxen"] == own
    assert tracker.config["dataset_commit"] == data.commit
    assert tracker.config["output_model_commit"] == made.commit.commit
