"""Bytes on disk: artifact files by MD5, manifests by id, run files by run and name.

Of a big file with XXH128 digests the client tells no MD5 (from 2 GiB on, it hashes the parts only): it has its XXH128
for a name.

A file appears under its name only when it is complete and its hash is right (write aside, then rename), so what is
there can be served. Artifact files are shared by content: a second version with the same file needs no upload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from syncd.sandbox.errors import SandboxError

_DIGEST_BYTES = 16
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """What an upload turned out to be."""

    path: Path
    size: int
    md5: bytes

    def discard(self) -> None:
        """Forget the bytes."""
        self.path.unlink(missing_ok=True)


def hex_digest(text: str) -> str:
    """The hex form of a base64 digest, which is how files are named."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != _DIGEST_BYTES:
        raise SandboxError(f"invalid digest: {text!r}")
    return raw.hex()


def base64_digest(text: str) -> str:
    """The base64 form of a hex digest."""
    return base64.b64encode(bytes.fromhex(text)).decode()


class Blobs:
    """The folder of one data directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink()
        for number in range(256):
            (folder / "files" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        for name in ("manifest_uploads", "manifests", "parts", "run_files"):
            (folder / name).mkdir(exist_ok=True)

    def file(self, blob: str) -> Path:
        """Where an artifact file's bytes are."""
        return self._folder / "files" / blob[:2] / blob

    def files(self) -> Iterator[Path]:
        """All artifact files there are."""
        return (self._folder / "files").glob("*/*")

    def part(self, upload_id: int, number: int) -> Path:
        """Where one part of a file is before the file is put together."""
        return self._folder / "parts" / f"{upload_id}-{number}"

    def parts(self, upload_id: int) -> Iterator[Path]:
        """All parts of a file that have arrived."""
        return (self._folder / "parts").glob(f"{upload_id}-*")

    def join(self, parts: Sequence[Path], blob: str) -> None:
        """Make an artifact file of its parts, if they are really it: by their MD5 or their XXH128."""
        path = self._incoming / secrets.token_hex(12)
        hashes = (hashlib.md5(usedforsecurity=False), xxhash.xxh3_128())
        with path.open("wb") as file:
            for part in parts:
                with part.open("rb") as source:
                    while chunk := source.read(_CHUNK):
                        for known in hashes:
                            known.update(chunk)
                        file.write(chunk)
        if blob not in {known.hexdigest() for known in hashes}:
            path.unlink()
            raise SandboxError("the parts do not add up to the announced file")
        path.replace(self.file(blob))

    def manifest_upload(self, manifest_id: int) -> Path:
        """Where a manifest is before its version is committed."""
        return self._folder / "manifest_uploads" / str(manifest_id)

    def manifest(self, artifact_id: int) -> Path:
        """Where the manifest of a committed version is."""
        return self._folder / "manifests" / str(artifact_id)

    def run_file(self, run_id: int, name: str) -> Path:
        """Where a file saved with a run is."""
        return self._folder / "run_files" / f"{run_id}-{hashlib.sha256(name.encode()).hexdigest()}"

    async def receive(self, body: AsyncIterator[bytes]) -> Received:
        """Take an upload in, under no name yet."""
        path = self._incoming / secrets.token_hex(12)
        md5 = hashlib.md5(usedforsecurity=False)
        size = 0
        try:
            with path.open("wb") as file:
                async for chunk in body:
                    md5.update(chunk)
                    size += file.write(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Received(path, size, md5.digest())

    def keep(self, received: Received, target: Path) -> None:
        """Give received bytes their name, over anything that was there."""
        received.path.replace(target)

    def write(self, target: Path, content: bytes) -> None:
        """Store bytes made by the server itself."""
        aside = self._incoming / secrets.token_hex(12)
        aside.write_bytes(content)
        aside.replace(target)

    def copy(self, source: Path, target: Path) -> None:
        """Store a copy of a file under a name of its own."""
        aside = self._incoming / secrets.token_hex(12)
        shutil.copyfile(source, aside)
        aside.replace(target)
