"""A version as its commit remembers it: the lineage file, and what that proves of a replacement.

The lineage file has every file of the version with W&B's digest and Oxen's hash. With the commit read
back it stands for the version's bytes; with the version's manifest, when all of that is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syncd.blocks import Blocks, Builder, Row, paired
from syncd.clients.protocols import VersionStore
from syncd.entry import Entry, entry_of
from syncd.errors import PermanentError
from syncd.manifest import Manifest
from syncd.refs import CommitRef, parse_reference_url
from syncd.replacements import Replacement, linked_content
from syncd.versions.lineages import LARGE, MALFORMED, Lineage
from syncd.versions.plans import LINEAGE_PATH

MOST = 4  # problems that are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What a commit's lineage file says.

    Args:
        commit: the commit.
        folder: where the version lies in its tree, with `/` at the end; empty for the root.
        artifact: the version: ref, id, type, digest, description, aliases, tags, metadata,
            time to live, history step.
        run: the run that logged it, None when a user did.
        files: rows of path, algorithm, digest, hash, size, whether it was moved.
        references: rows of path, digest, URL, size.
        omitted: paths that Oxen could not hold.
    """

    commit: CommitRef
    folder: str
    artifact: Mapping[str, Any]
    run: Mapping[str, Any] | None
    files: Blocks
    references: Blocks
    omitted: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The version's digest, hex."""
        return str(self.artifact["digest"])

    def entry(self, path: str) -> Entry | None:
        """A file as the version's manifest had it, born nowhere yet; None when it is no file."""
        row = self.files.find(path)
        return file_entry(row) if row else None


def original(store: VersionStore, commit: CommitRef, path: str) -> Original:
    """Read a commit's lineage file.

    Args:
        store: Oxen.
        commit: the commit.
        path: where the file lies in its tree.

    Raises:
        PermanentError: when it is not there, or no lineage file.
    """
    lineage = Lineage(store.read(commit, path))
    files, references = Builder(), Builder()
    omitted: list[str] = []
    try:
        for name, members in lineage.files():
            for member, item in members.items():
                if name == "files":
                    identity = [str(item[key]) for key in ("algorithm", "digest", "hash")]
                    files.add((member, *identity, int(item["size"]), bool(item["moved"])))
                elif name == "omitted":
                    omitted.append(member)
                else:
                    size = item["size"]
                    references.add((member, str(item["digest"]), str(item["ref"]), size))
        for name in LARGE:
            lineage.member(name).items()  # an object, and there
        artifact = lineage.member("artifact")
        return Original(
            commit=commit,
            folder=path.removesuffix(LINEAGE_PATH),
            artifact={**artifact, "digest": str(artifact["digest"])},
            run=lineage.member("run") or None,
            files=files.build(),
            references=references.build(),
            omitted=tuple(omitted),
        )
    except MALFORMED as error:
        raise PermanentError(f"{path} of {commit} is no lineage file ({error!r})") from error


def lineage_path(link: Replacement) -> str:
    """Where the lineage file of a replacement's commit lies, by the URL that it is served under.

    Raises:
        PermanentError: when the URL is another one.
    """
    served = parse_reference_url(link.url)
    if served is None or served[0] != link.commit or not served[1].endswith(LINEAGE_PATH):
        raise PermanentError(f"{link.url} is no lineage file of {link.commit}")
    return served[1]


def file_entry(row: Row) -> Entry:
    """A row of `Original.files` as the manifest had it, born nowhere yet."""
    path, algorithm, digest, _, size, _ = row
    return Entry(
        path=path,
        digest=digest,
        size=size,
        algorithm=algorithm,
        extra={} if algorithm == "MD5" else {"alg": algorithm},
    )


def coverage(held: Original, link: Replacement, before: Manifest, after: Manifest) -> list[str]:
    """What of a version its replacement and the commit do not have; nothing when all is there.

    Args:
        held: what the commit has.
        link: what the replacement says about itself.
        before: the version's manifest.
        after: the replacement's.
    """
    if held.digest != link.source_digest:
        return [f"{held.commit} holds another version ({held.artifact.get('ref')})"]
    found: list[str] = []
    for old, new in paired(before.entries.rows, after.entries.rows, _path, _path):
        if problem := _difference(old, new, held, link):
            found.append(problem)
            if len(found) == MOST:
                break
    return found


def _difference(old: Row | None, new: Row | None, held: Original, link: Replacement) -> str:
    if old is None or new is None:
        row = old or new
        assert row is not None, "a pair has at least one side"
        return f"{row[0]}: only in the {'replaced version' if old else 'replacement'}"
    before, after = entry_of(old), entry_of(new)
    if not after.is_reference or before.is_reference:
        same = (before.digest, before.ref, before.algorithm) == (
            after.digest,
            after.ref,
            after.algorithm,
        )
        return "" if same else f"{before.path}: not the same in the replacement"
    if parse_reference_url(after.ref or "") != (link.commit, f"{held.folder}{before.path}"):
        return f"{before.path}: the replacement's reference does not name {link.commit}"
    known = held.files.find(before.path)
    if known is None or known[1:3] != (before.algorithm, before.digest):
        return f"{before.path}: the commit's lineage file names another content"
    if linked_content(after) != known[3]:
        return f"{before.path}: the replacement's reference names another content"
    return ""


def _path(row: Row) -> str:
    path: str = row[0]
    return path
