"""Patience: what is away is waited for and told once; what is a version's own fault is not."""

from __future__ import annotations

import errno
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syncd.errors import (
    DiskFullError,
    PermanentError,
    ServiceUnavailableError,
    StateUnavailableError,
    TransientError,
)
from syncd.service.patience import OWN_FAILURES, Waiting, check_room

PAUSE = 0.01  # seconds
AWAY = ServiceUnavailableError("W&B did not answer")


class Service:
    """Something that may be away."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0
        self.returns_at: int | None = None  # the question that it answers again

    def probe(self) -> None:
        """Ask it."""
        self.asked += 1
        if self.returns_at is not None and self.asked >= self.returns_at:
            self.error = None
        if self.error is not None:
            raise self.error


@pytest.fixture
def service() -> Service:
    """One that answers."""
    return Service()


@pytest.fixture
def waiting(service: Service) -> Waiting:
    """Patience with it; every question is asked."""
    ticks = iter(range(0, 1 << 30, 10))
    return Waiting({"W&B": service.probe}, clock=lambda: float(next(ticks)), first_wait=PAUSE)


def told(captured: str, event: str) -> list[dict[str, object]]:
    """What the log says of an event."""
    lines = [json.loads(line) for line in captured.splitlines()]
    return [line for line in lines if line["event"] == event]


def test_an_absence_is_waited_for_and_does_not_count(service: Service, waiting: Waiting) -> None:
    """However often it happens."""
    for _ in range(10):
        service.error, service.returns_at = AWAY, service.asked + 7

        assert waiting.again(AWAY, 0) == 0
    assert not waiting.away


def test_an_absence_is_told_once_when_it_begins_and_once_when_it_ends(
    service: Service, waiting: Waiting, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not each time it is asked after."""
    service.error, service.returns_at = AWAY, 20
    waiting.ask()
    described = waiting.describe()
    waiting.until_back()
    captured = capsys.readouterr().err

    assert described is not None
    assert described.startswith("W&B is away since 20")
    assert described.endswith("W&B did not answer")
    assert [line["service"] for line in told(captured, "service.away")] == ["W&B"]
    assert [line["service"] for line in told(captured, "service.back")] == ["W&B"]
    assert waiting.describe() is None


def test_what_fails_while_everything_answers_is_tried_a_few_times(waiting: Waiting) -> None:
    """Then it is the version's own."""
    tries, own = 0, 0
    while (again := waiting.again(AWAY, own)) is not None:
        tries, own = tries + 1, again

    assert tries == OWN_FAILURES - 1


@pytest.mark.parametrize(
    "error", [DiskFullError("no space left"), StateUnavailableError("it is read only")]
)
def test_a_full_disk_and_a_database_are_always_waited_for(
    error: TransientError, waiting: Waiting
) -> None:
    """They are nobody's own, whatever answers."""
    own = 0
    for _ in range(OWN_FAILURES + 1):
        again = waiting.again(error, min(own, 1))
        assert again is not None
        own = again


def test_one_request_that_goes_wrong_is_no_absence(service: Service, waiting: Waiting) -> None:
    """It is asked twice."""
    service.error, service.returns_at = AWAY, 2

    assert waiting.ask()
    assert service.asked == 2


def test_one_that_answers_unkindly_is_there(service: Service, waiting: Waiting) -> None:
    """Whoever needs it tells what it does not like."""
    service.error = PermanentError("the key is refused")

    assert waiting.ask()


def test_nothing_begins_while_anything_is_away_or_after_the_end(
    service: Service, waiting: Waiting
) -> None:
    """What runs may end."""
    entered: list[str] = []

    def work(name: str) -> None:
        with waiting.working():
            entered.append(name)

    with waiting.working():
        assert waiting.busy == 1
        assert not waiting.quiet(0)
    assert waiting.quiet(0)
    service.error = AWAY
    waiting.ask()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(work, "back")
        time.sleep(5 * PAUSE)
        assert entered == []
        service.error = None
        first.result(timeout=10)
    waiting.close()
    late = threading.Thread(target=work, args=("late",), daemon=True)
    late.start()
    late.join(5 * PAUSE)

    assert entered == ["back"]
    assert late.is_alive()


def test_what_costs_little_is_asked_before_every_stage(service: Service) -> None:
    """Not only after something failed."""
    waiting = Waiting({"the disk": service.probe}, always=frozenset({"the disk"}))
    for _ in range(3):
        with waiting.working():
            pass

    assert service.asked == 3


def test_a_disk_that_cannot_be_asked_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on the network may; what was on its way is no failure of its own."""

    def stale(_place: Path) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(shutil, "disk_usage", stale)
    waiting = Waiting({"the disk": lambda: check_room([tmp_path], 1)}, first_wait=PAUSE)

    assert not waiting.ask()
    assert "Stale file handle" in (waiting.describe() or "")


def test_room_is_asked_for_where_the_folder_is_or_will_be(tmp_path: Path) -> None:
    """By the bytes that are left."""
    check_room([tmp_path / "not" / "yet"], 1)
    with pytest.raises(DiskFullError, match=r"\[engine\] min_free = 1024TiB"):
        check_room([tmp_path], 1 << 50)
