"""The whole way onto a real oxen-server, and back with a plain client that knows nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance_project import HOSTILE, LOG_FOLDERS, OBSERVE, content, sums, tree, write
from acceptance_state import manifest, raw
from acceptance_world import World

from syncd.refs import CommitRef
from syncd.testing.oxen_process import MISSING, OxenServer, find_server, oxen_server

pytestmark = pytest.mark.skipif(find_server() is None, reason=MISSING)
GROW = """
with wandb.init(project="p", id="grow") as run:
    draft = run.use_artifact("ds:latest").new_draft()
    with draft.new_file("grown.bin", mode="wb") as file:
        file.write(b"grown" * 100)
    run.log_artifact(draft).wait()
"""
CLONE = """
import sys, oxen
oxen.user.config_user("Ann", "ann@example.com")
oxen.clone(sys.argv[1], sys.argv[2], branch=sys.argv[3], all=True)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OxenServer]:
    """A server of the test's own."""
    with oxen_server(tmp_path / "server") as started:
        yield started


def test_a_plain_client_downloads_the_same_bytes_from_the_bare_server(
    empty: World, server: OxenServer, tmp_path: Path
) -> None:
    """No gateway and no ETag; hostile names, two versions, and again without moving a byte."""
    old = {**{name: content(name) for name in HOSTILE}, "empty.bin": b"", "note": b"small"}
    old["large.bin"] = content("large", 11_000_000)  # two parts
    new = {**old, "a b.bin": content("changed"), "added.bin": content("added")}
    del new["what?.bin"]
    for folder, files in (("old", old), ("new", new)):
        write(tmp_path / folder, files)
    empty.sdk(LOG_FOLDERS, str(tmp_path / "old"), str(tmp_path / "new"))
    empty.configure(oxen=server.url, references=server.url)

    report = empty.backfill()

    assert report["versions"]["replaced"] == 2, report
    seen = empty.sdk(OBSERVE, str(tmp_path / "down"))
    for number, files in ((2, old), (3, new)):
        assert tree(tmp_path / "down" / f"ds:v{number}") == sums(files)
        references = seen[f"ds:v{number}"]["references"]
        assert all(url.startswith(server.url) for url in references.values())
    assert seen["ds:v3"]["aliases"] == ["latest"]
    for item, files in zip(report["replacements"], (old, new), strict=True):
        assert cloned(item, server, tmp_path) == sums(files)
    empty.reset_stats()
    assert empty.backfill()["bytes"]["downloaded"] == 0
    assert empty.stats()["downloads"] == 0


def test_a_version_that_grew_out_of_a_moved_one_is_whole_in_oxen(
    empty: World, server: OxenServer, tmp_path: Path
) -> None:
    """Its references name no content by themselves, as the bare server sends no ETag."""
    files = {"a.bin": content("a"), "d/b.bin": content("b")}
    write(tmp_path / "old", files)
    empty.sdk(LOG_FOLDERS, str(tmp_path / "old"))
    empty.configure(oxen=server.url, references=server.url)
    empty.backfill()
    empty.sdk(GROW)

    report = empty.backfill()

    [item] = report["replacements"]
    grown = {**files, "grown.bin": b"grown" * 100}
    assert cloned(item, server, tmp_path) == sums(grown)
    empty.sdk(OBSERVE, str(tmp_path / "down"))
    newest = max(raw(empty)[0]["ds"], key=lambda version: int(version["versionIndex"]))
    assert manifest(newest).keys() == grown.keys()
    assert tree(tmp_path / "down" / f"ds:v{newest['versionIndex']}") == sums(grown)


def cloned(item: dict[str, str], server: OxenServer, folder: Path) -> dict[str, str]:
    """The files of a version's commit, as oxenai clones them."""
    ref = CommitRef.parse(item["oxen"])
    number = item["source"].rsplit(":v", 1)[1]
    target, home = folder / f"clone-{number}", folder / "clone-home"
    home.mkdir(exist_ok=True)
    url = f"{server.url}/{ref.repo.namespace}/{ref.repo.repo}"
    subprocess.run(
        [sys.executable, "-c", CLONE, url, target, f"wandb/v{number}"],
        check=True,
        capture_output=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
    )
    own = (".oxen/", ".syncd/")
    return {path: sum_ for path, sum_ in tree(target).items() if not path.startswith(own)}
