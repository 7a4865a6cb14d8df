"""Health: green means that somebody moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from face_world import beat, client, made_parts, until

from syncd.catalog.catalog import Catalog
from syncd.clients.origins import Found, no_file
from syncd.refs import RepoRef
from syncd.web.gateway import THREADS
from syncd.web.health import OLD, readiness
from syncd.web.inbox import Inbox


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(f"sqlite:///{tmp_path}/syncd.db")
    yield made
    made.close()


def asked(catalog: Catalog, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
    """What a probe is answered."""
    with client(made_parts(catalog)) as http:
        answer = http.get(path)
    return answer.status_code, answer.json()


def test_without_an_engine_it_is_not_ready(catalog: Catalog) -> None:
    """It lives, and says what to start."""
    status, document = asked(catalog)

    assert (status, document["status"]) == (503, "not ready")
    assert "syncd run" in document["reasons"][0]
    assert asked(catalog, "/healthz") == (200, {"status": "ok"})


def test_with_a_beating_engine_it_is_ready(catalog: Catalog) -> None:
    """Also while that waits for W&B, which is told and is no reason to start anything again."""
    beat(catalog, at=time.time(), waiting_for="W&B is away since 07:12")
    status, document = asked(catalog)

    assert (status, document["reasons"]) == (200, [])
    assert document["notices"] == ["W&B is away since 07:12"]


def test_an_engine_that_fell_silent_is_a_reason(catalog: Catalog) -> None:
    """With the time since when."""
    beat(catalog, at=time.time() - OLD - 60)
    status, document = asked(catalog)

    assert status == 503
    assert "no engine has given a sign of life for 9" in document["reasons"][0]


def test_one_of_two_engines_is_enough(catalog: Catalog) -> None:
    """The other one is told of, for a day."""
    now = time.time()
    beat(catalog, at=now)
    catalog.pulse.beat("engine:host-2", {}, at=now - 300)
    catalog.pulse.beat("engine:host-3", {}, at=now - 2 * 86_400)
    found = readiness(catalog, Inbox(catalog), now)

    assert found.reasons == ()
    assert found.notices == ("an engine fell silent 300 s ago",)


class Hanging:
    """An `Origin` that answers nothing until it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.ends = threading.Event()

    def find(self, repo: RepoRef, names: Sequence[str]) -> Found:
        """See `Origin.find`."""
        self.asked += 1
        self.ends.wait(60)
        raise no_file(repo, names[0], names[1:])

    def read(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """See `Origin.read`."""
        raise AssertionError(found, begin, end)


def test_pages_answer_while_oxen_hangs(catalog: Catalog) -> None:
    """However many wait for files."""
    origin = Hanging()
    with client(made_parts(catalog, origin=origin)) as http, ThreadPoolExecutor(100) as others:
        try:
            waiting = [others.submit(http.get, "/api/repos/n/r/file/main/a") for _ in range(90)]
            until(lambda: origin.asked >= THREADS, "many wait")
            found = [http.get(path).status_code for path in ("/readyz", "/metrics", "/failures")]
        finally:
            origin.ends.set()
        files = {answer.result().status_code for answer in waiting}

    assert (found, files) == ([503, 200, 200], {404})


def test_a_catalog_that_cannot_be_read_is_a_reason(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first line alone, which quotes no statement."""

    def broken() -> Any:
        raise OSError("unable to open database file\n[SQL: SELECT secret]")

    monkeypatch.setattr(catalog.pulse, "beats", broken)
    found = readiness(catalog, Inbox(catalog), 0.0)

    assert found.reasons == ("the catalog cannot be read: OSError: unable to open database file",)
    assert not found.readable
