"""The fleet: who is a member, what becomes of those who are gone, and who is kept apart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from dbos import DBOS, DBOSClient, EnqueueOptions
from unit_world import World

from syncd.config import Config
from syncd.durable import fleet, handover, workflow
from syncd.durable import locks as locks_module
from syncd.durable.context import Context
from syncd.durable.engine import PATH_VERSION, POLL, QUEUE, stop
from syncd.durable.lines import Lines
from syncd.durable.locks import Locks
from syncd.errors import StoreLockedError
from syncd.stages.discover import Discovered
from syncd.testing.postgres_process import Postgres

SERVER = "http://oxen.example:3000"
BREAK = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd'"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "JOIN_PATIENCE", 0.0)


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database."""
    return postgres.database()


def configured(url: str, folder: Path, oxen: str = SERVER) -> Config:
    """A machine's configuration."""
    engine = {"database": url, "state_dir": str(folder)}
    return Config.model_validate({"engine": engine, "oxen": {"url": oxen}})


def test_a_machine_that_is_alone_joins_nothing(tmp_path: Path) -> None:
    """There is no server, and the state directory's lock keeps it alone."""
    config = configured(f"sqlite:///{tmp_path}/syncd.db", tmp_path, tmp_path.as_uri())
    with fleet.joined(config) as member, fleet.joined(config):
        assert member.executor_id == "local"
        with member.locks.alone("a"):
            pass


def test_members_have_names_of_their_own_that_stay(url: str, tmp_path: Path) -> None:
    """From the host and the state directory."""
    one, other = configured(url, tmp_path / "1"), configured(url, tmp_path / "2")
    with fleet.joined(one) as first, fleet.joined(other) as second:
        assert first.executor_id != second.executor_id
        with pytest.raises(StoreLockedError, match="is at work"), fleet.joined(one):
            pass
    with fleet.joined(one) as again:
        assert again.executor_id == first.executor_id


@pytest.mark.parametrize("first", ["folder", "server"])
def test_a_folder_of_repositories_is_shared_with_nobody(
    first: str, url: str, tmp_path: Path
) -> None:
    """Whoever comes second is refused, and told what to do."""
    folder = configured(url, tmp_path / "1", (tmp_path / "oxen").as_uri())
    server = configured(url, tmp_path / "2")
    one, other = (folder, server) if first == "folder" else (server, folder)
    with (
        fleet.joined(one),
        pytest.raises(StoreLockedError, match="folder") as raised,
        fleet.joined(other),
    ):
        pass

    assert "Oxen server" in raised.value.hint
    with fleet.joined(other):
        pass


def test_who_loses_the_connection_is_told_at_once(
    url: str, tmp_path: Path, postgres: Postgres
) -> None:
    """Others may take its work from then on."""
    lost = threading.Event()
    causes: list[str] = []

    def tell(cause: str) -> None:
        causes.append(cause)
        lost.set()

    with fleet.joined(configured(url, tmp_path), lost=tell):
        assert not lost.wait(0.1)
        postgres.sql(BREAK)
        assert lost.wait(10)
    assert "does not answer" in causes[0]


def test_who_leaves_is_not_told_of_a_loss(url: str, tmp_path: Path) -> None:
    """Closing the connection is its own doing."""
    causes: list[str] = []
    for _ in range(5):
        with fleet.joined(configured(url, tmp_path), lost=causes.append):
            pass
    assert causes == []


def test_one_at_a_time_is_in_a_context_of_a_name(url: str, tmp_path: Path) -> None:
    """Among threads of one member, and among members."""
    inside: list[str] = []
    most: list[int] = []

    def work(locks: Locks, name: str) -> None:
        for _ in range(5):
            with locks.alone("repository a/b"):
                inside.append(name)
                most.append(len(inside))
                inside.remove(name)

    with (
        fleet.joined(configured(url, tmp_path / "1")) as one,
        fleet.joined(configured(url, tmp_path / "2")) as other,
    ):
        with one.locks.alone("another"), other.locks.alone("repository c/d"):
            pass
        threads = [
            threading.Thread(target=work, args=(member.locks, f"{member.executor_id} {number}"))
            for member in (one, other)
            for number in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert most == [1] * 20


def test_locks_that_nobody_is_in_are_forgotten() -> None:
    """Their names are those of runs and repositories, and years are long."""
    locks = Locks()
    again = locks.alone("b")
    with locks.alone("a"), again:
        assert locks.busy == 2
    with again:
        pass
    assert (locks.busy, locks._own) == (0, {})


def test_a_failure_of_the_locks_is_no_version_s_failure(
    url: str, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that finds them lost is held until the process is ended."""
    monkeypatch.setattr(locks_module, "LAST_MOMENTS", 60.0)
    lost = threading.Event()
    seen: list[BaseException] = []

    def work() -> None:
        try:
            with member.locks.alone("repository a/b"):
                postgres.sql(BREAK)
                assert lost.wait(10)
        except BaseException as error:  # noqa: BLE001 that there is one is the failure
            seen.append(error)

    with fleet.joined(configured(url, tmp_path), lost=lambda _: lost.set()) as member:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert lost.wait(10)
        thread.join(0.5)
    assert thread.is_alive()
    assert seen == []


# --- work of those who are gone


class Engine:
    """The engine on a database, as one process after another has it."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self.world = World(folder)
        self.url, self.folder = postgres.database(), folder
        self._postgres = postgres
        self.launch("first")  # makes its tables and the queue
        stop(timeout=0)

    def launch(self, executor_id: str) -> None:
        """Start it."""
        runtime = self.world.runtime
        context = Context(
            source=runtime.source,
            store=runtime.store,
            catalog=runtime.catalog,
            config=runtime.config,
            etagged=runtime.etagged,
        )
        workflow.launch(context, database=self.url, concurrency=2, executor_id=executor_id)

    def config(self, name: str) -> Config:
        """Of a machine."""
        return configured(self.url, self.folder / name)

    def left_behind(self, count: int, *, by: str, path: str = PATH_VERSION) -> list[str]:
        """Versions of one repository, the first of them begun by somebody who is gone; their ids."""
        client = DBOSClient(system_database_url=self.url)
        ids: list[str] = []
        for _ in range(count):
            version = self.world.source.log("ds", {"a": b"payload %d" % len(ids)})
            ids.append(f"{version.id}.1")
            options: EnqueueOptions = {
                "workflow_name": "move_version",
                "queue_name": QUEUE,
                "queue_partition_key": "team/proj-ds",
                "workflow_id": ids[-1],
                "app_version": path,
                "priority": version.index + 1,
            }
            client.enqueue(options, version.id, "")
        client.destroy()
        begun: str = (
            "UPDATE dbos.workflow_status SET status = 'PENDING', "
            f"executor_id = '{by}' WHERE workflow_uuid = '{ids[0]}'"
        )
        self.sql(begun)
        return ids

    def sql(self, statement: str) -> None:
        """Change the engine's tables behind its back."""
        self._postgres.sql(statement, self.url.split("/")[3].split("?")[0])


@pytest.fixture
def engine(postgres: Postgres, tmp_path: Path) -> Iterator[Engine]:
    """Its tables are made, and nobody is at work."""
    made = Engine(postgres, tmp_path)
    yield made
    stop(timeout=5)
    made.world.catalog.close()


def outcomes(ids: Sequence[str]) -> list[str]:
    """How workflows ended, in their order; waits for them."""
    end = time.monotonic() + 30
    while len(found := handover.ended(ids)) < len(ids):
        assert time.monotonic() < end, f"of {ids} only {found} ended"
        time.sleep(0.02)
    ends = [found[one] for one in ids]
    return [end["state"] if isinstance(end, dict) else "cancelled" for end in ends]


def test_work_of_a_member_that_is_gone_goes_on_elsewhere(engine: Engine) -> None:
    """Once: it blocks its repository until somebody looks, and nobody takes what is at work."""
    config = engine.config("here")
    ids = engine.left_behind(3, by="gone")
    with fleet.joined(config) as here:
        engine.launch(here.executor_id)
        time.sleep(3 * POLL)
        assert handover.ended(ids) == {}

        assert fleet.recover(here) == ["gone"]
        assert outcomes(ids) == ["replaced"] * 3
        assert fleet.recover(here) == []
    assert engine.world.store.calls["commit"] == 3


def test_work_of_a_member_that_is_there_is_left_to_it(engine: Engine) -> None:
    """However long it takes."""
    there = fleet.default_executor_id(engine.config("there"))
    ids = engine.left_behind(2, by=there)
    with fleet.joined(engine.config("here")) as here:
        engine.launch(here.executor_id)
        with fleet.joined(engine.config("there")):
            assert fleet.recover(here) == []
            time.sleep(3 * POLL)
            assert handover.ended(ids) == {}
        assert fleet.recover(here) == [there]
        assert outcomes(ids) == ["replaced"] * 2


def test_a_member_goes_on_with_its_own_work_when_it_starts_again(engine: Engine) -> None:
    """By itself."""
    ids = engine.left_behind(2, by=fleet.default_executor_id(engine.config("here")))
    with fleet.joined(engine.config("here")) as here:
        engine.launch(here.executor_id)

        assert outcomes(ids) == ["replaced"] * 2


def test_work_that_a_member_began_and_lost_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke when the engine was told that it has it, and the process lives on."""
    monkeypatch.setattr(handover, "STRAY", 0.0)
    ids = engine.left_behind(2, by="gone")
    with fleet.joined(engine.config("here")) as here:
        engine.launch(here.executor_id)
        mine = f"UPDATE dbos.workflow_status SET executor_id = '{here.executor_id}'"
        engine.sql(f"{mine} WHERE status = 'PENDING'")
        time.sleep(3 * POLL)
        assert handover.ended(ids) == {}
        fleet.recover(here)

        assert outcomes(ids) == ["replaced"] * 2


def test_work_of_another_path_is_left_to_those_who_speak_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the last of them is gone it is cancelled, and made anew by the next look."""
    old = "syncd-path-0"
    with monkeypatch.context() as patch:
        patch.setattr("syncd.durable.engine.PATH_VERSION", old)
        engine.launch("old")  # tells the database that there is such a path
        stop(timeout=0)
    ids = engine.left_behind(2, by="old", path=old)
    with fleet.joined(engine.config("here")) as here:
        engine.launch(here.executor_id)
        with monkeypatch.context() as patch:
            patch.setattr(fleet, "PATH_VERSION", old)
            with fleet.joined(engine.config("there")):
                fleet.recover(here)
                assert handover.ended(ids) == {}
        fleet.recover(here)

        assert outcomes(ids) == ["cancelled"] * 2
        stop(timeout=0)
    assert len(engine.world.backfill().replaced) == 2


def test_a_cancelled_version_is_begun_anew_by_whoever_follows_it(engine: Engine) -> None:
    """As another attempt, in its place."""
    [blocking] = engine.left_behind(1, by="gone")
    engine.launch("here")
    version = engine.world.source.log("ds", {"a": b"of its own"})
    lines = Lines(engine.world.runtime)
    lines.add([Discovered(version=version)], {})
    lines.release()
    assert lines.over() == {}
    DBOS.cancel_workflows([lines.running[version.id]])
    assert lines.over() == {version.id: None}
    lines.again(version.id)

    assert lines.running == {version.id: f"{version.id}.2"}
    assert lines.over() == {}
    handover.recover("gone")
    assert outcomes([blocking, f"{version.id}.2"]) == ["replaced"] * 2


def test_a_workflow_that_ended_with_an_exception_is_told_of(engine: Engine) -> None:
    """None does that is right."""
    ids = engine.left_behind(1, by="gone")
    sql = f"UPDATE dbos.workflow_status SET status = 'ERROR' WHERE workflow_uuid = '{ids[0]}'"
    engine.sql(sql)
    engine.launch("here")

    [end] = handover.ended(ids).values()
    assert isinstance(end, handover.EndedUnheardError)
    assert ids[0] in str(end)
