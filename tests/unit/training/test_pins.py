"""Pins: a script says exactly what it uses, or does not begin."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

import pytest
from training_world import TrainingWorld

from syncd.errors import ServiceUnavailableError, UsageError
from syncd.testing import Fault, MemoryVersionStore
from syncd.training import PinError, pinned

REPO = "oxen://team/data"


def problems(world: TrainingWorld, environ: Mapping[str, str], **more: object) -> list[str]:
    """What a refusal names."""
    with pytest.raises(PinError) as caught:
        pinned(environ=environ, store=world.store, **more)  # type: ignore[arg-type]
    return caught.value.problems


def test_both_commits_are_given_with_their_repositories(world: TrainingWorld) -> None:
    """What the environment names is what a script gets."""
    data = world.committed({"a": b"data"})
    model = world.committed({"w": b"weights"}, repo="model")
    found = pinned(
        environ={
            "OXEN_DATASET_REPO": REPO, "OXEN_DATASET_COMMIT": data.commit,
            "OXEN_MODEL_REPO": " oxen://team/model ", "OXEN_MODEL_COMMIT": f"{model.commit}\n",
        },
        store=world.store,
    )  # fmt: skip

    assert found.dataset == data
    assert found.model == model


def test_all_that_is_missing_is_named_at_once(world: TrainingWorld) -> None:
    """One refusal is enough to set everything right."""
    found = problems(world, {})

    assert [problem.split()[0] for problem in found] == [
        "OXEN_DATASET_REPO",
        "OXEN_DATASET_COMMIT",
        "OXEN_MODEL_REPO",
        "OXEN_MODEL_COMMIT",
    ]


def test_a_refusal_reads_as_one_in_a_traceback(world: TrainingWorld) -> None:
    """A script that is not pinned ends with the variable, the cause and the next step."""
    try:
        pinned(environ={}, store=world.store)
    except PinError as error:
        shown = "".join(traceback.format_exception(error))
    else:
        pytest.fail("it was not refused")

    assert "OXEN_DATASET_COMMIT is not set; write the full id" in shown
    assert "hint: Set the variables" in shown


@pytest.mark.parametrize(
    ("commit", "said"),
    [
        ("main", "is a branch, which moves; it is at this commit now, write OXEN_DATASET_COMMIT="),
        ("abc1234", "is a shortened id"),
        ("v1.0", "is not the full id of a commit"),
        ("0123456789abcdef0123456789abcdef", "is not a commit of oxen://team/data"),
        ("../../etc", "is not the full id of a commit"),
    ],
)
def test_what_is_no_full_commit_is_refused(world: TrainingWorld, commit: str, said: str) -> None:
    """A name that moves, half an id, and one that nobody knows: none says what was trained on."""
    data = world.committed({"a": b"data"})
    [problem] = problems(
        world, {"OXEN_DATASET_REPO": REPO, "OXEN_DATASET_COMMIT": commit}, model=False
    )

    assert problem.startswith("OXEN_DATASET_COMMIT")
    assert said in problem
    assert (data.commit in problem) == (commit == "main")


def test_a_repository_is_held_against_the_server_too(world: TrainingWorld) -> None:
    """A commit of nowhere is not a commit, and the message says which variable is wrong."""
    full = world.committed({"a": b"data"}).commit
    found = problems(
        world,
        {
            "OXEN_DATASET_REPO": "team/data", "OXEN_DATASET_COMMIT": full,
            "OXEN_MODEL_REPO": "oxen://team/nothing", "OXEN_MODEL_COMMIT": full,
        },
    )  # fmt: skip

    assert found[0].startswith("OXEN_DATASET_REPO='team/data' is not a repository")
    assert found[1].startswith("OXEN_MODEL_REPO=oxen://team/nothing is not a repository of")


def test_a_model_may_be_left_out_but_not_half_named(world: TrainingWorld) -> None:
    """`model=False` is for training from nothing; what is named is read all the same."""
    data = world.committed({"a": b"data"})
    environ = {"OXEN_DATASET_REPO": REPO, "OXEN_DATASET_COMMIT": data.commit}

    assert pinned(environ=environ, store=world.store, model=False).model is None
    [problem] = problems(world, environ | {"OXEN_MODEL_REPO": REPO}, model=False)
    assert problem.startswith("OXEN_MODEL_COMMIT is not set")


def test_further_datasets_are_pinned_by_their_names(world: TrainingWorld) -> None:
    """A validation set is as much of a result as the training set."""
    data = world.committed({"a": b"data"})
    environ = {f"OXEN_{name}_REPO": REPO for name in ("DATASET", "VALIDATION")}
    environ |= {f"OXEN_{name}_COMMIT": data.commit for name in ("DATASET", "VALIDATION")}
    found = pinned(environ=environ, store=world.store, model=False, datasets=["validation"])

    assert found["validation"] == data
    with pytest.raises(UsageError, match="no commit is pinned as 'test'"):
        found["test"]


def test_a_server_that_is_away_is_no_refusal() -> None:
    """Nothing is wrong with the variables when nobody could be asked."""
    away = ServiceUnavailableError("nobody answers")
    store = MemoryVersionStore(
        faults=[Fault(method="resolve", error=away, at=at) for at in range(1, 99)]
    )
    environ = {"OXEN_DATASET_REPO": REPO, "OXEN_DATASET_COMMIT": "1" * 32}
    with pytest.raises(ServiceUnavailableError):
        pinned(environ=environ, store=store, model=False)
