"""What W&B holds in the place of published bytes: the manifest of a version of references."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

    def same_among(self, versions: Iterable[Version]) -> Version | None:
        """The first version that stands for a commit of these files, None where none does.

        With ETags the digest is of the contents alone, the same for every commit; so that one is
        computed once, and one more for each version that may have been made without them.
        """
        etagged = ""
        for version in versions:
            commit = commit_of(version.metadata, version.digest)
            if commit is None:
                continue
            etagged = etagged or self._digest(commit, etags=True)
            if version.digest == etagged or version.digest == self._digest(commit, etags=False):
                return version
        return None

    def _digest(self, commit: CommitRef, *, etags: bool) -> str:
        return version_digest(self.manifest(commit, etags=etags), self.algorithm)
