"""Outages: one server that is away is one event, and nothing of a version is lost in it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd import errors, retry
from syncd.clients.http import raise_for_status
from syncd.outages import Outages
from syncd.service.patience import Waiting

WANDB, STORAGE = "https://api.wandb.example", "https://storage.example:8443"


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed, and outages that begin with this test."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    fresh = Outages()
    for module in ("syncd.retry", "syncd.clients.http", "syncd.service.patience"):
        monkeypatch.setattr(f"{module}.OUTAGES", fresh)
    return now


def away(server: str = WANDB) -> None:
    """A server that says it is away."""
    raise_for_status("list", 503, {}, f"{server}/graphql?secret=1")


def answer(server: str = WANDB) -> None:
    """A server that answers."""
    raise_for_status("list", 200, {}, f"{server}/graphql")


def during(
    passed: list[float], server: str, *, seconds: int, calls: int
) -> list[errors.SyncdError]:
    """So many calls a second meet an outage, each with six attempts; what they end with."""
    raised: list[errors.SyncdError] = []
    for _ in range(seconds):
        for _ in range(calls):
            try:
                retry.call(lambda: away(server), what="list", sleep=lambda _seconds: None)
            except errors.SyncdError as error:
                raised.append(error)
        passed[0] += 1
    return raised


def lines(captured: list[Any], event: str) -> list[Any]:
    """What was told at warning or above under an event."""
    return [line for line in captured if line["event"] == event and line["log_level"] != "debug"]


def test_an_outage_is_told_once_then_each_minute_then_at_its_end(passed: list[float]) -> None:
    """However many calls wait for it, and what each of them ends with is raised as ever."""
    with capture_logs() as captured:
        raised = during(passed, WANDB, seconds=125, calls=4)
        answer()
        answer()

    assert len(raised) == 125 * 4
    told = lines(captured, "call.retried")
    assert [line["untold"] for line in told] == [0, 60 * 20 - 1, 60 * 20 - 1]
    assert {line["service"] for line in told} == {WANDB}
    (end,) = lines(captured, "service.answered")
    assert (end["service"], end["seconds"], end["untold"]) == (WANDB, 125.0, 5 * 20 - 1)


def test_each_server_has_its_own_outage(passed: list[float]) -> None:
    """And an answer of one says nothing of the other; whatever it answers, it is there."""
    with capture_logs() as captured:
        during(passed, WANDB, seconds=1, calls=2)
        during(passed, STORAGE, seconds=1, calls=2)
        with pytest.raises(errors.NotFoundError):
            raise_for_status("read", 404, {}, f"{STORAGE}/file")

    assert [line["service"] for line in lines(captured, "call.retried")] == [WANDB, STORAGE]
    assert [line["service"] for line in lines(captured, "service.answered")] == [STORAGE]


def test_a_server_that_comes_and_goes_is_told_once_a_minute(passed: list[float]) -> None:
    """With what was not told."""
    with capture_logs() as captured:
        for _ in range(61):
            during(passed, WANDB, seconds=1, calls=1)
            answer()

    assert [line["untold"] for line in lines(captured, "call.retried")] == [0, 59 * 5]
    assert len(lines(captured, "service.answered")) == 2


def test_what_is_no_outage_is_told_each_time() -> None:
    """Bytes that come damaged are one version's own."""

    def damaged() -> None:
        raise errors.IntegrityError("other bytes came")

    with capture_logs() as captured, pytest.raises(errors.IntegrityError):
        retry.call(damaged, what="read", sleep=lambda _seconds: None)

    assert len(lines(captured, "call.retried")) == retry.DEFAULT.attempts - 1


def test_who_tells_of_an_absence_tells_it_alone(passed: list[float]) -> None:
    """From when the daemon has noticed it until it is over, no call tells of it."""
    there: list[bool] = []
    patience = Waiting({"W&B": lambda: answer() if there else away()}, clock=lambda: passed[0])
    with capture_logs() as captured:
        during(passed, WANDB, seconds=30, calls=4)
        patience.ask()
        during(passed, WANDB, seconds=125, calls=4)
        there.append(True)
        patience.ask()

    assert len(lines(captured, "call.retried")) == len(lines(captured, "service.away")) == 1
    assert lines(captured, "service.answered") == []
    (back,) = lines(captured, "service.back")
    assert back["untold"] == (30 + 125) * 20 - 1
