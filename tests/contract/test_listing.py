"""Listing: what tells whether a collection has changed, and what is around its versions."""

from __future__ import annotations

from contract_sources import REGISTRY, World

from syncd.clients.artifacts import Collection
from syncd.refs import Target

PROJECT = Target.parse("team/proj")


def told(world: World, target: Target = PROJECT) -> dict[str, Collection]:
    """The collections by name."""
    return {found.name: found for found in world.source.collections(target)}


def test_collections_are_told_with_their_newest_versions_and_aliases(world: World) -> None:
    """The newest first; only as many as are needed to see that something has changed."""
    ds = [world.log("ds", b"%d" % number, ["latest"]) for number in range(12)]
    model = world.log("model", b"m", ["prod", "latest"])
    found = told(world)

    assert found.keys() == {"ds", "model"}
    assert [version_id for version_id, _ in found["ds"].newest] == [
        version.id for version in reversed(ds[2:])
    ]
    assert found["ds"].newest[0][1] == ("latest",)
    assert found["model"].newest == ((model.id, ("latest", "prod")),)
    assert (found["ds"].entity, found["ds"].project) == ("team", "proj")
    assert told(world, Target.parse("team/proj/model")).keys() == {"model"}


def test_a_moved_alias_and_a_new_version_show(world: World) -> None:
    """Each of them alone."""
    first = world.log("ds", b"1", ["latest"])
    states = [told(world)["ds"]]
    world.source.move_aliases(first, ["best"])
    states.append(told(world)["ds"])
    world.log("ds", b"2")
    states.append(told(world)["ds"])

    assert len({state.newest for state in states}) == 3
    assert len({state.id for state in states}) == 1


def test_aliases_on_older_versions_are_named_and_where_they_are_is_told(world: World) -> None:
    """Of many collections at a time, also where there are very many; the versions not."""
    older = [world.log("ds", b"1", ["prod", "best"]), world.log("ds", b"2", ["odd name+%$é"])]
    many = [f"epoch-{number}" for number in range(1, 131)]
    crowd = world.log("crowd", b"c", many)
    for name in ("ds", "crowd"):
        for number in range(10):
            world.log(name, b"%d newer" % number, ["latest"])
    world.log("model", b"m", ["prod"])
    found = told(world)

    assert (found["ds"].elsewhere, found["ds"].crowded) == (("best", "odd name+%$é", "prod"), False)
    assert (found["model"].elsewhere, found["model"].crowded) == ((), False)
    assert found["crowd"].crowded
    assert {*found["crowd"].elsewhere} < {*many}
    assert world.source.pointed([found[name] for name in ("ds", "model", "crowd")]) == [
        {"prod": older[0].id, "best": older[0].id, "odd name+%$é": older[1].id},
        {},
        dict.fromkeys(many, crowd.id),
    ]
    world.source.move_aliases(older[1], ["prod"])
    assert told(world)["ds"] == found["ds"]
    assert (world.source.pointed([found["ds"]]) or [{}])[0]["prod"] == older[1].id


def test_a_collection_lists_its_versions_in_order(world: World) -> None:
    """As the listing of a project has them."""
    for number in range(3):
        world.log("ds", b"%d" % number)
    listed = list(world.source.versions_of(told(world)["ds"]))

    assert listed == list(world.source.versions(Target.parse("team/proj/ds")))
    assert [version.index for version in listed] == [0, 1, 2]


def test_a_version_comes_with_its_manifest(world: World) -> None:
    """The same that each alone gives."""
    logged = world.log("ds", b"1", ["latest"])
    version, manifest = world.source.with_manifest(logged.id)

    assert version == world.source.version(logged.id)
    assert manifest == world.source.manifest(version)
    assert list(manifest.entries) == ["f"]


def test_what_is_around_versions_is_what_each_says_by_itself(world: World) -> None:
    """Its places and the runs that used it."""
    one, two = world.log("ds", b"1"), world.log("ds", b"2", ["latest"])
    world.link(one, f"{REGISTRY}/best", ["prod"])
    assert two.run is not None
    world.source.record_use(two.run, one)
    found = {item.version_id: item for item in world.source.surroundings([two, one])}

    assert found.keys() == {one.id, two.id}
    for version in (one, two):
        around = found[version.id]
        assert set(around.memberships) == set(world.source.memberships(version))
        assert [run for run, _ in around.uses] == list(world.source.consumers(version))
    assert [place.name for place in found[one.id].links] == [f"{REGISTRY}/best"]


def test_automations_of_nobody_are_no_list(world: World) -> None:
    """An entity without any has an empty one."""
    assert list(world.source.automations("team") or []) == []
