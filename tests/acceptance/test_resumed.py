"""A large file that is cut off goes on where it stopped, in the same process and in the next one."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from acceptance_project import sums, tree
from acceptance_world import World

MIB = 1 << 20
SIZE = 40 * MIB
CUT = 36 * MIB  # nine tenths
PART = MIB  # what may have been on its way and is fetched again
LOG = """
with wandb.init(project="p") as run:
    artifact = wandb.Artifact("large", "dataset")
    artifact.add_file(sys.argv[1], name="large.bin")
    run.log_artifact(artifact).wait()
"""
DOWNLOAD = 'wandb.Api().artifact("p/large:latest").download(root=sys.argv[1])'


@pytest.fixture
def large(empty: World, tmp_path: Path) -> World:
    """A project with one large file, nothing of which was moved."""
    (tmp_path / "large.bin").write_bytes(random.Random(1).randbytes(SIZE))
    empty.sdk(LOG, str(tmp_path / "large.bin"))
    empty.configure(references=empty.gateway())
    empty.reset_stats()
    return empty


def _assert_whole(world: World, tmp_path: Path) -> None:
    world.sdk(DOWNLOAD, str(tmp_path / "got"))
    assert tree(tmp_path / "got") == sums({"large.bin": (tmp_path / "large.bin").read_bytes()})


@pytest.mark.parametrize(
    "action",
    [
        f"truncate:{CUT}",
        pytest.param("status:503", marks=pytest.mark.nightly),
        pytest.param("drop", marks=pytest.mark.nightly),
    ],
)
def test_a_connection_that_breaks_costs_no_byte_twice(
    large: World, tmp_path: Path, action: str
) -> None:
    """The connection breaks at nine tenths; then, what is asked for next fails altogether."""
    if not action.startswith("truncate"):
        large.fault("download:large.bin", f"truncate:{CUT}", times=1)
    large.fault("download:large.bin", action, times=1)
    document = large.backfill()

    stats = large.stats()
    # The server counts what it was asked for: of the first request only CUT bytes came.
    fetched = stats["bytes_downloaded"] - (SIZE - CUT)
    assert document["versions"]["replaced"] == 1
    assert stats["downloads"] == 2
    assert SIZE <= fetched <= SIZE + PART
    _assert_whole(large, tmp_path)


def test_killed_at_nine_tenths_the_next_run_fetches_the_last_one(
    large: World, tmp_path: Path
) -> None:
    """The partial file outlives the process."""

    def arrived() -> int:
        with suppress(FileNotFoundError):  # folders come and go meanwhile
            found = large.store.rglob("tmp/partial/*")
            return max((path.stat().st_size for path in found), default=0)
        return 0

    with large.running("backfill", SYNCD_TRANSFER__BANDWIDTH_LIMIT="10MiB") as process:
        process.alive_until(lambda: arrived() >= CUT, "nine tenths had arrived")
        process.kill()
    there = arrived()
    large.reset_stats()
    document = large.backfill()

    assert CUT <= there < SIZE
    assert document["versions"]["replaced"] == 1
    assert large.stats()["bytes_downloaded"] == SIZE - there
    assert not [path for path in large.store.rglob("tmp/**/*") if path.is_file()]
    _assert_whole(large, tmp_path)


def test_a_partial_file_that_was_damaged_is_found_and_fetched_anew(
    large: World, tmp_path: Path
) -> None:
    """Its bytes are hashed again, and not believed."""
    large.fault("download:large.bin", f"truncate:{CUT}", times=1)
    large.fault("download:large.bin", "status:404")
    large.backfill(code=3)
    (partial,) = large.store.rglob("tmp/partial/*")
    with partial.open("r+b") as file:
        file.write(b"not this")
    large.heal()
    large.reset_stats()
    document = large.backfill(impatient=True)

    assert document["versions"]["replaced"] == 1
    assert large.stats()["downloads"] == 2  # the rest, and then all of it
    _assert_whole(large, tmp_path)


def test_a_busy_storage_is_left_alone_for_as_long_as_it_asks(large: World) -> None:
    """`Retry-After` of a storage holds for the whole process."""
    fault = {"match": "download:*", "action": "status:429", "times": 1, "retry_after": "2"}
    large.http.post("/sandbox/faults", json=[fault]).raise_for_status()
    done = large.syncd("backfill", "--json")
    waits = [
        json.loads(line)["wait_seconds"]
        for line in done.err.splitlines()
        if '"event": "call.retried"' in line
    ]

    assert done.document["versions"]["replaced"] == 1
    assert len(waits) == 1
    assert waits[0] >= 2
