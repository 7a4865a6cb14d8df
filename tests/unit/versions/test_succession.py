"""Succession: all that points at a version comes to point at its replacement, at every moment alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from moved_project import MovedProject

from syncd.clients.artifacts import Version
from syncd.entry import Entry
from syncd.errors import PermanentError, ServiceUnavailableError
from syncd.manifest import Manifest
from syncd.refs import CommitRef, RunRef, Target
from syncd.replacements import Replacement, replacement_of
from syncd.testing import Fault, MemoryArtifactSource
from syncd.versions.succession import advance, check_rights, follow

SHELF = "team/proj/shelf"
BEST = "org/wandb-registry-models/best"
KILL = ServiceUnavailableError("killed here")
CHANGES = {"link", "unlink", "move_aliases", "record_use"}
Happening = Callable[["Scene"], None]


class Scene:
    """A version with all that can point at it, between an older and a newer one; and what happens.

    Args:
        latest: of which of the three `latest` is, in the collection and in the portfolios.
        race: what somebody does while the version is replaced.
        at: right before which call; a method and the how manieth call of it.
        faults: calls that fail.
    """

    def __init__(
        self,
        *,
        latest: int = 2,
        race: Happening | None = None,
        at: tuple[str, int] | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.made: list[str] = []  # methods of changes
        self.calls: list[tuple[str, int]] = []
        self.watch: Callable[[], None] = lambda: None
        self._race, self._at, self._begun = race, at, False
        self.source = source = MemoryArtifactSource(
            faults=faults, watch=self._changed, before=self._about_to
        )
        run = source.add_run("maker")
        versions = [source.log("ds", {"a": data}, run=run) for data in (b"1", b"2", b"3")]
        for version in versions:
            source.link_to(version, SHELF)
            source.link_to(version, BEST)
        older, self.old, _ = versions
        source.places.give(versions[latest - 1].id, ("team", "proj", "ds"), ["latest"])
        for place, alias in (
            (("team", "proj", "shelf"), "gold"),
            (("org", "wandb-registry-models", "best"), "prod"),
        ):
            source.places.give(versions[latest - 1].id, place, ["latest"])
            source.places.give(self.old.id, place, [alias])
        source.places.give(self.old.id, ("team", "proj", "ds"), ["best", "fine"])
        source.places.give(older.id, ("team", "proj", "ds"), ["first"])
        source.record_use(source.add_run("user"), self.old)
        self.new = replaced(source, self.old)

    def replace(self, *, fresh: bool = False) -> None:
        """What the replace stage does with a version that has been logged."""
        self._begun = True
        check_rights(self.source, self.source.standing(self.old.id))
        advance(self.source, self.old.id, self.new, nullcontext(), fresh=fresh)
        follow(self.source, self.old.id, self.new.id, nullcontext())

    def aliases(self) -> dict[str, str]:
        """For each alias of each collection the id of the version whose content it names."""
        found = {}
        for version in self.source.versions(Target.parse("team/proj")):
            link = replacement_of(version.metadata, version.digest)
            content = link.source_artifact_id if link else version.id
            for place in self.source.places.memberships(version.id):
                for alias in place.aliases:
                    found[f"{place.name}:{alias}"] = content
        return found

    def holders(self) -> dict[str, str]:
        """For each alias of each collection the id of the version that has it."""
        return {
            f"{place.name}:{alias}": version.id
            for version in self.source.versions(Target.parse("team/proj"))
            for place in self.source.places.memberships(version.id)
            for alias in place.aliases
        }

    def links(self, version: Version) -> set[str]:
        """Where a version is linked."""
        held = self.source.places.memberships(version.id)
        return {place.name for place in held if place.kind == "portfolio"}

    def state(self) -> list[Any]:
        """All that W&B shows."""
        versions = list(self.source.versions(Target.parse("team/proj")))
        return [
            (
                version,
                [(p.name, p.version_index, set(p.aliases)) for p in held],
                self.source.consumers(version),
            )
            for version in versions
            for held in [self.source.places.memberships(version.id)]
        ]

    def _changed(self, method: str) -> None:
        if self._begun:
            self.made.append(method)
            self.watch()

    def _about_to(self, method: str, count: int) -> None:
        if not self._begun or method in {"versions", "consumers"}:
            return
        self.calls.append((method, count))
        if self._race and (method, count) == self._at:
            race, self._race = self._race, None
            race(self)


def replaced(source: MemoryArtifactSource, old: Version) -> Version:
    """A replacement as the replace stage logs it."""
    entry = Entry(path="a", digest=f"of {old.digest}", size=1, ref=f"https://data.example/{old.id}")
    manifest = Manifest(entries={"a": entry})
    link = Replacement(
        commit=CommitRef.parse("oxen://ns/repo@" + "1" * 32),
        url="https://data.example/lineage",
        source_version=str(old.ref),
        source_artifact_id=old.id,
        source_digest=old.digest,
        source_created_at=old.created_at,
        moved_files=1,
        moved_bytes=1,
        digest=manifest.digest(),
    )
    return source.log_replacement(old, manifest, link.into({}))


def every_call() -> list[tuple[str, int]]:
    """Each call that replacing makes."""
    scene = Scene()
    scene.replace(fresh=True)
    assert {method for method, _ in scene.calls} >= CHANGES
    return scene.calls


# --- the end, and every moment


@pytest.mark.parametrize("latest", [1, 2, 3])
def test_everything_follows_and_each_alias_names_the_same_content_at_every_moment(
    latest: int,
) -> None:
    """Whoever is `latest`: an older version, this one or a newer one."""
    scene = Scene(latest=latest)
    before, held = scene.aliases(), scene.holders()
    moments = []

    def look() -> None:
        moments.append(scene.aliases())
        assert scene.links(scene.old) | scene.links(scene.new) == {SHELF, BEST}

    scene.watch = look
    scene.replace(fresh=True)

    assert all(moment == before for moment in moments)
    assert len(moments) == 7  # rights, two links, aliases, two links, a consumer
    mine = {name for name, holder in held.items() if holder == scene.old.id}
    assert scene.holders() == held | dict.fromkeys(mine, scene.new.id)
    assert (scene.links(scene.old), scene.links(scene.new)) == (set(), {SHELF, BEST})
    users = [RunRef(entity="team", project="proj", run_id="user")]
    assert scene.source.consumers(scene.new) == scene.source.consumers(scene.old) == users


def test_a_portfolio_in_which_nobody_is_latest_stays_so() -> None:
    """The newest link was taken out."""
    source = MemoryArtifactSource()
    one, two = source.log("ds", {"a": b"1"}), source.log("ds", {"a": b"2"})
    source.link_to(one, SHELF)
    source.link_to(two, SHELF)
    [shelf] = source.standing(two.id).links
    source.unlink(two, shelf)
    made = replaced(source, one)
    advance(source, one.id, made, nullcontext(), fresh=True)

    [shelf] = source.standing(made.id).links
    assert (shelf.aliases, shelf.latest) == ((), "")


def test_what_points_at_nothing_costs_one_request() -> None:
    """No alias, no link, no consumer."""
    source = MemoryArtifactSource()
    old = source.log("ds", {"a": b"1"}, aliases=[])
    made = replaced(source, old)
    before = sum(source.calls.values())
    advance(source, old.id, made, nullcontext(), fresh=True)

    assert sum(source.calls.values()) - before == 1


def test_portfolios_change_under_the_lock_and_nothing_else_waits_for_it() -> None:
    """Versions of many collections meet in a portfolio."""
    inside: list[str] = []
    source = MemoryArtifactSource(watch=lambda method: inside.append(f"{method} {held}"))
    held = False

    class Lock(nullcontext[None]):
        def __enter__(self) -> None:
            nonlocal held
            held = True

        def __exit__(self, *_: object) -> None:
            nonlocal held
            held = False

    for name, links in (("ds", [SHELF]), ("other", [])):
        old = source.log(name, {"a": b"1"})
        for path in links:
            source.link_to(old, path)
        made = replaced(source, old)
        inside.clear()
        advance(source, old.id, made, Lock(), fresh=True)
        assert inside == (
            ["link True", "move_aliases True", "unlink True"] if links else ["move_aliases False"]
        )


# --- cut off


def faults() -> Iterator[Fault]:
    """One for each call, before and after its effect."""
    for method, at in every_call():
        yield Fault(method=method, error=KILL, at=at)
        if method in CHANGES:
            yield Fault(method=method, error=KILL, at=at, late=True)


def test_killed_at_any_call_a_repeat_ends_in_the_same_state() -> None:
    """As if nothing had happened; and in between each alias names what it did."""
    calm = Scene()
    before = calm.aliases()
    calm.replace(fresh=True)
    expected = calm.state()

    for fault in faults():
        scene = Scene(faults=(fault,))
        with pytest.raises(ServiceUnavailableError):
            scene.replace(fresh=True)
        assert scene.aliases() == before, fault
        scene.replace()

        assert scene.state() == expected, fault
    calm.made.clear()
    calm.replace()
    assert calm.made == []


def test_what_is_linked_is_not_linked_again() -> None:
    """A server may refuse to link a version where it is."""
    scene = Scene(faults=(Fault(method="move_aliases", error=KILL, at=2),))
    with pytest.raises(ServiceUnavailableError):
        scene.replace(fresh=True)
    scene.replace()

    assert scene.made.count("link") == 2


# --- meanwhile


def logs_newer(scene: Scene) -> None:
    """A training run goes on."""
    scene.source.log("ds", {"a": b"newest"}, aliases=["latest"])


def links_newer(scene: Scene) -> None:
    """Somebody links another version."""
    version = scene.source.log("else", {"a": b"linked"})
    scene.source.link_to(version, SHELF)


def gives_alias(scene: Scene) -> None:
    """Somebody promotes the old version, which may be without aliases by then."""
    scene.source.places.give(scene.old.id, ("team", "proj", "ds"), ["chosen"])


def gives_alias_to_link(scene: Scene) -> None:
    """Somebody promotes the old version in a portfolio, which it may have left by then."""
    place = ("team", "proj", "shelf")
    if SHELF in scene.links(scene.old):
        scene.source.places.give(scene.old.id, place, ["chosen"])
    else:
        scene.source.places.give(scene.new.id, place, ["chosen"])


def links_old(scene: Scene) -> None:
    """Somebody links the old version to one more portfolio."""
    scene.source.link_to(scene.old, "team/proj/other", ["new"])


def links_old_behind_another(scene: Scene) -> None:
    """Somebody does, and then links a newer one there, which takes `latest`."""
    scene.source.link_to(scene.old, "team/proj/other")
    scene.source.link_to(scene.source.log("else", {"a": b"linked"}), "team/proj/other")


def uses_old(scene: Scene) -> None:
    """A run starts on the old version."""
    run = scene.source.add_run("late")
    scene.source._runs[run].inputs.append(scene.old.id)


def test_a_newer_version_keeps_latest_whenever_it_is_logged() -> None:
    """Before any call; the move may take it for as long as it takes to see that."""
    for at in every_call():
        scene = Scene(race=logs_newer, at=at)
        scene.replace(fresh=True)
        newest = list(scene.source.versions(Target.parse("team/proj/ds")))[-1]

        assert newest.aliases == ("latest",), at
        assert set(scene.source.version(scene.new.id).aliases) == {"best", "fine"}, at


def replaced_without_links(at: int) -> tuple[MemoryArtifactSource, Version, str]:
    """A version that nothing links is replaced; somebody logs a newer one before a call.

    Returns:
        The source, the replacement, and the method of that call; empty when there was none.
    """
    happened: list[str] = []

    def before(method: str, _count: int) -> None:
        if begun and not happened and method != "versions":
            calls.append(method)
            if len(calls) == at:
                happened.append(method)
                source.log("ds", {"a": b"newest"}, aliases=["latest"])

    calls: list[str] = []
    begun = False
    source = MemoryArtifactSource(before=before)
    old = source.log("ds", {"a": b"1"}, aliases=["latest", "best"])
    new = replaced(source, old)
    begun = True
    advance(source, old.id, new, nullcontext(), fresh=True)
    follow(source, old.id, new.id, nullcontext())
    return source, new, "".join(happened)


def test_a_newer_version_keeps_latest_though_nothing_is_linked() -> None:
    """Without portfolios the aliases move in another way, and meet the same moment."""
    for at in range(1, 100):
        source, new, happened = replaced_without_links(at)
        if not happened:
            assert at > 3
            return
        newest = list(source.versions(Target.parse("team/proj/ds")))[-1]
        assert newest.aliases == ("latest",), (at, happened)
        assert source.version(new.id).aliases == ("best",), (at, happened)
    pytest.fail("a replacement never ends")


def test_a_newer_version_keeps_latest_when_we_are_killed_right_after_taking_it() -> None:
    """Whatever call is the last one of the first attempt."""
    for at in every_call():
        for fault in faults():
            scene = Scene(race=logs_newer, at=at, faults=(fault,))
            try:
                scene.replace(fresh=True)
            except ServiceUnavailableError:
                scene.replace()
            newest = list(scene.source.versions(Target.parse("team/proj/ds")))[-1]
            if newest.ref.alias != "v4":  # killed before it was logged
                continue
            assert newest.aliases == ("latest",), (at, fault)


def test_a_newer_link_keeps_latest_whenever_it_is_made() -> None:
    """The same in a portfolio, where W&B gives `latest` to each new link."""
    for latest in (2, 3):
        for at in every_call():
            scene = Scene(latest=latest, race=links_newer, at=at)
            scene.replace(fresh=True)
            [linked] = scene.source.versions(Target.parse("team/proj/else"))
            [place] = scene.source.standing(linked.id).links

            assert place.aliases == ("latest",), (latest, at)
            [shelf] = [p for p in scene.source.standing(scene.new.id).links if p.name == SHELF]
            assert shelf.aliases == ("gold",), (latest, at)


def test_an_alias_that_a_link_gets_meanwhile_follows() -> None:
    """Before any call but the one that takes out the link: W&B has no unlinking on condition."""
    calls = every_call()
    out = next(at for at in calls if at[0] == "unlink")
    for at in calls:
        scene = Scene(race=gives_alias_to_link, at=at)
        scene.replace(fresh=True)
        [shelf] = [
            place for place in scene.source.standing(scene.new.id).links if place.name == SHELF
        ]

        assert ("chosen" in shelf.aliases) is (at != out), at


def test_a_younger_replacement_is_no_newer_version() -> None:
    """An older version was replaced between two attempts; it never had `latest`."""
    scene = Scene(faults=(Fault(method="record_use", error=KILL, at=2),))
    with pytest.raises(ServiceUnavailableError):
        scene.replace(fresh=True)
    older = next(scene.source.versions(Target.parse("team/proj/ds")))
    younger = replaced(scene.source, older)
    assert "latest" in scene.source.version(scene.new.id).aliases
    scene.replace()

    assert "latest" in scene.source.version(scene.new.id).aliases
    assert scene.source.version(younger.id).aliases == ()


@pytest.mark.parametrize("race", [gives_alias, links_old, links_old_behind_another, uses_old])
def test_what_comes_to_the_old_version_meanwhile_follows(race: Happening) -> None:
    """Before any call but those after which nothing is asked any more."""
    calls = every_call()
    for at in calls[:-1]:
        scene = Scene(race=race, at=at)
        scene.replace(fresh=True)
        if at == calls[-2]:  # the old version has been read for the last time but this one
            scene.replace()
        old, new = scene.source.standing(scene.old.id), scene.source.standing(scene.new.id)

        assert (old.version.aliases, old.links) == ((), ()), at
        assert set(old.consumers) <= set(new.consumers), at
        if race is gives_alias:
            assert "chosen" in new.version.aliases, at
        if race is links_old_behind_another:
            assert "team/proj/other" in scene.links(scene.new), at
        if race is links_old:
            [other] = [place for place in new.links if place.name == "team/proj/other"]
            assert set(other.aliases) == {"new", "latest"}, at


def test_a_version_that_never_stands_still_is_left_for_later() -> None:
    """Every alias still names what it did."""
    scene = Scene()
    scene.watch = lambda: gives_alias(scene)
    before = scene.aliases()
    with pytest.raises(PermanentError, match="still has alias 'chosen'") as caught:
        scene.replace(fresh=True)

    assert "retry" in caught.value.hint
    assert scene.aliases() == before | {"team/proj/ds:chosen": scene.old.id}


# --- what may not be done


@pytest.mark.parametrize(
    ("forbid", "names"),
    [
        (lambda s: s.source.places.read_only.add("team/proj"), "team/proj"),
        (lambda s: s.source.places.read_only.add("org/wandb-registry-models"), "models/best"),
        (lambda s: s.source.places.protected.add("team/proj:best"), "best, fine, gold, prod"),
        (lambda s: s.source.places.protected.add("org/wandb-registry-models:prod"), "prod"),
        (
            lambda s: (
                s.source.record_use(s.source.add_run("there", project="shut"), s.old),
                s.source.places.read_only.add("team/shut"),
            ),
            "team/shut/runs/there",
        ),
    ],
)
def test_missing_rights_are_found_before_anything_is_changed(
    forbid: Callable[[Scene], object], names: str
) -> None:
    """A replacement without its aliases would be worse than none."""
    scene = Scene()
    forbid(scene)
    before = scene.state()
    with pytest.raises(PermanentError, match=names) as caught:
        check_rights(scene.source, scene.source.standing(scene.old.id))

    assert scene.state() == before
    assert "Nothing was changed" in caught.value.hint


def test_latest_is_not_asked_for() -> None:
    """Asking gives it to who had it, and somebody may log a newer version at that moment."""
    source = MemoryArtifactSource()
    old = source.log("ds", {"a": b"1"})
    source.link_to(old, SHELF)
    check_rights(source, source.standing(old.id))

    assert source.calls["move_aliases"] == 0


@pytest.mark.parametrize(
    "refusal", ["team/proj:latest", "team/proj:gold", "org/wandb-registry-models:latest"]
)
def test_what_is_refused_on_the_way_leaves_all_aliases_and_is_completed_later(refusal: str) -> None:
    """An admin protected an alias a moment too late."""
    calm = Scene()
    calm.replace(fresh=True)
    for at in every_call():
        scene = Scene(race=lambda s: s.source.places.protected.add(refusal), at=at)
        before = scene.aliases()
        try:
            scene.replace(fresh=True)
        except PermanentError:
            assert scene.aliases() == before, at
            scene.source.places.protected.clear()
            scene.replace()

        assert scene.aliases() == before, at
        assert scene.state() == calm.state(), at


# --- found by the generated project, or on the way to it


def test_what_was_restored_without_latest_is_not_taken_for_somebody_who_lost_it(
    moved: MovedProject,
) -> None:
    """It is younger than all others, and its content is not: a repeat after a kill looks closely."""
    moved.log_and_move("ds", {"big": b"payload 1"})
    newest, made = moved.log_and_move("ds", {"big": b"payload 2"})
    moved.reclaim(Target.parse("team/proj/ds:v0"))
    moved.restore()  # the first as v4
    moved.move(newest)
    advance(moved.source, newest.id, moved.source.version(made.id), nullcontext())

    assert "latest" in moved.source.version(made.id).aliases
