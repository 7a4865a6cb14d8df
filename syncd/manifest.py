"""A W&B artifact version's manifest: which paths it holds, with which digests.

The format is version 1 of `wandb-storage-policy-v1` (wandb 0.31.0,
`sdk/artifacts/artifact_manifests/artifact_manifest_v1.py`). A version's digest is the MD5 over its
sorted `path:digest` lines behind a fixed first line; `digest()` computes the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Protocol

from syncd.blocks import Blocks, Builder, paired
from syncd.entry import Algorithm, Entries, Entry, Json, row_from_json, row_to_json
from syncd.errors import ManifestError

__all__ = [
    "Algorithm",
    "Comparison",
    "Entries",
    "Entry",
    "Hasher",
    "Json",
    "Manifest",
    "compare",
    "from_json",
    "from_rows",
    "json_chunks",
    "manifest_digest",
    "md5",
    "to_json",
]


class Hasher(Protocol):
    """What hashlib and xxhash have in common."""

    def update(self, data: bytes, /) -> object:
        """Take more bytes in."""
        ...

    def hexdigest(self) -> str:
        """The hash of all bytes so far, lower-case hex."""
        ...


def md5() -> Hasher:
    """An MD5, as a checksum."""
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True, slots=True, init=False)
class Manifest:
    """All entries of a version, by path, and where W&B's storage keeps their bytes."""

    entries: Entries
    storage_policy_config: Mapping[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        *,
        entries: Mapping[str, Entry],
        storage_policy_config: Mapping[str, Any] | None = None,
    ) -> None:
        packed = entries if isinstance(entries, Entries) else Entries.of(entries.values())
        object.__setattr__(self, "entries", packed)
        object.__setattr__(self, "storage_policy_config", storage_policy_config or {})

    @property
    def size(self) -> int:
        """Bytes of all entries whose size is known, references included."""
        return sum(row[2] or 0 for row in self.entries.rows)

    def digest(self, hasher: Callable[[], Hasher] = md5) -> str:
        """The digest of the version, 32 hex characters.

        Source: wandb 0.31.0, `ArtifactManifestV1.digest`.

        Args:
            hasher: makes the hash that the collection's digests are of.
        """
        digest = hasher()
        digest.update(b"wandb-artifact-manifest-v1\n")
        for _, rows in self.entries.rows.blocks():
            digest.update("".join([f"{row[0]}:{row[1]}\n" for row in rows]).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a version has against another one: paths, sorted; of the equal ones only their number."""

    ok: int
    new: tuple[str, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same paths with the same content."""
        return not (self.new or self.missing or self.changed)


def manifest_digest(entries: Iterable[Entry], hasher: Callable[[], Hasher] = md5) -> str:
    """The digest of a version with these entries, in any order; see `Manifest.digest`."""
    return Manifest(entries=Entries.of(entries)).digest(hasher)


def compare(left: Manifest, right: Manifest) -> Comparison:
    """Compare two versions by path and digest: what `right` has against `left`."""
    ok = 0
    new: list[str] = []
    missing: list[str] = []
    changed: list[str] = []
    for old, now in paired(left.entries.rows, right.entries.rows, itemgetter(0), itemgetter(0)):
        if old is None:
            assert now is not None, "one of both is there"
            new.append(now[0])
        elif now is None:
            missing.append(old[0])
        elif (old[1], old[5]) == (now[1], now[5]):
            ok += 1
        else:
            changed.append(now[0])
    return Comparison(ok=ok, new=tuple(new), missing=tuple(missing), changed=tuple(changed))


def json_chunks(manifest: Manifest) -> Iterator[bytes]:
    """The manifest as the JSON text that W&B stores, entries sorted by path, in pieces."""
    config = json.dumps(dict(manifest.storage_policy_config), separators=(",", ":"))
    yield (
        '{"version":1,"storagePolicy":"wandb-storage-policy-v1",'
        f'"storagePolicyConfig":{config},"contents":{{'
    ).encode()
    for start, rows in manifest.entries.rows.blocks():
        items = json.dumps({row[0]: row_to_json(row) for row in rows}, separators=(",", ":"))
        yield f"{',' if start else ''}{items[1:-1]}".encode()
    yield b"}}"


def to_json(manifest: Manifest) -> Json:
    """The manifest as the JSON document that W&B stores, whole; for small ones."""
    document: Json = json.loads(b"".join(json_chunks(manifest)))
    return document


def from_json(document: object) -> Manifest:
    """Read a manifest document that is in memory whole; `documents.read_manifest` reads a stream.

    Raises:
        ManifestError: when it is not a version 1 manifest, or one of its entries is none.
    """
    contents = document.get("contents") if isinstance(document, dict) else None
    builder = Builder()
    problem: ManifestError | None = None
    try:
        for path, item in contents.items() if isinstance(contents, dict) else ():
            builder.add(row_from_json(path, item))
    except ManifestError as error:
        problem = error
    return from_rows(document, builder.build(), problem)


def from_rows(document: object, rows: Blocks, problem: ManifestError | None) -> Manifest:
    """The manifest of a document whose contents were read apart.

    Args:
        document: the document; its contents count only by being there.
        rows: its entries.
        problem: what is wrong with the first bad entry.

    Raises:
        ManifestError: when it is not a version 1 manifest, else the `problem`.
    """
    if not isinstance(document, dict) or document.get("version") != 1:
        raise ManifestError("the manifest is not a version 1 manifest")
    contents = document.get("contents")
    config = document.get("storagePolicyConfig", {})
    if not isinstance(contents, dict) or not isinstance(config, dict):
        raise ManifestError("the manifest has no contents")
    if problem is not None:
        raise problem
    return Manifest(entries=Entries(rows), storage_policy_config=config)
