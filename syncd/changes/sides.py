"""Sides: what the two names of a comparison mean, in W&B or in Oxen, and their files side by side.

A version that was moved, or born in Oxen, is compared through its commit; one that was not, through
its manifest. W&B knows contents by MD5 or XXH128 and Oxen by XXH3-128, which is W&B's XXH128. So two
sides are compared by Oxen's hashes where both have them. Where one has MD5 digests alone, they are
held against those that a commit's lineage file has of the same files.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from syncd.blocks import Row
from syncd.changes.difference import (
    Difference,
    beside,
    compare,
    reference_identity,
    told,
    tree_rows,
)
from syncd.clients.artifacts import Version
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.entry import Entry
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.manifest import Manifest
from syncd.refs import ArtifactRef, CommitRef, OxenURL, Target, parse_reference_url
from syncd.replacements import linked_content, published_of, replacement_of
from syncd.stages import discover
from syncd.versions.originals import Original
from syncd.versions.plans import LINEAGE_PATH

_path = itemgetter(0)
Find = Callable[[ArtifactRef], Version]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where names are looked up and files are read.

    Args:
        store: Oxen.
        source: W&B; None where no name is one of W&B's.
        find: one version by name and alias, as `WandbSource.find` does; likewise.
    """

    store: VersionStore
    source: ArtifactSource | None = None
    find: Find | None = None

    @property
    def wandb(self) -> tuple[ArtifactSource, Find]:
        """W&B's end.

        Raises:
            UsageError: when it is not open.
        """
        if self.source is None or self.find is None:
            raise UsageError("a name of W&B's needs W&B", hint="Name Oxen commits alone.")
        return self.source, self.find


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison.

    Args:
        name: as it was asked for.
        version: the version in W&B; None for a commit that was named by itself.
        source: the version that it replaces, empty when it replaces none.
        commit: where its files lie in Oxen; None when it was not moved.
        root: the folder of the commit's tree where the version lies; empty for all of it.
        below: the folder or file of the version that is meant; empty for all of it.
        manifest: W&B's, where that is needed.
        held: what the commit's lineage file says, where there is one.
    """

    name: str
    version: Version | None = None
    source: str = ""
    commit: CommitRef | None = None
    root: str = ""
    below: str = ""
    manifest: Manifest | None = None
    held: Original | None = field(default=None, repr=False)

    @property
    def omitted(self) -> tuple[str, ...]:
        """Paths that Oxen could not hold."""
        return self.held.omitted if self.held else ()

    @property
    def title(self) -> str:
        """What it is, for people."""
        if self.version is None:
            return self.name
        source = self.source.rpartition(":")[2]
        return f"{self.version.ref}{f' (replaces {source})' if source else ''}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ref": self.name,
            "version": str(self.version.ref) if self.version else None,
            "replaces": self.source or None,
            "oxen": str(self.commit) if self.commit else None,
            "path": self.below,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two sides and what they differ in.

    Args:
        before: the one.
        after: the other.
        difference: what the other has against the one.
        left_out: paths that stay in W&B because Oxen could not hold them, and of which a commit that
            was named by itself does not tell; on neither side they were compared.
    """

    before: Side
    after: Side
    difference: Difference
    left_out: tuple[str, ...]


def side(ends: Ends, text: str) -> Side:
    """What a name means.

    Args:
        ends: where it is looked up.
        text: `entity/project/collection:alias` or `oxen://namespace/repo@revision/path`.

    Raises:
        UsageError: when it is no name.
        NotFoundError: when nothing has this name.
        PermanentError: when a lineage file or manifest cannot be read.
    """
    if text.startswith("oxen://"):
        return _of_oxen(ends.store, text)
    source, find = ends.wandb
    version, replaced, link = moved(source, find, ArtifactRef.parse(text))
    if link is None:
        return Side(name=text, version=version, manifest=source.manifest(version))
    commit, root = link
    held = told(ends.store, commit, root)
    # What Oxen could not hold, W&B tells of.
    manifest = source.manifest(version) if held and held.omitted else None
    return Side(
        name=text,
        version=version,
        source=replaced,
        commit=commit,
        root=root,
        manifest=manifest,
        held=held,
    )


def moved(
    source: ArtifactSource, find: Find, ref: ArtifactRef
) -> tuple[Version, str, tuple[CommitRef, str] | None]:
    """A version, what it replaces, and the commit with the folder in it; None when it has none.

    A version that was replaced is found by its old name, also when it is gone.

    Raises:
        NotFoundError: when nothing has this name.
    """
    named: Version | None = None
    try:
        named = find(ref)
    except NotFoundError:
        if ref.index is None:
            raise
    if named is not None and (link := _link(named)):
        return named, link[0], link[1:]
    for made, found in discover.replacements(source, Target.of(named.ref if named else ref)):
        restored = found.restored.artifact_id if found.restored else ""
        ids = {found.source_artifact_id, restored}
        if named.id in ids if named else found.source_version == str(ref):
            link = _link(made)
            assert link is not None, "a replacement names its commit"
            return made, link[0], link[1:]
    if named is None:
        raise NotFoundError(f"{ref}: there is no such version")
    return named, "", None


def compared(ends: Ends, before: str, after: str) -> Compared:
    """Compare what two names mean; for the arguments and errors see `side`.

    A path that one of both names counts for the other, too.

    Raises:
        PermanentError: when W&B knows the files of both by different kinds of digests.
    """
    sides = [side(ends, text) for text in (before, after)]
    hashed = all(_hashed(item) for item in sides)
    if not hashed:
        _check_comparable(*sides)
    blind = {path for item in sides if item.manifest is None for path in item.omitted}
    below = sides[0].below or sides[1].below
    sides = [replace(item, below=item.below or below) for item in sides]
    streams = (_rows(ends.store, item, blind, hashed=hashed) for item in sides)
    return Compared(
        before=sides[0],
        after=sides[1],
        difference=compare(*streams),
        left_out=tuple(sorted(blind)),
    )


def read(ends: Ends, item: Side, path: str) -> Iterator[bytes]:
    """The bytes of a file of a side, whoever has them.

    Args:
        ends: who has them.
        item: the side.
        path: as the comparison has it.

    Raises:
        NotFoundError: when there is no such file.
        PermanentError: when it is a reference to elsewhere.
    """
    if item.below:  # of a file that was named by itself the comparison has the last part
        alone = f"/{item.below}".endswith(f"/{path}")
        path = item.below if alone else f"{item.below}/{path}"
    if item.commit is not None:
        return ends.store.read(item.commit, f"{item.root}/{path}" if item.root else path)
    assert item.version is not None, "a side has a commit or a version"
    assert item.manifest is not None, "what was not moved has its manifest"
    entry = item.manifest.entries.get(path)
    if entry is None or entry.is_reference:
        raise PermanentError(f"{path} is a reference to elsewhere")
    source, _ = ends.wandb
    source.sign(item.version, [path])
    return source.read(item.version, entry)


def _of_oxen(store: VersionStore, text: str) -> Side:
    url = OxenURL.parse(text)
    found = store.resolve(url.repo, url.revision)
    if found is None:
        raise NotFoundError(
            f"{text}: there is no such commit or branch",
            hint="Check the spelling; a slash in a branch name is written %2F.",
        )
    path = url.path.strip("/")
    held = told(store, found.ref, path)
    root, below = (path, "") if held else ("", path)
    if held is None and path:
        held = told(store, found.ref)
    return Side(name=text, commit=found.ref, root=root, below=below, held=held)


def _link(version: Version) -> tuple[str, CommitRef, str] | None:
    """What a version replaces, its commit and the folder in it."""
    link = replacement_of(version.metadata, version.digest)
    born = link or published_of(version.metadata, version.digest)
    if born is None:
        return None
    served = parse_reference_url(born.url)
    path = served[1] if served else LINEAGE_PATH
    root = path.removesuffix(LINEAGE_PATH).rstrip("/")
    return link.source_version if link else "", born.commit, root


def _hashed(item: Side) -> bool:
    """Whether Oxen's hash is known of all files of a side."""
    return item.commit is not None or _algorithms(item) <= {"XXH128"}


def _algorithms(item: Side) -> set[str]:
    """The kinds of digests that W&B has of a side's files."""
    if item.commit is not None:
        return {row[1] for row in item.held.files} if item.held else set()
    entries = item.manifest.entries.values() if item.manifest else ()
    return {entry.algorithm for entry in entries if not entry.is_reference}


def _check_comparable(before: Side, after: Side) -> None:
    kinds = [_algorithms(item) for item in (before, after)]
    if kinds[0] and kinds[1] and kinds[0] & kinds[1]:
        return
    for item, known in zip((before, after), kinds, strict=True):
        if item.commit is not None and not known and item.held is None:
            raise PermanentError(
                f"{item.name} has no lineage file, and the other side is not in Oxen: no digest is "
                "known of both",
                hint="Move the other version with `syncd backfill`, then compare them again.",
            )
    if all(kinds):
        raise PermanentError(
            f"W&B knows the files of {before.name} by {'/'.join(sorted(kinds[0]))} and those of "
            f"{after.name} by {'/'.join(sorted(kinds[1]))}",
            hint="Move both with `syncd backfill`; they are compared by Oxen's hashes then.",
        )


def _rows(
    store: VersionStore, item: Side, blind: Collection[str], *, hashed: bool
) -> Iterator[Row]:
    """A side's files and references: rows of path, identity and bytes."""
    rows: Iterator[Row]
    if item.commit is None:
        entries = item.manifest.entries.values() if item.manifest else ()
        rows = (_row(entry, hashed=hashed) for entry in entries)
    elif hashed:
        rows = beside(tree_rows(store, item.commit, item.root), item.held)
    else:
        files = item.held.files if item.held else ()
        digests = ((path, f"{kind}:{digest}", size) for path, kind, digest, _, size, _ in files)
        rows = beside(digests, item.held)
    if item.commit is not None and item.manifest is not None:
        found = (item.manifest.entries.get(path) for path in sorted(item.omitted))
        rows = heapq.merge(rows, (_row(e, hashed=hashed) for e in found if e), key=_path)
    below = item.below
    for path, identity, size in rows:
        if path in blind:
            continue
        if not below:
            yield path, identity, size
        elif path.startswith(f"{below}/"):
            yield path[len(below) + 1 :], identity, size
        elif path == below:
            yield below.rpartition("/")[2], identity, size


def _row(entry: Entry, *, hashed: bool) -> Row:
    if entry.ref is not None:
        content = linked_content(entry) if parse_reference_url(entry.ref) else None
        named = content if hashed else None
        return entry.path, named or reference_identity(entry.ref, entry.digest), entry.size
    if hashed and entry.algorithm == "XXH128":
        return entry.path, f"{int(entry.hex_digest, 16):x}", entry.size
    return entry.path, f"{entry.algorithm}:{entry.digest}", entry.size
