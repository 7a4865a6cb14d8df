"""Standard output holds the result and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from syncd.cli import output


def test_a_result_is_written_once(capfd: pytest.CaptureFixture[str]) -> None:
    """A second document would spoil the first for its reader."""
    out = output.Output(as_json=True)
    out.result({"n": 1}, lambda _console: None)

    with pytest.raises(RuntimeError, match="one result"):
        out.result({"n": 2}, lambda _console: None)
    assert capfd.readouterr().out == '{"n": 1}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes"])
def test_what_json_cannot_say_is_refused_before_anything_is_written(
    value: object, capfd: pytest.CaptureFixture[str]
) -> None:
    """Half a document is worse than a failure."""
    out = output.Output(as_json=True)

    with pytest.raises((TypeError, ValueError)):
        out.result({"value": value}, lambda _console: None)
    assert capfd.readouterr().out == ""
    assert not out.written


def test_text_that_is_not_unicode_is_still_written(capfd: pytest.CaptureFixture[str]) -> None:
    """A file name may hold anything."""
    output.Output(as_json=True).result({"name": "a\udc80"}, lambda _console: None)

    assert capfd.readouterr().out == '{"name": "a\\udc80"}\n'


def test_the_guard_reaches_subprocesses_and_survives_failures(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A child's standard output is ours to guard too; afterwards all is as before."""
    out = output.Output(as_json=True)
    with suppress(KeyError), out.guarded():
        subprocess.run([sys.executable, "-c", "print('child')"], check=True)
        raise KeyError
    os.write(1, b"after\n")
    captured = capfd.readouterr()

    assert captured.out == "after\n"
    assert "child" in captured.err


def test_no_descriptor_is_left_open() -> None:
    """The guard closes what it opened."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with output.Output().guarded():
            pass

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_console_for_people_writes_to_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Progress and questions never mix with results."""
    output.console().print("hello")

    assert capfd.readouterr() == ("", "hello\n")
