"""A plain client that knows nothing of syncd: downloads versions and hashes what it got.

`python -m syncd.demo.client entity/project [entity/project/collection:alias ...]` downloads a whole
project and what else is named, and prints `{name: {path: sha256}}` as JSON. Run in a fresh process with an empty cache it shows what any
training script would get.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import wandb


def download(names: list[str]) -> dict[str, dict[str, str]]:
    """The sha256 of each file of each version, as `artifact.download()` delivers it."""
    api = wandb.Api()
    found: dict[str, dict[str, str]] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(api.artifact(name).download(root=folder))
            found[name] = {
                path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(root.rglob("*"))
                if path.is_file()
            }
    return found


def everything(project: str) -> list[str]:
    """The names of all committed versions of a project, each alias included."""
    api = wandb.Api()
    names: list[str] = []
    for kind in api.artifact_types(project):
        for collection in kind.collections():
            for version in collection.artifacts():
                names += [
                    f"{project}/{collection.name}:{alias}"
                    for alias in (version.version, *version.aliases)
                ]
    return names


if __name__ == "__main__":
    json.dump(download([*everything(sys.argv[1]), *sys.argv[2:]]), sys.stdout)
