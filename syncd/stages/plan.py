"""Plan: what happens to each entry of a version, and where it goes. Pure; nothing is read or sent."""

from __future__ import annotations

from fnmatch import fnmatchcase

from syncd.clients.oxen_paths import unsupported_path
from syncd.clients.protocols import Version
from syncd.config import Config
from syncd.errors import InvalidNameError
from syncd.manifest import Entry, Manifest
from syncd.plans import Decision, PlannedEntry, TransferPlan
from syncd.refs import RepoRef, check_path, parse_reference_url, repo_name
from syncd.replacements import linked_content

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
    folders = {
        path[:index]
        for path in manifest.entries
        for index in range(len(path))
        if path[index] == "/"
    }
    entries = tuple(
        _decide(manifest.entries[path], config, repo, prefix, folders)
        for path in sorted(manifest.entries)
    )
    for item in entries:
        if item.decision in (Decision.MOVE, Decision.KEEP):
            _ = item.entry.hex_digest  # a digest nobody can check is found here, not half-way
    moves = any(item.decision is Decision.MOVE for item in entries)
    return TransferPlan(
        version=version,
        manifest=manifest,
        entries=entries,
        repo=repo,
        branch=config.oxen.branch,
        prefix=prefix,
        skip="" if moves else _nothing(entries),
    )


def destination(version: Version, config: Config) -> tuple[RepoRef, str]:
    """The Oxen repository a version goes to, and the folder of its tree, empty for the root."""
    fields = {
        "entity": version.ref.entity,
        "project": version.ref.project,
        "collection": version.ref.collection,
        "type": version.type,
    }
    repo = RepoRef(
        namespace=repo_name(config.oxen.namespace or version.ref.entity),
        repo=repo_name(config.oxen.repo.format(**fields)),
    )
    folders = [part for part in config.oxen.path.format(**fields).split("/") if part]
    return repo, "/".join(repo_name(folder) for folder in folders)


def _decide(
    entry: Entry, config: Config, repo: RepoRef, prefix: str, folders: set[str]
) -> PlannedEntry:
    unusable = _unusable(entry, prefix, folders)
    if entry.ref is not None:
        link = parse_reference_url(entry.ref)
        ours = link is not None and entry.ref.startswith(f"{config.references.base_url}/api/")
        # Others may refer to our URLs too, without asking for the ETag: then no content is named.
        named = entry.size is not None and linked_content(entry) is not None
        if ours and named and link is not None and link[0].repo == repo and not unusable:
            return PlannedEntry(entry=entry, decision=Decision.OXEN, reason="already in Oxen")
        return PlannedEntry(entry=entry, decision=Decision.REFERENCE, reason="already a reference")
    if unusable:
        return PlannedEntry(entry=entry, decision=Decision.OMIT, reason=unusable)
    kept = [pattern for pattern in config.select.keep if fnmatchcase(entry.path, pattern)]
    if kept:
        return PlannedEntry(entry=entry, decision=Decision.KEEP, reason=f"kept in W&B by {kept[0]}")
    if entry.size is None or entry.size < config.select.min_file_size:
        return PlannedEntry(entry=entry, decision=Decision.KEEP, reason="below min_file_size")
    return PlannedEntry(entry=entry, decision=Decision.MOVE)


def _unusable(entry: Entry, prefix: str, folders: set[str]) -> str:
    """Why Oxen, or a file system under it, cannot hold a file of this name; empty when it can."""
    try:
        check_path(entry.path)
    except InvalidNameError as error:
        return str(error)
    if entry.path in folders:
        return "the version has a folder of the same name"
    if entry.path.split("/", 1)[0] == RESERVED:
        return f"{RESERVED} is the folder of syncd's own files"
    return unsupported_path(f"{prefix}/{entry.path}" if prefix else entry.path) or ""


def _nothing(entries: tuple[PlannedEntry, ...]) -> str:
    if not entries:
        return "nothing to move: the version is empty"
    reasons = sorted({item.reason for item in entries if item.reason})
    return f"nothing to move: {', '.join(reasons[:3])}"
