"""Figures that take long are kept: not made at each look, never for long, and by one thread at a time."""

from __future__ import annotations

import threading

import pytest

from syncd.catalog.kept import QUICK, SHARE, Kept


class Slow:
    """Makes a value, which takes a while on a clock of its own."""

    def __init__(self, takes: float) -> None:
        self.now, self.takes, self.made = 0.0, takes, 0

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def make(self) -> int:
        """How often it was made."""
        self.now += self.takes
        self.made += 1
        return self.made


def test_what_is_quick_is_made_at_each_look() -> None:
    """Nobody sees an old figure where a new one costs nothing."""
    slow = Slow(QUICK / 2)
    kept = Kept(slow.clock)

    assert [kept.get("sum", slow.make) for _ in range(3)] == [1, 2, 3]


def test_what_is_slow_is_made_again_after_a_time_that_grows_with_it() -> None:
    """One look in so many seconds pays for it."""
    slow = Slow(2 * QUICK)
    kept = Kept(slow.clock)
    assert [kept.get("sum", slow.make) for _ in range(3)] == [1, 1, 1]
    assert kept.get("another", lambda: "its own") == "its own"

    slow.now += SHARE * slow.takes
    assert kept.get("sum", slow.make) == 2


def test_a_failure_is_told_and_nothing_is_kept_of_it() -> None:
    """The next look tries again."""
    slow = Slow(2 * QUICK)
    kept = Kept(slow.clock)

    def fail() -> int:
        slow.make()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        kept.get("sum", fail)
    assert kept.get("sum", slow.make) == 2


def test_while_one_makes_it_the_others_get_the_old_one() -> None:
    """A scrape does not queue up behind a page."""
    slow = Slow(2 * QUICK)
    kept = Kept(slow.clock)
    kept.get("sum", slow.make)
    slow.now += 2 * SHARE * slow.takes
    inside, go_on = threading.Event(), threading.Event()

    def blocked() -> int:
        inside.set()
        assert go_on.wait(10)
        return slow.make()

    maker = threading.Thread(target=kept.get, args=("sum", blocked))
    maker.start()
    assert inside.wait(10)
    assert kept.get("sum", slow.make) == 1
    go_on.set()
    maker.join()

    assert kept.get("sum", slow.make) == 2
