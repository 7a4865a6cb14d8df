"""Memberships: where W&B holds a version is read whole, and changed without a moment in between."""

from __future__ import annotations

import pytest
from contract_sources import REGISTRY, World

from syncd.clients.protocols import Membership, Version
from syncd.errors import PermanentError
from syncd.refs import RunRef

SHELF = "team/proj/shelf"
BEST = f"{REGISTRY}/best"


def places(world: World, version: Version) -> dict[str, Membership]:
    """A version's memberships by the collection's name."""
    return {place.name: place for place in world.source.memberships(version)}


def aliases(world: World, version: Version) -> dict[str, set[str]]:
    """Its aliases in each collection."""
    return {name: set(place.aliases) for name, place in places(world, version).items()}


def test_a_version_says_which_collections_hold_it(world: World) -> None:
    """Each with its own number, aliases, latest and newest versions."""
    one, two = world.log("ds", b"1", ["first"]), world.log("ds", b"2", ["latest"])
    for version in (two, one):
        world.link(version, SHELF, ["gold"] if version == two else [])
    world.link(one, BEST, ["prod"])
    found = places(world, one)

    assert set(found) == {"team/proj/ds", SHELF, BEST}
    ds, shelf, best = found["team/proj/ds"], found[SHELF], found[BEST]
    assert (ds.kind, ds.version_index, ds.aliases) == ("sequence", 0, ("first",))
    assert (ds.latest, ds.newest) == (two.id, (two.id, one.id))
    assert (shelf.kind, shelf.version_index, shelf.aliases) == ("portfolio", 1, ("latest",))
    assert (shelf.latest, shelf.newest) == (one.id, (one.id, two.id))
    assert set(best.aliases) == {"latest", "prod"}
    assert [place.is_registry for place in (ds, shelf, best)] == [False, False, True]
    assert not any(place.read_only for place in found.values())
    assert len({place.collection_id for place in found.values()}) == 3


def test_a_standing_is_the_version_with_its_places_and_consumers(world: World) -> None:
    """What three requests would tell, as of one moment."""
    one = world.log("ds", b"1", ["latest"])
    world.link(one, SHELF)
    maker = RunRef(entity="team", project="proj", run_id="maker")
    world.source.record_use(maker, one)
    standing = world.source.standing(one.id)

    assert standing.version == world.source.version(one.id)
    assert standing.memberships == tuple(world.source.memberships(one))
    assert list(standing.consumers) == world.source.consumers(one) == [maker]
    [shelf] = standing.links
    assert (shelf.name, standing.place(shelf.collection_id)) == (SHELF, shelf)
    assert standing.place("none") is None
    with pytest.raises(PermanentError):
        world.source.standing("QXJ0aWZhY3Q6OTk=")


def test_a_link_leaves_latest_where_it_is(world: World) -> None:
    """W&B would give it to the newest link."""
    one, two, three = (world.log("ds", text, [text.decode()]) for text in (b"1", b"2", b"3"))
    world.link(one, SHELF)
    world.link(two, SHELF, ["gold"])
    made = world.source.link(three, places(world, one)[SHELF], ["silver"])

    assert (made.version_index, made.collection_id) == (2, places(world, one)[SHELF].collection_id)
    assert made.newest == (three.id, two.id, one.id)
    assert aliases(world, three) == {"team/proj/ds": {"3"}, SHELF: {"silver"}}
    assert aliases(world, two)[SHELF] == {"gold", "latest"}
    assert places(world, three)[SHELF].latest == two.id


def test_a_link_takes_the_aliases_it_is_given(world: World) -> None:
    """`latest` like any other."""
    one, two = world.log("ds", b"1"), world.log("ds", b"2")
    world.link(one, SHELF, ["gold"])
    world.source.link(two, places(world, one)[SHELF], ["latest", "gold"])

    assert aliases(world, one)[SHELF] == set()
    assert aliases(world, two)[SHELF] == {"latest", "gold"}


def test_where_nobody_is_latest_nobody_becomes_it(world: World) -> None:
    """The newest link was taken out."""
    one, two, three = (world.log("ds", text) for text in (b"1", b"2", b"3"))
    world.link(one, SHELF)
    world.link(two, SHELF)
    world.source.unlink(two, places(world, two)[SHELF])
    shelf = places(world, one)[SHELF]
    assert (shelf.latest, shelf.aliases) == ("", ())
    world.source.link(three, shelf)

    assert aliases(world, three)[SHELF] == set()
    assert places(world, three)[SHELF].latest == ""


def test_linking_again_changes_no_more_than_the_aliases(world: World) -> None:
    """A repeat after a lost answer."""
    one, two = world.log("ds", b"1"), world.log("ds", b"2")
    world.link(one, SHELF)
    shelf = places(world, one)[SHELF]
    first = world.source.link(two, shelf)
    again = world.source.link(two, shelf)

    assert again.version_index == first.version_index
    assert aliases(world, one)[SHELF] == {"latest"}


def test_aliases_move_in_all_collections_at_once(world: World) -> None:
    """The collection's own and the portfolios'."""
    one, two = world.log("ds", b"1", ["latest", "x"]), world.log("ds", b"2")
    for path in (SHELF, BEST):
        world.link(one, path, ["prod"])
        world.source.link(two, places(world, one)[path])
    held = [place for place in places(world, one).values() if place.kind == "portfolio"]
    world.source.move_aliases(two, ["latest"], places=held)

    assert aliases(world, one) == {"team/proj/ds": {"x"}, SHELF: set(), BEST: set()}
    moved = {"latest", "prod"}
    assert aliases(world, two) == {"team/proj/ds": {"latest"}, SHELF: moved, BEST: moved}


def test_one_refused_alias_leaves_all_where_they_are(world: World) -> None:
    """Nothing is half done."""
    one, two = world.log("ds", b"1", ["latest", "prod"]), world.log("ds", b"2")
    world.link(one, SHELF)
    world.source.link(two, places(world, one)[SHELF])
    before = aliases(world, one), aliases(world, two)
    world.protect("team/proj", "prod")
    with pytest.raises(PermanentError, match="prod"):
        world.source.move_aliases(two, ["latest", "prod"], places=[places(world, one)[SHELF]])
    with pytest.raises(PermanentError, match="prod"):
        world.source.move_aliases(one, ["prod"])  # not even where it is

    assert (aliases(world, one), aliases(world, two)) == before


def test_a_registry_that_may_only_be_read_says_so_and_stays(world: World) -> None:
    """A viewer's key."""
    one, two = world.log("ds", b"1", ["latest"]), world.log("ds", b"2")
    world.link(one, BEST, ["prod"])
    world.close(REGISTRY)
    best = places(world, one)[BEST]
    assert best.read_only
    with pytest.raises(PermanentError, match="permission"):
        world.source.link(two, best)
    with pytest.raises(PermanentError, match="permission"):
        world.source.unlink(one, best)

    assert places(world, one)[BEST] == best
    assert set(places(world, two)) == {"team/proj/ds"}


def test_a_link_that_is_taken_out_takes_its_aliases_along_and_no_other(world: World) -> None:
    """The version stays where it was logged."""
    one, two = world.log("ds", b"1", ["latest"]), world.log("ds", b"2")
    world.link(two, SHELF, ["gold"])
    world.link(one, SHELF, ["old"])
    world.source.unlink(one, places(world, one)[SHELF])

    assert aliases(world, one) == {"team/proj/ds": {"latest"}}
    assert aliases(world, two)[SHELF] == {"gold"}
    world.source.unlink(one, places(world, two)[SHELF])  # a repeat after a lost answer
    assert aliases(world, two)[SHELF] == {"gold"}
