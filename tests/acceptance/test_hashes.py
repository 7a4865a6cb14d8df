"""Versions whose files W&B names by XXH128 instead of MD5 are moved like any other."""

from __future__ import annotations

from pathlib import Path

from acceptance_project import content, sums, tree, write
from acceptance_world import World

FILES = {"a.bin": content("a"), "b/c.bin": content("c"), "small": b"small"}
LOG = """
with wandb.init(project="p") as run:
    artifact = wandb.Artifact("fast", "dataset", digest_algorithm="XXH128")
    artifact.add_dir(sys.argv[1])
    run.log_artifact(artifact).wait()
emit(artifact.manifest.to_manifest_json()["contents"]["a.bin"].get("extra"))
"""
DOWNLOAD = """
for version in ("v0", "latest"):
    wandb.Api().artifact("p/fast:" + version).download(root=os.path.join(sys.argv[1], version))
"""


def test_a_collection_of_xxh128_digests_keeps_them(empty: World, tmp_path: Path) -> None:
    """Its replacement too has such a digest; the server refuses a mixture."""
    write(tmp_path / "logged", FILES)
    logged = empty.sdk(LOG, str(tmp_path / "logged"))
    empty.configure(references=empty.gateway())
    document = empty.backfill()
    empty.sdk(DOWNLOAD, str(tmp_path))

    assert logged == {"alg": "XXH128"}
    assert document["versions"]["replaced"] == 1
    assert tree(tmp_path / "v0") == tree(tmp_path / "latest") == sums(FILES)
