"""A user who knows nothing of syncd, with the plain wandb SDK: logs versions, downloads versions.

`python -m syncd.rehearsal.client log|download < request.json`; the answer is JSON, one document on
the last line of standard output. Run in a fresh process with an empty cache, it gets what any
training script gets.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import wandb

Json = dict[str, Any]


def content(name: str, size: int) -> bytes:
    """Bytes that belong to a name, the same each time."""
    return hashlib.shake_128(name.encode()).digest(size)


def log(request: Json) -> Json:
    """Log the versions of each run; answers what each holds, as `download` would.

    Args:
        request: `entity`, `project` and `runs`: each with `id`, `uses` and `versions`.
    """
    found: Json = {}
    for wanted in request["runs"]:
        with wandb.init(
            entity=request["entity"],
            project=request["project"],
            id=wanted["id"],
            name=wanted["id"],
            config={"rehearsal": True},
        ) as run:
            for name in wanted["uses"]:
                run.use_artifact(name)
            for version in wanted["versions"]:
                artifact = wandb.Artifact(version["name"], version["type"], **version["fields"])
                sums: dict[str, str] = {}
                for path, (seed, size) in version["files"].items():
                    data = content(seed, size)
                    sums[path] = hashlib.sha256(data).hexdigest()
                    with artifact.new_file(path, mode="wb") as file:
                        file.write(data)
                logged = run.log_artifact(
                    artifact, aliases=version["aliases"], tags=version["tags"]
                ).wait()
                found[f"{version['name']}:{logged.version}"] = sums
    return found


def download(request: Json) -> Json:
    """The sha256 of each file of each version by its name, or why a version is not to be had.

    Args:
        request: `project` and `names`, each `collection:alias`.
    """
    api = wandb.Api()
    found: Json = {}
    for name in request["names"]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                root = Path(api.artifact(f"{request['project']}/{name}").download(root=folder))
            except Exception as error:  # noqa: BLE001 the one version's answer is that there is none
                found[name] = {"error": f"{type(error).__name__}: {error}"}
                continue
            found[name] = {
                path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(root.rglob("*"))
                if path.is_file()
            }
    return found


if __name__ == "__main__":
    answer = {"log": log, "download": download}[sys.argv[1]](json.load(sys.stdin))
    sys.__stdout__.write(f"\n{json.dumps(answer)}\n")  # type: ignore[union-attr]  # it has one
