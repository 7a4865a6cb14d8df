"""The store's folder: a disk that is not mounted is told from a new store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit_world import World

from syncd.catalog.catalog import State
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_mark import Mark
from syncd.config import Config
from syncd.errors import ServiceUnavailableError
from syncd.refs import RepoRef
from syncd.runtime import Runtime, check_store

ELSEWHERE = "http://oxen.example:3000"


class Host:
    """A machine with a folder for repositories.

    Args:
        folder: of its state and its disks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "disk"
        self._world = World(folder)
        self.catalog = self._world.catalog
        self.version = self._world.source.log("ds", {"d": b"payload"})

    def check(self, *, url: str = "", begins: bool = False, met: tuple[RepoRef, ...] = ()) -> None:
        """A start with a configuration."""
        config = Config.model_validate({"oxen": {"url": url or self.root.as_uri()}})
        runtime = Runtime(
            config=config,
            source=self._world.runtime.source,
            store=self._world.runtime.store,
            catalog=self.catalog,
            etagged=lambda _url: True,
            mark=Mark(self.root) if config.oxen.directory else None,
        )
        check_store(runtime, met, begins=begins)

    def move(self) -> RepoRef:
        """A version is moved, into a repository that is made."""
        repo = RepoRef(namespace="team", repo="proj-ds")
        RepoIndex(self.root, repo).oxen.mkdir(parents=True)
        self.catalog.note(
            self.version,
            State.REPLACED,
            namespace=repo.namespace,
            repo=repo.repo,
            commit_id="c0ffee",
        )
        return repo

    def unmount(self) -> None:
        """What stays is an empty folder."""
        self.root.rename(self.folder / "unplugged")
        self.root.mkdir()

    def mount(self) -> None:
        """The disk is back."""
        self.root.rmdir()
        (self.folder / "unplugged").rename(self.root)

    @property
    def marked(self) -> bool:
        """Whether the folder has a mark."""
        return (self.root / ".syncd" / "store").exists()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Nothing was moved yet."""
    made = Host(tmp_path)
    yield made
    made.catalog.close()


def test_a_new_store_is_marked_when_something_is_to_be_moved(host: Host) -> None:
    """Looking alone changes nothing."""
    host.check()
    assert not host.root.exists()
    host.check(begins=True)
    assert host.marked


@pytest.mark.parametrize("begins", [False, True])
def test_a_folder_whose_disk_is_not_there_is_refused_and_left_alone(
    host: Host, begins: bool
) -> None:
    """Until it is back."""
    host.check(begins=True)
    host.move()
    host.check()
    host.unmount()
    with pytest.raises(ServiceUnavailableError, match="may not be mounted") as caught:
        host.check(begins=begins)
    assert list(host.root.iterdir()) == []
    assert "Mount the disk" in caught.value.hint
    host.mount()
    host.check(begins=begins)


def test_another_disk_is_not_the_store(host: Host) -> None:
    """It has a mark, and none of the repositories."""
    host.check(begins=True)
    host.move()
    host.unmount()
    Mark(host.root).make()
    with pytest.raises(ServiceUnavailableError):
        host.check()


def test_a_store_from_before_there_were_marks_is_marked_where_its_repositories_are(
    host: Host,
) -> None:
    """And not where they are not."""
    host.move()
    host.unmount()
    with pytest.raises(ServiceUnavailableError):
        host.check()
    host.mount()
    host.check()
    assert host.marked


def test_a_copy_without_its_mark_is_marked_again(host: Host) -> None:
    """A repository that is there is proof enough."""
    host.check(begins=True)
    host.move()
    Mark(host.root).path.unlink()
    host.check()
    assert host.marked


def test_a_person_may_say_that_an_empty_folder_is_the_store(host: Host) -> None:
    """By an empty mark."""
    host.check(begins=True)
    host.move()
    host.unmount()
    Mark(host.root).path.parent.mkdir()
    Mark(host.root).path.touch()
    host.check()
    host.check()
    assert Mark(host.root).read()


def test_another_store_than_before_may_be_empty(host: Host) -> None:
    """[oxen] url was changed, from a server to a folder."""
    host.check(url=ELSEWHERE)
    host.move()
    host.unmount()
    host.check(begins=True)
    assert host.marked


def test_where_the_state_is_lost_too_wandb_tells_what_should_be_there(host: Host) -> None:
    """By the replacements that a look finds."""
    host.check(begins=True)
    repo = host.move()
    host.catalog.clear(None)
    host.unmount()
    host.check()
    with pytest.raises(ServiceUnavailableError):
        host.check(begins=True, met=(repo,))
    host.mount()
    host.check(begins=True, met=(repo,))
