"""What syncd asks of W&B is bounded: counted by the server, and written down in docs/requests.md."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from acceptance_bulk import Bulk
from acceptance_world import PROJECT, World

from syncd.catalog.catalog import Catalog
from syncd.clients.wandb import WandbSource
from syncd.config import Config
from syncd.refs import Target
from syncd.stages.discover import Discovered, changed
from syncd.stages.plan import fingerprint

COLLECTIONS = 1000
ALLOWED = 12  # requests of an idle poll of as many collections


class Poller:
    """Somebody who looks for what is new, as the daemon does.

    Args:
        world: where.
        state: the folder of the catalog.
    """

    def __init__(self, world: World, state: Path) -> None:
        self._world, self._state = world, state

    def poll(self) -> tuple[list[Discovered], int]:
        """What one look finds, and the requests it took."""
        config = Config()
        self._world.reset_stats()
        with (
            closing(WandbSource(self._world.base_url, self._world.api_key)) as source,
            closing(Catalog(f"sqlite:///{self._state}/catalog.db")) as catalog,
        ):
            found = changed(
                source,
                catalog.looks,
                [Target.parse(self._world.target)],
                config.select,
                fingerprint(config),
            )
            items = list(found)
        return items, sum(self._world.stats()["graphql"].values())


@pytest.fixture
def bulk(empty: World, tmp_path: Path) -> Bulk:
    """The tables of the empty server."""
    return Bulk(empty, tmp_path / "data")


def test_an_idle_poll_of_a_thousand_collections_takes_a_dozen_requests(
    empty: World, bulk: Bulk, tmp_path: Path
) -> None:
    """And what is new is found all the same: a version, an alias that moved, one per request."""
    bulk.collections([f"c{number}" for number in range(COLLECTIONS)])
    poller = Poller(empty, tmp_path)
    first, _ = poller.poll()
    idle, requests = poller.poll()
    bulk.version("c7")
    bulk.alias("c500", "best", 1)
    news, more = poller.poll()
    still, _ = poller.poll()

    assert len(first) == COLLECTIONS
    assert requests <= ALLOWED
    assert len(idle) <= 1  # one collection a poll is looked at though nothing is new
    assert more <= ALLOWED + 2
    assert [item.version.ref.collection for item in news if not item.skip] == ["c7"]
    assert {"c7", "c500"} <= {item.version.ref.collection for item in news}
    assert [item.version.ref.collection for item in still if not item.skip] == ["c7"]


def test_a_poll_sees_an_alias_that_moved_between_old_versions_for_a_request_per_hundred_aliases(
    empty: World, bulk: Bulk, tmp_path: Path
) -> None:
    """Beside the list; and one collection is read in its turn."""
    names = [f"c{number}" for number in range(101)]
    bulk.collections(names, moved=6)
    for name in names:
        bulk.alias(name, "production", 0)
    poller = Poller(empty, tmp_path)
    poller.poll()
    _, idle = poller.poll()
    news = []
    for index in (1, 0):
        bulk.alias("c70", "production", index)
        news.append(poller.poll())
    still, _ = poller.poll()

    assert idle == 2 + 2 + 1  # of 1,212 versions
    for found, requests in news:
        read = {item.version.ref.collection for item in found}
        assert ("c70" in read, len(read), requests) == (True, 2, idle + 1)
    assert len({item.version.ref.collection for item in still} - {"c70"}) == 1


def test_a_hinted_collection_among_a_thousand_is_read_with_two_requests(
    empty: World, bulk: Bulk
) -> None:
    """And one that is not there, or whose name is none, costs one."""
    bulk.collections([f"c{number}" for number in range(COLLECTIONS)])
    asked = {}
    with (
        closing(WandbSource(empty.base_url, empty.api_key)) as source,
        closing(Catalog("sqlite://")) as catalog,
    ):
        for name in ("c7", "nothing", "../../c7", "c7:v0", 'c"{}7'):
            empty.reset_stats()
            target = Target(entity=empty.entity, project=PROJECT, collection=name)
            place = (empty.entity, PROJECT, name)
            found = changed(source, catalog.looks, [target], Config().select, "f", hinted={place})
            asked[name] = len(list(found)), empty.stats()["graphql"]

    one = {"ProjectArtifactCollection": 1}
    assert asked.pop("c7") == (1, {**one, "ProjectArtifacts": 1})
    assert list(asked.values()) == [(0, one)] * 4


def test_a_backfill_with_nothing_to_do_takes_a_request_per_hundred_versions(
    empty: World, bulk: Bulk
) -> None:
    """Beside the listing of the collections; not one byte travels."""
    bulk.collections(["ds"], moved=300)
    report = empty.backfill()
    empty.reset_stats()
    again = empty.backfill()
    stats = empty.stats()

    assert report["versions"] == again["versions"]
    assert again["versions"] == {"discovered": 300, "replaced": 0, "skipped": 300, "failed": 0}
    assert stats["graphql"] == {"Runs": 1, "ProjectArtifactCollections": 1, "ProjectArtifacts": 6}
    assert stats["bytes_downloaded"] == stats["bytes_uploaded"] == 0
