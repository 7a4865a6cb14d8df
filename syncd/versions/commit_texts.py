"""What a commit says of its version: the message with its trailers, and the lineage file in its tree.

`versions.lineages` reads the file again; `clients.commits` reads the trailers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from syncd.blocks import batches
from syncd.clients.artifacts import Run, Version
from syncd.clients.commits import StoredContent
from syncd.replacements import Replacement, commit_of, replacement_of
from syncd.versions.plans import BATCH, Contents, Decision, PlannedEntry, TransferPlan

SCHEMA = 1
ELSEWHERE = "Wandb-Elsewhere"  # the trailer that counts a version's files which are not in the tree


def message(
    plan: TransferPlan, run: Run | None, *, subject: str = "", more: Mapping[str, str] | None = None
) -> str:
    """A subject a person can read, then the trailers.

    Args:
        plan: the version.
        run: the run that logged it.
        subject: another subject than the usual one.
        more: further trailers.
    """
    version = plan.version
    files = plan.of(Decision.MOVE, Decision.KEEP, Decision.OXEN)
    elsewhere = len(plan.of(Decision.REFERENCE, Decision.OMIT))
    lines = {
        "Wandb-Artifact": str(version.ref),
        "Wandb-Artifact-Id": version.id,
        "Wandb-Artifact-Type": version.type,
        "Wandb-Digest": version.digest,
        "Wandb-Created-At": version.created_at,
        "Wandb-Run": str(run.ref) if run else "",
        "Wandb-Url": run.url if run else "",
        ELSEWHERE: str(elsewhere or ""),
        **(more or {}),
    }
    usual = f"{version.ref.collection} {version.ref.alias}: {len(files)} files"
    return "\n".join(
        [
            _line(subject or usual),
            "",
            *(f"{key}: {_line(value)}" for key, value in lines.items() if value),
        ]
    )


def lineage(
    plan: TransferPlan,
    contents: Contents,
    run: Run | None,
    took: Callable[[PlannedEntry, StoredContent], None] = lambda _item, _content: None,
    *,
    used: Sequence[Mapping[str, Any]] = (),
) -> Iterator[bytes]:
    """The document that tells, without W&B, where a version came from and what it holds.

    Args:
        plan: the version.
        contents: what the store holds, see `TransferPlan.located`.
        run: the run that logged it.
        took: told of each file that is written down, in order.
        used: inputs beside those that W&B knows of, as `inputs` tells them.

    Returns:
        Its JSON in pieces, keys sorted, files and references one a line.
    """
    version = plan.version

    def files() -> Iterator[tuple[str, object]]:
        for item, content in plan.located(contents, Decision.MOVE, Decision.KEEP):
            took(item, content)
            yield (
                item.entry.path,
                {
                    "algorithm": item.entry.algorithm,
                    "digest": item.entry.digest,
                    "hash": content.hash,
                    "moved": item.decision is Decision.MOVE,
                    "size": content.size,
                },
            )

    references = (
        (
            item.entry.path,
            {"digest": item.entry.digest, "ref": item.entry.ref, "size": item.entry.size},
        )
        for item in plan.of(Decision.REFERENCE, Decision.OXEN)
    )
    omitted = ((item.entry.path, item.reason) for item in plan.of(Decision.OMIT))
    artifact = {
        "ref": str(version.ref),
        "id": version.id,
        "type": version.type,
        "digest": version.digest,
        "created_at": version.created_at,
        "description": version.description,
        "aliases": sorted(version.aliases),
        "tags": sorted(version.tags),
        "metadata": dict(version.metadata),
        "ttl_seconds": version.ttl_seconds,
        "history_step": version.history_step,
    }
    logged_by = run and {
        "ref": str(run.ref),
        "name": run.name,
        "url": run.url,
        "config": {key: value for key, value in run.config.items() if key != "oxen"},
    }
    return chain(
        [b"{\n", _member("artifact", artifact)],
        _lines("files", files()),
        [_member("inputs", [*inputs(run), *used])],
        _lines("omitted", omitted),
        _lines("references", references),
        [_member("run", logged_by), f' "schema": {SCHEMA}\n}}'.encode()],
    )


def inputs(run: Run | None) -> list[dict[str, Any]]:
    """The versions a run used, each with its Oxen commit where it has one.

    A run that used a version also uses its replacement, and what was restored from that; they are
    one input. Where W&B has the replacement alone, because the version was taken out, it is the
    version under its old name.
    """
    if run is None:
        return []
    commits: dict[str, str] = {}  # by the id of the version that lies there
    gone: list[tuple[Version, Replacement]] = []
    held = {version.id for version in run.inputs}
    for version in run.inputs:
        link = replacement_of(version.metadata, version.digest)
        if link is not None:
            names = {link.source_artifact_id, link.restored.artifact_id if link.restored else ""}
            commits |= dict.fromkeys(names, str(link.commit))
            if not names & held:
                gone.append((version, link))
        elif born := commit_of(version.metadata, version.digest):
            commits[version.id] = str(born)
    found = [
        {
            "artifact": str(version.ref),
            "id": version.id,
            "type": version.type,
            "digest": version.digest,
            "oxen": commits.get(version.id),
        }
        for version in run.inputs
        if replacement_of(version.metadata, version.digest) is None
    ]
    return found + [
        {
            "artifact": link.source_version,
            "id": link.source_artifact_id,
            "type": version.type,
            "digest": link.source_digest,
            "oxen": str(link.commit),
        }
        for version, link in gone
    ]


def _member(name: str, value: object) -> bytes:
    return f' "{name}": {json.dumps(value, indent=1, sort_keys=True)},\n'.encode()


def _lines(name: str, members: Iterable[tuple[str, object]]) -> Iterator[bytes]:
    """An object with one member a line."""
    yield f' "{name}": {{'.encode()
    comma = ""
    for batch in batches(members, BATCH):
        lines = [f"\n  {json.dumps(path)}: {json.dumps(value)}" for path, value in batch]
        yield f"{comma}{','.join(lines)}".encode()
        comma = ","
    yield b"\n },\n"


def _line(text: str) -> str:
    return " ".join(text.split())
