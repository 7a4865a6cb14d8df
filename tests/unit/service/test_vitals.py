"""Vital signs: what others see of a process that moves versions."""

from __future__ import annotations

import pytest

from syncd import log
from syncd.clients.artifacts import age
from syncd.config import Config
from syncd.refs import Target
from syncd.service.vitals import STALLED, Vitals
from syncd.stages.plan import plan
from syncd.testing import MemoryArtifactSource


class Times:
    """Both clocks."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_a_transfer_is_told_with_its_rate_until_the_version_ends() -> None:
    """Bytes of later stages are no transfer."""
    times = Times()
    vitals = Vitals(clock=times, wall=times)
    source = MemoryArtifactSource()
    version = source.log("ds", {"big": b"x" * 1000})
    select = {"select": {"min_file_size": 1}}
    planned = plan(version, source.manifest(version), Config.model_validate(select))
    vitals.entered(planned, log.Stage.TRANSFER)
    vitals.bytes_passed(version.id, log.Stage.TRANSFER, 400)
    vitals.bytes_passed(version.id, log.Stage.VERIFY, 400)
    times.now += 2
    told = _detail(vitals)
    vitals.ended({"artifact_id": version.id, "state": "quarantined", "stage": "commit"})
    after = _detail(vitals)

    assert told["transfers"] == [
        {
            "artifact": "team/proj/ds:v0",
            "stage": "transfer",
            "done": 400,
            "total": 1000,
            "since": 1000.0,
            "rate": 200.0,
        }
    ]
    assert after["transfers"] == []
    assert after["errors"] == {"commit": 1}


def test_a_phase_is_told_since_it_began() -> None:
    """Not since the last beat."""
    times = Times()
    vitals = Vitals(clock=times, wall=times)
    vitals.polled(Target.parse("team/proj"))
    since = []
    for phase in ("polling", "moving", "moving"):
        times.now += 10
        since.append(_detail(vitals, phase)["since"])

    assert since == [1010.0, 1020.0, 1020.0]
    assert _detail(vitals)["last_poll"] == {"team/proj": 1000.0}


def test_what_is_polled_with_others_was_polled_too() -> None:
    """A hint once asked for one of an entity's projects alone; the alert counts from the last look."""
    times = Times()
    vitals = Vitals(clock=times, wall=times)
    vitals.polled(Target.parse("team/proj"))
    vitals.polled(Target.parse("other/proj"))
    times.now += 10
    vitals.polled(Target.parse("team/*"))

    found = {"team/proj": 1010.0, "team/*": 1010.0, "other/proj": 1000.0}
    assert _detail(vitals)["last_poll"] == found
    vitals.watch(lambda target: target.entity == "team")
    assert _detail(vitals)["last_poll"] == {"team/proj": 1010.0, "team/*": 1010.0}


def test_it_is_stuck_when_there_is_work_and_nothing_goes_on() -> None:
    """Idle is not stuck, and a byte is progress."""
    times = Times()
    vitals = Vitals(clock=times, wall=times)
    times.now += STALLED + 1
    assert vitals.stuck(busy=True)
    vitals.bytes_passed("any", log.Stage.TRANSFER, 1)
    assert not vitals.stuck(busy=True)
    times.now += STALLED + 1
    assert not vitals.stuck(busy=False)
    assert not vitals.stuck(busy=True)  # the work came just now


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 40.0),
        ("1970-01-01T00:01:00", 40.0),  # W&B writes UTC, with or without saying so
        ("1970-01-01T01:01:00+01:00", 40.0),
        ("1970-01-01T00:05:00Z", 0.0),  # its clock may be ahead of ours
    ],
)
def test_an_age_is_never_negative(text: str, seconds: float) -> None:
    """In seconds."""
    assert age(text, 100.0) == seconds


def _detail(vitals: Vitals, phase: str = "moving") -> dict[str, object]:
    return vitals.detail(phase, lag={}, limiter={}, queue=0, waiting_for=None, version="0.1.0")
