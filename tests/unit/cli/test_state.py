"""The state folder as commands make it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncd.cli.main import main


@pytest.mark.parametrize("verb", ["status", "backfill"])
def test_nobody_else_looks_into_a_state_folder_that_is_made(
    verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Payload on its way lies in there, and what projects are called; one that is there is the operator's."""
    before = os.umask(0o022)
    codes, modes = [], []
    try:
        (tmp_path / "given").mkdir()
        for name in ("given", "new"):
            monkeypatch.setenv("SYNCD_ENGINE__STATE_DIR", str(tmp_path / name))
            monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
            codes.append(main([verb, "team/proj"]))
            modes.append((tmp_path / name).stat().st_mode & 0o777)
    finally:
        os.umask(before)

    assert modes == [0o755, 0o700], (codes, capfd.readouterr())
