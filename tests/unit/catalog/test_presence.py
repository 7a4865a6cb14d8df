"""Presence: a lock is somebody's as long as the connection is there, and not a moment longer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from syncd.catalog.presence import Presence
from syncd.errors import ServiceUnavailableError
from syncd.testing.postgres_process import Postgres

BREAK = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd'"


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database."""
    return postgres.database()


@pytest.fixture
def one(url: str) -> Iterator[Presence]:
    """A process's connection."""
    made = Presence(url)
    yield made
    made.close()


@pytest.fixture
def other(url: str) -> Iterator[Presence]:
    """Another process's."""
    made = Presence(url)
    yield made
    made.close()


def test_a_lock_is_one_process_s_until_it_is_given_back(one: Presence, other: Presence) -> None:
    """Locks of other names are others."""
    assert one.take("a")
    assert not other.take("a")
    assert other.take("b")

    one.drop("a")
    assert other.take("a")


def test_a_shared_lock_is_everybody_s_and_keeps_an_owner_out(
    one: Presence, other: Presence
) -> None:
    """The other way round as well."""
    assert one.take("a", shared=True)
    assert other.take("a", shared=True)
    one.drop("a", shared=True)
    assert not one.take("a")

    other.drop("a", shared=True)
    assert one.take("a")
    assert not other.take("a", shared=True)


def test_what_is_not_held_cannot_be_given_back(one: Presence) -> None:
    """That would hide that a lock was lost."""
    with pytest.raises(RuntimeError, match="'a' was not held"):
        one.drop("a")


def test_locks_end_with_the_presence(one: Presence, other: Presence, url: str) -> None:
    """Its own alone, and at once."""
    assert one.take("a")
    third = Presence(url)
    assert third.take("b")
    third.close()

    assert other.take("b")
    assert not other.take("a")


def test_locks_end_with_the_connection(other: Presence, url: str) -> None:
    """As soon as the server has seen that it is gone, as when the process is killed."""
    killed = Presence(url)
    assert killed.take("a")
    killed._connection.close()
    end = time.monotonic() + 10
    while not other.take("a"):
        assert time.monotonic() < end
        time.sleep(0.01)
    killed.close()


def test_a_broken_connection_wakes_its_holder_and_holds_nothing(
    one: Presence, postgres: Postgres, url: str
) -> None:
    """It never connects again behind anybody's back."""
    assert one.take("a")
    postgres.sql(BREAK)
    began = time.monotonic()
    one.wait(30)

    assert time.monotonic() - began < 10
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            one.confirm()
    new = Presence(url)
    assert new.take("a")
    new.close()


def test_who_waits_can_be_woken(one: Presence) -> None:
    """At the end of its time."""
    one.wake()
    began = time.monotonic()
    one.wait(30)

    assert time.monotonic() - began < 10


def test_a_server_that_is_away_is_told_of() -> None:
    """As what may answer later."""
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        Presence("postgresql://syncd@127.0.0.1:1/syncd")
