"""Proofs that a commit is what its index says, from the stored bytes and liboxen's own tree.

Contents are hard-linked into the work tree and liboxen compares it with the commit (`status`).
It hashes a file only when its modification time differs from the one it was staged with, so:

- with the recorded times the paths are proved, and that each was staged with its content, without
  reading any: each time was given to one content only (`oxen_times.content_times`);
- with fresh times liboxen reads every byte and compares the hash with its tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import xxhash

from syncd.clients.commits import TreeEntry
from syncd.clients.oxen_changes import PATH, Changes, topmost
from syncd.clients.oxen_index import CommitIndex, IndexEntry, RepoIndex
from syncd.clients.oxen_paths import parents
from syncd.clients.oxen_repo import Difference, OxenRepository
from syncd.clients.oxen_times import unique_time
from syncd.errors import PermanentError

CHUNK = 1 << 20  # bytes read at once
BATCH_BYTES = 256 << 20  # how much liboxen hashes in one call, during which Python stands still
BATCH_FILES = 20_000


def damage(path: Path, content: str, size: int) -> str | None:
    """What is wrong with stored bytes, or None: missing, of another length, of another hash."""
    wrong = _length(path, size)
    if wrong is not None:
        return wrong
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if f"{digest.intdigest():x}" != content:
        return f"has the hash {digest.intdigest():x} instead of {content}"
    return None


def check_contents(index: RepoIndex, entries: Iterable[TreeEntry]) -> None:
    """See that every content is there in full length.

    Raises:
        PermanentError: for the first that is not.
    """
    for entry in entries:
        if wrong := _length(index.content(entry.hash), entry.size):
            raise PermanentError(
                f"the content {entry.hash} of {entry.path!r} in {index.repo} {wrong}"
            )


def staged(
    opened: OxenRepository, commit: str, changes: Changes, entries: Iterable[IndexEntry]
) -> list[str]:
    """Problems of a commit just made, while the links that were staged are still in place.

    What was not staged is proved to be left as it was: nothing more and nothing less.

    Args:
        opened: the repository.
        commit: the commit.
        changes: what was staged.
        entries: the complete tree.
    """
    folders = {folder for entry in changes.staged(entries) for folder in parents(entry.path)}
    for path in changes.removals:
        for folder in parents(path):
            if folder in changes.folders:
                (opened.index.worktree / folder).mkdir(parents=True, exist_ok=True)
                folders.add(folder)
    return _problems(opened.compare(commit), topmost(map(PATH, changes.left(entries)), folders))


def structure(
    opened: OxenRepository,
    commit: str,
    entries: Iterable[IndexEntry],
    *,
    absent: frozenset[str] = frozenset(),
) -> list[str]:
    """Problems of a commit's tree: paths it lacks or has besides, and files staged otherwise.

    Args:
        opened: the repository.
        commit: the commit.
        entries: its index.
        absent: paths whose content is known not to be there.
    """
    opened.clear()
    left_out: list[IndexEntry] = []
    for entry in entries:
        if entry.path in absent:
            (opened.index.worktree / entry.path).parent.mkdir(parents=True, exist_ok=True)
            left_out.append(entry)
        else:
            opened.link(entry)
    difference = opened.compare(commit)
    opened.clear()
    problems = _problems(difference, (entry.path for entry in left_out))
    if not problems and not left_out and not difference.clean:
        problems.append("Oxen finds the tree different without saying where")
    return problems


def complete(
    opened: OxenRepository, commit: str, index: CommitIndex, selected: frozenset[str] | None
) -> list[str]:
    """Problems of a commit: its index, its stored bytes (all, or those of some paths), its tree."""
    try:
        index.check()
    except PermanentError as error:
        return [str(error)]
    absent, problems = _absent(opened, index)
    if selected is not None:
        known = {entry.path for entry in index if entry.path in selected}
        problems += [f"there is no {path!r}" for path in sorted(selected - known)]
    problems += structure(opened, commit, index, absent=absent)
    chosen = (e for e in index if selected is None or e.path in selected)
    for batch in _batches(e for e in chosen if e.path not in absent):
        problems += _rehashed(opened, commit, batch)
    return [f"{opened.index.repo}@{commit}: {problem}" for problem in dict.fromkeys(problems)]


def _absent(
    opened: OxenRepository, entries: Iterable[IndexEntry]
) -> tuple[frozenset[str], list[str]]:
    """The paths whose content is not there in full length, and a sentence for each."""
    absent: set[str] = set()
    problems: list[str] = []
    for entry in entries:
        wrong = _length(opened.index.content(entry.hash), entry.size)
        if wrong is not None:
            absent.add(entry.path)
            problems.append(f"the content of {entry.path!r} {wrong}")
    return frozenset(absent), problems


def _length(path: Path, size: int) -> str | None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    return None if found == size else f"has {found} bytes instead of {size}"


def _rehashed(opened: OxenRepository, commit: str, batch: Sequence[IndexEntry]) -> list[str]:
    """Files whose bytes are damaged, or are not those that liboxen's tree names.

    Python reads them first, while other threads run; liboxen then finds them in memory.
    """
    opened.clear()
    problems: list[str] = []
    times: dict[str, int] = {}
    for entry in batch:
        wrong = damage(opened.index.content(entry.hash), entry.hash, entry.size)
        if wrong is not None:
            problems.append(f"the content of {entry.path!r} {wrong}")
            continue
        if entry.hash not in times:
            times[entry.hash] = unique_time()
        opened.link(replace(entry, mtime=times[entry.hash]))
    modified = opened.modified(commit)
    opened.clear()
    return problems + [f"the tree names other bytes for {path!r}" for path in sorted(modified)]


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


def _problems(difference: Difference, missing: Iterable[str]) -> list[str]:
    """How a difference is another one than that these paths, and no others, are missing."""
    besides = set(difference.missing)
    lacking: list[str] = []
    for path in missing:
        if path in besides:
            besides.remove(path)
        else:
            lacking.append(path)
    return [
        *(f"the tree names other bytes for {path!r}" for path in sorted(difference.modified)),
        *(f"the tree holds {path!r} besides" for path in sorted(besides)),
        *(f"the tree lacks {path!r}" for path in lacking),
        *(f"the tree lacks {path!r}" for path in sorted(difference.untracked)),
    ]


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
