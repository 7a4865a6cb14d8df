"""A terminal to run a program in, and what a person would see on it."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def seen_on_terminal(
    command: Sequence[str], environ: Mapping[str, str], folder: Path | None = None
) -> bytes:
    """Run a program to its end on a terminal that can move its cursor; all that is written to it.

    Args:
        command: the program and its arguments.
        environ: its variables, beside TERM.
        folder: where it runs.

    Raises:
        subprocess.CalledProcessError: when it fails.
    """
    ours, terminal = pty.openpty()
    with subprocess.Popen(  # noqa: S603 the tests say what runs
        command,
        cwd=folder,
        env={**environ, "TERM": "xterm-256color"},
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        seen = b""
        with suppress(OSError):  # how a terminal ends
            while data := os.read(ours, 4096):
                seen += data
    os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command), seen)
    return seen
