"""A store whose disk is not mounted: nothing is made in the mount point, and all goes on when it is back."""

from __future__ import annotations

import json
import shutil
import signal
from contextlib import closing

import httpx
from acceptance_process import until
from acceptance_world import PROJECT, World

from syncd.catalog.catalog import Catalog

LOG = """
import sys, wandb
with wandb.init(entity=sys.argv[1], project=sys.argv[2], name="later") as run:
    artifact = wandb.Artifact("later", type="dataset")
    with artifact.new_file("data.bin", mode="wb") as file:
        file.write(b"later" * 1000)
    run.log_artifact(artifact).wait()
"""

PUBLISH = """
os.environ["SYNCD_CONFIG"] = sys.argv[1]
from syncd import training
with wandb.init(project=sys.argv[2]) as run, open("w.bin", "wb") as file:
    file.write(b"weights" * 1000)
    file.flush()
    training.publish("w.bin", collection="born", run=run)
"""


def unmount(world: World) -> None:
    """What stays of the store is an empty folder."""
    world.store.rename(world.folder / "unplugged")
    world.store.mkdir()


def mount(world: World) -> None:
    """The disk is back; it would hide what was made in the mount point."""
    assert list(world.store.iterdir()) == []
    world.store.rmdir()
    (world.folder / "unplugged").rename(world.store)


def test_nothing_is_moved_into_a_mount_point(small: World) -> None:
    """Also when the state was lost; every command that needs the store says so."""
    [first, *_] = small.backfill()["replacements"]
    small.sdk(LOG, small.entity, PROJECT)
    unmount(small)
    for state_lost in (False, True):
        if state_lost:
            shutil.rmtree(small.state)
        error = small.syncd("backfill", "--json", code=5).document["error"]
        assert "may not be mounted" in error["message"]
        assert "Mount the disk" in error["hint"]
        if not state_lost:
            small.syncd("verify", "--json", code=5)
            small.syncd("catalog", "rebuild", "--json", code=5)
    refused = small.sdk(PUBLISH, str(small.config), PROJECT, fails=True)
    assert "nothing was published" in refused
    assert "hint: Mount the disk" in refused
    gateway = small.gateway()
    repo, commit = first["oxen"].removeprefix("oxen://").split("@")
    url = f"{gateway}/api/repos/{repo}/file/{commit}/train.bin"
    away = httpx.get(url).status_code
    mount(small)

    assert (away, httpx.get(url).status_code) == (503, 200)
    assert len(small.backfill()["replacements"]) == 1
    small.syncd("verify")


def test_the_daemon_waits_for_the_disk(small: World) -> None:
    """At its start and in the middle of its life; it says so, and sets nothing aside."""
    small.backfill()
    unmount(small)
    with small.running("run", "--no-face", SYNCD_SCHEDULE__POLL="1s") as process:
        process.alive_until(lambda: process.told("service.away"), "it was noticed")
        assert not process.told("daemon.started")
        mount(small)
        process.alive_until(lambda: process.told("daemon.started"), "it began")
        unmount(small)
        small.sdk(LOG, small.entity, PROJECT)
        process.alive_until(lambda: process.err.count('"event": "service.away"') > 1, "again")
        mount(small)
        with closing(Catalog(f"sqlite:///{small.state}/syncd.db")) as catalog:
            until(
                lambda: sum(record.state == "replaced" for record in catalog.records()) == 4,
                "all was moved",
            )
            aside = list(catalog.quarantined())
        process.popen.send_signal(signal.SIGTERM)
        assert process.wait().code == 0
    told = [json.loads(line) for line in process.err.splitlines() if '"service.away"' in line]
    assert {item["service"] for item in told} == {"the folder of repositories"}
    assert aside == []
