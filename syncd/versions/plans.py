"""What is decided about a version before anything moves, as values the stages hand on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import overload

from syncd.blocks import Row, batches
from syncd.clients.artifacts import Version
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.entry import Entries, Entry, entry_of
from syncd.errors import TransientError
from syncd.manifest import Manifest
from syncd.refs import CommitRef, RepoRef
from syncd.replacements import linked_content

LINEAGE_PATH = ".syncd/lineage.json"
BATCH = 4096  # entries for which Oxen, W&B or the catalog is asked at once
_RARE = 255  # the code of what has none of its own
Digest = tuple[str, str]  # algorithm, 32 hex characters
# What Oxen holds for some digests, as far as it is known: the catalog's `known`.
Contents = Callable[[Collection[Digest]], Mapping[Digest, StoredContent]]


def lineage_in(folder: str) -> str:
    """Where the lineage file of a version lies in its commit's tree.

    Args:
        folder: that the version lies in; empty for the root.
    """
    return f"{folder}/{LINEAGE_PATH}" if folder else LINEAGE_PATH


class Decision(StrEnum):
    """What happens to one entry."""

    MOVE = "move"  # its bytes go to Oxen, W&B gets a reference
    KEEP = "keep"  # its bytes stay in W&B, and a copy completes the commit's tree
    OMIT = "omit"  # it stays in W&B, and Oxen cannot hold it
    REFERENCE = "reference"  # it points outside W&B already, and stays as it is
    OXEN = "oxen"  # it points at the same Oxen repository already


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEntry:
    """An entry with what happens to it and why."""

    entry: Entry
    decision: Decision
    reason: str = ""

    @property
    def digest(self) -> Digest:
        """The content's identity as W&B knows it."""
        return self.entry.algorithm, self.entry.hex_digest


class PlannedEntries(Sequence[PlannedEntry]):
    """Every entry of a manifest with its decision, sorted by path; made anew each time.

    Decisions are added in the order of the entries and take a byte each, so a plan can be gone
    through again and again but is small.

    Args:
        entries: the manifest's entries.
    """

    def __init__(self, entries: Entries) -> None:
        self._rows = entries.rows
        self._codes = bytearray()
        self._kinds: dict[tuple[Decision, str], int] = {}
        self._names: list[tuple[Decision, str]] = []
        self._rare: dict[int, tuple[Decision, str]] = {}  # by index, what has no code of its own
        self._counts = dict.fromkeys(Decision, 0)
        self._sizes = dict.fromkeys(Decision, 0)

    def add(self, decision: Decision, reason: str, size: int) -> None:
        """Decide about the next entry, of so many bytes."""
        kind = (decision, reason)
        code = self._kinds.get(kind, _RARE)
        if code == _RARE:
            if len(self._names) < _RARE:
                code = self._kinds[kind] = len(self._names)
                self._names.append(kind)
            else:
                self._rare[len(self._codes)] = kind
        self._codes.append(code)
        self._counts[decision] += 1
        self._sizes[decision] += size

    def __len__(self) -> int:
        return len(self._codes)

    def __iter__(self) -> Iterator[PlannedEntry]:
        return (self._planned(index, row) for index, row in enumerate(self._rows))

    @overload
    def __getitem__(self, index: int) -> PlannedEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PlannedEntry]: ...
    def __getitem__(self, index: int | slice) -> PlannedEntry | Sequence[PlannedEntry]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        return self._planned(number, self._rows.at(number))

    def of(self, decisions: Collection[Decision]) -> Iterator[PlannedEntry]:
        """The entries with one of these decisions; the others cost next to nothing."""
        codes = [code for code, kind in enumerate(self._names) if kind[0] in decisions]
        rare = [_RARE] if self._rare else []
        for index, row in self._rows.chosen(bytes(codes + rare), self._codes):
            if self._kind(index)[0] in decisions:
                yield self._planned(index, row)

    def count(self, value: object) -> int:
        """How many entries have a decision."""
        return self._counts[value] if isinstance(value, Decision) else super().count(value)

    def bytes_of(self, decision: Decision) -> int:
        """Bytes of the entries with a decision."""
        return self._sizes[decision]

    @property
    def reasons(self) -> list[str]:
        """Some of the different reasons, sorted; at most a few hundred."""
        return sorted({reason for _, reason in self._names if reason})

    def _kind(self, index: int) -> tuple[Decision, str]:
        code = self._codes[index]
        return self._rare[index] if code == _RARE else self._names[code]

    def _planned(self, index: int, row: Row) -> PlannedEntry:
        decision, reason = self._kind(index)
        return PlannedEntry(entry=entry_of(row), decision=decision, reason=reason)


@dataclass(frozen=True, slots=True)
class Selection:
    """The entries of a plan with one of some decisions, sorted by path; made anew each time."""

    _entries: PlannedEntries
    _decisions: tuple[Decision, ...]

    def __len__(self) -> int:
        return sum(self._entries.count(decision) for decision in set(self._decisions))

    def __iter__(self) -> Iterator[PlannedEntry]:
        return self._entries.of(self._decisions)

    def batches(self, size: int = BATCH) -> Iterator[list[PlannedEntry]]:
        """The entries in lists of at most so many."""
        return batches(self, size)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """What will happen to a version.

    Args:
        version: the version.
        manifest: its manifest.
        entries: every entry of the manifest, sorted by path.
        repo: the Oxen repository it goes to.
        branch: the branch it is committed to.
        main: the main branch: the same one, or the one that it is committed on top of.
        prefix: the folder of the tree it lies in; empty for the root.
        skip: why nothing is to be done, empty when something is.
    """

    version: Version
    manifest: Manifest
    entries: PlannedEntries
    repo: RepoRef
    branch: str
    main: str
    prefix: str = ""
    skip: str = ""

    def of(self, *decisions: Decision) -> Selection:
        """The entries with one of these decisions."""
        return Selection(self.entries, decisions)

    @property
    def stored(self) -> Selection:
        """The entries whose bytes W&B holds and Oxen is to hold."""
        return self.of(Decision.MOVE, Decision.KEEP)

    def bytes_of(self, *decisions: Decision) -> int:
        """Bytes of the entries with one of these decisions."""
        return sum(self.entries.bytes_of(decision) for decision in set(decisions))

    @property
    def moved_bytes(self) -> int:
        """Bytes that become references."""
        return self.bytes_of(Decision.MOVE)

    @property
    def kept_bytes(self) -> int:
        """Bytes that stay in W&B."""
        return self.bytes_of(Decision.KEEP, Decision.OMIT)

    def tree_path(self, path: str) -> str:
        """Where an artifact path lies in the commit's tree."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def located(
        self, contents: Contents, *decisions: Decision
    ) -> Iterator[tuple[PlannedEntry, StoredContent]]:
        """Entries with what Oxen holds for them, sorted by path.

        Args:
            contents: asked for the digests of some thousand moved or kept entries at a time.
            decisions: which entries; MOVE, KEEP and OXEN are in Oxen.

        Raises:
            TransientError: when `contents` does not know one.
        """
        for batch in self.of(*decisions).batches():
            stored = (Decision.MOVE, Decision.KEEP)
            digests = [item.digest if item.decision in stored else None for item in batch]
            known = contents({digest for digest in digests if digest is not None})
            for item, digest in zip(batch, digests, strict=True):
                if digest is None:  # a reference into the repository: it names Oxen's hash
                    content = linked_content(item.entry) or ""
                    yield item, StoredContent(hash=content, size=item.entry.size or 0)
                elif digest in known:
                    yield item, known[digest]
                else:
                    raise TransientError(
                        f"{self.version.ref}: the state was lost between transfer and commit"
                    )

    def tree(self, contents: Contents) -> Iterator[TreeEntry]:
        """The version's files as tree entries, sorted by path, without the lineage file.

        Args:
            contents: see `located`.
        """
        for item, content in self.located(contents, Decision.MOVE, Decision.KEEP, Decision.OXEN):
            path = self.tree_path(item.entry.path)
            yield TreeEntry(path=path, hash=content.hash, size=content.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One entry that could not be transferred."""

    path: str
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """What a transfer did.

    Args:
        failed: entries that could not be transferred, empty when all were.
        downloaded: payload bytes that came from W&B.
        uploaded: payload bytes that went to Oxen.
        deduplicated: bytes that Oxen held already and that moved nowhere.
    """

    failed: tuple[Failure, ...] = ()
    downloaded: int = 0
    uploaded: int = 0
    deduplicated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What verification proved about a commit.

    Args:
        commit: the commit.
        files: files of the version in its tree, the lineage file included.
        bytes: their bytes.
        tree: sha256 over the sorted `path hash size` lines of the version's files.
        verified_at: ISO 8601, UTC.
    """

    commit: CommitRef
    files: int
    bytes: int
    tree: str
    verified_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The problems found, none of which is proof; and the receipt that follows from there being none."""

    problems: tuple[str, ...]
    receipt: Receipt
