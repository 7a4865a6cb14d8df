"""The projects that the tests move, logged by the unmodified SDK, and how it sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

# Three runs: one prepares two versions of a dataset, one trains a model on the first, one tests it.
# Every process of the tests gets the same bytes, so that end states can be compared.
LOG_SMALL = """
def log(run, name, type, files, **fields):
    aliases, tags = fields.pop("aliases", None), fields.pop("tags", None)
    artifact = wandb.Artifact(name, type, **fields)
    for path, content in files.items():
        with artifact.new_file(path, mode="wb") as file:
            file.write(content)
    run.log_artifact(artifact, aliases=aliases, tags=tags).wait()

shared = b"the same in both versions" * 100
with wandb.init(project="p", id="prepare", config={"seed": 1}) as run:
    run.log({"rows": 5})
    log(run, "ds", "dataset", {"train.bin": b"a" * 5000, "shared.bin": shared, "note": b"small",
        "empty": b""}, aliases=["first"], tags=["clean"], description="old", metadata={"rows": 5})
    log(run, "ds", "dataset", {"train.bin": b"b" * 6000, "shared.bin": shared},
        aliases=["latest", "best"], description="new")
with wandb.init(project="p", id="train") as run:
    run.use_artifact("ds:v0")
    log(run, "model", "model", {"weights.bin": b"w" * 9000}, aliases=["latest", "production"])
with wandb.init(project="p", id="test") as run:
    run.use_artifact("model:v0")
"""

# A version of a dataset from each of the folders in `sys.argv`.
LOG_FOLDERS = """
with wandb.init(project="p", id="prepare") as run:
    for number, folder in enumerate(sys.argv[1:]):
        artifact = wandb.Artifact("ds", "dataset", metadata={"number": number})
        artifact.add_dir(folder)
        run.log_artifact(artifact).wait()
"""

# Names that a URL, a shell or a file system might read as something else.
HOSTILE = (
    "a b.bin", "hash#1.bin", "what?.bin", "100%.bin", "%41.bin", "a+b&c=d.bin", "größe.bin",
    "gro\u0308ße.bin", "[a]*.bin", "日本 語/🙂.bin", "~tilde!.bin", "'quote\".bin", "(a),b;c.bin",
)  # fmt: skip

# Every collection of a project as a plain client sees it: `sys.argv[1]` is where to download to.
OBSERVE = """
api = wandb.Api()
found = {}
for kind in api.artifact_types("p"):
    for collection in kind.collections():
        for artifact in collection.artifacts():
            folder = os.path.join(sys.argv[1], artifact.name)
            artifact.download(root=folder)
            maker = artifact.logged_by()
            found[artifact.name] = {
                "collection": collection.name,
                "type": artifact.type,
                "aliases": sorted(artifact.aliases),
                "tags": sorted(artifact.tags),
                "description": artifact.description,
                "metadata": artifact.metadata,
                "ttl": artifact.ttl.total_seconds() if artifact.ttl else None,
                "logged_by": maker and maker.id,
                "used_by": sorted(run.id for run in artifact.used_by()),
                "references": {path: entry.ref
                    for path, entry in artifact.manifest.entries.items() if entry.ref},
            }
emit(found)
"""


def content(name: str, size: int = 3000) -> bytes:
    """Bytes that belong to a name, the same each time."""
    return hashlib.shake_128(name.encode()).digest(size)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def sums(files: Mapping[str, bytes]) -> dict[str, str]:
    """Files by their path, each as the hash of its bytes."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


def tree(folder: Path) -> dict[str, str]:
    """The files below a folder as `sums` has them."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sums({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
