"""Proofs that a commit is what its index says, from the stored bytes and liboxen's own tree.

Contents are hard-linked into the work tree and liboxen compares it with the commit (`status`).
It hashes a file only when its modification time differs from the one it was staged with, so:

- with the recorded times the paths are proved, and that each was staged with its content, without
  reading any: each time was given to one content only (`oxen_repo.unique_time`);
- with fresh times liboxen reads every byte and compares the hash with its tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import xxhash

from syncd.clients.oxen_changes import Changes, expected_missing
from syncd.clients.oxen_index import CommitIndex, IndexEntry, parents
from syncd.clients.oxen_repo import Difference, OxenRepository, unique_time
from syncd.errors import PermanentError

CHUNK = 1 << 20  # bytes read at once
BATCH_BYTES = 256 << 20  # how much liboxen hashes in one call, during which Python stands still
BATCH_FILES = 5000


def damage(path: Path, content: str, size: int) -> str | None:
    """What is wrong with stored bytes, or None: missing, of another length, of another hash."""
    try:
        found = path.stat().st_size
        if found != size:
            return f"has {found} bytes instead of {size}"
        digest = xxhash.xxh3_128()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return "is missing"
    if f"{digest.intdigest():x}" != content:
        return f"has the hash {digest.intdigest():x} instead of {content}"
    return None


def staged(opened: OxenRepository, commit: str, changes: Changes) -> list[str]:
    """Problems of a commit just made, while the links that were staged are still in place.

    What was not staged is proved to be left as it was: nothing more and nothing less.
    """
    links = frozenset(e.path for e in changes.entries) if changes.rebuild else changes.changed
    kept = {folder for entry in changes.entries for folder in parents(entry.path)}
    folders = {folder for path in links for folder in parents(path)}
    for path in changes.removals:
        for folder in parents(path):
            if folder in kept:
                (opened.index.worktree / folder).mkdir(parents=True, exist_ok=True)
                folders.add(folder)
    missing = expected_missing(changes.entries, links, folders)
    return _problems(opened.compare(commit), missing)


def structure(
    opened: OxenRepository,
    commit: str,
    entries: Iterable[IndexEntry],
    *,
    absent: frozenset[str] = frozenset(),
    fresh: bool = False,
) -> list[str]:
    """Problems of a commit's tree: paths it lacks or has besides, and files staged otherwise.

    Args:
        opened: the repository.
        commit: the commit.
        entries: its index.
        absent: paths whose content is known to be missing or of another length.
        fresh: make liboxen read all bytes instead of trusting the recorded times.
    """
    opened.clear()
    folders: set[str] = set()
    left_out: list[IndexEntry] = []
    times: dict[str, int] = {}
    for entry in entries:
        if entry.path in absent:
            (opened.index.worktree / entry.path).parent.mkdir(parents=True, exist_ok=True)
            left_out.append(entry)
            continue
        opened.link(_timed(entry, times) if fresh else entry)
    folders.update(folder for entry in left_out for folder in parents(entry.path))
    difference = opened.compare(commit)
    problems = _problems(difference, expected_missing(left_out, frozenset(), folders))
    if not problems and not left_out and not difference.clean:
        problems.append("Oxen finds the tree different without saying where")
    opened.clear()
    return problems


def complete(
    opened: OxenRepository, commit: str, index: CommitIndex, selected: frozenset[str] | None
) -> list[str]:
    """Problems of a commit: its index, its stored bytes (all, or those of some paths), its tree."""
    try:
        index.check()
    except PermanentError as error:
        return [str(error)]
    name = f"{opened.index.repo}@{commit}"
    problems: list[str] = []
    absent: set[str] = set()
    seen: set[str] = set()
    count = size = 0
    for entry in index:
        seen.add(entry.path) if selected and entry.path in selected else None
        found = _length(opened, entry)
        if found is not None:
            absent.add(entry.path)
            problems.append(f"the content of {entry.path!r} in {name} {found}")
        count, size = count + 1, size + entry.size
    if selected is not None:
        problems.extend(f"{name} has no {path!r}" for path in sorted(selected - seen))
    at_once = selected is None and count <= BATCH_FILES and size <= BATCH_BYTES
    bad: set[str] = set()
    if not at_once:
        structural = structure(opened, commit, index, absent=frozenset(absent))
        problems.extend(f"{text} in {name}" for text in structural)
    chosen = (
        entry
        for entry in index
        if entry.path not in absent and (selected is None or entry.path in selected)
    )
    for batch in _batches(chosen):
        for entry in batch:
            wrong = damage(opened.index.content(entry.hash), entry.hash, entry.size)
            if wrong is not None:
                bad.add(entry.path)
                problems.append(f"the content of {entry.path!r} in {name} {wrong}")
        if at_once:
            continue
        problems.extend(_rehashed(opened, commit, batch, bad, name))
    if at_once:
        out = frozenset(absent | bad)
        fresh = structure(opened, commit, index, absent=out, fresh=True)
        problems.extend(f"{text} in {name}" for text in fresh)
    return problems


def _rehashed(
    opened: OxenRepository, commit: str, batch: Sequence[IndexEntry], bad: set[str], name: str
) -> list[str]:
    """Files of a batch whose bytes are not those that liboxen's tree names."""
    opened.clear()
    times: dict[str, int] = {}
    for entry in batch:
        if entry.path not in bad:
            opened.link(_timed(entry, times))
    modified = opened.compare(commit).modified
    opened.clear()
    return [f"the tree names other bytes for {path!r} in {name}" for path in sorted(modified)]


def restored(opened: OxenRepository, commit: str) -> Iterator[IndexEntry]:
    """The entries of a commit whose index is lost, from liboxen: slow, some ms a file."""
    for path, file in opened.files(commit):
        digest = xxhash.xxh3_128()
        with file.open("rb") as reader:
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
        found = file.stat()
        content = f"{digest.intdigest():x}"
        yield IndexEntry(path=path, hash=content, size=found.st_size, mtime=found.st_mtime_ns)


def _problems(difference: Difference, missing: set[str]) -> list[str]:
    return [
        *(f"the tree names other bytes for {path!r}" for path in sorted(difference.modified)),
        *(f"the tree holds {path!r} besides" for path in sorted(difference.missing - missing)),
        *(f"the tree lacks {path!r}" for path in sorted(missing - difference.missing)),
        *(f"the tree lacks {path!r}" for path in sorted(difference.untracked)),
    ]


def _length(opened: OxenRepository, entry: IndexEntry) -> str | None:
    try:
        found = opened.index.content(entry.hash).stat().st_size
    except FileNotFoundError:
        return "is missing"
    return None if found == entry.size else f"has {found} bytes instead of {entry.size}"


def _timed(entry: IndexEntry, times: dict[str, int]) -> IndexEntry:
    """The entry with a time nothing was staged with; one for each content."""
    if entry.hash not in times:
        times[entry.hash] = unique_time()
    return replace(entry, mtime=times[entry.hash])


def _batches(entries: Iterable[IndexEntry]) -> Iterator[list[IndexEntry]]:
    batch: list[IndexEntry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
