"""The path of one version: what a process that was killed leaves to the next one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parents[1] / "support"
# The first process ends when the version has been committed and proved; the second goes on with another
# [oxen] path. Both see the same W&B; repositories are real ones.
SCRIPT = """
import json, os, sys
from pathlib import Path
from unit_world import PROJECT, World
from syncd import retry
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.replacements import replacement_of
from syncd.testing import MemoryArtifactSource

folder, path, killed = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "killed"

def before(method, _at):
    if killed and method == "log_replacement":
        os._exit(9)

source = MemoryArtifactSource(before=before)
store = EmbeddedVersionStore(folder / "oxen")
world = World(folder, source, store, oxen={"path": path}, references={"base_url": "https://x.example"})
source.log("ds", {"d": b"prepared data"})
with retry.fast():
    report = world.backfill().document()
links = [replacement_of(v.metadata, v.digest) for v in source.versions(PROJECT)]
paths = [[e.path for e in store.tree(link.commit)] for link in links if link]
sys.__stdout__.write("\\n=RESULT=" + json.dumps({"failures": report["failures"], "paths": paths}))
world.catalog.close()
"""


def run(folder: Path, path: str, how: str) -> tuple[int, dict[str, Any]]:
    """One process; its exit code, and what it found."""
    command = [sys.executable, "-c", SCRIPT, str(folder), path, how]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    _, _, result = done.stdout.partition("=RESULT=")
    assert result or done.returncode == 9, done.stderr
    return done.returncode, json.loads(result or "{}")


def test_references_never_name_another_place_than_a_version_was_committed_to(
    tmp_path: Path,
) -> None:
    """[oxen] path is changed between a kill and the next start; the next attempt commits anew."""
    code, _ = run(tmp_path, "", "killed")
    assert code == 9
    _, found = run(tmp_path, "{collection}", "refused")
    (failure,) = found["failures"]
    assert "is to lie at ds/.syncd/lineage.json" in failure["error"]
    assert "quarantine retry" in failure["hint"]
    assert found["paths"] == []
    _, found = run(tmp_path, "{collection}", "again")
    assert found["failures"] == []
    (paths,) = found["paths"]
    assert {"ds/.syncd/lineage.json", "ds/d"} <= set(paths)
