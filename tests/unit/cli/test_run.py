"""`syncd run` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.cli import Context, ExitCode, main
from syncd.cli.run import _face


def test_a_daemon_without_anything_to_watch_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which key is missing, and begins nothing."""
    monkeypatch.chdir(tmp_path)

    assert main.main(["run"]) == ExitCode.USAGE
    assert "[wandb] projects" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_face_is_started_with_the_options_that_were_given(tmp_path: Path) -> None:
    """What the configuration says it reads itself."""
    given = Context(config_file=tmp_path / "config.toml", given_log_level="debug")

    assert _face(Context())[1:] == ["-m", "syncd", "face"]
    assert _face(given)[4:] == ["--config", str(tmp_path / "config.toml"), "--log-level", "debug"]
