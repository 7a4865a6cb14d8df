"""Reclaim and restore: what moved leaves W&B, its storage shrinks as predicted, and all comes back."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from acceptance_state import differences, end_state
from acceptance_world import Once, World, world

VERSIONS = int(os.environ.get("SYNCD_TEST_VERSIONS", "8"))  # `make nightly` takes 200
DELETE = {"SYNCD_RECLAIM__POLICY": "delete", "SYNCD_RECLAIM__GRACE": "0s"}
# Versions that share files within and between collections, some with XXH128 digests.
LOG = """
import hashlib
def content(name, size=2000):
    return hashlib.shake_128(name.encode()).digest(size)
def version(name, number, **fields):
    artifact = wandb.Artifact(name, "dataset", metadata={"number": number}, **fields)
    files = {"own.bin": content(f"{name} {number}"), "shared.bin": content(f"{name} {number // 5}"),
        "everywhere.bin": content(f"everywhere {name}"), "small.txt": f"{name} {number}".encode()}
    for path, data in files.items():
        with artifact.new_file(path, mode="wb") as file:
            file.write(data)
    return artifact
count = int(sys.argv[1])
with wandb.init(project="p", id="prepare") as run:
    logged = []
    for number in range(count // 2):
        for name, fields in (("md5", {}), ("xxh", {"digest_algorithm": "XXH128"})):
            logged.append(run.log_artifact(version(name, number, **fields),
                aliases=["latest", f"n{number}"] if number % 7 == 0 else None))
    for item in logged:
        item.wait()
with wandb.init(project="p", id="train") as run:
    run.use_artifact("md5:v3")
"""
DOWNLOAD = """
artifact = wandb.Api().artifact(f"p/{sys.argv[1]}")
folder = artifact.download(root=os.path.join(os.getcwd(), "files"))
emit([artifact.digest, artifact.type, artifact.logged_by().id,
    {path: open(os.path.join(folder, path), "rb").read().hex() for path in sorted(artifact.manifest.entries)}])
"""
SUMS = """
import hashlib
from concurrent.futures import ThreadPoolExecutor
api = wandb.Api()
def sums(artifact):
    folder = artifact.download(root=os.path.join(os.getcwd(), artifact.name), skip_cache=True)
    return {path: hashlib.sha256(open(os.path.join(folder, path), "rb").read()).hexdigest()
        for path in artifact.manifest.entries}
found = {}
for name in ("md5", "xxh"):
    versions = list(api.artifacts("dataset", f"p/{name}", per_page=100))
    with ThreadPoolExecutor(8) as pool:
        for artifact, files in zip(versions, pool.map(sums, versions)):
            key = f"{name} {artifact.metadata['number']}"
            found.setdefault(key, []).append([artifact.version, artifact.digest,
                sorted(artifact.aliases), files])
emit(found)
"""


def _lose_state(world: World) -> None:
    """Whatever syncd remembers is gone; W&B and Oxen tell the rest."""
    shutil.rmtree(world.state)


def _age_runs(data: Path) -> None:
    """The server last heard of its runs two days ago: none of them is at work."""
    before = datetime.now(UTC) - timedelta(days=2)
    with closing(sqlite3.connect(data / "sandbox.sqlite3", timeout=30)) as server, server:
        server.execute("UPDATE runs SET heartbeat_at = ?", (f"{before:%Y-%m-%dT%H:%M:%SZ}",))


def _collect(world: World) -> int:
    report = world.http.post("/sandbox/gc", json={}).raise_for_status().json()
    return int(report["freed_bytes"])


@pytest.mark.timeout(120 + 20 * VERSIONS)
def test_a_project_leaves_wandb_and_comes_back(empty: World, tmp_path: Path) -> None:
    """Stored bytes drop by exactly what the plan predicted, and come back; bytes stay the same.

    A plain client sees equal files at each point. The state is lost between any two commands.
    """
    empty.sdk(LOG, str(VERSIONS))
    _age_runs(tmp_path / "data")
    before = empty.sdk(SUMS)
    stored = empty.stats()["stored_bytes"]
    empty.configure(references=empty.gateway())
    assert empty.backfill()["versions"]["replaced"] == VERSIONS
    _lose_state(empty)

    plan = empty.syncd("reclaim", "--dry-run", "--json", env=DELETE).document
    _lose_state(empty)
    assert (len(plan["removals"]), plan["stays"], plan["bytes"]["freed"]) == (VERSIONS, [], 0)
    assert empty.asked("DeleteArtifact") == 0
    assert empty.stats()["stored_bytes"] == stored

    done = empty.syncd("reclaim", "--json", env=DELETE).document
    _lose_state(empty)
    freed = _collect(empty)
    assert done["removals"] == plan["removals"]
    assert done["bytes"]["freed"] == plan["bytes"]["expected"] == freed
    assert stored - empty.stats()["stored_bytes"] == freed > 0
    again = empty.syncd("reclaim", "--json", env=DELETE).document
    assert again["removals"] == again["stays"] == []
    assert empty.asked("DeleteArtifact") == VERSIONS
    gone = empty.sdk(SUMS)

    _lose_state(empty)
    empty.reset_stats()
    back = empty.syncd("restore", empty.target, "--json").document
    _lose_state(empty)
    assert (len(back["restored"]), back["skipped"], back["failures"]) == (VERSIONS, [], [])
    assert empty.stats()["stored_bytes"] == stored
    assert empty.stats()["bytes_uploaded"] == freed  # nothing twice
    after = empty.sdk(SUMS)
    for key, [(_, digest, aliases, files)] in before.items():
        [(_, _, held, through)] = gone[key]
        assert (held, through) == (aliases, files)
        [restored] = [item for item in after[key] if item[1] == digest]
        [left] = [item for item in after[key] if item[1] != digest]
        assert (restored[2], restored[3], left[2], left[3]) == (aliases, files, [], files)

    empty.reset_stats()
    repeat = empty.syncd("restore", empty.target, "--json").document
    assert (repeat["restored"], len(repeat["skipped"])) == ([], VERSIONS)
    assert empty.backfill()["versions"]["replaced"] == 0
    assert empty.syncd("verify", "--json").document["failed"] == 0
    assert empty.asked("CreateArtifact") == empty.asked("AddAliases") == 0

    # Named, it moves again, and nothing travels.
    [version] = [item[0] for item in after["md5 0"] if item[1] == before["md5 0"][0][1]]
    report = empty.backfill(f"{empty.target}/md5:{version}")
    assert (report["versions"]["replaced"], report["bytes"]["downloaded"]) == (1, 0)
    [again_moved] = report["replacements"]
    assert again_moved["replacement"] == f"{empty.target}/md5:{gone['md5 0'][0][0]}"


@pytest.fixture(scope="module")
def moved_data(once: Once, small_data: Path) -> Path:
    """The small project, moved: a folder with the server's data, Oxen and the state."""

    def fill(folder: Path) -> None:
        shutil.copytree(small_data, folder / "data")
        with world(folder, folder / "data") as made:
            made.backfill()

    return once("moved", fill)


@contextmanager
def _moved(folder: Path, moved_data: Path) -> Iterator[World]:
    folder.mkdir()
    for name in ("data", "oxen", "state"):
        shutil.copytree(moved_data / name, folder / name)
    with world(folder, folder / "data") as made:
        yield made


def _end(made: World, scratch: Path) -> Any:
    """The end state without times, and without ids that abandoned attempts have used up."""
    text = json.dumps(end_state(made, scratch))
    text = re.sub(r'"(at|artifact_id|birthArtifactID)": "[^"]*"', r'"\1": ""', text)
    return json.loads(text)


def _kill_at(made: World, operation: str, *words: str) -> None:
    """Kill while the server has a call in its hands, and lose the state."""
    made.reset_stats()
    made.fault(f"graphql:{operation}", "delay:600000", times=1)
    with made.running(*words, **DELETE) as process:
        process.alive_until(lambda: made.asked(operation) > 0, operation)
        process.kill()
    made.heal()
    _lose_state(made)


@pytest.mark.nightly
def test_killed_again_and_again_without_its_state_both_ways_end_as_if_undisturbed(
    tmp_path: Path, moved_data: Path
) -> None:
    """Nothing goes that should stay, nothing is there twice, and the notes tell one story."""
    with _moved(tmp_path / "calm", moved_data) as calm:
        calm.syncd("reclaim", env=DELETE)
        taken = _end(calm, tmp_path / "scratch-1")
        calm.syncd("restore", calm.target)
        back = _end(calm, tmp_path / "scratch-2")
    with _moved(tmp_path / "killed", moved_data) as killed:
        for operation in ("UpdateArtifact", "DeleteArtifact"):
            _kill_at(killed, operation, "reclaim")
        killed.syncd("reclaim", env=DELETE)
        assert differences(_end(killed, tmp_path / "scratch-3"), taken) == []
        for operation in ("UpdateArtifact", "CommitArtifact", "AddAliases"):
            _kill_at(killed, operation, "restore", killed.target)
        killed.syncd("restore", killed.target)
        assert differences(_end(killed, tmp_path / "scratch-4"), back) == []


def test_what_wandb_has_lost_altogether_is_rebuilt_from_its_commit(
    tmp_path: Path, moved_data: Path
) -> None:
    """The version, its replacement and the state are gone; Oxen alone has them."""
    with _moved(tmp_path / "world", moved_data) as made:
        before = made.sdk(DOWNLOAD, "model:v0")
        [oxen] = [
            item["oxen"]
            for item in made.syncd("verify", "--json").document["versions"]
            if item["version"].endswith("model:v0")
        ]
        made.sdk("""
for version in wandb.Api().artifacts("model", "p/model"):
    version.delete(delete_aliases=True)
""")
        _collect(made)
        _lose_state(made)
        document = made.syncd("restore", oxen, "--json").document
        again = made.syncd("restore", oxen, "--json").document

        assert [item["source"] for item in document["restored"]] == [f"{made.target}/model:v0"]
        assert (again["restored"], len(again["skipped"])) == ([], 1)
        assert made.sdk(DOWNLOAD, "model:production") == before
        assert made.sdk(DOWNLOAD, "model:latest") == before
        assert made.backfill()["versions"]["replaced"] == 0
