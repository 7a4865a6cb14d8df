"""`syncd run`: what is new is moved without anybody calling, through stops, kills and absences."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from acceptance_process import IMPATIENT, SYNCD, Process, until
from acceptance_state import differences, end_state
from acceptance_world import World

from syncd.catalog.catalog import Catalog, State

HELD = "delay:600000"  # milliseconds; longer than any test
NEVER, SOON = "10h", "1s"
HINTED = 5.0  # seconds from a hint to the transfer
LOG = """
with wandb.init(project="p") as run:
    artifact = wandb.Artifact(sys.argv[1], "dataset")
    with artifact.new_file("data.bin", mode="wb") as file:
        file.write(sys.argv[2].encode() * 1000)
    run.log_artifact(artifact).wait()
"""


@contextmanager
def daemon(
    world: World, *, poll: str = SOON, impatient: bool = False, **env: str
) -> Iterator[Process]:
    """A daemon that has started; it is killed at the end of the block."""
    command = IMPATIENT if impatient else SYNCD
    more = {"SYNCD_SCHEDULE__POLL": poll, **env}
    with world.running("run", "--no-face", command=command, **more) as process:
        process.alive_until(lambda: process.told("daemon.started"), "it had started")
        yield process


def events(process: Process, name: str) -> list[dict[str, Any]]:
    """What the log says of an event."""
    lines = [line for line in process.err.splitlines() if f'"event": "{name}"' in line]
    return [json.loads(line) for line in lines]


def catalog(world: World) -> Catalog:
    """The catalog that the daemon works with, opened beside it as its face does."""
    return Catalog(f"sqlite:///{world.state}/syncd.db")


def moved(world: World, count: int) -> bool:
    """Whether so many versions were replaced, to the end."""
    with closing(catalog(world)) as opened:
        states = [record.state for record in opened.records()]
    return states.count(State.REPLACED) == count


def beat(world: World) -> dict[str, Any]:
    """The last sign of life of the engine; the first one comes a moment after it has started."""

    def last() -> dict[str, Any] | None:
        with closing(catalog(world)) as opened:
            found = (dict(b.detail) for b in opened.pulse.beats() if b.name == "engine:local")
            return next(found, None)

    found = until(last, "it gave a sign of life")
    assert found is not None
    return found


def terminate(process: Process) -> int:
    """Drain; the exit code."""
    process.popen.send_signal(signal.SIGTERM)
    return process.wait().code


def test_a_new_version_is_replaced_without_anybody_calling(empty: World) -> None:
    """The project itself may be made while the daemon runs; what is told of it is not a failure."""
    with daemon(empty) as process:
        empty.sdk(LOG, "ds", "one")
        process.alive_until(lambda: moved(empty, 1), "it was moved")
        empty.sdk(LOG, "ds", "two")
        process.alive_until(lambda: moved(empty, 2), "the next one was moved")

        assert terminate(process) == 0
    assert len(events(process, "replace.done")) == 2
    assert len(events(process, "poll.failed")) <= 1  # once, while there was no project
    assert events(process, "daemon.stopped")[0]["cut_off"] == 0


def test_a_hint_leads_to_a_replacement_within_seconds_and_twice_is_once(empty: World) -> None:
    """The next poll is hours away."""
    with daemon(empty, poll=NEVER) as process, closing(catalog(empty)) as opened:
        for name in ("one", "two"):
            empty.sdk(LOG, "ds", name)
        process.alive_until(lambda: bool(events(process, "poll.failed")), "the first poll")
        began = time.monotonic()
        for _ in range(3):
            opened.pulse.hint(empty.target, "ds", at=time.time())
            until(lambda: not opened.pulse.hints(), "the hint was taken")
        opened.pulse.hint("nobody/knows", None, at=time.time())
        process.alive_until(lambda: process.told("transfer.started"), "a transfer began")
        took = time.monotonic() - began
        process.alive_until(lambda: moved(empty, 2), "both were moved")
        until(lambda: beat(empty)["phase"] == "waiting", "nothing was left to do")

        assert terminate(process) == 0
    assert took < HINTED
    assert len(events(process, "replace.done")) == 2
    assert empty.asked("CommitArtifact") == 4  # two by the SDK, two by us


@pytest.mark.parametrize("way", ["drained", "stopped", "killed"])
def test_ended_in_the_middle_the_next_start_goes_on(
    small: World, undisturbed: dict[str, Any], way: str
) -> None:
    """Drained as long as it may take, stopped by a second signal, or killed: the end is the same."""
    small.fault("graphql:CommitArtifact", HELD, times=1)
    with daemon(small, SYNCD_ENGINE__DRAIN="1s" if way == "drained" else "10h") as process:
        process.alive_until(lambda: small.asked("CommitArtifact") > 0, "a call hangs")
        began = time.monotonic()
        if way == "killed":
            process.kill()
        else:
            process.popen.send_signal(signal.SIGTERM)
            process.alive_until(lambda: process.told("daemon.stopping"), "it drains")
            if way == "stopped":
                process.popen.send_signal(signal.SIGTERM)
            code = process.wait().code

            assert code == {"drained": 0, "stopped": 130}[way]
            assert time.monotonic() - began < 10
    small.heal()
    with daemon(small) as process:
        process.alive_until(lambda: moved(small, 3), "all was moved")
        until(lambda: beat(small)["phase"] == "waiting", "nothing was left to do")

        assert terminate(process) == 0
    assert differences(end_state(small, small.folder / "scratch"), undisturbed) == []


def test_a_wrong_configuration_is_refused_whole_and_a_right_one_taken_over(small: World) -> None:
    """What cannot be changed is named, and stays as it was."""
    right = small.config.read_text()
    with daemon(small) as process:
        process.alive_until(lambda: moved(small, 3), "all was moved")
        small.config.write_text(
            right.replace("64B", "many") + '\n[schedule]\npolls = "1s"\n', encoding="utf-8"
        )
        process.popen.send_signal(signal.SIGHUP)
        process.alive_until(lambda: process.told("reload.refused"), "it was refused")
        [refused] = events(process, "reload.refused")
        small.sdk(LOG, "after", "one")
        process.alive_until(lambda: moved(small, 4), "it went on as before")
        changed = right.replace("64B", "1MiB").replace('/oxen"', '/elsewhere"')
        small.config.write_text(f"{changed}\n[select.exclude]\ncollections = ['no-*']\n")
        process.popen.send_signal(signal.SIGHUP)
        process.alive_until(lambda: process.told("reload.done"), "it was taken over")
        small.sdk(LOG, "no-more", "one")
        small.sdk(LOG, "small", "one")
        with closing(catalog(small)) as opened:
            until(
                lambda: any(r.state is State.SKIPPED for r in opened.records()), "it was left alone"
            )
            known = {record.collection for record in opened.records()}

        assert terminate(process) == 0
    [done] = events(process, "reload.done")
    assert [problem.split(":")[0] for problem in refused["problems"]] == [
        "select.min_file_size",
        "schedule.polls",
    ]
    assert done["applied"] == ["select.exclude.collections", "select.min_file_size"]
    assert done["needs_restart"] == ["oxen.url"]
    assert "small" in known
    assert "no-more" not in known


def test_wandb_away_is_waited_for_and_told_once(small: World, undisturbed: dict[str, Any]) -> None:
    """In the middle of the way; nothing is set aside, and all goes on when it is back."""
    with daemon(small, impatient=True) as process:
        process.alive_until(lambda: process.told("transfer.started"), "it was on its way")
        small.fault("graphql:*", "status:503")
        process.alive_until(lambda: process.told("service.away"), "it was noticed")
        until(lambda: beat(small)["phase"] == "away", "the beat says so")
        told = beat(small)["waiting_for"]
        small.heal()
        process.alive_until(lambda: moved(small, 3), "all was moved")
        until(lambda: beat(small)["waiting_for"] is None, "nothing was waited for")
        until(lambda: beat(small)["replaced"] == 3, "the runs' configs were written, too")

        assert terminate(process) == 0
    assert "W&B is away since" in told
    assert [item["service"] for item in events(process, "service.away")] == ["W&B"]
    assert [item["service"] for item in events(process, "service.back")] == ["W&B"]
    assert differences(end_state(small, small.folder / "scratch"), undisturbed) == []


def test_what_it_says_of_itself_is_fresh(small: World) -> None:
    """Others see by its beat that it lives, and how far it is."""
    with daemon(small) as process:
        process.alive_until(lambda: moved(small, 3), "all was moved")
        until(lambda: beat(small)["replaced"] == 3, "it was told")
        detail = beat(small)

        assert terminate(process) == 0
    assert detail["last_poll"].keys() == {small.target}
    assert (detail["queue"], detail["transfers"], detail["errors"]) == (0, [], {})
