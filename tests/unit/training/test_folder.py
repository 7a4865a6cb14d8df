"""A script and a folder of repositories whose disk is not mounted: nothing is made in the mount point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from training_world import TrainingWorld

from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_mark import Mark
from syncd.errors import ServiceUnavailableError, SyncdError
from syncd.refs import CommitRef, RepoRef
from syncd.training import Pins, fetch, pinned, record
from syncd.training.commits import Work
from syncd.training.folder import COLLECTIONS, Named, check_writable
from syncd.training.writer import Here

REPO = RepoRef(namespace="team", repo="proj-clip")
ELSEWHERE = "https://another.example"
COMMIT = CommitRef(repo=RepoRef(namespace="team", repo="data"), commit="1" * 32)


class Disk:
    """A `Writer` whose repositories seem to lie in a folder."""

    def __init__(self, world: TrainingWorld) -> None:
        self.root = world.folder / "disk"
        self._here = Here(store=world.store)

    def check(self, repo: RepoRef, named: Sequence[Named], others: Iterable[Named]) -> None:
        """As for a folder."""
        check_writable(self.root, repo, named, others)

    def commit(self, work: Work) -> CommitRef:
        """A repository is made there."""
        RepoIndex(self.root, work.repo).oxen.mkdir(parents=True, exist_ok=True)
        return self._here.commit(work)

    def prove(self, commit: CommitRef) -> None:
        """See `Writer.prove`."""
        self._here.prove(commit)

    def point(self, commit: CommitRef, branches: Sequence[str]) -> None:
        """See `Writer.point`."""
        self._here.point(commit, branches)


@pytest.fixture
def disk(world: TrainingWorld) -> Disk:
    """Nothing was ever published."""
    return Disk(world)


def unmount(disk: Disk) -> None:
    """What stays is an empty folder."""
    disk.root.rename(disk.root.with_name("unplugged"))
    disk.root.mkdir()


def mount(disk: Disk) -> None:
    """The disk is back; it would hide what was made in the mount point."""
    assert list(disk.root.iterdir()) == []
    disk.root.rmdir()
    disk.root.with_name("unplugged").rename(disk.root)


def test_the_first_publication_ever_needs_no_preparation(world: TrainingWorld, disk: Disk) -> None:
    """The folder is made and marked; W&B is asked little, and no more the next time."""
    for number in range(3 * COLLECTIONS):
        world.source.log(f"plain-{number}", {"d": b"never moved"})
    before = world.source.calls["versions"]
    world.publish(world.tracker(), {"w": b"1"}, writer=disk)
    first = world.source.calls["versions"] - before
    listed = world.source.calls["collections"]
    world.publish(world.tracker(), {"w": b"2"}, writer=disk)

    assert Mark(disk.root).read()
    assert first <= COLLECTIONS + 2
    assert (world.source.calls["collections"], listed) == (1, 1)


@pytest.mark.parametrize("by", ["publication", "replacement"])
def test_what_wandb_refers_to_should_be_there(world: TrainingWorld, disk: Disk, by: str) -> None:
    """Nothing is written, the error tells what was expected, and all goes on with the disk."""
    if by == "publication":
        world.publish(world.tracker(), {"w": b"1"}, writer=disk)
    else:
        world.moved("clip", {"w": b"moved"}, "model")
        RepoIndex(disk.root, REPO).oxen.mkdir(parents=True)
    unmount(disk)
    commits = world.store.calls["commit"]
    with pytest.raises(ServiceUnavailableError, match="may not be mounted") as caught:
        world.publish(world.tracker(), {"w": b"2"}, writer=disk)

    number = 0 if by == "publication" else 1
    assert f"team/proj/clip:v{number} is oxen://team/proj-clip@" in str(caught.value)
    assert str(disk.root) in str(caught.value)
    assert "Mount the disk" in caught.value.hint
    assert str(Mark(disk.root).path) in caught.value.hint
    assert world.store.calls["commit"] == commits
    mount(disk)
    world.publish(world.tracker(), {"w": b"2"}, writer=disk)


def test_the_same_content_again_is_not_looked_for_in_a_mount_point(
    world: TrainingWorld, disk: Disk
) -> None:
    """What is not there is no damage to Oxen's disk."""
    world.publish(world.tracker(), {"w": b"1"}, writer=disk)
    unmount(disk)
    with pytest.raises(ServiceUnavailableError, match="may not be mounted"):
        world.publish(world.tracker(), {"w": b"1"}, writer=disk)


def test_a_new_collection_is_not_begun_where_others_should_be(
    world: TrainingWorld, disk: Disk
) -> None:
    """The project's other collections refer to the same store."""
    world.publish(world.tracker(), {"w": b"1"}, writer=disk, collection="other")
    unmount(disk)
    with pytest.raises(ServiceUnavailableError, match="team/proj/other:v0 is oxen://"):
        world.publish(world.tracker(), {"w": b"1"}, writer=disk)
    mount(disk)
    world.publish(world.tracker(), {"w": b"1"}, writer=disk)


def test_what_the_run_was_pinned_to_should_be_there(world: TrainingWorld, disk: Disk) -> None:
    """Though W&B knows nothing of it; and where it is, an unmarked folder is an old store."""
    pins = Pins(commits={"dataset": COMMIT})
    disk.root.mkdir()
    with pytest.raises(ServiceUnavailableError, match=f"the pinned dataset is {COMMIT}"):
        world.publish(world.tracker(), {"w": b"1"}, writer=disk, inputs=pins)
    assert list(disk.root.iterdir()) == []
    RepoIndex(disk.root, COMMIT.repo).oxen.mkdir(parents=True)
    world.publish(world.tracker(), {"w": b"1"}, writer=disk, inputs=pins)

    assert Mark(disk.root).read()


def test_a_folder_may_be_new_where_other_collections_are_elsewhere(tmp_path: Path) -> None:
    """In another store, which their URLs tell; this collection's own have to be looked after."""
    world = TrainingWorld(tmp_path, references={"base_url": ELSEWHERE})
    world.publish(world.tracker(), {"w": b"1"}, collection="other")
    world.publish(world.tracker(), {"w": b"1"}, collection="old")
    world._sections["references"] = {"base_url": "https://data.example"}
    disk = Disk(world)
    with pytest.raises(ServiceUnavailableError, match="may not be mounted"):
        world.publish(world.tracker(), {"w": b"2"}, writer=disk, collection="old")
    world.publish(world.tracker(), {"w": b"1"}, writer=disk)
    world.publish(world.tracker(), {"w": b"2"}, writer=disk, collection="old")
    world.catalog.close()


def test_a_person_may_say_that_the_folder_is_new(world: TrainingWorld, disk: Disk) -> None:
    """By an empty file in the place of the mark."""
    world.publish(world.tracker(), {"w": b"1"}, writer=disk)
    unmount(disk)
    Mark(disk.root).path.parent.mkdir()
    Mark(disk.root).path.touch()
    world.publish(world.tracker(), {"w": b"2"}, writer=disk)


def test_another_disk_than_the_store_is_not_written_to(world: TrainingWorld, disk: Disk) -> None:
    """It has a mark, and not the repository; emptying the mark says that this is meant."""
    world.publish(world.tracker(), {"w": b"1"}, writer=disk)
    unmount(disk)
    mark = Mark(disk.root)
    mark.make()
    with pytest.raises(ServiceUnavailableError, match="Another disk") as caught:
        world.publish(world.tracker(), {"w": b"2"}, writer=disk)
    assert str(mark.path) in caught.value.hint
    assert [path.name for path in disk.root.iterdir()] == [".syncd"]
    mark.path.write_text("")
    world.publish(world.tracker(), {"w": b"2"}, writer=disk)


@pytest.mark.parametrize("call", ["pinned", "fetch", "record"])
def test_who_reads_from_a_mount_point_is_told(call: str, tmp_path: Path) -> None:
    """Neither is the pin wrong, nor the commit misspelt; where there is a mark, it may be."""
    environ = {
        "SYNCD_OXEN__URL": tmp_path.as_uri(),
        "SYNCD_CACHE_DIR": str(tmp_path / "cache"),
        "OXEN_DATASET_REPO": str(COMMIT.repo),
        "OXEN_DATASET_COMMIT": COMMIT.commit,
    }

    def read() -> None:
        if call == "pinned":
            pinned(environ=environ, model=False)
        elif call == "record":
            run: Any = SimpleNamespace(
                offline=False,
                disabled=False,
                config=MagicMock(),
                settings=SimpleNamespace(base_url="x"),
            )
            record(run, Pins(commits={"dataset": COMMIT}), environ=environ)
        else:
            fetch(COMMIT, environ=environ)

    with pytest.raises(ServiceUnavailableError, match="may not be mounted") as caught:
        read()
    assert str(tmp_path) in str(caught.value)
    assert "Mount the disk" in caught.value.hint
    Mark(tmp_path).make()
    with pytest.raises(SyncdError, match=r"is not a repository of|does not exist|API key"):
        read()
