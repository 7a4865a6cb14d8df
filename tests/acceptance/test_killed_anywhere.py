"""Kill -9 at random instants, again and again: the end is the same, and `latest` never looked back."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from acceptance_state import differences, end_state
from acceptance_world import PROJECT, World, world

KILLS = int(os.environ.get("SYNCD_TEST_KILLS", "5"))  # `make nightly` takes 200
SEED = int(os.environ.get("SYNCD_TEST_SEED", "1"))  # of the first round
ROUND = 5  # kills, in one migration as long as it is not done
WORK = 2.0  # seconds from the first event, in which an instant lies
POLL = 0.05  # seconds between looks at `latest`
_LATEST = """
query Latest($entity: String!, $project: String!) {
  project(entityName: $entity, name: $project) {
    artifactCollections(first: 100) { edges { node {
      __typename
      name
      artifacts(first: 1000, order: "+version_index") { edges { node {
        digest metadata aliases { alias }
      } } }
    } } }
  }
}
"""


def _latest(world: World) -> dict[str, list[str]]:
    """By collection, the digests of what was logged of all that `latest` names: one each."""
    project = world.gql(_LATEST, entity=world.entity, project=PROJECT)["project"]
    found: dict[str, list[str]] = {}
    for collection in (edge["node"] for edge in project["artifactCollections"]["edges"]):
        for version in (edge["node"] for edge in collection["artifacts"]["edges"]):
            if any(alias["alias"] == "latest" for alias in version["aliases"]):
                link = json.loads(version["metadata"] or "{}").get("oxen", {})
                digest = link.get("source_digest", version["digest"])
                found.setdefault(collection["name"], []).append(digest)
    return found


@contextmanager
def _watched(world: World) -> Iterator[list[Any]]:
    """What `latest` has been in each look of a thread that looks all the time; each change once."""
    seen: list[Any] = [_latest(world)]
    over = threading.Event()

    def look() -> None:
        while not over.wait(POLL):
            try:
                now: Any = _latest(world)
            except Exception as error:  # noqa: BLE001 whoever reads the list is told
                now = repr(error)
            if now != seen[-1]:
                seen.append(now)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _killed(world: World, after: float) -> bool:
    """Run a backfill and kill it so many seconds after its first event; False when it had ended."""
    with world.running("backfill") as process:
        process.alive_until(lambda: process.told("discover.started"), "it began")
        try:
            process.popen.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.popen.pid, signal.SIGKILL)
        done = process.wait()
    assert done.code in {0, -signal.SIGKILL}, done.err
    return done.code != 0


@pytest.mark.parametrize("seed", range(SEED, SEED + KILLS // ROUND))
def test_killed_at_random_instants_nothing_is_lost_or_doubled_and_latest_stays(
    tmp_path: Path, small_data: Path, undisturbed: dict[str, Any], seed: int
) -> None:
    """Now and then its state is lost, too; whoever asks for `latest` gets the newest content."""
    chance = random.Random(seed)
    instants: list[float] = []
    kills = migrations = 0
    while kills < ROUND:
        migrations += 1
        folder = tmp_path / str(migrations)
        shutil.copytree(small_data, folder / "data")
        with world(folder, folder / "data") as small, _watched(small) as seen:
            while kills < ROUND:
                instants.append(chance.uniform(0, WORK))
                if not _killed(small, instants[-1]):
                    break
                kills += 1
                if chance.random() < 0.2 and small.state.exists():
                    shutil.rmtree(small.state)
            small.backfill()
            end = end_state(small, small.folder / "scratch")
        how = f"seed {seed}, killed after {instants}"

        assert len(seen) == 1, f"{how}: latest was {seen}"
        assert {name: len(digests) for name, digests in seen[0].items()} == {"ds": 1, "model": 1}
        assert differences(end, undisturbed) == [], how
