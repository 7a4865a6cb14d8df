"""Telling systemd how the process is (sd_notify): one datagram of `NAME=value` lines.

The protocol is the one of systemd's manual page sd_notify(3): the socket's path stands in
`NOTIFY_SOCKET`, `@` begins a name in the abstract namespace. Without the variable nobody asked.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

SOCKET = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"
WATCHDOG_PID = "WATCHDOG_PID"


class Notifier:
    """Tells the service manager, where there is one.

    Args:
        environ: the environment variables.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        name = environ.get(SOCKET, "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        mine = environ.get(WATCHDOG_PID, str(os.getpid())) == str(os.getpid())
        text = environ.get(WATCHDOG, "")
        self.watchdog = int(text) / 1e6 if mine and text.isdecimal() else None
        """Seconds within which a sign of life is wanted, None when nobody wants one."""

    def ready(self) -> None:
        """The service is up, or has done with reloading."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again."""
        # CLOCK_MONOTONIC, as Type=notify-reload wants it.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        """The service is on its way down, and may need so long; a shorter TimeoutStopSec= waits."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def alive(self) -> None:
        """The service makes progress."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text.splitlines()[0] if text else ''}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # Nothing depends on whether it was heard, and a manager that restarts hears the next one.
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.sendto(message.encode(), self._address)
