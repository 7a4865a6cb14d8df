"""A W&B artifact version's manifest: which paths it holds, with which digests.

The format is version 1 of `wandb-storage-policy-v1` (wandb 0.31.0,
`sdk/artifacts/artifact_manifests/artifact_manifest_v1.py`). A version's digest is the MD5 over its
sorted `path:digest` lines behind a fixed first line; `digest()` computes the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from syncd.errors import ManifestError

Algorithm = Literal["MD5", "XXH128"]
Json = dict[str, Any]
MAX_SIZE_DIGITS = 19  # of a size written as text; what 64 bits hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a version.

    Args:
        path: the name in the artifact, `/` between folders.
        digest: base64 of the MD5 or XXH128; for a reference whatever its handler stores (an ETag).
        size: bytes; None where a reference's size is unknown.
        ref: the URL a reference points at; None for bytes that W&B holds.
        birth_artifact_id: the version that first uploaded the bytes.
        algorithm: what `digest` is, for bytes that W&B holds.
        extra: what the SDK keeps beside it (`etag`, `alg`).
    """

    path: str
    digest: str
    size: int | None = None
    ref: str | None = None
    birth_artifact_id: str | None = None
    algorithm: Algorithm = "MD5"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_reference(self) -> bool:
        """Whether the bytes lie outside W&B."""
        return self.ref is not None

    @property
    def hex_digest(self) -> str:
        """The digest as lower-case hex of 32 characters.

        Raises:
            ManifestError: when the digest is not base64 of 16 bytes.
        """
        try:
            raw = base64.b64decode(self.digest, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ManifestError(
                f"entry {self.path!r}: digest {self.digest!r} is not base64"
            ) from error
        if len(raw) != 16:  # noqa: PLR2004 both algorithms have 128 bits
            raise ManifestError(f"entry {self.path!r}: digest {self.digest!r} is not 128 bits")
        return raw.hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All entries of a version, by path, and where W&B's storage keeps their bytes."""

    entries: Mapping[str, Entry]
    storage_policy_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all entries whose size is known, references included."""
        return sum(entry.size or 0 for entry in self.entries.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a set of entries has against another one, as sorted paths."""

    ok: tuple[str, ...]
    new: tuple[str, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same paths with the same content."""
        return not (self.new or self.missing or self.changed)


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


def manifest_digest(entries: Iterable[Entry], hasher: Callable[[], Hasher] = md5) -> str:
    """The digest of a version with these entries, 32 hex characters.

    Source: wandb 0.31.0, `ArtifactManifestV1.digest`.

    Args:
        entries: the entries, in any order.
        hasher: makes the hash that the collection's digests are of.
    """
    digest = hasher()
    digest.update(b"wandb-artifact-manifest-v1\n")
    for entry in sorted(entries, key=lambda item: item.path):
        digest.update(f"{entry.path}:{entry.digest}\n".encode())
    return digest.hexdigest()


def compare(left: Mapping[str, object], right: Mapping[str, object]) -> Comparison:
    """Compare two `path -> content identity` maps: what `right` has against `left`."""
    common = left.keys() & right.keys()
    return Comparison(
        ok=tuple(sorted(path for path in common if left[path] == right[path])),
        new=tuple(sorted(right.keys() - left.keys())),
        missing=tuple(sorted(left.keys() - right.keys())),
        changed=tuple(sorted(path for path in common if left[path] != right[path])),
    )


def to_json(manifest: Manifest) -> Json:
    """The manifest as the JSON document that W&B stores, entries sorted by path."""
    contents: dict[str, Json] = {}
    for path in sorted(manifest.entries):
        entry = manifest.entries[path]
        item: Json = {"digest": entry.digest}
        if entry.birth_artifact_id is not None:
            item["birthArtifactID"] = entry.birth_artifact_id
        if entry.ref is not None:
            item["ref"] = entry.ref
        if entry.extra:
            item["extra"] = dict(entry.extra)
        if entry.size is not None:
            item["size"] = entry.size
        contents[path] = item
    return {
        "version": 1,
        "storagePolicy": "wandb-storage-policy-v1",
        "storagePolicyConfig": dict(manifest.storage_policy_config),
        "contents": contents,
    }


def from_json(document: object) -> Manifest:
    """Read a manifest document.

    Raises:
        ManifestError: when it is not a version 1 manifest, or an entry has no digest, a size that
            is no whole number of bytes, an unknown algorithm, or a reference that is no text.
    """
    if not isinstance(document, dict) or document.get("version") != 1:
        raise ManifestError("the manifest is not a version 1 manifest")
    contents = document.get("contents")
    config = document.get("storagePolicyConfig", {})
    if not isinstance(contents, dict) or not isinstance(config, dict):
        raise ManifestError("the manifest has no contents")
    return Manifest(
        entries={path: _entry(path, item) for path, item in contents.items()},
        storage_policy_config=config,
    )


def _entry(path: str, item: object) -> Entry:
    if not isinstance(item, dict) or not isinstance(item.get("digest"), str):
        raise ManifestError(f"entry {path!r} has no digest")
    size = item.get("size")
    if isinstance(size, str) and size.isdecimal() and len(size) <= MAX_SIZE_DIGITS:
        size = int(size)  # the SDK stores an HTTP reference's Content-Length as text
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise ManifestError(f"entry {path!r} has a size that is no number of bytes: {size!r}")
    ref, birth_artifact_id = item.get("ref"), item.get("birthArtifactID")
    if not isinstance(ref, str | None) or not isinstance(birth_artifact_id, str | None):
        raise ManifestError(f"entry {path!r} has a ref or birthArtifactID that is no text")
    extra = item.get("extra") or {}
    algorithm = extra.get("alg", "MD5") if isinstance(extra, dict) else None
    if algorithm not in ("MD5", "XXH128"):
        raise ManifestError(f"entry {path!r} has an unknown digest algorithm: {algorithm!r}")
    return Entry(
        path=path,
        digest=item["digest"],
        size=size,
        ref=ref,
        birth_artifact_id=birth_artifact_id,
        algorithm=algorithm,
        extra=extra,
    )
