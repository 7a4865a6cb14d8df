"""What a script publishes and fetches, on every store; a folder is written to by another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_files import REPO

from syncd.clients.artifacts import Run
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_mark import Mark
from syncd.clients.oxen_reading import EmbeddedReader
from syncd.clients.protocols import VersionStore
from syncd.errors import RepositoryConflictError, ServiceUnavailableError
from syncd.refs import ArtifactRef, CommitRef, RunRef
from syncd.testing import StoreHarness
from syncd.training import fetch, pinned
from syncd.training.commits import Work
from syncd.training.local import hashed
from syncd.training.writer import Elsewhere, Here, Request, Writer, answer
from syncd.versions.plans import LINEAGE_PATH

RUN = Run(
    id="",
    ref=RunRef(entity="team", project="proj", run_id="train"),
    name="brave run",
    state="running",
    url="https://w/1",
    config={"rate": 0.5, "layers": [1, 2]},
)


def work(folder: Path, files: dict[str, bytes], **more: Any) -> Work:
    """What is to be committed: these files."""
    places = {}
    for path, data in files.items():
        places[path] = folder / path
        places[path].parent.mkdir(parents=True, exist_ok=True)
        places[path].write_bytes(data)
    values: dict[str, Any] = {
        "ref": ArtifactRef(entity="team", project="proj", collection="clip", alias=""),
        "type": "model",
        "repo": REPO,
        "branch": "main",
        "main": "main",
        "prefix": "",
        "run": RUN,
        "inputs": ({"artifact": None, "oxen": "oxen://team/data@1"},),
        "author": "ann",
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    return Work(files=hashed(places), **(values | more))


FILES = {"deep/model.bin": b"weights" * 300_000, "config.json": b"{}", "empty": b""}


def kept(writer: Writer, made: CommitRef, folder: Path) -> None:
    """Once is enough, branches follow, and somebody else's collection is refused."""
    again = writer.commit(work(folder, FILES))
    writer.point(made, ["wandb/v0", "latest"])
    writer.prove(made)
    candidate = writer.commit(work(folder, {"config.json": b"[]"}, branch="candidate"))

    assert again == made
    assert candidate != made
    other = ArtifactRef(entity="team", project="proj", collection="other", alias="")
    with pytest.raises(RepositoryConflictError):
        writer.commit(work(folder, FILES, ref=other))


def history(store: VersionStore, revision: str) -> Iterator[str]:
    """A branch's commits, the latest first; a store may have laid some of its own between."""
    found = store.resolve(REPO, revision)
    while found is not None:
        yield found.ref.commit
        found = store.resolve(REPO, found.parents[0]) if found.parents else None


def test_what_is_published_can_be_pinned_and_fetched(harness: StoreHarness, tmp_path: Path) -> None:
    """The same bytes, by another script, whatever the store."""
    writer = Here(store=harness.store)
    made = writer.commit(work(tmp_path / "out", FILES))
    kept(writer, made, tmp_path / "out")
    store = harness.reopened()
    environ = {
        "SYNCD_CACHE_DIR": str(tmp_path / "cache"),
        "OXEN_DATASET_REPO": str(REPO),
        "OXEN_DATASET_COMMIT": made.commit,
    }
    pins = pinned(model=False, environ=environ, store=store)
    folder = fetch(pins.dataset, environ=environ, store=store)

    found = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    assert found == FILES
    assert harness.checked_out(made).keys() == {*FILES, LINEAGE_PATH}
    heads = store.branches(REPO)
    assert (heads["main"], heads["wandb/v0"]) == (made.commit, made.commit)
    assert made.commit in list(history(store, "candidate"))[1:]


def test_a_commit_that_no_branch_holds_any_more_is_what_it_was(
    harness: StoreHarness, tmp_path: Path
) -> None:
    """A pin lasts, whatever becomes of the branches it was written down from."""
    writer = Here(store=harness.store)
    first = writer.commit(work(tmp_path / "out", FILES))
    lost = writer.commit(work(tmp_path / "lost", {"config.json": b"[]"}, branch="candidate"))
    writer.point(first, ["candidate"])
    store = harness.reopened()
    assert lost.commit not in store.branches(REPO).values()
    environ = {
        "SYNCD_CACHE_DIR": str(tmp_path / "cache"),
        "OXEN_DATASET_REPO": str(REPO),
        "OXEN_DATASET_COMMIT": lost.commit,
    }
    pins = pinned(model=False, environ=environ, store=store)

    folder = fetch(pins.dataset, environ=environ, store=store)
    assert [path.read_bytes() for path in folder.iterdir()] == [b"[]"]


def test_a_script_never_locks_a_folder_of_repositories(tmp_path: Path) -> None:
    """What it writes another process does, which ends; what it reads opens no repository."""
    root = tmp_path / "oxen"
    writer = Elsewhere(root=root)
    made = writer.commit(work(tmp_path / "out", FILES))
    reader = EmbeddedReader(root)
    environ = {"SYNCD_CACHE_DIR": str(tmp_path / "cache")}
    fetch(made, environ=environ, store=reader)
    assert reader.resolve(REPO, "main") is not None
    kept(writer, made, tmp_path / "out")  # would fail if this process had opened it

    assert reader.branches(REPO)["latest"] == made.commit


def test_a_folder_that_is_in_use_says_what_to_do(tmp_path: Path) -> None:
    """The error names the repository, and that syncd itself may be who keeps it."""
    root = tmp_path / "oxen"
    made = Elsewhere(root=root).commit(work(tmp_path / "out", FILES))
    holder = (
        "import sys, oxen\n"
        f"repo = oxen.Repo({str(RepoIndex(root, REPO).worktree)!r})\n"
        "repo.branches()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        reply = answer(Request(root=str(root), commit=made, branches=("latest",)))
        process.kill()

    assert reply.error == "StoreLockedError"
    assert str(REPO) in reply.message
    assert "stop `syncd run`" in reply.hint


def test_a_folder_that_goes_away_after_it_was_looked_at_is_not_written_to(tmp_path: Path) -> None:
    """Hashing large files takes its time; and what a person marked by an empty file is in use then."""
    root = tmp_path / "oxen"
    mark = Mark(root)
    mark.path.parent.mkdir(parents=True)
    mark.path.touch()
    writer = Elsewhere(root=root)
    writer.check(REPO, (), ())
    writer.commit(work(tmp_path / "out", {"a": b"1"}))
    assert mark.read()
    writer.check(REPO, (), ())
    root.rename(tmp_path / "unplugged")
    root.mkdir()
    with pytest.raises(ServiceUnavailableError, match="may not be mounted"):
        writer.commit(work(tmp_path / "out", {"a": b"2"}))

    assert list(root.iterdir()) == []
