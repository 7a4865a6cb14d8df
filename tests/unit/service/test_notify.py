"""Notify: what systemd hears, where it listens."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.service.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket, and what the variable says of it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@syncd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(name.replace("@", "\0") if name.startswith("@") else name)
        channel.settimeout(5)
        yield name, channel


def heard(channel: socket.socket) -> dict[str, str]:
    """One datagram."""
    return dict(line.split("=", 1) for line in channel.recv(4096).decode().splitlines())


def test_each_state_is_one_datagram(manager: tuple[str, socket.socket]) -> None:
    """As sd_notify(3) spells them."""
    name, channel = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.alive()
    notifier.stopping(300.0)
    notifier.reloading()
    notifier.status("moving; 3 versions\nand more")
    said = [heard(channel) for _ in range(5)]

    assert said[:3] == [
        {"READY": "1"},
        {"WATCHDOG": "1"},
        {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "300000000"},
    ]
    assert said[3]["RELOADING"] == "1"
    assert int(said[3]["MONOTONIC_USEC"]) > 0
    assert said[4] == {"STATUS": "moving; 3 versions"}


def test_where_nobody_listens_nothing_is_said(tmp_path: Path) -> None:
    """Neither without a manager nor with one that has gone."""
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        notifier = Notifier(environ)
        notifier.ready()
        notifier.alive()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),  # meant for another process
    ],
)
def test_how_often_a_sign_is_wanted(environ: dict[str, str], seconds: float | None) -> None:
    """In seconds."""
    assert Notifier(environ).watchdog == seconds
