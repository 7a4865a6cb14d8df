"""What is in production has one answer, whoever is asked, and disagreement is told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from moved_project import PROJECT
from promoted_project import MODEL, REPO, SUBJECT, Models

from syncd.catalog.catalog import Catalog
from syncd.cli.production import answered
from syncd.clients.artifacts import Version
from syncd.clients.commits import Author, TreeEntry
from syncd.errors import NotFoundError, ServiceUnavailableError
from syncd.operations.rebuild import rebuild
from syncd.promotion import located
from syncd.promotion.agreement import from_both, with_ends
from syncd.promotion.answers import Answer, Data
from syncd.promotion.journal import journals, read
from syncd.promotion.production import (
    from_catalog,
    from_oxen,
    from_wandb,
    remember,
    subjects,
)
from syncd.promotion.promote import finish
from syncd.refs import CommitRef, RepoRef, RunRef, Target, reference_url
from syncd.replacements import Published
from syncd.testing import Fault
from syncd.testing.faults import Calls
from syncd.versions.deployments import Recipe, noted
from syncd.versions.events import Event, Kind, Point
from syncd.versions.plans import LINEAGE_PATH


@pytest.fixture
def data(models: Models) -> Version:
    """A moved dataset that the runs of the models use."""
    return models.moved.log_and_move("ds", {"rows.csv": b"a,b,c,d"}, kind="dataset")[1]


@pytest.fixture
def trained(models: Models, data: Version) -> list[Version]:
    """Two versions of the model, each with a run that used the dataset."""
    made = []
    for number in range(2):
        run = models.source.add_run(f"train-{number}", config={"lr": 0.1 / (number + 1)})
        link = models.moved.link(data)
        models.source.record_use(run, models.source.version(link.source_artifact_id))
        models.source.record_use(run, data)
        made += models.make(run=run)
    return made


def events(models: Models) -> list[Event]:
    """What the journals hold."""
    return read(models.store, journals(models.moved.runtime.config))


def both(models: Models) -> Answer:
    """What both sides say."""
    runtime = models.moved.runtime
    return from_both(runtime.source, runtime.store, events(models), runtime.config, SUBJECT)


def test_all_sides_give_the_same_answer(
    models: Models, trained: list[Version], data: Version
) -> None:
    """W&B alone, Oxen alone, the catalog: the same version, commit, run and data."""
    models.promote(trained[1])
    runtime = models.moved.runtime
    remember(models.store, runtime.catalog.mirror, events(models))
    answers = [
        from_wandb(models.source, SUBJECT),
        from_oxen(models.store, events(models), runtime.config, SUBJECT),
        from_catalog(runtime.catalog.mirror, SUBJECT),
        both(models),
    ]

    [answer] = {
        (item.subject, item.version, item.reference, item.commit, item.run, item.data)
        for item in answers
    }
    assert answer[1] == f"{MODEL}:v2"
    assert answer[2] == str(trained[1].ref)
    assert answer[3] == CommitRef(repo=REPO, commit=models.commit(trained[1]))
    assert answer[4] == "team/proj/runs/train-1"
    [used] = answer[5]
    link = models.moved.link(data)
    assert (used.artifact, used.type, used.commit) == ("team/proj/ds:v0", "dataset", link.commit)
    assert {(item.since, item.by) for item in answers[1:]} == {(events(models)[0].at, "ann")}
    assert [item.problems for item in answers] == [()] * 4


def test_the_catalog_answers_again_after_a_rebuild(
    models: Models, trained: list[Version], tmp_path: Path
) -> None:
    """What a machine without any state reads from W&B and Oxen."""
    models.promote(trained[0])
    models.promote(trained[1])
    models.rollback()
    before = both(models)
    catalog = Catalog(f"sqlite:///{tmp_path}/new.db")
    done = rebuild(replace(models.moved.runtime, catalog=catalog), [PROJECT], everything=True)
    answer = from_catalog(catalog.mirror, SUBJECT)

    assert done.problems == []
    assert answer == before
    assert answer.version == f"{MODEL}:v0"
    catalog.close()


def test_a_rebuild_of_a_project_keeps_the_events_of_others(
    models: Models, trained: list[Version]
) -> None:
    """And forgets none of its own."""
    models.promote(trained[0])
    runtime = models.moved.runtime
    rebuild(runtime, [Target.parse("team/proj")], everything=False)

    assert runtime.catalog.mirror.events() == events(models)


def test_since_is_the_moment_of_the_promotion_that_still_holds(
    models: Models, trained: list[Version]
) -> None:
    """A repair that changed nothing is not the beginning."""
    models.promote(trained[0])
    models.promote(trained[1])
    models.store.set_branch(
        CommitRef(repo=REPO, commit=models.commit(trained[0])), "production"
    )  # by a person
    models.promote(trained[1])

    assert len(events(models)) == 3
    assert both(models).since == events(models)[1].at
    assert models.agree_on(trained[1])


def test_two_sides_that_disagree_are_told_of(models: Models, trained: list[Version]) -> None:
    """With the command after which they agree."""
    models.promote(trained[0])
    models.source.move_aliases(trained[1], ["production"])  # by a person, and no daemon runs
    answer = both(models)

    by_hand, disagree = answer.problems
    assert "moved by hand" in by_hand.problem
    assert "disagree" in disagree.problem
    assert disagree.hint.startswith(f"syncd promote {trained[1].ref} production ")
    assert (answer.since, answer.by) == (None, None)
    models.promote(trained[1])
    assert both(models).problems == ()


def test_a_production_that_is_not_in_oxen_is_told_of(models: Models) -> None:
    """W&B answers, and the next step is to move it."""
    version = models.source.log("model", {"weights": b"weights"}, aliases=["production"])
    answer = both(models)

    assert answer.version == str(version.ref)
    assert answer.commit is None
    assert [item.hint for item in answer.problems] == [f"syncd backfill {MODEL}"]


def test_what_was_left_half_done_is_told_of_until_it_is_finished(
    models: Models, trained: list[Version]
) -> None:
    """And what came to nothing is told once more when it is."""
    models.promote(trained[0])
    away = ServiceUnavailableError("W&B is away")
    models.source._call = Calls([Fault(method="move_aliases", error=away)])
    with pytest.raises(ServiceUnavailableError):
        models.promote(trained[1])

    assert "half done" in both(models).problems[0].problem
    models.source.move_aliases(trained[0], ["latest"])
    models.source.remove(models.source.version(trained[1].id))
    answer = with_ends(both(models), finish(models.desk))
    assert "came to nothing" in answer.problems[-1].problem
    assert with_ends(both(models), ()).problems == ()


def test_nothing_in_production_is_an_error_with_a_next_step(models: Models) -> None:
    """From every side."""
    models.make()
    runtime = models.moved.runtime
    asked: list[Callable[[], Answer]] = [
        lambda: from_wandb(models.source, SUBJECT),
        lambda: from_oxen(models.store, [], runtime.config, SUBJECT),
        lambda: from_catalog(runtime.catalog.mirror, SUBJECT),
        lambda: both(models),
    ]
    for ask in asked:
        with pytest.raises(NotFoundError) as error:
            ask()
        assert error.value.hint


@pytest.mark.parametrize("more", [{}, {"validation": "cd34"}])
def test_weights_that_were_published_have_the_same_answer(
    models: Models, more: dict[str, str]
) -> None:
    """Born in Oxen, from a pinned commit that W&B has no version of, before W&B numbered them."""
    pinned = CommitRef(repo=RepoRef(namespace="team", repo="own-data"), commit="ab12")
    others = {name: replace(pinned, commit=commit) for name, commit in more.items()}
    config = {
        "dataset_repo": str(pinned.repo),
        "dataset_commit": pinned.commit,
        "oxen": {"pinned": {"dataset": str(pinned), **{n: str(c) for n, c in others.items()}}},
    }
    run = models.source.add_run("train", config=config)
    told = {
        "artifact": {"ref": MODEL, "type": "model"},
        "files": {},
        "inputs": [
            {"artifact": None, "id": None, "type": "dataset", "oxen": str(commit)}
            for commit in (pinned, *others.values())
        ],
        "omitted": {},
        "references": {},
        "run": {"ref": str(run)},
    }
    stored = models.store.put(REPO, [json.dumps(told).encode()])
    commit = models.store.commit(
        REPO,
        branch="main",
        tree=[TreeEntry(path=LINEAGE_PATH, hash=stored.hash, size=stored.size)],
        message=f"model\n\nWandb-Artifact: {MODEL}",
        author=Author(name="ann", email="ann@example.org"),
    )
    version = models.source.log("model", {"w": b"tiny"}, kind="model", run=run)
    url = reference_url("https://data.example", commit, LINEAGE_PATH)
    born = Published(commit=commit, url=url, digest=version.digest)
    models.source.update_metadata(version, born.into({}))
    models.store.set_branch(commit, "wandb/v0")
    models.promote(str(commit))

    runtime = models.moved.runtime
    remember(models.store, runtime.catalog.mirror, events(models))
    answers = [
        from_wandb(models.source, SUBJECT),
        from_oxen(models.store, events(models), runtime.config, SUBJECT),
        from_catalog(runtime.catalog.mirror, SUBJECT),
        both(models),
    ]
    used = tuple(
        Data(artifact="", type="dataset", commit=item) for item in (pinned, *others.values())
    )
    assert {(item.version, item.commit, item.data, item.problems) for item in answers} == {
        (f"{MODEL}:v0", commit, used, ())
    }
    assert models.holder() == f"{MODEL}:v0"
    assert models.branch() == commit.commit


def test_collections_are_found_without_being_named(models: Models) -> None:
    """By the journal, and by W&B where somebody gave the alias by hand, also to an old version."""
    versions = models.make(7)  # each twice: eleven newer versions than the first one
    models.moved.source.move_aliases(versions[0], ["production"])
    models.moved.log_and_move("other", {"weights": b"others"}, kind="model")

    assert located.aliased(models.source, [PROJECT], "production") == [SUBJECT]
    assert subjects(events(models), "production") == []
    models.promote(versions[1])
    assert subjects(events(models), "production") == [SUBJECT]
    asked = models.source.calls["versions"]
    assert located.aliased(models.source, [PROJECT], "nobody's") == []
    assert models.source.calls["versions"] == asked  # the list says that there is none


def take_away(models: Models, alias: str = "production") -> None:
    """A person takes the alias off in W&B."""
    models.source.places.take(("team", "proj", "model"), alias)


def test_an_alias_that_wandb_has_no_more_is_told_of_until_its_branch_is_gone(
    models: Models, trained: list[Version]
) -> None:
    """By accident or on purpose: both ways out are named."""
    models.promote(trained[0])
    take_away(models)
    answer = both(models)

    assert answer.commit == CommitRef(repo=REPO, commit=models.commit(trained[0]))
    [problem] = answer.problems
    assert problem.problem.startswith(f"W&B has no alias 'production' in {MODEL} any more")
    assert f"syncd promote {trained[0].ref} production gives it again" in problem.hint
    assert f"delete the branch production of {REPO}" in problem.hint
    del models.store._repositories[REPO].branches["production"]
    with pytest.raises(NotFoundError):
        both(models)


def test_an_alias_of_a_version_that_is_gone_says_how_to_get_it_back(
    models: Models, trained: list[Version]
) -> None:
    """The whole collection was deleted."""
    models.promote(trained[0])
    commit = models.commit(trained[0])
    for version in list(models.source.versions(Target.parse(MODEL))):
        models.source.expire(version)

    [problem] = both(models).problems
    assert f"`syncd restore {REPO}@{commit}`" in problem.hint


def test_a_collection_that_was_renamed_is_asked_for_by_its_new_name(
    models: Models, trained: list[Version]
) -> None:
    """Its commits lie where they were, and the old name leads nowhere else."""
    models.promote(trained[0])
    models.source.rename("model", "renamed")
    runtime = models.moved.runtime
    new = SUBJECT.replace("model:", "renamed:")
    answer = from_both(runtime.source, runtime.store, events(models), runtime.config, new)

    assert (answer.commit, answer.problems) == (
        CommitRef(repo=REPO, commit=models.commit(trained[0])),
        (),
    )
    with pytest.raises(NotFoundError, match="is called team/proj/renamed by now"):
        both(models)


def test_a_run_that_was_deleted_leaves_its_models_in_production(
    models: Models, trained: list[Version], data: Version
) -> None:
    """The commit says what it used."""
    models.promote(trained[0])
    models.source.forget_run(RunRef.parse("team/proj/runs/train-0"))
    answer = both(models)

    assert (answer.run, answer.problems) == ("team/proj/runs/train-0", ())
    assert [item.commit for item in answer.data] == [models.moved.link(data).commit]


def test_a_fine_tune_is_no_alias(models: Models, trained: list[Version]) -> None:
    """It stands in the same journal, under the repository it learns from."""
    models.promote(trained[0])
    desk = models.desk
    note = noted(Recipe(path="a", base_model="b", script_type="c", training_params={}), "")
    point = Point(version=f"{MODEL}:v0", logged=f"{MODEL}:v0", artifact_id="x")
    begun = Event(
        id="tune",
        kind=Kind.FINE_TUNE,
        subject=str(REPO),
        before=None,
        after=point,
        by="ann",
        at="2026-03-02",
        note=note,
    )
    desk.journal.append(begun)

    assert subjects(events(models), "production") == [SUBJECT]
    assert finish(models.desk) == ()


def test_one_alias_that_is_gone_does_not_keep_the_others_from_being_told() -> None:
    """Where all are asked for; who names one is told that there is none."""

    def ask(name: str) -> Answer:
        if name == "gone":
            raise NotFoundError("nothing has it")
        return Answer(subject=name, version="", reference="", commit=None)

    assert [item.subject for item in answered(ask, ["gone", "there"], [])] == ["there"]
    with pytest.raises(NotFoundError):
        answered(ask, ["gone"], ["gone"])


def test_data_without_a_name_is_told_by_its_commit(models: Models, trained: list[Version]) -> None:
    """Somebody pinned the run to something else afterwards, which W&B has no version of."""
    models.promote(trained[0])
    other = "oxen://team/own-data@ab12"
    models.source.update_config(
        RunRef.parse("team/proj/runs/train-0"), {"oxen": {"pinned": {"validation": other}}}, ()
    )
    [problem] = both(models).problems

    assert problem.problem.endswith(f"than the commit says: {other}")
