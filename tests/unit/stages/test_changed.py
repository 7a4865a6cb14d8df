"""Changed: a look for what is new reads only what may have something new, and misses nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd.catalog.catalog import Catalog, State
from syncd.clients.artifacts import Version
from syncd.config import Config
from syncd.config.model import Select
from syncd.manifest import Entry, Manifest, manifest_digest
from syncd.refs import CollectionName, CommitRef, RepoRef, Target
from syncd.replacements import Replacement, replacement_of
from syncd.stages.discover import Discovered, changed
from syncd.stages.plan import DECISIONS, fingerprint
from syncd.testing import MemoryArtifactSource
from syncd.versions import whereabouts

PROJECT = Target.parse("team/proj")
COMMIT = CommitRef(repo=RepoRef(namespace="team", repo="proj-ds"), commit="12ab")


class Looker:
    """A project, and somebody who looks at it again and again.

    Args:
        database: of the catalog.
    """

    def __init__(self, database: str) -> None:
        self.source = MemoryArtifactSource()
        self.catalog = Catalog(database)

    def moved(self, name: str, data: bytes = b"1", *, complete: bool = True) -> Version:
        """A version that is replaced."""
        version = self.source.log(name, {"a": data})
        entries = {"a": Entry(path="a", digest=f"etag {version.index}", ref="http://x/a")}
        link = Replacement(
            commit=COMMIT,
            url="http://x",
            source_version=str(version.ref),
            source_artifact_id=version.id,
            source_digest=version.digest,
            source_created_at=version.created_at,
            moved_files=1,
            moved_bytes=1,
            digest=manifest_digest(entries.values()),
            complete=complete,
        )
        manifest = Manifest(entries=entries)
        return self.source.log_replacement(version, manifest, link.into(version.metadata))

    def items(
        self,
        *,
        decided: str = "f",
        again: int = 0,
        under_way: dict[CollectionName, str] | None = None,
        turns: dict[Target, CollectionName] | None = None,
        hinted: Collection[CollectionName] = (),
        **select: Any,
    ) -> Iterator[Discovered]:
        """What a look yields."""
        chosen, looks = Select.model_validate(select), self.catalog.looks
        return changed(
            self.source,
            looks,
            [PROJECT],
            chosen,
            decided,
            again=again,
            under_way=under_way,
            turns=turns,
            hinted=hinted,
        )

    def old(self, name: str, *aliases: str) -> list[Version]:
        """Replaced versions, the first two of which are older than the newest; the first has the aliases."""
        made = [self.moved(name, bytes([number])) for number in range(7)]
        self.source.move_aliases(made[0], aliases)
        return made

    def look(self, **options: Any) -> list[str]:
        """The versions a look tells of, those that are left alone included."""
        return [
            f"{item.version.ref.collection}:{item.version.ref.alias}"
            for item in self.items(**options)
        ]


@pytest.fixture
def here(database: str) -> Iterator[Looker]:
    """An empty project."""
    made = Looker(database)
    yield made
    made.catalog.close()


def test_a_collection_without_news_is_not_read(here: Looker) -> None:
    """Once everything in it was found replaced."""
    here.moved("ds")
    first, second = here.look(), here.look()

    assert (first, second) == (["ds:v0"], [])
    assert here.source.calls["versions"] == 1


def test_only_the_collection_with_a_new_version_is_read(here: Looker) -> None:
    """And it stays awake until that one is replaced, too."""
    here.moved("ds")
    here.moved("model")
    here.look()
    new = here.source.log("ds", {"a": b"new"})
    read = here.source.calls["versions"]

    assert here.look() == ["ds:v0", f"ds:{new.ref.alias}"]
    assert here.look() == ["ds:v0", f"ds:{new.ref.alias}"]
    assert here.source.calls["versions"] == read + 2


def test_a_collection_whose_versions_are_on_their_way_is_read_again_when_it_has_news(
    here: Looker,
) -> None:
    """Thousands may wait for days: a look at each poll would ask for all of them every few minutes."""
    here.source.log("ds", {"a": b"1"})
    here.source.log("model", {"a": b"1"})
    under_way: dict[CollectionName, str] = {}
    assert here.look(under_way=under_way) == ["ds:v0", "model:v0"]
    assert here.look(under_way=under_way) == []
    here.source.log("ds", {"a": b"2"})
    assert here.look(under_way=under_way) == ["ds:v0", "ds:v1"]
    assert here.look(under_way=under_way) == []

    del under_way["team", "proj", "model"]  # it ended
    assert here.look(under_way=under_way) == ["model:v0"]


def test_an_alias_that_moves_wakes_its_collection(here: Looker) -> None:
    """Oxen's branches follow it."""
    made = here.moved("ds")
    here.look()
    here.source.move_aliases(made, ["best"])

    assert here.look() == ["ds:v0"]
    assert here.look() == []


def test_an_alias_that_moves_between_old_versions_wakes_its_collection(here: Looker) -> None:
    """And no other, with nothing read while nothing moves."""
    ds, model = here.old("ds", "production"), here.old("model", "production", "best")
    here.look()
    read, asked = here.source.calls["versions"], here.source.calls["pointed"]
    assert [here.look() for _ in range(2)] == [[], []]
    assert here.source.calls["versions"] == read
    assert here.source.calls["pointed"] == asked + 2
    here.source.move_aliases(model[1], ["production"])

    assert here.look() == [f"model:v{2 * number}" for number in range(7)]
    assert here.look() == []
    here.source.move_aliases(ds[1], ["production"])
    here.source.move_aliases(ds[0], ["production"])
    assert here.look() == []  # it is where it was


def test_an_alias_given_to_an_old_version_or_taken_off_it_wakes_its_collection(
    here: Looker,
) -> None:
    """Whatever W&B tells of where aliases are: the list names them."""
    ds = here.old("ds", "best")
    here.source.secretive = True
    here.look()
    here.source.move_aliases(ds[1], ["production"])
    assert here.look() != []
    assert here.look() == []
    here.source.places.take(("team", "proj", "ds"), "best")

    assert here.look() != []
    assert here.look() == []


def test_where_w_and_b_does_not_tell_where_aliases_are_nothing_else_is_missed(here: Looker) -> None:
    """An arrangement of a query that a server refuses does not end the polls."""
    ds = here.old("ds", "production")
    here.look()
    here.source.secretive = True
    here.source.move_aliases(ds[1], ["production"])
    assert here.look() == []
    assert here.look(again=1) != []  # in its turn
    here.source.log("ds", {"a": b"new"})
    assert here.look() != []


def test_an_alias_that_moves_after_its_collection_was_read_wakes_it_again(here: Looker) -> None:
    """Whether it was read for the first time, or because an alias had moved."""
    ds = here.old("ds", "production")
    for _ in range(2):
        items = here.items()
        next(items)
        here.source.move_aliases(ds[1], ["production"])
        list(items)

        assert here.look() != []
        assert here.look() == []
        here.source.move_aliases(ds[0], ["production"])


def test_more_aliases_than_a_look_may_ask_for_are_asked_for_in_turn(
    here: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look goes on where the last one ended, so that none waits for ever."""
    monkeypatch.setattr(whereabouts, "ASKED", 4)
    made = {name: here.old(name, "production", "best") for name in "abcde"}
    here.look()
    turns: dict[Target, CollectionName] = {}
    for versions in made.values():
        here.source.move_aliases(versions[1], ["production"])
    looks = [{name.partition(":")[0] for name in here.look(turns=turns)} for _ in range(4)]

    assert looks == [{"a", "b"}, {"c", "d"}, {"e"}, set()]


def test_a_collection_of_very_many_aliases_is_asked_for_all_of_them(
    here: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for their turn meanwhile; a further alias shows then, too."""
    monkeypatch.setattr(whereabouts, "ASKED", 200)
    names = [f"epoch-{number}" for number in range(250)]
    crowds = [here.old(name, *names) for name in "ab"]
    here.old("z", "production")
    turns: dict[Target, CollectionName] = {}
    looks = [here.look(turns=turns) for _ in range(4)]
    assert (len(looks[0]), looks[1:]) == (21, [[], [], []])
    for moved in ("epoch-249", "another"):
        for made in crowds:
            here.source.move_aliases(made[1], [moved])
        woken = [{name.partition(":")[0] for name in here.look(turns=turns)} for _ in range(4)]

        assert sorted(map(sorted, woken)) == [[], [], ["a"], ["b"]]


@pytest.mark.parametrize(
    "state", [State.QUARANTINED, State.WAITING, State.TRANSFER, State.REPLACE, State.SKIPPED]
)
def test_what_is_not_done_keeps_its_collection_awake(here: Looker, state: State) -> None:
    """Whatever the catalog says of it, unless the decision is tied to this configuration."""
    here.catalog.note(here.source.log("ds", {"a": b"1"}), state, reason="of an older time")

    assert [here.look() for _ in range(3)] == [["ds:v0"]] * 3


def test_a_version_that_has_expired_keeps_its_collection_awake(here: Looker) -> None:
    """Until W&B deletes it; a longer time to live may be given to it, and nothing would show that."""
    old = here.source.log("ds", {"a": b"1"}, ttl_seconds=1)

    assert old.expires_at is not None
    assert [here.look() for _ in range(2)] == [["ds:v0"]] * 2
    assert next(here.items()).skip.startswith("expired at")


def test_a_replacement_that_was_cut_off_keeps_its_collection_awake(here: Looker) -> None:
    """Its runs' configs, or its aliases, are still to follow."""
    made = here.moved("ds", complete=False)
    assert [here.look() for _ in range(2)] == [["ds:v0"]] * 2
    link = replacement_of(made.metadata, made.digest)
    assert link is not None
    here.source.update_metadata(made, replace(link, complete=True).into(made.metadata))

    assert [here.look() for _ in range(2)] == [["ds:v0"], []]


@pytest.mark.parametrize(
    ("exclude", "rests"),
    [
        ({"types": ["dataset"]}, True),
        ({"collections": ["d*"]}, True),
        ({"aliases": ["latest"]}, True),  # it may go to another version, and that is seen
        ({"tags": ["gold"]}, False),  # it may be taken off
    ],
)
def test_what_is_excluded_for_good_lets_its_collection_rest(
    here: Looker, exclude: dict[str, Any], rests: bool
) -> None:
    """And what is excluded by what may change does not."""
    here.source.log("ds", {"a": b"1"}, tags=["gold"])
    looks = [here.look(exclude=exclude) for _ in range(2)]

    assert looks == [["ds:v0"], [] if rests else ["ds:v0"]]


def test_what_has_nothing_to_move_lets_its_collection_rest(here: Looker) -> None:
    """Because a version's files never change."""
    version = here.source.log("ds", {"a": b"1"})
    here.look()
    here.catalog.looks.settle(version.id, "nothing to move: below min_file_size", "f")
    [item] = here.items()

    assert item.skip == "nothing to move: below min_file_size"
    assert here.look() == []


def test_another_configuration_looks_at_everything_again(here: Looker) -> None:
    """What was decided under the old one says nothing."""
    here.moved("ds")
    version = here.source.log("small", {"a": b"1"})
    here.catalog.looks.settle(version.id, "nothing to move", "f")
    here.look()
    assert here.look() == []
    items = list(here.items(decided="g"))

    assert [item.version.ref.collection for item in items] == ["ds", "small"]
    assert items[1].skip == ""


def test_what_is_hinted_at_is_read_whatever_is_known_of_it(here: Looker) -> None:
    """At rest, or with versions on their way; and nothing else is."""
    for name in ("ds", "model"):
        here.moved(name)
        here.source.log(f"{name}-new", {"a": b"1"})
    under_way: dict[CollectionName, str] = {}
    here.look(under_way=under_way)
    assert here.look(under_way=under_way) == []
    names = [("team", "proj", "ds"), ("team", "proj", "ds-new"), ("team", "proj", "nothing")]

    assert here.look(under_way=under_way, hinted=names) == ["ds:v0", "ds-new:v0"]


def test_a_lost_catalog_costs_a_full_look(here: Looker, tmp_path: Path) -> None:
    """And nothing else."""
    here.moved("ds")
    here.look()
    here.catalog.close()
    here.catalog = Catalog(f"sqlite:///{tmp_path}/new.db")

    assert [here.look() for _ in range(2)] == [["ds:v0"], []]


def test_whoever_is_killed_before_the_end_of_a_collection_reads_it_again(here: Looker) -> None:
    """Its aliases may not have been followed."""
    here.moved("ds")
    items = here.items()
    next(items)

    assert here.look() == ["ds:v0"]


def test_what_was_not_read_for_longest_is_read_though_nothing_is_new(here: Looker) -> None:
    """One collection a look: what W&B does not tell in the list comes to light in time."""
    for name in ("a", "b", "c"):
        here.moved(name)
    here.look()
    turns = [here.look(again=1) for _ in range(6)]

    assert sorted(name for turn in turns[:3] for name in turn) == ["a:v0", "b:v0", "c:v0"]
    assert turns[3:] == turns[:3]


def test_what_comes_to_light_wakes_its_collection(here: Looker) -> None:
    """An old version whose replacement somebody deleted is to be moved again."""
    made = here.moved("ds")
    for number in range(11):
        here.moved("ds", bytes([number]))
    here.look()
    del here.source._logged[made.id]
    assert here.look() == []
    news = [item.version.ref.alias for item in here.items(again=1) if not item.skip]

    assert news == ["v0"]
    assert "ds:v0" in here.look()


def test_a_deleted_newest_version_wakes_its_collection(here: Looker) -> None:
    """Even when the next one takes its number."""
    here.moved("ds")
    made = here.moved("ds", b"2")
    here.look()
    del here.source._logged[made.id]

    assert here.look() != []


@pytest.mark.parametrize(
    ("section", "same"),
    [
        ({}, True),
        ({"transfer": {"concurrency": 9}}, True),
        ({"oxen": {"url": "http://other:3000"}}, False),  # references go elsewhere with it
        ({"select": {"min_file_size": 5}}, False),
        ({"select": {"keep": ["*.md"]}}, False),
        ({"select": {"exclude": {"tags": ["x"]}}}, False),
        ({"oxen": {"repo": "{project}"}}, False),
        ({"oxen": {"path": "{collection}"}}, False),
        ({"oxen": {"branch": "trunk"}}, False),
        ({"references": {"base_url": "https://other.example"}}, False),
    ],
)
def test_the_fingerprint_names_what_decides(section: dict[str, Any], same: bool) -> None:
    """And nothing else: a change of speed does not cost a full look."""
    base = {"oxen": {"url": "file:///srv/oxen"}}
    other = {**base, **section}

    was, now = (fingerprint(Config.model_validate(each)) for each in (base, other))
    assert (was == now) is same


def test_a_release_that_decides_otherwise_looks_at_everything_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an earlier one found to have nothing to move may have something now."""
    before = fingerprint(Config())
    monkeypatch.setattr("syncd.stages.plan.DECISIONS", DECISIONS + 1)

    assert fingerprint(Config()) != before
