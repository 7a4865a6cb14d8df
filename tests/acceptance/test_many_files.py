"""A version of thousands of files is moved and fetched like any other."""

from __future__ import annotations

from pathlib import Path

from acceptance_project import content, sums, tree, write
from acceptance_world import World

FILES = {  # a fifth of them has a content of its own
    f"part-{number // 100}/{number}.bin": content(str(number % 1000), 100) for number in range(5000)
}
LOG = """
with wandb.init(project="p") as run:
    artifact = wandb.Artifact("many", "dataset")
    artifact.add_dir(sys.argv[1])
    run.log_artifact(artifact).wait()
"""
DOWNLOAD = """
for version in ("v0", "latest"):
    wandb.Api().artifact("p/many:" + version).download(root=os.path.join(sys.argv[1], version))
"""


def test_five_thousand_files_are_the_same_afterwards(empty: World, tmp_path: Path) -> None:
    """In the original and through the gateway."""
    write(tmp_path / "logged", FILES)
    empty.sdk(LOG, str(tmp_path / "logged"))
    empty.configure(references=empty.gateway())
    document = empty.backfill()
    empty.sdk(DOWNLOAD, str(tmp_path))

    assert document["replacements"][0]["entries_moved"] == len(FILES)
    assert tree(tmp_path / "v0") == tree(tmp_path / "latest") == sums(FILES)
