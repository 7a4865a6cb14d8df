"""The systemd units: systemd reads them without complaint, and finds little that they may do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.config import credentials

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
PROGRAM = "/opt/syncd/bin/syncd"
MOST_EXPOSED = 1.5
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze not found")


def analyze(*words: str | Path) -> str:
    """All that systemd-analyze says; it has to end well."""
    assert ANALYZE is not None
    done = subprocess.run([ANALYZE, *words], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def instance(unit: Path) -> str:
    """The name under which a unit is started."""
    return unit.name.replace("@.", "@1.")


def settings(unit: Path, key: str) -> list[str]:
    """The values of a key, in their order."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    """Not even a warning; the program is put where it is on this machine."""
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace(PROGRAM, sys.executable)
        (tmp_path / instance(unit)).write_text(text, encoding="utf-8")

    said = analyze("verify", "--man=no", *sorted(tmp_path.iterdir()))
    assert [line for line in said.splitlines() if str(tmp_path) in line or "syncd" in line] == []


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_may_do_little_else_than_its_work(unit: Path) -> None:
    """By systemd's own measure, from 0 to 10."""
    said = analyze("security", "--offline=true", unit)
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", said)

    assert found is not None, said
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_secrets_come_as_credentials_that_the_program_looks_for(unit: Path) -> None:
    """Under the very names, and never in the environment or on the command line."""
    source = Path(credentials.__file__).read_text(encoding="utf-8")
    names = [value.partition(":")[0] for value in settings(unit, "LoadCredential")]
    text = unit.read_text(encoding="utf-8")

    assert names
    assert all(f'"{name}"' in source for name in names if name != "pgpass")
    assert "pgpass" not in names or "install -m 600 %d/pgpass " in text
    assert not re.search(
        r"^(Environment|ExecStart)=.*(KEY|TOKEN|SECRET|password)", text, re.MULTILINE
    )


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_runs_a_verb_as_nobody_in_particular(unit: Path) -> None:
    """With a state directory of its own as its home."""
    [command] = settings(unit, "ExecStart")
    [folder] = settings(unit, "StateDirectory")

    assert re.fullmatch(rf"{PROGRAM} (run|worker|backfill|gateway)", command)
    assert settings(unit, "DynamicUser") == ["yes"]
    assert settings(unit, "CapabilityBoundingSet") == [""]
    assert f"SYNCD_ENGINE__STATE_DIR=%S/{folder}" in " ".join(settings(unit, "Environment"))


def test_a_nightly_job_does_not_stop_the_daemon() -> None:
    """Whoever has both finds a job that failed, and not in a week that nothing moves any more."""
    [unit] = [unit for unit in UNITS if unit.name == "syncd-backfill.service"]

    assert settings(unit, "Conflicts") == []
    assert "1" in settings(unit, "RestartPreventExitStatus")[0].split()


def test_the_daemon_is_watched() -> None:
    """It says when it is up, that it makes progress, and is started again when it does not."""
    [unit] = [unit for unit in UNITS if unit.name == "syncd.service"]

    assert settings(unit, "Type") == ["notify"]
    assert settings(unit, "WatchdogSec")
    assert settings(unit, "Restart") == ["always"]
