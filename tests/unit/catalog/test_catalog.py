"""The catalog: what is written is found, from any thread and after a restart."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from syncd.catalog.catalog import Catalog, Record, State
from syncd.catalog.database import BATCH, answering, driver_url
from syncd.clients.artifacts import Version
from syncd.clients.commits import StoredContent
from syncd.errors import DiskFullError, ServiceUnavailableError, StateUnavailableError
from syncd.refs import ArtifactRef, CommitRef, RepoRef, RunRef, Target
from syncd.testing import MemoryArtifactSource, postgres_process
from syncd.testing.postgres_process import Postgres
from syncd.versions.plans import Digest

REPO = RepoRef(namespace="team", repo="proj-ds")
OTHER = RepoRef(namespace="team", repo="other")
STORED = StoredContent(hash="12ab", size=7)
RUN = RunRef(entity="team", project="proj", run_id="r1")


def digest(number: int, algorithm: str = "MD5") -> Digest:
    """A digest of its own."""
    return algorithm, f"{number:032x}"


def version(index: int = 0, name: str = "ds", project: str = "proj") -> Version:
    """A version with an id of its own."""
    made = MemoryArtifactSource().log(name, {"a": b"payload"})
    ref = ArtifactRef(entity="team", project=project, collection=name, alias=f"v{index}")
    return replace(made, id=f"id of {ref}", ref=ref)


@pytest.fixture
def catalog(database: str) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(database)
    yield made
    made.close()


def found(catalog: Catalog, artifact_id: str) -> Record:
    """A version that must be known."""
    record = catalog.get(artifact_id)
    assert record is not None
    return record


# --- versions


def test_a_version_is_known_from_its_first_note(catalog: Catalog) -> None:
    """With its name, size and state; before, there is none."""
    ours = version(3)
    assert catalog.get(ours.id) is None
    catalog.note(ours, State.WAITING)
    record = found(catalog, ours.id)

    assert record.ref == ours.ref
    assert (record.state, record.size, record.type) == (State.WAITING, 7, "dataset")
    assert record.created_at == ours.created_at
    assert record.commit is None


def test_a_note_changes_what_it_names_and_keeps_the_rest(catalog: Catalog) -> None:
    """Each stage writes its own columns."""
    ours = version()
    catalog.note(ours, State.TRANSFER, attempts=2, workflow_id="w")
    catalog.note(ours, State.VERIFY, namespace="team", repo="proj-ds", commit_id="12ab")
    catalog.note(ours, State.REPLACED, moved_bytes=1 << 40)
    record = found(catalog, ours.id)

    assert (record.attempts, record.workflow_id, record.state) == (2, "w", State.REPLACED)
    assert record.commit == CommitRef(repo=REPO, commit="12ab")
    assert record.moved_bytes == 1 << 40
    assert len(list(catalog.records())) == 1


def test_a_renamed_version_stays_one(catalog: Catalog) -> None:
    """Its id is its identity."""
    ours = version()
    catalog.note(ours, State.WAITING)
    catalog.note(replace(ours, ref=replace(ours.ref, collection="renamed")), State.REPLACED)

    assert [record.ref.collection for record in catalog.records()] == ["renamed"]


@pytest.mark.parametrize("state", State)
def test_every_state_is_read_as_it_was_written(state: State, catalog: Catalog) -> None:
    """As the enumeration's member."""
    catalog.note(version(), state)

    assert found(catalog, version().id).state is state


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (None, ["proj/ds:v0", "proj/ds:v2", "proj/ds:v10", "proj/m:v0", "q/ds:v0"]),
        ("team/*", ["proj/ds:v0", "proj/ds:v2", "proj/ds:v10", "proj/m:v0", "q/ds:v0"]),
        ("team/proj", ["proj/ds:v0", "proj/ds:v2", "proj/ds:v10", "proj/m:v0"]),
        ("team/proj/ds", ["proj/ds:v0", "proj/ds:v2", "proj/ds:v10"]),
        ("other/proj", []),
    ],
)
def test_records_are_those_of_a_target_in_version_order(
    target: str | None, names: list[str], catalog: Catalog
) -> None:
    """By number, not by text."""
    for ours in (version(10), version(2), version(0, "m"), version(0, project="q"), version(0)):
        catalog.note(ours, State.WAITING)
    records = catalog.records(Target.parse(target) if target else None)

    assert [str(record.ref).removeprefix("team/") for record in records] == names


# --- contents


def test_what_was_learned_is_known_and_nothing_else(catalog: Catalog) -> None:
    """MD5 and XXH128 of the same bits are two digests."""
    catalog.learn({digest(1): STORED})

    assert catalog.known([digest(1), digest(2), digest(1, "XXH128")]) == {digest(1): STORED}
    assert catalog.known([]) == {}


def test_what_is_learned_again_is_the_newer(catalog: Catalog) -> None:
    """And nothing is learned from nothing."""
    catalog.learn({digest(1): STORED})
    catalog.learn({digest(1): replace(STORED, hash="34cd")})
    catalog.learn({})

    assert catalog.known([digest(1)]) == {digest(1): replace(STORED, hash="34cd")}


def test_more_contents_than_one_query_takes_are_all_found(catalog: Catalog) -> None:
    """A version may have millions of files."""
    contents = {
        digest(number, algorithm): replace(STORED, size=number)
        for number in range(BATCH + 1)
        for algorithm in ("MD5", "XXH128")
    }
    catalog.learn(contents)
    hashes = {f"{number:x}" for number in range(2 * BATCH + 1)}
    catalog.mark_read_back(REPO, hashes, good=True)

    assert catalog.known(contents.keys()) == contents
    assert catalog.verified(REPO, hashes) == hashes
    catalog.forget_read_back(REPO, hashes)
    assert catalog.verified(REPO, hashes) == set()


def test_what_was_read_back_is_remembered_for_its_repository(catalog: Catalog) -> None:
    """Another repository has bytes of its own."""
    catalog.mark_read_back(REPO, ["12ab"], good=True)

    assert catalog.verified(REPO, ["12ab", "34cd"]) == {"12ab"}
    assert catalog.damaged(REPO, ["12ab"]) == set()
    assert catalog.verified(OTHER, ["12ab"]) == set()


def test_content_is_good_or_damaged_never_both(catalog: Catalog) -> None:
    """The last reading counts; what was stored anew is neither."""
    catalog.mark_read_back(REPO, ["12ab"], good=True)
    catalog.mark_read_back(REPO, ["12ab"], good=False)
    assert (catalog.verified(REPO, ["12ab"]), catalog.damaged(REPO, ["12ab"])) == (set(), {"12ab"})

    catalog.mark_read_back(REPO, ["12ab"], good=True)
    assert (catalog.verified(REPO, ["12ab"]), catalog.damaged(REPO, ["12ab"])) == ({"12ab"}, set())

    catalog.forget_read_back(REPO, ["12ab"])
    assert catalog.verified(REPO, ["12ab"]) | catalog.damaged(REPO, ["12ab"]) == set()


def test_forgetting_one_content_keeps_the_others(catalog: Catalog) -> None:
    """Of this repository and of others."""
    for repo in (REPO, OTHER):
        catalog.mark_read_back(repo, ["12ab", "34cd"], good=True)
    catalog.forget_read_back(REPO, ["12ab"])

    assert catalog.verified(REPO, ["12ab", "34cd"]) == {"34cd"}
    assert catalog.verified(OTHER, ["12ab", "34cd"]) == {"12ab", "34cd"}


# --- runs


def test_a_run_is_due_once_until_it_is_written(catalog: Catalog) -> None:
    """However often it is noted."""
    other = replace(RUN, run_id="r2")
    for run in (RUN, RUN, other):
        catalog.add_run_due(run)
    assert sorted(catalog.runs_due(), key=str) == [RUN, other]

    catalog.remove_run_due(RUN)
    catalog.remove_run_due(RUN)
    assert catalog.runs_due() == [other]


# --- threads and restarts


def test_many_threads_write_at_once_and_nothing_is_lost(catalog: Catalog) -> None:
    """Transfers learn while stages note; a writer waits for its turn."""

    def work(number: int) -> None:
        catalog.learn({digest(number): replace(STORED, size=number)})
        catalog.note(version(number), State.TRANSFER)
        catalog.note(version(0, "shared"), State.TRANSFER, attempts=number)
        catalog.mark_read_back(REPO, [f"{number:x}", "same"], good=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))

    assert len(catalog.known([digest(number) for number in range(40)])) == 40
    assert len(list(catalog.records())) == 41
    assert len(catalog.verified(REPO, [f"{number:x}" for number in range(40)])) == 40


def test_a_catalog_that_is_opened_again_has_kept_everything(
    catalog: Catalog, database: str
) -> None:
    """Also beside the one that is still open: `status` looks while the mover works."""
    ours = version()
    catalog.note(ours, State.REPLACED, reason="because")
    catalog.learn({digest(1): STORED})
    catalog.mark_read_back(REPO, ["12ab"], good=True)
    catalog.mark_read_back(REPO, ["34cd"], good=False)
    catalog.add_run_due(RUN)
    again = Catalog(database)
    try:
        assert again.get(ours.id) == catalog.get(ours.id)
        assert again.known([digest(1)]) == {digest(1): STORED}
        assert again.verified(REPO, ["12ab", "34cd"]) == {"12ab"}
        assert again.damaged(REPO, ["12ab", "34cd"]) == {"34cd"}
        assert again.runs_due() == [RUN]
    finally:
        again.close()


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    """Whoever waits for room must know that it is that."""
    catalog = Catalog(f"sqlite:///{tmp_path}/full.db")

    def limit(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=30")

    sa.event.listen(catalog._database._engine, "connect", limit)
    catalog._database._engine.dispose()

    with pytest.raises(DiskFullError, match="the disk is full"):
        catalog.learn({digest(number): STORED for number in range(10_000)})
    catalog.close()


def test_a_file_that_others_have_locked_is_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes, and is no failure of a version's; once it has passed, writes go on."""
    monkeypatch.setattr("syncd.catalog.database.BUSY_TIMEOUT", 0.05)
    catalog = Catalog(f"sqlite:///{tmp_path}/busy.db")
    with closing(sqlite3.connect(tmp_path / "busy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateUnavailableError, match="has its file locked") as caught:
            catalog.add_run_due(RUN)
        other.execute("ROLLBACK")
    catalog.add_run_due(RUN)

    assert "UPDATE" not in str(caught.value)
    assert "fuser" in caught.value.hint
    assert catalog.runs_due() == [RUN]
    catalog.close()


def test_a_postgresql_that_is_away_is_told_in_one_line_without_statement_or_password() -> None:
    """The driver's own words have several, and SQLAlchemy adds the statement with its values."""
    url = driver_url("postgresql://me:s3cret@db.example/syncd")
    cause = psycopg.OperationalError("server closed the connection\n\tThis probably means ...")
    with (
        pytest.raises(StateUnavailableError) as caught,
        answering("the engine's database", url),
    ):
        raise sa.exc.OperationalError("UPDATE t SET v=%s", {"v": "payload"}, cause)

    assert str(caught.value) == (
        "the database postgresql://me:***@db.example/syncd does not answer: server closed the "
        "connection This probably means ..."
    )
    assert caught.value.__cause__ is cause


# --- what differs between SQLite and PostgreSQL

OPEN = """
import sys
from syncd.catalog.catalog import Catalog
sys.stdin.readline()
Catalog(sys.argv[1]).close()
"""


def test_processes_that_start_at_a_time_make_the_tables_once(database: str) -> None:
    """Each finds them, whoever made them."""
    command = [sys.executable, "-c", OPEN, database]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [(process.communicate()[1], process.returncode) for process in started]

    assert ended == [("", 0)] * 6


def test_text_that_nobody_should_write_is_kept_as_far_as_it_can_be(catalog: Catalog) -> None:
    """A name from W&B in an error message may hold a NUL, which PostgreSQL refuses."""
    ours = version()
    catalog.fail(ours, stage="transfer", reason="a\0b ' \\ \x1b % :x é 🙂", hint="")

    assert found(catalog, ours.id).reason == "a\N{REPLACEMENT CHARACTER}b ' \\ \x1b % :x é 🙂"


def test_writers_of_the_same_rows_do_not_wait_for_each_other_for_ever(database: str) -> None:
    """In whatever order each of them has them."""
    rows = [(digest(number), STORED) for number in range(200)]
    catalogs = [Catalog(database) for _ in range(4)]

    def work(number: int) -> None:
        mixed = random.Random(number).sample(rows, len(rows))
        catalogs[number % 4].learn(dict(mixed))
        hashes = [name for (_, name), _ in mixed]
        catalogs[number % 4].mark_read_back(REPO, hashes, good=True)

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(24)))
        assert len(catalogs[0].known([name for name, _ in rows])) == 200
    finally:
        for catalog in catalogs:
            catalog.close()


def test_a_transaction_that_was_given_up_for_another_is_done_again(postgres: Postgres) -> None:
    """PostgreSQL ends one of two that wait for each other."""
    url = postgres.database()
    catalog = Catalog(url)
    catalog.learn({digest(1): STORED, digest(2): STORED})
    name = url.split("/")[3].split("?")[0]
    both = threading.Barrier(2)

    def other() -> None:
        with psycopg.connect(host=str(postgres.directory), user="syncd", dbname=name) as connection:
            update = "UPDATE syncd_contents SET size = 8 WHERE digest = %s"
            connection.execute("SET deadlock_timeout = '1h'")  # the catalog's is the one that goes
            connection.execute(update, (digest(2)[1],))
            both.wait()
            until_waiting(connection)
            connection.execute(update, (digest(1)[1],))

    def until_waiting(connection: psycopg.Connection[Any]) -> None:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while connection.execute(waiting).fetchall() == [(0,)]:
            time.sleep(0.01)

    thread = threading.Thread(target=other)
    thread.start()
    both.wait()
    catalog.learn({digest(1): replace(STORED, size=9), digest(2): replace(STORED, size=9)})
    thread.join()

    assert {stored.size for stored in catalog.known([digest(1), digest(2)]).values()} == {9}
    catalog.close()


def test_a_database_that_is_away_is_waited_for_and_named_without_its_password() -> None:
    """Attempts are counted; the next run may find it."""
    url = "postgresql://syncd:opensesame@127.0.0.1:1/syncd"
    with pytest.raises(ServiceUnavailableError, match="syncd does not answer") as raised:
        Catalog(url)

    assert "opensesame" not in str(raised.value)


def test_a_catalog_outlives_a_restart_of_its_server() -> None:
    """Its connections are made anew."""
    if postgres_process.find_postgres() is None:
        pytest.skip(postgres_process.MISSING)
    with postgres_process.postgres() as cluster:
        catalog = Catalog(cluster.database())
        catalog.note(version(), State.WAITING)
        cluster.stop()
        cluster.start()

        assert found(catalog, version().id).state is State.WAITING
        catalog.close()
