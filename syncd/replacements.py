"""What a replacement version says about itself: the metadata key `oxen`, written and read here.

A version counts as a replacement only when the key names its own digest: metadata is copied with
drafts (`artifact.new_draft()`), and a draft with new files must be moved, not taken for ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import xxhash

from syncd.entry import Entry
from syncd.errors import SyncdError
from syncd.manifest import Manifest, md5
from syncd.refs import HASH, CommitRef

KEY = "oxen"
CONTENT_KEY = "oxen_hash"  # of a reference entry's `extra`, where its digest is no hash
XXH128 = "MANIFEST_XXH128"  # W&B's name for digests of the XXH128 kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed:
    """That the replaced version was taken out of W&B, noted before it was.

    Args:
        at: ISO 8601, UTC.
        how: `delete`, or `ttl` where W&B itself removes it when its time is over.
        bytes: what W&B was expected to free.
        ttl_seconds: the version's own time to live, which `ttl` wrote over.
    """

    at: str
    how: str
    bytes: int
    ttl_seconds: int = -1

    @classmethod
    def read(cls, item: object) -> Reclaimed | None:
        """The note as metadata has it; None when there is none, or none that can be read."""
        if not isinstance(item, Mapping):
            return None
        try:
            return cls(
                at=datetime.fromisoformat(str(item["at"])).isoformat(),
                how=str(item["how"]),
                bytes=int(item["bytes"]),
                ttl_seconds=int(item["ttl_seconds"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """That the version's files went back into W&B; such a version is moved again only when named.

    Args:
        at: ISO 8601, UTC.
        artifact_id: GraphQL id of the version that has them; empty while it is being made.
        version: its name.
    """

    at: str
    artifact_id: str = ""
    version: str = ""

    @classmethod
    def read(cls, item: object) -> Restored | None:
        """The mark as metadata has it; None when there is none, or none that can be read."""
        keys = ("at", "artifact_id", "version")
        if not isinstance(item, Mapping) or not item.keys() >= set(keys):
            return None
        return cls(**{key: str(item[key]) for key in keys})


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What a version was when it was logged first, where its content has another number since.

    Args:
        version: `entity/project/collection:vN`.
        artifact_id: its GraphQL id.
        created_at: ISO 8601, UTC.
    """

    version: str
    artifact_id: str
    created_at: str

    @classmethod
    def read(cls, item: object) -> Logged | None:
        """The note as metadata has it; None when there is none, or none that can be read."""
        keys = ("version", "artifact_id", "created_at")
        if not isinstance(item, Mapping) or not item.keys() >= set(keys):
            return None
        return cls(**{key: str(item[key]) for key in keys})


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """That a version was made again from its commit alone: what that knows of it.

    Args:
        commit: the Oxen commit that it was made from.
        logged: what it was when it was logged.
    """

    commit: CommitRef
    logged: Logged


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """The link from a replacement version to its commit and to the version it replaces.

    Args:
        commit: the Oxen commit that holds the complete version.
        url: where its lineage file is served.
        source_version: `entity/project/collection:vN` of the replaced version.
        source_artifact_id: its GraphQL id.
        source_digest: its digest, hex.
        source_created_at: ISO 8601, UTC.
        moved_files: entries that became references.
        moved_bytes: their bytes.
        digest: the digest of the replacement itself, hex.
        receipt: what verification proved, see `stages.verify`.
        complete: whether aliases, consumers and run configs have followed.
        reclaimed: that the source was taken out of W&B.
        restored: that its files came back.
        logged: what was logged first, where the replaced version is what came back of it, or the same
            content that was logged again.
    """

    commit: CommitRef
    url: str
    source_version: str
    source_artifact_id: str
    source_digest: str
    source_created_at: str
    moved_files: int
    moved_bytes: int
    digest: str
    receipt: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = False
    reclaimed: Reclaimed | None = None
    restored: Restored | None = None
    logged: Logged | None = None

    @property
    def source_alias(self) -> str:
        """The number of the version it replaces, `vN`."""
        return self.source_version.rpartition(":")[2]

    @property
    def first(self) -> Logged:
        """What was logged first of this content, as far as is known."""
        return self.logged or Logged(
            version=self.source_version,
            artifact_id=self.source_artifact_id,
            created_at=self.source_created_at,
        )

    def into(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata with the key `oxen` set."""
        marks = {"reclaimed": self.reclaimed, "restored": self.restored, "logged": self.logged}
        return {
            **metadata,
            KEY: {
                "repo": str(self.commit.repo),
                "commit": self.commit.commit,
                "url": self.url,
                "source_version": self.source_version,
                "source_artifact_id": self.source_artifact_id,
                "source_digest": self.source_digest,
                "source_created_at": self.source_created_at,
                "moved_files": self.moved_files,
                "moved_bytes": self.moved_bytes,
                "digest": self.digest,
                "receipt": dict(self.receipt),
                "complete": self.complete,
                **{name: asdict(mark) for name, mark in marks.items() if mark is not None},
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The link from a version that was born in Oxen to its commit: W&B never had its bytes.

    Args:
        commit: the Oxen commit that holds the complete version.
        url: where its lineage file is served.
        digest: the digest of the version itself, hex; drafts copy metadata.
    """

    commit: CommitRef
    url: str
    digest: str

    def into(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata with the key `oxen` set."""
        return {
            **metadata,
            KEY: {
                "repo": str(self.commit.repo),
                "commit": self.commit.commit,
                "url": self.url,
                "digest": self.digest,
                "published": True,
            },
        }


def version_digest(manifest: Manifest, algorithm: str) -> str:
    """The digest of a version with this manifest, hex, in a collection with this algorithm.

    Args:
        manifest: the manifest.
        algorithm: `MANIFEST_MD5` or `MANIFEST_XXH128`; a collection has one for all its versions.
    """
    return manifest.digest(xxhash.xxh3_128 if algorithm == XXH128 else md5)


def replacement_of(metadata: Mapping[str, Any], digest: str) -> Replacement | None:
    """Read the key `oxen` of a version with this digest; None when it is not a replacement."""
    item = metadata.get(KEY)
    if not isinstance(item, Mapping) or item.get("digest") != digest:
        return None
    receipt = item.get("receipt") or {}
    try:
        commit = CommitRef.parse(f"{item['repo']}@{item['commit']}")
        if commit.commit != item["commit"] or not isinstance(receipt, Mapping):
            return None
        return Replacement(
            commit=commit,
            url=str(item["url"]),
            source_version=str(item["source_version"]),
            source_artifact_id=str(item["source_artifact_id"]),
            source_digest=str(item["source_digest"]),
            source_created_at=str(item["source_created_at"]),
            moved_files=int(item["moved_files"]),
            moved_bytes=int(item["moved_bytes"]),
            digest=digest,
            receipt=receipt,
            complete=item.get("complete") is True,
            reclaimed=Reclaimed.read(item.get("reclaimed")),
            restored=Restored.read(item.get("restored")),
            logged=Logged.read(item.get("logged")),
        )
    except (KeyError, TypeError, ValueError, OverflowError, SyncdError):
        return None  # somebody else's key of the same name


def published_of(metadata: Mapping[str, Any], digest: str) -> Published | None:
    """Read the key `oxen` of a version with this digest; None when it was not born in Oxen."""
    item = metadata.get(KEY)
    if not isinstance(item, Mapping) or item.get("digest") != digest or not item.get("published"):
        return None
    try:
        commit = CommitRef.parse(f"{item['repo']}@{item['commit']}")
        return Published(commit=commit, url=str(item["url"]), digest=digest)
    except (KeyError, SyncdError):
        return None  # somebody else's key of the same name


def commit_of(metadata: Mapping[str, Any], digest: str) -> CommitRef | None:
    """The commit that a version with this digest stands for: it was moved there, or born there."""
    link = replacement_of(metadata, digest) or published_of(metadata, digest)
    return link.commit if link is not None else None


def restored_into(
    metadata: Mapping[str, Any], mark: Restored, digest: str, of: Returned
) -> dict[str, Any]:
    """The metadata of a version whose files came back and whose replacement is gone.

    The mark stands on the version itself then, with its digest: metadata is copied with drafts.
    """
    made = {"repo": str(of.commit.repo), "commit": of.commit.commit, "logged": asdict(of.logged)}
    return {**metadata, KEY: {"digest": digest, "restored": asdict(mark), **made}}


def restored_of(metadata: Mapping[str, Any], digest: str) -> Restored | None:
    """What `restored_into` wrote about a version with this digest; None when it did not."""
    item = metadata.get(KEY)
    if not isinstance(item, Mapping) or item.get("digest") != digest:
        return None
    return Restored.read(item.get("restored"))


def returned_of(metadata: Mapping[str, Any], digest: str) -> Returned | None:
    """What `restored_into` wrote of where a version with this digest comes from; None for nothing."""
    item = metadata.get(KEY)
    if restored_of(metadata, digest) is None or not isinstance(item, Mapping):
        return None
    logged = Logged.read(item.get("logged"))
    try:
        commit = CommitRef.parse(f"{item['repo']}@{item['commit']}")
    except (KeyError, SyncdError):
        return None  # an older syncd did not write it
    return Returned(commit=commit, logged=logged) if logged else None


def linked_content(entry: Entry) -> str | None:
    """The Oxen hash that a reference entry of ours names: its digest, or else beside it."""
    named = entry.digest if HASH.fullmatch(entry.digest) else entry.extra.get(CONTENT_KEY)
    return named if isinstance(named, str) and HASH.fullmatch(named) else None
