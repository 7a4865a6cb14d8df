"""One file of a version, and many of them in little memory."""

from __future__ import annotations

import base64
import binascii
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field
from typing import Any, Literal

from syncd.blocks import Blocks, Builder, Row
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


class Entries(Mapping[str, Entry]):
    """Entries by path, sorted by it, packed: an `Entry` is made each time one is asked for.

    Args:
        rows: one per entry, as `entry_row` makes them.
    """

    def __init__(self, rows: Blocks) -> None:
        self.rows = rows

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Entries:
        """Pack entries that come in any order."""
        builder = Builder()
        builder.extend(map(entry_row, entries))
        return cls(builder.build())

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return (row[0] for row in self.rows)

    def __getitem__(self, path: str) -> Entry:
        row = self.rows.find(path)
        if row is None:
            raise KeyError(path)
        return entry_of(row)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.rows.find(path) is not None

    def values(self) -> ValuesView[Entry]:
        """The entries in order, without a search for each."""
        return _Values(self)

    def items(self) -> ItemsView[str, Entry]:
        """Paths and entries in order, without a search for each."""
        return _Items(self)


class _Values(ValuesView[Entry]):
    _mapping: Entries

    def __iter__(self) -> Iterator[Entry]:
        return map(entry_of, self._mapping.rows)


class _Items(ItemsView[str, Entry]):
    _mapping: Entries

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return ((row[0], entry_of(row)) for row in self._mapping.rows)


def entry_row(entry: Entry) -> Row:
    """An entry as a row: its fields in their order."""
    return (
        entry.path,
        entry.digest,
        entry.size,
        entry.ref,
        entry.birth_artifact_id,
        entry.algorithm,
        dict(entry.extra) if entry.extra else None,
    )


def entry_of(row: Row) -> Entry:
    """The entry of a row."""
    path, digest, size, ref, birth_artifact_id, algorithm, extra = row
    return Entry(
        path=path,
        digest=digest,
        size=size,
        ref=ref,
        birth_artifact_id=birth_artifact_id,
        algorithm=algorithm,
        extra=extra or {},
    )


def row_to_json(row: Row) -> Json:
    """An entry's row as W&B's JSON has it."""
    _, digest, size, ref, birth_artifact_id, _, extra = row
    item: Json = {"digest": digest}
    if birth_artifact_id is not None:
        item["birthArtifactID"] = birth_artifact_id
    if ref is not None:
        item["ref"] = ref
    if extra:
        item["extra"] = extra
    if size is not None:
        item["size"] = size
    return item


def row_from_json(path: str, item: object) -> Row:
    """An entry's row from W&B's JSON.

    Raises:
        ManifestError: when it has no digest, a size that is no whole number of bytes, an unknown
            algorithm, or a reference that is no text.
    """
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
    return path, item["digest"], size, ref, birth_artifact_id, algorithm, extra or None
