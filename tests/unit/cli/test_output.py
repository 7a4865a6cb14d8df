"""Standard output holds the result and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from syncd.cli import output


def test_a_result_is_written_once(capfd: pytest.CaptureFixture[str]) -> None:
    """A second document would spoil the first for its reader."""
    out = output.Output(as_json=True)
    out.result({"n": 1}, lambda _console: None)

    with pytest.raises(RuntimeError, match="one result"):
        out.result({"n": 2}, lambda _console: None)
    assert capfd.readouterr().out == '{"n": 1}\n'


def test_numbers_that_json_has_not_are_told_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    """A run's config may hold them; a strict reader must be able to read the document."""
    values = {"a": [float("nan")], "b": {"c": float("-inf")}, "d": (float("inf"), 1.5)}
    output.Output(as_json=True).result(values, lambda _console: None)

    told = json.loads(capfd.readouterr().out, parse_constant=pytest.fail)
    assert told == {"a": ["NaN"], "b": {"c": "-Infinity"}, "d": ["Infinity", 1.5]}


HOSTILE = ("[/INST]", "data[train].bin", "\x1b]0;owned\x07\x1b[2J", ":smile:", "\ud800", "a\nb")


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_strangers_is_shown_as_it_is_and_does_nothing(
    text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Names, configs, errors: no markup, no escape sequence, in lines and in tables."""

    def human(people: Console) -> None:
        people.print(text)
        table = Table(box=None)
        table.add_column(text)
        table.add_row(text)
        people.print(table)

    output.Output().result({}, human)

    said = capfd.readouterr().out
    assert said.count(text.encode("unicode_escape").decode().replace("\\n", "\n")) in {1, 3}
    assert said.replace("\n", "").isprintable()


@pytest.mark.parametrize("value", [object(), b"bytes"])
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
