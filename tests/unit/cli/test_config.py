"""`syncd config`: check, show and example."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from syncd import config
from syncd.cli import ExitCode
from syncd.cli.main import main


def test_check_is_content_with_nothing_configured(capfd: pytest.CaptureFixture[str]) -> None:
    """Warnings are told and are no failure."""
    assert main(["config", "check", "--json"]) == ExitCode.DONE
    found = json.loads(capfd.readouterr().out)

    assert (found["ok"], found["file"]) == (True, None)
    assert [text.partition(":")[0] for text in found["warnings"]] == ["wandb.projects"]


def test_check_names_every_mistake(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two mistakes, one run."""
    file = tmp_path / "c.toml"
    file.write_text('[oxen]\nurl = "x"\n[log]\nlevel = "x"\n')

    assert main(["config", "check", "--config", str(file)]) == ExitCode.USAGE
    captured = capfd.readouterr()
    assert "\n  oxen.url: " in captured.err
    assert "\n  log.level: " in captured.err
    assert captured.out == ""


def test_check_tells_people_which_file_it_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """So that nobody corrects another file."""
    file = tmp_path / "c.toml"
    file.write_text('[wandb]\nprojects = ["e/p"]\n')
    main(["config", "check", "--config", str(file)])

    assert capfd.readouterr().out == f"{file}: ok\n"


def test_show_prints_toml_and_json_of_the_same_values(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every key is there, set or not."""
    main(["config", "show"])
    shown = tomllib.loads(capfd.readouterr().out)
    main(["config", "show", "--json"])
    document = json.loads(capfd.readouterr().out)

    named = {"endpoints", "triggers"}  # tables of the user's, of which there are none
    assert set(shown) | named == set(document) == set(config.Config.model_fields)
    assert shown["select"] == document["select"]
    assert document["wandb"]["api_key_file"] is None


def test_show_never_prints_a_secret(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither as TOML nor as JSON."""
    monkeypatch.setenv("WANDB_API_KEY", "hunter22")
    monkeypatch.setenv("SYNCD_ENGINE__DATABASE", "postgresql://u:hunter22@h/d")
    for words in (["config", "show"], ["config", "show", "--json"], ["config", "check"]):
        assert main(words) == ExitCode.DONE
    captured = capfd.readouterr()

    assert "hunter22" not in captured.out + captured.err


def test_example_can_be_redirected_into_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    """What is printed is the sample to the byte, however narrow the terminal."""
    main(["config", "example"])

    assert capfd.readouterr().out == config.example()


def test_example_also_makes_the_reference(capfd: pytest.CaptureFixture[str]) -> None:
    """The documentation is the same definition."""
    main(["config", "example", "--markdown"])

    assert capfd.readouterr().out == config.reference()
