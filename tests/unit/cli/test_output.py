"""Standard output holds the result and nothing else."""

from __future__ import annotations

import io
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
from syncd.cli.people import People, print_table
from syncd.testing.terminal import seen_on_terminal


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


DRAWING = """
import os, pathlib, sys, oxen, oxen.user
from syncd.cli.output import Output, console

with Output().guarded(loud=False):
    console().print("ours", style="bold")
    oxen.user.config_user("ana", "ana@example.org")
    repo = oxen.Repo(sys.argv[1], mkdir=True)
    repo.init()
    for number in range(50):
        pathlib.Path(sys.argv[1], str(number)).write_bytes(b"x" * number)
    repo.add(sys.argv[1])
    repo.commit("fifty")
"""


def test_liboxen_draws_nothing_on_a_terminal(tmp_path: Path) -> None:
    """Its bars would cut through ours, which still know what the terminal can do."""
    environ = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", DRAWING, str(tmp_path / "repo")]
    seen = seen_on_terminal(command, environ)

    assert seen == b"\x1b[1mours\x1b[0m\r\n"


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


@pytest.mark.parametrize("width", [40, 60, 200])
def test_a_table_breaks_no_name_in_two(width: int) -> None:
    """A terminal too narrow for it shows each row on lines of its own."""
    table = Table(box=None, pad_edge=False)
    for name in ("version", "goes to", "files", "moves"):
        table.add_column(name)
    rows = [
        (f"team/project/scans:v{n}", f"oxen://team/project-scans-{n}", "3", "1 MiB") for n in (1, 2)
    ]
    for row in rows:
        table.add_row(*row)
    people = People(file=io.StringIO(), width=width, soft_wrap=True)

    print_table(people, table, heads=1)

    assert isinstance(people.file, io.StringIO)
    lines = people.file.getvalue().splitlines()
    for row in rows:
        assert all(any(cell in line for line in lines) for cell in row)
    assert len(lines) == (3 if width == 200 else 4)
    assert ("  goes to oxen://team/project-scans-1, files 3, moves 1 MiB" in lines) == (width < 200)
