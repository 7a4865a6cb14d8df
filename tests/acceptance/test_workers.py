"""Many machines: what one queues others move, and what one leaves behind when it is killed as well."""

from __future__ import annotations

import itertools
import json
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from acceptance_process import Process, until
from acceptance_state import raw
from acceptance_world import World

from syncd.catalog.catalog import Catalog, State
from syncd.refs import CommitRef
from syncd.testing.oxen_process import OxenServer, oxen_server
from syncd.testing.postgres_process import Postgres

COLLECTIONS = ("a", "b", "c", "d", "e")
VERSIONS = 3
LOG = """
with wandb.init(project="p", id="prepare") as run:
    for number in range(int(sys.argv[2])):
        for name in sys.argv[1].split(","):
            artifact = wandb.Artifact(name, "dataset")
            for part in range(3):
                with artifact.new_file(f"{part}.bin", mode="wb") as file:
                    file.write(f"{name} {number} {part} ".encode() * 500)
            run.log_artifact(artifact)
"""


@pytest.fixture
def server(oxen_binary: Path, tmp_path: Path) -> Iterator[OxenServer]:
    """A server of the test's own."""
    del oxen_binary
    with oxen_server(tmp_path / "server") as started:
        yield started


def test_three_workers_move_all_of_it_once_though_one_is_killed(
    empty: World, server: OxenServer, postgres: Postgres, tmp_path: Path
) -> None:
    """No two of them are ever in one repository; what the killed one had begun goes on elsewhere."""
    empty.sdk(LOG, ",".join(COLLECTIONS), str(VERSIONS))
    empty.configure(oxen=server.url, references=server.url, database=postgres.database())
    # Longer than a second: the store on a server mistakes files of one size, committed in one second.
    empty.fault("download:*", "delay:1100")
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                empty.running("worker", SYNCD_ENGINE__STATE_DIR=str(tmp_path / f"state-{number}"))
            )
            for number in range(3)
        ]
        names = [worker.first_line()["executor"] for worker in workers]
        backfill = stack.enter_context(empty.running("backfill", "--json"))
        begun = until(lambda: [w for w in workers if w.told("transfer.started")], "one had begun")
        victim = begun[0]
        victim.kill()
        done = backfill.wait()
    report = done.document

    assert len(set(names)) == 3
    assert done.code == 0, done.err
    assert report["versions"]["replaced"] == len(COLLECTIONS) * VERSIONS, report
    writers = [backfill, *workers]
    assert sum(bool(spans(writer)) for writer in writers) >= 3
    assert overlaps(writers) == []
    assert history(report, server) == {
        name: [f"v{number}" for number in range(VERSIONS)] for name in COLLECTIONS
    }
    for name, versions in raw(empty)[0].items():  # each of them replaced once, and nothing else
        made = [json.loads(item["metadata"] or "{}").get("oxen") for item in versions]
        sources = [link["source_version"].rpartition("/")[2] for link in made if link]
        assert sorted(sources) == [f"{name}:v{number}" for number in range(VERSIONS)]
        assert len(versions) == 2 * VERSIONS
    assert [item["problems"] for item in verified(empty)] == [[]] * len(COLLECTIONS) * VERSIONS


def test_a_daemon_follows_what_others_move_and_takes_over_what_they_leave(
    empty: World, server: OxenServer, postgres: Postgres, tmp_path: Path
) -> None:
    """It looks, both move, the worker is killed: nothing is left on its way."""
    names, versions, database = ("a", "b", "c"), 2, postgres.database()
    empty.sdk(LOG, ",".join(names), str(versions))
    empty.configure(oxen=server.url, references=server.url, database=database)
    empty.fault("download:*", "delay:1100")  # see above
    one = {"SYNCD_TRANSFER__CONCURRENCY": "1"}
    with (
        empty.running("worker", SYNCD_ENGINE__STATE_DIR=str(tmp_path / "other"), **one) as worker,
        closing(Catalog(database)) as catalog,
    ):
        name = worker.first_line()["executor"]
        with empty.running("run", "--no-face", SYNCD_SCHEDULE__POLL="10h", **one) as daemon:

            def queued() -> list[int]:
                beats = {beat.name: beat.detail for beat in catalog.pulse.beats()}
                return [beats[other]["queue"] for other in beats if not other.endswith(name)]

            daemon.alive_until(lambda: worker.told("transfer.done"), "the worker had begun")
            worker.kill()

            def over() -> bool:
                states = [record.state for record in catalog.records()]
                return states == [State.REPLACED] * len(names) * versions and queued() == [0]

            daemon.alive_until(over, "all was moved, and the daemon knew of it")
            daemon.popen.terminate()
            assert daemon.wait().code == 0

    assert spans(worker)
    assert spans(daemon)
    assert daemon.told("worker.lost")
    for found in raw(empty)[0].values():
        assert len(found) == 2 * versions


def test_a_daemon_ends_at_once_when_its_place_is_lost(
    empty: World, server: OxenServer, postgres: Postgres
) -> None:
    """As any other member; its service manager starts it again."""
    empty.configure(oxen=server.url, database=postgres.database())
    with empty.running("run", "--no-face") as daemon:
        daemon.alive_until(lambda: daemon.told("daemon.started"), "it had started")
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd'"
        )
        assert daemon.wait().code == 5


def test_a_worker_stops_at_once_when_its_place_is_lost_and_drains_when_asked(
    empty: World, postgres: Postgres, tmp_path: Path
) -> None:
    """Losing the connection ends the process; a signal ends it in order."""
    empty.configure(oxen="http://127.0.0.1:1", database=postgres.database())
    with (
        empty.running("worker") as lost,
        empty.running("worker", SYNCD_ENGINE__STATE_DIR=str(tmp_path / "other")) as drained,
    ):
        lost.first_line()
        drained.first_line()
        drained.popen.terminate()
        assert drained.wait().code == 0
        assert drained.told("worker.stopped")
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd'"
        )
        assert lost.wait().code == 5
        assert lost.told("worker.lost")


def test_a_backfill_whose_database_is_gone_ends_with_one_error_and_the_next_goes_on(
    small: World, postgres: Postgres
) -> None:
    """A service is away: nothing is set aside, and no password is shown."""
    small.configure(database=postgres.database().replace("syncd@", "syncd:s3cr3t-w0rd@"))
    small.fault("download:*", "delay:500")
    with small.running("backfill", "--json") as process:
        process.alive_until(lambda: process.told("transfer.started"), "it had begun")
        postgres.stop(signal.SIGQUIT)
        try:
            done = process.wait()
        finally:
            postgres.start()
    small.heal()
    error = done.document["error"]
    lines = [line for line in done.err.splitlines() if not line.startswith("{")]

    assert done.code == error["exit_code"] == 5
    assert re.fullmatch(r"error: the database postgresql://\S+ does not answer: .+", lines[0])
    assert lines[1:] == [f"hint: {error['hint']}"]
    assert "PostgreSQL runs" in error["hint"]
    assert "s3cr3t" not in done.out + done.err
    report = small.backfill()
    assert (report["versions"]["failed"], report["failures"]) == (0, [])
    assert report["versions"]["discovered"] == sum(
        report["versions"][how] for how in ("replaced", "skipped")
    )
    assert report["versions"]["replaced"]


def test_a_worker_without_anybody_to_share_with_is_refused(empty: World) -> None:
    """A folder of repositories and a file of a database have one owner; both are named at once."""
    done = empty.syncd("worker", code=2)

    assert "engine.database: is a file" in done.err
    assert "oxen.url: is the folder" in done.err


# --- what the logs and both ends tell


def events(process: Process) -> list[dict[str, Any]]:
    """What a process logged."""
    lines = process.err.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and '"artifact"' in line]


def spans(process: Process) -> dict[str, tuple[float, float]]:
    """From when to when a process worked on a version, as far as it came, by the version's name."""
    times: dict[str, list[float]] = defaultdict(list)
    for event in events(process):
        stage = event["event"].partition(".")[0]
        if stage in {"transfer", "commit", "verify", "replace"}:
            at = datetime.fromisoformat(event["timestamp"]).timestamp()
            times[event["artifact"]].append(at)
    return {name: (min(found), max(found)) for name, found in times.items()}


def overlaps(processes: list[Process]) -> list[str]:
    """Versions of one repository that two processes worked on at a time."""
    lines: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for number, process in enumerate(processes):
        for name, (first, last) in spans(process).items():
            lines[name.partition(":")[0]].append((first, last, f"{name} by {number}"))
    found = []
    for line in lines.values():
        line.sort()
        found += [
            f"{one[2]} and {other[2]}"
            for one, other in itertools.pairwise(line)
            if other[0] < one[1]
        ]
    return found


def history(report: dict[str, Any], server: OxenServer) -> dict[str, list[str]]:
    """The versions in the history of each repository's main branch, the oldest first."""
    repos = {CommitRef.parse(item["oxen"]).repo for item in report["replacements"]}
    found = {}
    for repo in repos:
        url = f"{server.url}/api/repos/{repo.namespace}/{repo.repo}/commits/history/main"
        commits = httpx.get(url, params={"page_size": 100}, timeout=30).raise_for_status().json()
        names = [
            line.rpartition("/")[2]
            for commit in reversed(commits["commits"])
            for line in commit["message"].splitlines()
            if line.startswith("Wandb-Artifact: ")
        ]
        found[names[0].partition(":")[0]] = [name.partition(":")[2] for name in names]
    return found


def verified(world: World) -> list[dict[str, Any]]:
    """What `syncd verify` says of every version."""
    found: list[dict[str, Any]] = world.syncd("verify", "--json").document["versions"]
    return found
