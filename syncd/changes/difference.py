"""Difference: what one version has against another, by path and content.

Both sides are streams of rows sorted by path, joined by `blocks.paired`. What is in one alone is
kept packed until all of it is known: a file that went and one that came with the same content are
one that was renamed. So memory grows with what differs, a few dozen bytes a file, not with the trees.

syncd's own files (`.syncd/`) are left out: they differ between any two versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import Any

import xxhash

from syncd.blocks import Blocks, Builder, Row, paired
from syncd.clients.protocols import VersionStore
from syncd.errors import NotFoundError
from syncd.refs import CommitRef
from syncd.versions.originals import Original, original
from syncd.versions.plans import LINEAGE_PATH, lineage_in

RESERVED = LINEAGE_PATH.partition("/")[0]
_path = itemgetter(0)


class Kind(StrEnum):
    """What happened to one file."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """So many files of so many bytes; a reference of unknown size counts no bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file that differs.

    Args:
        kind: what happened.
        path: where it is, or was when it was removed.
        was: where it was, when it was renamed; else empty.
        before: its bytes before; None when it was not there, or nobody tells (a reference).
        after: its bytes after, likewise.
    """

    kind: Kind
    path: str
    was: str = ""
    before: int | None = None
    after: int | None = None

    @property
    def bytes(self) -> int:
        """Its weight: bytes after, or before when it was removed."""
        return (self.before if self.kind is Kind.REMOVED else self.after) or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a version has against another one.

    Args:
        before: all files of the one.
        after: all files of the other.
        added: only in the other.
        removed: only in the one.
        changed: in both, with other content; bytes as they are after.
        overwritten: bytes that the changed files had before.
        renamed: the same content under another path.
        unchanged: the same content under the same path.
        rows: of path, kind, earlier path, bytes before, bytes after; see `changes`.
    """

    before: Tally
    after: Tally
    added: Tally
    removed: Tally
    changed: Tally
    overwritten: int
    renamed: Tally
    unchanged: Tally
    rows: Blocks

    @property
    def equal(self) -> bool:
        """Whether both hold the same content under the same paths."""
        return not len(self.rows)

    def changes(self) -> Iterator[Change]:
        """Each file that differs, sorted by path."""
        for path, kind, was, before, after in self.rows:
            yield Change(kind=Kind(kind), path=path, was=was, before=before, after=after)

    def document(self) -> dict[str, Any]:
        """The summary as JSON."""
        tallies = {
            "before": self.before,
            "after": self.after,
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "renamed": self.renamed,
            "unchanged": self.unchanged,
        }
        found: dict[str, Any] = {
            name: {"files": tally.files, "bytes": tally.bytes} for name, tally in tallies.items()
        }
        found["changed"]["bytes_before"] = self.overwritten
        return found


def difference(
    store: VersionStore, before: CommitRef, after: CommitRef, *, folder: str = ""
) -> Difference:
    """What a commit has against another one, in the same repository or in two.

    References that a version holds beside its files count, as its lineage file has them.

    Args:
        store: Oxen.
        before: the one.
        after: the other.
        folder: of both trees, that is compared; by default all of it.

    Raises:
        NotFoundError: when a commit does not exist.
        PermanentError: when a lineage file cannot be read.
    """
    return compare(commit_rows(store, before, folder), commit_rows(store, after, folder))


def commit_rows(store: VersionStore, commit: CommitRef, folder: str = "") -> Iterator[Row]:
    """A commit's files, and the references beside them: rows of path, identity, bytes.

    Args:
        store: Oxen.
        commit: the commit.
        folder: of its tree; paths are told from there. A file's path gives that file alone.
    """
    held = told(store, commit, folder)
    return beside(tree_rows(store, commit, folder), held)


def tree_rows(store: VersionStore, commit: CommitRef, folder: str = "") -> Iterator[Row]:
    """The files of a commit's tree alone; see `commit_rows`."""
    below = f"{folder}/" if folder else ""
    for entry in store.tree(commit):
        if entry.path.startswith(below):
            path = entry.path[len(below) :]
        elif entry.path == folder:
            path = folder.rpartition("/")[2]
        else:
            continue
        if RESERVED not in path.split("/")[:-1]:
            yield path, entry.hash, entry.size


def beside(rows: Iterable[Row], held: Original | None) -> Iterator[Row]:
    """A version's files with its references among them; what Oxen has of both counts."""
    references = (
        (path, reference_identity(url, digest), size)
        for path, digest, url, size in (held.references if held else ())
    )
    for file, reference in paired(rows, references, _path, _path):
        row = file or reference
        assert row is not None, "a pair has at least one side"
        yield row


def told(store: VersionStore, commit: CommitRef, folder: str = "") -> Original | None:
    """What the lineage file of a commit says; None where there is none.

    Raises:
        PermanentError: when it cannot be read.
    """
    try:
        return original(store, commit, lineage_in(folder))
    except NotFoundError:
        return None


def reference_identity(url: str, digest: str) -> str:
    """The content of a reference, as far as W&B tells: where it points, and what was there."""
    named = f"{url}\n{digest}".encode(errors="surrogatepass")
    return f"ref:{xxhash.xxh3_128_hexdigest(named)}"


def compare(before: Iterable[Row], after: Iterable[Row]) -> Difference:
    """Compare two sides.

    Args:
        before: rows of path, identity and bytes (None where unknown), sorted by path. Two rows with
            the same identity have the same content; an identity holds no NUL.
        after: the other side's.
    """
    found = _Found()
    gone, come = Builder(), Builder()  # by identity, then path
    for old, new in paired(before, after, _path, _path):
        if new is None:
            assert old is not None, "a pair has at least one side"
            found.before.add(old[2])
            gone.add((f"{old[1]}\0{old[0]}", old[2]))
            continue
        found.after.add(new[2])
        if old is None:
            come.add((f"{new[1]}\0{new[0]}", new[2]))
            continue
        found.before.add(old[2])
        if old[1] == new[1]:
            found.unchanged.add(new[2])
        else:
            found.changed.add(new[2])
            found.overwritten += old[2] or 0
            found.rows.add((new[0], Kind.CHANGED.value, "", old[2], new[2]))
    for olds, news in paired(
        groupby(gone.build(), _identity), groupby(come.build(), _identity), _path, _path
    ):
        for old, new in zip_longest(olds[1] if olds else (), news[1] if news else ()):
            found.settle(old, new)
    return found.difference()


def _identity(row: Row) -> str:
    identity: str = row[0].partition("\0")[0]
    return identity


class _Sum:
    """Files and their bytes, counted."""

    __slots__ = ("bytes", "files")

    def __init__(self) -> None:
        self.files = self.bytes = 0

    def add(self, size: int | None) -> None:
        """One file more."""
        self.files += 1
        self.bytes += size or 0

    def tally(self) -> Tally:
        """What was counted."""
        return Tally(files=self.files, bytes=self.bytes)


class _Found:
    """A difference on its way."""

    def __init__(self) -> None:
        self.before, self.after, self.unchanged, self.changed = _Sum(), _Sum(), _Sum(), _Sum()
        self.added, self.removed, self.renamed = _Sum(), _Sum(), _Sum()
        self.overwritten = 0
        self.rows = Builder()

    def settle(self, old: Row | None, new: Row | None) -> None:
        """Note what went and what came, of the same content; both is one that was renamed."""
        was = old[0].partition("\0")[2] if old else ""
        path = new[0].partition("\0")[2] if new else was
        if old and new:
            self.renamed.add(new[1])
            self.rows.add((path, Kind.RENAMED.value, was, old[1], new[1]))
        elif new:
            self.added.add(new[1])
            self.rows.add((path, Kind.ADDED.value, "", None, new[1]))
        elif old:
            self.removed.add(old[1])
            self.rows.add((path, Kind.REMOVED.value, "", old[1], None))

    def difference(self) -> Difference:
        """What was found."""
        return Difference(
            before=self.before.tally(),
            after=self.after.tally(),
            added=self.added.tally(),
            removed=self.removed.tally(),
            changed=self.changed.tally(),
            overwritten=self.overwritten,
            renamed=self.renamed.tally(),
            unchanged=self.unchanged.tally(),
            rows=self.rows.build(),
        )
