"""What is decided about a version before anything moves, as values the stages hand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from syncd.clients.protocols import StoredContent, TreeEntry, Version
from syncd.manifest import Entry, Manifest
from syncd.refs import CommitRef, RepoRef
from syncd.replacements import linked_content

LINEAGE_PATH = ".syncd/lineage.json"
Digest = tuple[str, str]  # algorithm, 32 hex characters


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """What will happen to a version.

    Args:
        version: the version.
        manifest: its manifest.
        entries: every entry of the manifest, sorted by path.
        repo: the Oxen repository it goes to.
        branch: the branch it is committed to.
        prefix: the folder of the tree it lies in; empty for the root.
        skip: why nothing is to be done, empty when something is.
    """

    version: Version
    manifest: Manifest
    entries: tuple[PlannedEntry, ...]
    repo: RepoRef
    branch: str
    prefix: str = ""
    skip: str = ""

    def of(self, *decisions: Decision) -> tuple[PlannedEntry, ...]:
        """The entries with one of these decisions."""
        return tuple(item for item in self.entries if item.decision in decisions)

    @property
    def stored(self) -> tuple[PlannedEntry, ...]:
        """The entries whose bytes W&B holds and Oxen is to hold."""
        return self.of(Decision.MOVE, Decision.KEEP)

    @property
    def digests(self) -> set[Digest]:
        """The contents of `stored`, each once."""
        return {item.digest for item in self.stored}

    def bytes_of(self, *decisions: Decision) -> int:
        """Bytes of the entries with one of these decisions."""
        return sum(item.entry.size or 0 for item in self.of(*decisions))

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

    def tree(self, contents: Mapping[Digest, StoredContent]) -> list[TreeEntry]:
        """The version's files as tree entries, without the lineage file.

        Args:
            contents: what the store holds for each digest of a moved or kept entry.
        """
        files = [(item, contents[item.digest]) for item in self.stored]
        linked = [
            (item, StoredContent(hash=linked_content(item.entry) or "", size=item.entry.size or 0))
            for item in self.of(Decision.OXEN)
        ]
        return [
            TreeEntry(path=self.tree_path(item.entry.path), hash=content.hash, size=content.size)
            for item, content in files + linked
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One entry that could not be transferred."""

    path: str
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """What a transfer did.

    Args:
        contents: what the repository now holds, by digest.
        failed: entries that could not be transferred, empty when all were.
        downloaded: payload bytes that came from W&B.
        uploaded: payload bytes that went to Oxen.
        deduplicated: bytes that Oxen held already and that moved nowhere.
    """

    contents: Mapping[Digest, StoredContent]
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
