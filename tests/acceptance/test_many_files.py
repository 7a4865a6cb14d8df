"""A version of more than a thousand files is moved and fetched like any other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from acceptance_process import ROOT
from acceptance_project import content, sums, tree, write
from acceptance_world import World

FILES = {  # a fifth of them has a content of its own
    f"part-{number // 100}/{number}.bin": content(str(number % 240), 100) for number in range(1200)
}
LOG = """
with wandb.init(project="p", id="log-many") as run:
    artifact = wandb.Artifact("many", "dataset")
    artifact.add_dir(sys.argv[1])
    run.log_artifact(artifact).wait()
with wandb.init(project="p", id="log-one") as run:
    artifact = wandb.Artifact("one", "dataset")
    artifact.add_file(os.path.join(sys.argv[1], "part-0/0.bin"))
    run.log_artifact(artifact).wait()
with wandb.init(project="p", id="use-many") as run:
    run.use_artifact("many:latest")
with wandb.init(project="p", id="use-one") as run:
    run.use_artifact("one:latest")
"""
DOWNLOAD = """
for version in ("v0", "latest"):
    wandb.Api().artifact("p/many:" + version).download(root=os.path.join(sys.argv[1], version))
"""


def documented() -> dict[str, int]:
    """The requests of one version's whole path, by operation, as docs/requests.md has them."""
    text = (ROOT / "docs" / "requests.md").read_text(encoding="utf-8")
    section = text.partition("## One version")[2].partition("\n## ")[0]
    return {
        name: int(n) for name, n in re.findall(r"^\| `(\w+)` \| (\d+) \|", section, re.MULTILINE)
    }


def counted(world: World, name: str) -> tuple[dict[str, Any], dict[str, int]]:
    """What a backfill of a collection reports, and what it asked."""
    world.reset_stats()
    document = world.backfill(f"{world.target}/{name}")
    asked: dict[str, int] = world.stats()["graphql"]
    return document, asked


def test_more_than_a_thousand_files_are_the_same_afterwards(empty: World, tmp_path: Path) -> None:
    """In the original and through the gateway; W&B is asked no more often than for one file."""
    write(tmp_path / "logged", FILES)
    empty.sdk(LOG, str(tmp_path / "logged"))
    empty.configure(references=empty.gateway())
    _, one = counted(empty, "one")
    document, many = counted(empty, "many")
    empty.sdk(DOWNLOAD, str(tmp_path))

    listing = {"ProjectArtifactCollection": 1, "ProjectArtifacts": 1}
    assert one == many == listing | documented()
    assert document["replacements"][0]["entries_moved"] == len(FILES)
    assert tree(tmp_path / "v0") == tree(tmp_path / "latest") == sums(FILES)
