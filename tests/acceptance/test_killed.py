"""Kill -9 anywhere: the same command goes on, and the end state is the one of an undisturbed run."""

from __future__ import annotations

import json
import shutil
import signal
from typing import Any

import pytest
from acceptance_state import differences, end_state, raw
from acceptance_world import World


def nightly(step: str) -> Any:
    """A step that `make nightly` takes; the suite takes one of each kind."""
    return pytest.param(step, marks=pytest.mark.nightly)


HELD = "delay:600000"  # milliseconds; longer than any test
EDGES = (
    nightly("plan.done"),
    "transfer.started",
    nightly("transfer.done"),
    nightly("commit.started"),
    "commit.done",
    nightly("verify.done"),
    nightly("replace.started"),
    nightly("replace.done"),
)
CALLS = (  # in the order in which a replacement is made
    nightly("CreateArtifact"),
    nightly("CreateArtifactManifest"),
    "CommitArtifact",
    nightly("AddAliases"),
    nightly("UseArtifact"),
    nightly("UpsertBucket"),
    nightly("UpdateArtifact"),
)


def _kill_at_edge(world: World, event: str) -> None:
    with world.running("backfill") as process:
        process.alive_until(lambda: process.told(event), event)
        process.kill()


def _kill_at_call(world: World, operation: str) -> None:
    """Kill while the server has a call in its hands: all before it is done, and nothing behind it."""
    world.reset_stats()
    world.fault(f"graphql:{operation}", HELD, times=1)
    with world.running("backfill") as process:
        process.alive_until(lambda: world.asked(operation) > 0, operation)
        process.kill()
    world.heal()


def _latest(world: World) -> dict[str, str]:
    """By collection, the version that was logged with what `latest` names now."""
    found = {}
    for name, versions in raw(world)[0].items():
        (holder,) = (
            version
            for version in versions
            if "latest" in {alias["alias"] for alias in version["aliases"]}
        )
        link = json.loads(holder["metadata"] or "{}").get("oxen")
        own = f"{name}:v{holder['versionIndex']}"
        found[name] = link["source_version"].rpartition("/")[2] if link else own
    return found


def _assert_as(undisturbed: dict[str, Any], world: World) -> None:
    assert differences(end_state(world, world.folder / "scratch"), undisturbed) == []


@pytest.mark.parametrize("event", EDGES)
def test_killed_at_an_edge_the_next_run_reaches_the_same_end(
    small: World, undisturbed: dict[str, Any], event: str
) -> None:
    """Whichever stage was cut off, nothing is missing and nothing is there twice."""
    _kill_at_edge(small, event)
    small.backfill()

    _assert_as(undisturbed, small)


@pytest.mark.parametrize("operation", CALLS)
def test_killed_in_the_middle_of_a_call_the_next_run_reaches_the_same_end(
    small: World, undisturbed: dict[str, Any], operation: str
) -> None:
    """A replacement that was made in part is found and finished."""
    _kill_at_call(small, operation)
    between = _latest(small)
    small.backfill()

    assert between == {"ds": "ds:v1", "model": "model:v0"}
    _assert_as(undisturbed, small)


def test_interrupted_politely_it_says_so_at_once_and_goes_on_later(
    small: World, undisturbed: dict[str, Any]
) -> None:
    """Ctrl-C ends with 130, even while a call hangs."""
    small.fault("graphql:CommitArtifact", HELD, times=1)
    with small.running("backfill") as process:
        process.alive_until(lambda: small.asked("CommitArtifact") > 0, "a call hangs")
        process.popen.send_signal(signal.SIGINT)
        done = process.wait()
    small.heal()
    small.backfill()

    assert done.code == 130
    assert "progress is kept" in done.err.lower()
    _assert_as(undisturbed, small)


def test_what_an_earlier_call_left_on_its_way_keeps_nobody_waiting(small: World) -> None:
    """The engine goes on with it beside what is asked for, and is stopped when that is done."""
    small.fault("download:train.bin", HELD)
    with small.running("backfill") as process:
        process.alive_until(lambda: small.stats()["downloads"] > 0, "files arrive")
        process.kill()
    with small.running("backfill", "--json", f"{small.target}/model") as process:
        done = process.wait()
    small.heal()

    assert done.code == 0
    assert len(done.document["replacements"]) == 1
    # Nobody waited until it failed, which would have been told.
    assert '"event": "transfer.started"' in done.err
    assert "Exception encountered" not in done.err
    assert small.syncd("quarantine", "list", "--json").document["quarantined"] == []
    assert len(small.backfill()["replacements"]) == 2


def test_killed_in_the_middle_of_a_download_the_next_run_reaches_the_same_end(
    small: World, undisturbed: dict[str, Any]
) -> None:
    """Half a transfer is finished; what had arrived is not fetched again."""
    small.fault("download:train.bin", HELD, times=1)
    with small.running("backfill") as process:
        process.alive_until(lambda: small.stats()["downloads"] == 3, "other files had arrived")
        process.kill()
    small.heal()
    small.backfill()

    _assert_as(undisturbed, small)


@pytest.mark.parametrize(
    "event", [nightly("transfer.done"), "commit.done", nightly("replace.started")]
)
def test_killed_at_an_edge_and_its_state_lost_the_next_run_reaches_the_same_end(
    small: World, undisturbed: dict[str, Any], event: str
) -> None:
    """The state directory is a cache: W&B and Oxen say how far the killed run came."""
    _kill_at_edge(small, event)
    shutil.rmtree(small.state)
    small.backfill()

    _assert_as(undisturbed, small)


@pytest.mark.parametrize(
    "operation", ["CommitArtifact", nightly("AddAliases"), "UseArtifact", nightly("UpsertBucket")]
)
def test_killed_in_a_call_and_its_state_lost_the_next_run_reaches_the_same_end(
    small: World, undisturbed: dict[str, Any], operation: str
) -> None:
    """What was done to W&B is read from W&B."""
    _kill_at_call(small, operation)
    shutil.rmtree(small.state)
    small.backfill()

    _assert_as(undisturbed, small)


@pytest.mark.nightly
def test_killed_again_and_again_it_still_reaches_the_same_end(
    small: World, undisturbed: dict[str, Any]
) -> None:
    """Every run may be killed; each comes further."""
    for operation in ("CreateArtifact", "AddAliases", "UpsertBucket"):
        _kill_at_call(small, operation)
    small.backfill()

    _assert_as(undisturbed, small)


def test_state_lost_after_the_end_the_next_run_changes_nothing(
    small: World, undisturbed: dict[str, Any]
) -> None:
    """A finished migration without its state is still finished."""
    small.backfill()
    shutil.rmtree(small.state)
    small.reset_stats()
    document = small.backfill()

    assert document["versions"] == {"discovered": 3, "replaced": 0, "skipped": 3, "failed": 0}
    assert small.stats()["downloads"] == small.asked("CreateArtifact") == 0
    _assert_as(undisturbed, small)
