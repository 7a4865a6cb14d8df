"""Annotate: a run's config says where its data is, and a person's words stay a person's."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.clients.artifacts import Run, Version
from syncd.manifest import Entry, Manifest, manifest_digest
from syncd.refs import CommitRef, RepoRef, RunRef
from syncd.replacements import Replacement
from syncd.stages.annotate import annotate, run_config
from syncd.testing import MemoryArtifactSource

REF = RunRef(entity="team", project="proj", run_id="r1")
SHORT = {"dataset", "base_model", "output_model"}


def replaced(source: MemoryArtifactSource, name: str, kind: str) -> Version:
    """The replacement of a new version, with a commit that names it."""
    old = source.log(name, {"a": f"{name} {kind}".encode()}, kind=kind)
    entries = {"a": Entry(path="a", digest=f"etag of {old.ref}", ref="https://data.example/a")}
    link = Replacement(
        commit=CommitRef(repo=RepoRef(namespace="team", repo=f"proj-{name}"), commit="12ab"),
        url="",
        source_version=str(old.ref),
        source_artifact_id=old.id,
        source_digest=old.digest,
        source_created_at=old.created_at,
        moved_files=1,
        moved_bytes=1,
        digest=manifest_digest(entries.values()),
    )
    return source.log_replacement(old, Manifest(entries=entries), link.into({}))


def run(
    config: dict[str, Any] | None = None,
    *,
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
) -> Run:
    """A run with replaced inputs and outputs, written `name kind`."""
    source = MemoryArtifactSource()
    sides = [tuple(replaced(source, *item.split()) for item in side) for side in (inputs, outputs)]
    return Run(
        id="1", ref=REF, name="", state="finished", url="", config=config or {},
        inputs=sides[0], outputs=sides[1],
    )  # fmt: skip


def short(values: dict[str, Any]) -> dict[str, str]:
    """`dataset_repo` and `dataset_commit` as one `dataset`."""
    return {
        name: f"{values[f'{name}_repo']}@{values[f'{name}_commit']}"
        for name in SHORT
        if f"{name}_repo" in values
    }


DATA = "oxen://team/proj-ds@12ab"
OTHER = "oxen://team/proj-ds2@12ab"


@pytest.mark.parametrize(
    ("inputs", "outputs", "wanted"),
    [
        ((), (), {}),
        (("ds dataset",), (), {"dataset": DATA}),
        (("ds raw-dataset",), (), {"dataset": DATA}),  # a type that says so
        (("ds Dataset",), (), {"dataset": DATA}),
        (("ds dataset", "ds2 dataset"), (), {}),  # which one?
        (("ds dataset", "m model"), (), {"dataset": DATA, "base_model": "oxen://team/proj-m@12ab"}),
        (("m model", "m2 model"), (), {}),
        ((), ("m model",), {"output_model": "oxen://team/proj-m@12ab"}),
        ((), ("m model", "m2 model"), {}),
        ((), ("ds dataset",), {}),  # there is no key for it
        (("ds table",), (), {}),
        (("ds dataset", "ds2 table"), (), {"dataset": DATA}),
    ],
)
def test_a_short_key_stands_where_there_is_exactly_one_of_the_kind(
    inputs: tuple[str, ...], outputs: tuple[str, ...], wanted: dict[str, str]
) -> None:
    """The full map is always there."""
    values, unset = run_config(run(inputs=inputs, outputs=outputs))

    assert short(values) == wanted
    assert unset == []
    assert len(values["oxen"]["inputs"]) == len(inputs)
    assert len(values["oxen"]["outputs"]) == len(outputs)


def test_the_full_map_names_versions_and_commits() -> None:
    """By the source version's name, which people know."""
    values, _ = run_config(run(inputs=("ds dataset",), outputs=("m model",)))

    assert values["oxen"] == {
        "inputs": {"team/proj/ds:v0": DATA},
        "outputs": {"team/proj/m:v0": "oxen://team/proj-m@12ab"},
    }


def test_versions_that_were_not_replaced_are_not_named() -> None:
    """They have no commit, and the run may still have exactly one that has."""
    source = MemoryArtifactSource()
    moved, plain = replaced(source, "ds", "dataset"), source.log("raw", {"a": b"1"})
    found = run()
    values, _ = run_config(
        Run(id="1", ref=REF, name="", state="", url="", config={}, inputs=(moved, plain))
    )

    assert short(values) == {"dataset": DATA}
    assert values["oxen"]["inputs"] == {"team/proj/ds:v0": DATA}
    assert run_config(found)[0] == {"oxen": {"inputs": {}, "outputs": {}}}


OURS = {"inputs": {"team/proj/ds2:v0": OTHER}, "outputs": {}}  # what syncd wrote earlier


@pytest.mark.parametrize(
    ("config", "dataset", "unset"),
    [
        # A person's value, or half of one, is never touched.
        ({"dataset_repo": "mine"}, {"dataset_commit": "12ab"}, []),
        ({"dataset_repo": "mine", "dataset_commit": "mine"}, {}, []),
        ({"dataset_repo": None, "dataset_commit": ""}, {}, []),
        ({"dataset_repo": ["a", "b"], "dataset_commit": {}, "oxen": OURS}, {}, []),
        ({"dataset_repo": "mine", "dataset_commit": "mine", "oxen": OURS}, {}, []),
        # What syncd wrote and is no longer true is corrected.
        (
            {"dataset_repo": "oxen://team/proj-ds2", "dataset_commit": "12ab", "oxen": OURS},
            {"dataset_repo": "oxen://team/proj-ds"},  # the commit has the same id here
            [],
        ),
        # ... but only where the map proves that syncd wrote it.
        ({"dataset_repo": "oxen://team/proj-ds2", "dataset_commit": "12ab"}, {}, []),
        # What is right already is not written again.
        ({"dataset_repo": "oxen://team/proj-ds", "dataset_commit": "12ab"}, {}, []),
    ],
)
def test_a_persons_value_stays_and_ours_is_corrected(
    config: dict[str, Any], dataset: dict[str, str], unset: list[str]
) -> None:
    """Whoever wrote it is known by the map."""
    values, removed = run_config(run(config, inputs=("ds dataset",)))
    values.pop("oxen", None)

    assert (values, removed) == (dataset, unset)


def test_our_own_value_is_taken_back_when_there_are_two_of_the_kind() -> None:
    """One commit would be a lie; a person's value stays even then."""
    ours = {"dataset_repo": "oxen://team/proj-ds", "dataset_commit": "12ab"}
    theirs = {"base_model_repo": "mine"}
    before = {"inputs": {"team/proj/ds:v0": DATA}, "outputs": {}}
    found = run({**ours, **theirs, "oxen": before}, inputs=("ds dataset", "ds2 dataset"))
    values, unset = run_config(found)

    assert sorted(values) == ["oxen"]
    assert unset == ["dataset_commit", "dataset_repo"]


@pytest.mark.parametrize(
    "theirs", ["a word", 5, [], {}, {"inputs": {}}, {"inputs": {}, "outputs": {}, "mine": 1}]
)
def test_a_key_oxen_that_a_person_wrote_is_left_alone(theirs: object) -> None:
    """Only the very shape that syncd writes is ours."""
    values, unset = run_config(run({"oxen": theirs}, inputs=("ds dataset",)))

    assert "oxen" not in values
    assert short(values) == {"dataset": DATA}
    assert unset == []


def test_a_persons_map_makes_no_value_ours() -> None:
    """It may name the same commits as a key that the person wrote, too."""
    theirs = {"mine": {"x": OTHER}, "inputs": {}, "outputs": {}}
    config = {"dataset_repo": "oxen://team/proj-ds2", "dataset_commit": "12ab", "oxen": theirs}

    assert run_config(run(config, inputs=("ds dataset",))) == ({}, [])


def test_what_a_run_was_told_to_use_stands_in_its_short_keys_whatever_else_it_used() -> None:
    """It is in no doubt which of several was meant, or where W&B has no version of it."""
    told = {"inputs": {}, "outputs": {}, "pinned": {"dataset": OTHER}}
    values, _ = run_config(run({"oxen": told}, inputs=("ds dataset", "m dataset")))

    assert short(values) == {"dataset": OTHER}
    assert values["oxen"]["pinned"] == {"dataset": OTHER}
    assert values["oxen"]["inputs"]["oxen://team/proj-ds2"] == OTHER


@pytest.mark.parametrize("side", [None, 5, "text", ["x"], {"a": None}, {"a": 5}])
def test_a_map_with_anything_in_it_is_read_without_an_exception(side: object) -> None:
    """Configs are anybody's."""
    values, unset = run_config(run({"oxen": {"inputs": side, "outputs": side}}))

    assert values["oxen"] == {"inputs": {}, "outputs": {}}
    assert unset == []


def test_an_empty_side_makes_no_empty_value_ours() -> None:
    """A person may have cleared the key."""
    before = {"inputs": {"x": "no commit in it"}, "outputs": {}}
    _, unset = run_config(run({"dataset_repo": "", "oxen": before}))

    assert unset == []


def test_a_map_of_which_the_client_left_out_what_is_empty_is_ours() -> None:
    """So it comes from a pinned run: it is extended, and written once more only with news."""
    said = {"inputs": {"team/proj/ds:v0": DATA}, "pinned": {"dataset": DATA}}
    config = {"oxen": said, "dataset_repo": "oxen://team/proj-ds", "dataset_commit": "12ab"}
    values, unset = run_config(run(config, inputs=("ds dataset", "ds2 dataset")))
    again, _ = run_config(run(config, inputs=("ds dataset",)))

    assert unset == []
    assert values["oxen"]["inputs"] == {"team/proj/ds:v0": DATA, "team/proj/ds2:v0": OTHER}
    assert "dataset_commit" not in values
    assert again == {}


def test_the_same_again_writes_nothing() -> None:
    """An idle repeat sends no request."""
    first, _ = run_config(run(inputs=("ds dataset",), outputs=("m model",)))

    assert run_config(run(first, inputs=("ds dataset",), outputs=("m model",))) == ({}, [])


# --- the stage


def annotated(state: str, config: dict[str, Any]) -> tuple[MemoryArtifactSource, RunRef, bool]:
    """A run in a state, after the stage."""
    source = MemoryArtifactSource()
    ref = source.add_run("r1", state=state, config=config)
    source.record_use(ref, replaced(source, "ds", "dataset"))
    return source, ref, annotate(source, ref)


@pytest.mark.parametrize("state", ["running", "pending"])
def test_a_run_that_still_runs_is_left_for_later(state: str) -> None:
    """Its own client would write over the keys."""
    source, ref, done = annotated(state, {"lr": 1})

    assert not done
    assert source.run(ref).config == {"lr": 1}
    assert source.calls["update_config"] == 0


@pytest.mark.parametrize("state", ["finished", "failed", "crashed", "killed", ""])
def test_a_run_that_has_ended_gets_its_keys_beside_its_own(state: str) -> None:
    """However it ended."""
    source, ref, done = annotated(state, {"lr": 1})

    assert done
    assert source.run(ref).config == {
        "lr": 1,
        "dataset_repo": "oxen://team/proj-ds",
        "dataset_commit": "12ab",
        "oxen": {"inputs": {"team/proj/ds:v0": DATA}, "outputs": {}},
    }


def test_nothing_is_sent_for_a_run_that_has_its_keys() -> None:
    """A second time."""
    source, ref, _ = annotated("finished", {})
    annotate(source, ref)

    assert source.calls["update_config"] == 1
