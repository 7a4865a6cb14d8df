"""Plan: what happens to each entry of a version, and where it goes. Pure; nothing is read or sent."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import translate

from syncd.clients.artifacts import Version
from syncd.clients.oxen_paths import files_and_folders, plain, unsupported_path
from syncd.config import Config
from syncd.errors import InvalidNameError
from syncd.manifest import Entry, Manifest
from syncd.naming import branch_part, folder_name, namespace_name, repo_name
from syncd.refs import ArtifactRef, RepoRef, check_path, parse_reference_url
from syncd.replacements import linked_content
from syncd.versions.plans import Decision, PlannedEntries, TransferPlan

# Of what this module and `stages.discover` decide; raised when the same version and configuration
# would be decided otherwise than by an earlier release.
DECISIONS = 1
RESERVED = ".syncd"  # the folder of a commit's tree that is syncd's own


def plan(version: Version, manifest: Manifest, config: Config) -> TransferPlan:
    """Decide about every entry of a version.

    Args:
        version: the version.
        manifest: its manifest.
        config: where things go and what moves.

    Raises:
        syncd.errors.ManifestError: when an entry's digest cannot be read.
    """
    repo, prefix = destination(version, config)
    folders = set(files_and_folders(manifest.entries))
    keep = [(re.compile(translate(pattern)), pattern) for pattern in config.select.keep]
    entries = PlannedEntries(manifest.entries)
    for entry in manifest.entries.values():
        unusable = _unusable(entry.path, prefix, folders)
        if entry.ref is not None:
            decision, reason = _reference(entry, config, repo, unusable)
        elif unusable:
            decision, reason = Decision.OMIT, unusable
        else:
            decision, reason = _decide(entry, config.select.min_file_size, keep)
            _ = entry.hex_digest  # a digest nobody can check is found here, not half-way
        entries.add(decision, reason, entry.size or 0)
    return TransferPlan(
        version=version,
        manifest=manifest,
        entries=entries,
        repo=repo,
        branch=branch(version.ref, version.type, config),
        main=config.oxen.main_branch,
        prefix=prefix,
        skip="" if entries.count(Decision.MOVE) else _nothing(entries),
    )


def fingerprint(config: Config) -> str:
    """Names the configuration as far as it decides what moves, and the way syncd decides.

    What was decided under one fingerprint says nothing under another.
    """
    decides = {
        "decisions": DECISIONS,
        "select": config.select.model_dump(mode="json"),
        "oxen": config.oxen.model_dump(
            mode="json", include={"namespace", "repo", "branch", "path"}
        ),
        "references": config.references.base_url,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def destination(version: Version, config: Config) -> tuple[RepoRef, str]:
    """The Oxen repository a version goes to, and the folder of its tree, empty for the root."""
    return place(version.ref, version.type, config)


def place(ref: ArtifactRef, kind: str, config: Config) -> tuple[RepoRef, str]:
    """The same for whoever knows a version's name and type alone."""
    fields = {
        "entity": ref.entity,
        "project": ref.project,
        "collection": ref.collection,
        "type": kind,
    }
    repo = RepoRef(
        namespace=namespace_name(config.oxen.namespace or ref.entity),
        repo=repo_name(config.oxen.repo.format(**fields)),
    )
    folders = [part for part in config.oxen.path.format(**fields).split("/") if part]
    return repo, "/".join(folder_name(folder) for folder in folders)


def branch(ref: ArtifactRef, kind: str, config: Config) -> str:
    """The branch that a version is committed to; `ref` names it by its number."""
    if not config.oxen.has_candidates:
        return config.oxen.branch
    fields = {
        "entity": ref.entity,
        "project": ref.project,
        "collection": ref.collection,
        "type": kind,
        "version": ref.alias,
    }
    return config.oxen.branch.format(**{key: branch_part(value) for key, value in fields.items()})


def _reference(entry: Entry, config: Config, repo: RepoRef, unusable: str) -> tuple[Decision, str]:
    assert entry.ref is not None, "only references come here"
    if entry.ref.startswith(f"{config.references.base_url}/api/") and not unusable:
        link = parse_reference_url(entry.ref)
        # Others may refer to our URLs too, without asking for the ETag: then no content is named.
        named = entry.size is not None and linked_content(entry) is not None
        if named and link is not None and link[0].repo == repo:
            return Decision.OXEN, "already in Oxen"
    return Decision.REFERENCE, "already a reference"


def _decide(
    entry: Entry, min_file_size: int, keep: Sequence[tuple[re.Pattern[str], str]]
) -> tuple[Decision, str]:
    for regex, pattern in keep:
        if regex.match(entry.path):
            return Decision.KEEP, f"kept in W&B by {pattern}"
    if entry.size is None or entry.size < min_file_size:
        return Decision.KEEP, "below min_file_size"
    return Decision.MOVE, ""


def _unusable(path: str, prefix: str, folders: set[str]) -> str:
    """Why Oxen, or a file system under it, cannot hold a file of this name; empty when it can."""
    if path in folders:
        with suppress(InvalidNameError):
            check_path(path)
            return "the version has a folder of the same name"
    whole = f"{prefix}/{path}" if prefix else path
    if plain(whole):
        return ""
    try:
        check_path(path)
    except InvalidNameError as error:
        return str(error)
    if path.split("/", 1)[0] == RESERVED:
        return f"{RESERVED} is the folder of syncd's own files"
    return unsupported_path(whole) or ""


def _nothing(entries: PlannedEntries) -> str:
    if not entries:
        return "nothing to move: the version is empty"
    return f"nothing to move: {', '.join(entries.reasons[:3])}"
