"""What W&B holds in the place of published bytes: the manifest of a version of references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncd.clients.artifacts import Version
from syncd.entry import Entry
from syncd.manifest import Manifest
from syncd.refs import CommitRef, reference_url
from syncd.replacements import CONTENT_KEY, commit_of, version_digest
from syncd.training.local import LocalFile


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReferences:
    """References to files that a commit holds.

    Args:
        files: the files.
        base_url: under which they are served.
        prefix: the folder of the commit's tree that they lie in; empty for the root.
        algorithm: what the collection's digests are of, as `Version.digest_algorithm`.
    """

    files: Sequence[LocalFile]
    base_url: str
    prefix: str
    algorithm: str

    def url(self, commit: CommitRef, path: str) -> str:
        """Where a file of the version is served."""
        whole = f"{self.prefix}/{path}" if self.prefix else path
        return reference_url(self.base_url, commit, whole)

    def manifest(self, commit: CommitRef, *, etags: bool) -> Manifest:
        """The manifest; a plain client takes the URL for the digest where no ETag is sent."""
        entries = {}
        for file in self.files:
            url = self.url(commit, file.path)
            entries[file.path] = Entry(
                path=file.path,
                digest=file.hash if etags else url,
                size=file.size,
                ref=url,
                extra={"etag": f'"{file.hash}"'} if etags else {CONTENT_KEY: file.hash},
            )
        return Manifest(entries=entries)

    def are_of(self, version: Version) -> bool:
        """Whether a version stands for a commit of these files."""
        commit = commit_of(version.metadata, version.digest)
        return commit is not None and any(
            version_digest(self.manifest(commit, etags=etags), self.algorithm) == version.digest
            for etags in (True, False)
        )
