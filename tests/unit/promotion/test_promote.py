"""Promote and roll back: both sides move together, whatever fails and whoever interferes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from generated_project import Gate, KilledError, Mishap
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moved_project import MovedProject
from promoted_project import MODEL, REGISTRY, SUBJECT, Models

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.errors import (
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    StoreLockedError,
    SyncdError,
    UsageError,
)
from syncd.promotion.promote import at_home, finish, rollback
from syncd.refs import ArtifactRef, Target
from syncd.testing import Fault, MemoryArtifactSource
from syncd.testing.faults import Calls
from syncd.versions.events import Kind, State


def test_both_sides_move_and_the_journal_says_who_and_when(models: Models) -> None:
    """The alias in W&B, the branch in Oxen, one event that is done."""
    first, second = models.make(2)
    models.promote(first)
    done = models.promote(second)

    assert models.agree_on(second)
    assert done.event is not None
    assert (done.event.by, done.event.state) == ("ann", State.DONE)
    assert [(e.kind, e.after.version) for e in models.events()] == [
        (Kind.PROMOTE, str(first.ref)),
        (Kind.PROMOTE, str(second.ref)),
    ]
    assert models.events()[-1].before == models.events()[0].after


def test_promoting_what_is_there_already_writes_nothing(models: Models) -> None:
    """A repeat is a no-op."""
    [model] = models.make()
    models.promote(model)
    events = models.events()

    assert models.promote(model).event is None
    assert models.events() == events


@pytest.mark.parametrize("name", ["source", "commit", "branch"])
def test_a_version_may_be_named_by_any_of_its_names(models: Models, name: str) -> None:
    """By the one it was logged under, and by its commit: the reference version gets the alias."""
    [model] = models.make()
    link = models.moved.link(model)
    text = {
        "source": link.source_version,
        "commit": str(link.commit),
        "branch": f"{link.commit.repo}@wandb%2Fv0",
    }[name]
    models.promote(text)

    assert models.agree_on(model)


def test_a_version_that_was_never_moved_is_refused(models: Models) -> None:
    """With the next step, and nothing is changed."""
    version = models.source.log("model", {"weights.bin": b"weights"}, kind="model")

    with pytest.raises(NotFoundError, match="is not in Oxen") as error:
        models.promote(version)

    assert f"syncd backfill {MODEL}" in error.value.hint
    assert models.holder() == ""
    assert models.events() == []


@pytest.mark.parametrize("alias", ["latest", "v3", "a/b", "a:b", "a b", ""])
def test_what_is_no_alias_or_is_managed_by_wandb_is_refused(models: Models, alias: str) -> None:
    """Before anything is asked."""
    [model] = models.make()

    with pytest.raises(UsageError):
        models.promote(model, alias)


def test_a_protected_alias_leaves_oxen_as_it_was(models: Models) -> None:
    """W&B refuses: the error says so, and the journal that it failed."""
    first, second = models.make(2)
    models.promote(first)
    models.source.places.protected.add("team/proj:production")

    with pytest.raises(PermanentError, match="protected") as error:
        models.promote(second)

    assert "Nothing was changed in Oxen" in error.value.hint
    assert models.agree_on(first)
    assert models.events()[-1].state is State.FAILED
    assert finish(models.desk) == ()


def test_the_alias_follows_in_every_portfolio_that_has_it(models: Models) -> None:
    """The registry's link, too; where the new version is in none yet, it is linked."""
    first, second = models.make(2)
    models.promote(first)
    models.source.link_to(first, REGISTRY, ["production"])
    models.source.link_to(first, "team/proj/others", ["other"])
    models.promote(second)

    places = {p.collection: {*p.aliases} for p in models.source.memberships(second)}
    assert places == {"model": {"latest", "production"}, "best": {"production"}}
    assert models.source.memberships(first)[1].aliases == ("latest",)

    models.rollback()
    places = {p.collection: {*p.aliases} for p in models.source.memberships(first)}
    assert places["best"] == {"latest", "production"}
    assert models.agree_on(first)


def test_a_registry_that_may_only_be_read_stops_it_before_anything_is_linked(
    models: Models,
) -> None:
    """Neither side has changed."""
    first, second = models.make(2)
    models.promote(first)
    models.source.link_to(first, REGISTRY, ["production"])
    models.source.places.read_only.add("org/wandb-registry-models")

    with pytest.raises(PermanentError, match="may only read"):
        models.promote(second)

    assert models.agree_on(first)
    assert len(models.source.memberships(second)) == 1


# --- half done


@pytest.mark.parametrize("kills", [True, False])
@pytest.mark.parametrize("linked", [True, False])
def test_whatever_call_fails_or_is_the_last_the_next_one_finishes(
    tmp_path: Path, *, kills: bool, linked: bool
) -> None:
    """At every moment of a promotion, on either side: the end state is the undisturbed one."""
    for after in range(200):
        catalog = Catalog(f"sqlite:///{tmp_path}/{after}.db")
        models = Models(MovedProject(catalog))
        first, second = models.make(2)
        models.promote(first)
        if linked:
            models.source.link_to(first, REGISTRY, ["production"])
        gate = Gate(lambda _method: None)
        models.source._call = models.store._call = gate
        try:
            with gate.process(Mishap(after=after, kills=kills)):
                models.promote(second)
        except (KilledError, SyncdError):
            pass
        models.source._call = models.store._call = Calls(())
        intended = [event for event in models.events() if event.open]
        finish(models.desk)

        began = len(models.events()) == 2
        assert models.agree_on(second if began else first)
        assert not [event for event in models.events() if event.open]
        if began:
            assert models.events()[-1].state is State.DONE
            again = models.promote(second)
            assert again.event is None
            if linked:
                assert "production" in models.source.memberships(second)[1].aliases
        else:
            assert not intended
        catalog.close()
        if gate._mishap is not None:
            return  # it would come after the end
    pytest.fail("a promotion never ends")


def test_a_person_who_moved_the_alias_meanwhile_is_not_overruled(models: Models) -> None:
    """What was left half done comes to nothing, and says why."""
    first, second, third = models.make(3)
    models.promote(first)
    fault = Fault(method="move_aliases", error=ServiceUnavailableError("W&B is away"))
    models.source._call = Calls([fault])
    with pytest.raises(ServiceUnavailableError):
        models.promote(second)
    models.source.move_aliases(third, ["production"])
    [event] = finish(models.desk)

    assert event.state is State.OVERTAKEN
    assert str(third.ref) in event.note
    assert models.holder() == str(third.ref)


def test_an_alias_that_a_person_moved_is_written_down_before_it_moves_on(models: Models) -> None:
    """The history has no hole, and rolling back leads to what the person chose."""
    first, second, third = models.make(3)
    models.promote(first)
    models.source.move_aliases(second, ["production"])
    models.promote(third)

    assert [event.kind for event in models.events()] == [Kind.PROMOTE, Kind.MOVED, Kind.PROMOTE]
    models.rollback()
    assert models.agree_on(second)


def test_a_person_who_puts_the_alias_back_after_a_kill_is_not_overruled(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias had moved, the branch had not; what W&B names then is what somebody wants."""
    first, second = models.make(2)
    models.promote(first)

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(models.store, "set_branch", killed)
        with pytest.raises(KilledError):
            models.promote(second)
    assert models.holder() == str(second.ref)
    models.source.move_aliases(models.source.version(first.id), ["production"])

    (ended,) = finish(models.desk, SUBJECT)

    assert ended.state is State.OVERTAKEN
    assert models.agree_on(first)


def test_a_version_that_was_moved_after_it_was_promoted_is_still_the_same(models: Models) -> None:
    """A person promotes what is not in Oxen; the mover comes by; rolling back leads through it."""
    (first,) = models.make()
    models.promote(first)
    unmoved = models.source.log("model", {"weights.bin": b"by hand"}, kind="model")
    models.source.move_aliases(models.source.version(unmoved.id), ["production"])
    (last,) = models.make()
    models.promote(last)
    replaced = models.moved.move(models.source.version(unmoved.id))

    models.rollback()
    assert models.holder() == str(replaced.ref)
    models.rollback()
    assert models.holder() == str(first.ref)


def test_a_mover_that_takes_the_alias_along_does_not_keep_it(models: Models) -> None:
    """It read what the former version has just before that lost the alias, and moved all of it."""
    former = models.source.log("model", {"w": b"weights"}, kind="model", aliases=["production"])
    [model] = models.make()
    models.source.link_to(former, REGISTRY, ["production"])
    made: list[Version] = []

    def mover(method: str) -> None:
        if method == "move_aliases" and not made and models.holder() == str(model.ref):
            made.append(former)
            made[0] = models.moved.move(former)
            places = [p for p in models.source.memberships(made[0]) if p.kind == "portfolio"]
            places = [replace(place, aliases=("production",)) for place in places]
            models.source.move_aliases(made[0], ["production"], places=places)

    models.source._watch = mover
    models.promote(model)

    assert models.agree_on(model)
    places = {p.collection: {*p.aliases} for p in models.source.memberships(model)}
    assert "production" in places["best"]
    assert [event.state for event in models.events()] == [State.DONE]


def test_rolling_back_leads_away_from_a_version_that_was_moved_meanwhile(models: Models) -> None:
    """Under another name it is not another version, to which one could go back."""
    first, second = models.make(2)
    models.promote(first)
    models.promote(second)
    unmoved = models.source.log("model", {"weights.bin": b"by hand"}, kind="model")
    models.source.move_aliases(models.source.version(unmoved.id), ["production"])
    (third,) = models.make()
    models.source.places.protected.add("team/proj:production")
    with pytest.raises(PermanentError):
        models.promote(third)  # refused; the journal has noted the person's move
    models.source.places.protected.clear()
    models.moved.move(models.source.version(unmoved.id))

    models.rollback()
    assert models.holder() == str(second.ref)


def test_a_locked_repository_is_left_to_whoever_holds_it(models: Models) -> None:
    """A running mover is nudged; W&B's alias has moved, and the next call finishes."""
    first, second = models.make(2)
    models.promote(first)
    locked = StoreLockedError("in use by process 7")
    models.store._call = Calls(
        [Fault(method="set_branch", error=locked, at=number) for number in range(1, 30)]
    )
    nudged: list[ArtifactRef] = []
    desk = replace(models.desk, nudge=nudged.append)
    models_desk = property(lambda _self: desk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Models, "desk", models_desk)
        with pytest.raises(StoreLockedError, match="has not yet"):
            models.promote(second)
    models.store._call = Calls(())

    assert models.holder() == str(second.ref)
    assert {str(ref) for ref in nudged} == {str(second.ref)}
    [event] = finish(models.desk)
    assert event.state is State.DONE
    assert models.agree_on(second)


# --- back


def test_repeated_rollbacks_go_further_back(models: Models) -> None:
    """Not to and fro; and there is an end."""
    versions = models.make(3)
    for version in versions:
        models.promote(version)

    models.rollback()
    assert models.agree_on(versions[1])
    models.rollback()
    assert models.agree_on(versions[0])
    with pytest.raises(NotFoundError, match="nothing to go back to"):
        models.rollback()
    assert models.agree_on(versions[0])


def test_a_place_in_a_registry_is_rolled_back_and_asked_for_as_its_collection(
    models: Models,
) -> None:
    """Promoted by that name, it must be possible to get back by it."""
    first, second = models.make(2)
    for version in (first, second):
        models.source.link_to(version, REGISTRY, [])
    for number in (0, 1):
        models.promote(f"{REGISTRY}:v{number}")
    assert at_home(models.source, f"{REGISTRY}:production") == SUBJECT
    rollback(models.desk, REGISTRY, "production")

    assert models.agree_on(first)
    assert models.events()[-1].subject == SUBJECT


def test_what_had_the_alias_before_syncd_knew_it_can_be_gone_back_to(models: Models) -> None:
    """The first promotion remembers what was there."""
    first, second = models.make(2)
    models.source.move_aliases(first, ["production"])
    models.promote(second)
    models.rollback()

    assert models.agree_on(first)


def test_a_former_version_that_is_gone_from_wandb_is_told_of(models: Models) -> None:
    """With the command that brings it back; nothing has moved."""
    first, second = models.make(2)
    models.promote(first)
    models.promote(second)
    commit = models.moved.link(first).commit
    for version in (models.source.version(first.id), _original(models, 0)):
        models.source.remove(version)

    with pytest.raises(NotFoundError, match="has no more") as error:
        models.rollback()

    assert f"syncd restore {commit}" in error.value.hint
    assert models.agree_on(second)


def test_a_former_version_that_was_restored_is_found_again(models: Models) -> None:
    """Its files are another version of W&B's now; its commit is the same."""
    first, second = models.make(2)
    models.promote(first)
    models.promote(second)
    commit = models.commit(first)
    models.moved.reclaim()
    models.moved.restore(str(first.ref))
    models.rollback()

    assert models.branch() == commit
    held = models.source.version(models.events()[-1].after.artifact_id)
    assert "production" in held.aliases
    assert all(not e.is_reference for e in models.source.manifest(held).entries.values())


def _original(models: Models, index: int) -> Version:
    versions = models.source.versions(Target.parse(MODEL))
    return next(version for version in versions if version.index == index)


# --- against a model


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("promote"), st.integers(0, 3)),
            st.tuples(st.just("rollback"), st.just(0)),
            st.tuples(st.just("person"), st.integers(0, 3)),
        ),
        max_size=12,
    )
)
def test_any_sequence_is_that_of_a_stack(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Promoting pushes, rolling back pops, and what a person does by hand is pushed when seen."""
    catalog = Catalog(f"sqlite:///{tmp_path_factory.mktemp('models')}/catalog.db")
    models = Models(MovedProject(catalog, MemoryArtifactSource()))
    versions = models.make(4)
    stack: list[int] = []
    shown: int | None = None  # what W&B's alias is at

    def see() -> None:
        if shown is not None and (not stack or stack[-1] != shown) and (stack or journaled):
            stack.append(shown)

    journaled = False
    for what, number in steps:
        if what == "person":
            models.source.move_aliases(versions[number], ["production"])
            shown = number
            continue
        see()
        if what == "promote":
            if not stack and shown is not None:
                stack.append(shown)  # the first event says what was there
            if not stack or stack[-1] != number:
                stack.append(number)
            models.promote(versions[number])
            journaled, shown = True, number
        elif len(stack) > 1:
            stack.pop()
            models.rollback()
            shown = stack[-1]
        else:
            with pytest.raises(NotFoundError):
                models.rollback()
            continue
        assert models.agree_on(versions[shown])
        assert str(versions[stack[-1]].ref) == models.holder()
    catalog.close()


def test_subjects_are_told_apart(models: Models) -> None:
    """Rolling one alias back leaves the others."""
    first, second = models.make(2)
    for alias in ("production", "staging"):
        models.promote(first, alias)
        models.promote(second, alias)
    models.rollback("staging")

    assert models.agree_on(second)
    assert models.holder("staging") == str(first.ref)
    assert models.branch("staging") == models.commit(first)
    assert SUBJECT in {event.subject for event in models.events()}
