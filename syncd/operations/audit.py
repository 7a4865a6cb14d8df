"""Audit: what W&B's replacements claim, proved again from Oxen; and whether they look as they should.

The list of what there is to prove comes from W&B, not from the catalog: a lost state directory
hides nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any

from syncd import log
from syncd.blocks import paired
from syncd.clients.artifacts import Version
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.operations.comparison import compare
from syncd.refs import Target, parse_reference_url
from syncd.replacements import (
    Published,
    Replacement,
    linked_content,
    published_of,
    replacement_of,
)
from syncd.runtime import Runtime
from syncd.stages import discover
from syncd.stages.plan import destination
from syncd.stages.verify import TOLD, verify
from syncd.versions.originals import lineage_path
from syncd.versions.plans import LINEAGE_PATH, Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which share of the versions is meant; the same ones each time.

    Args:
        first: in thousandths, the lower bound.
        end: in thousandths, the upper bound, not included.
    """

    first: float = 0.0
    end: float = 1000.0

    @classmethod
    def parse(cls, *, sample: str = "", subset: str = "") -> Part:
        """Read `5%` or `2/7`.

        Raises:
            UsageError: when it is neither, or both are given.
        """
        if sample and subset:
            raise UsageError("--sample and --subset exclude each other")
        share = re.fullmatch(r"(\d+(?:\.\d+)?)%", sample)
        if sample and (share is None or not 0 < float(share[1]) <= 100):  # noqa: PLR2004
            raise UsageError(f"--sample {sample!r} is not a share", hint="Write 5%.")
        if share:
            return cls(end=float(share[1]) * 10)
        piece = re.fullmatch(r"(\d+)/(\d+)", subset)
        if subset and (piece is None or not 1 <= int(piece[1]) <= int(piece[2])):
            raise UsageError(f"--subset {subset!r} is not a part", hint="Write 1/7.")
        if piece:
            width = 1000 / int(piece[2])
            return cls(first=width * (int(piece[1]) - 1), end=width * int(piece[1]))
        return cls()

    def holds(self, version: Version) -> bool:
        """Whether a version belongs to the part."""
        number = int(hashlib.sha256(version.id.encode()).hexdigest()[:8], 16) % 1_000_000
        return self.first <= number / 1000 < self.end


def replacements(
    runtime: Runtime, targets: Sequence[Target]
) -> Iterator[tuple[Version, Replacement]]:
    """All replacement versions of the targets; a named version also by its source's name."""
    for target in targets:
        for version, link in discover.replacements(runtime.source, target):
            names = {version.ref.alias, link.source_alias, *version.aliases}
            if target.alias is None or target.alias in names:
                yield version, link


def verify_all(runtime: Runtime, targets: Sequence[Target], part: Part) -> Iterator[dict[str, Any]]:
    """Prove each replacement of the targets again; one answer per version.

    What was restored is ordinary files again, and needs no proof. Of several targets one that is gone
    does not end the proof of the others.

    Raises:
        NotFoundError: when the only target is nothing.
    """
    for target in targets:
        try:
            yield from _verify_target(runtime, target, part)
        except NotFoundError as error:
            if len(targets) == 1:
                raise
            yield _answer(str(target), "", "", [str(error)])


def _verify_target(runtime: Runtime, target: Target, part: Part) -> Iterator[dict[str, Any]]:
    there = target.alias is None
    for version in runtime.source.versions(target.whole):  # once: there may be very many
        link = replacement_of(version.metadata, version.digest)
        born = None if link else published_of(version.metadata, version.digest)
        names = {version.ref.alias, *version.aliases, *([link.source_alias] if link else [])}
        if (link is None and born is None) or target.alias not in {None, *names}:
            continue
        there = True
        if not part.holds(version):
            continue
        if link is not None and link.restored is None:
            yield _verify_moved(runtime, version, link)
        elif born is not None:
            yield _verify_born(runtime, version, born)
    if not there:
        raise NotFoundError(
            f"{target}: nothing of this name was moved", hint="`syncd plan` says what is there."
        )


def _verify_moved(runtime: Runtime, version: Version, link: Replacement) -> dict[str, Any]:
    """Prove a replacement: its commit, and that it looks like what it replaced."""
    try:  # where it was committed to, whatever the configuration or the collection is called now
        prefix = lineage_path(link).removesuffix(LINEAGE_PATH).rstrip("/")
    except PermanentError:  # it names another commit than its URL; the proof says what is wrong
        _, prefix = destination(version, runtime.config)
    report = verify(runtime.store, runtime.catalog, link.commit, prefix=prefix, everything=True)
    problems = list(report.problems)
    claimed = link.receipt.get("tree")
    if not problems and claimed and claimed != report.receipt.tree:
        problems.append("the commit's tree is not the one that the receipt in W&B names")
    edits: list[str] = []
    try:
        compared = compare(runtime.source, runtime.store, version, link, prefix)
        problems += map(str, compared.faults)
        edits += map(str, compared.edits)
    except PermanentError as error:
        if not problems:  # else the proof has told why
            problems.append(f"cannot be compared with what it replaced ({error})")
    if not link.complete:
        problems.append("the replacement is not complete; syncd backfill goes on with it")
    event = log.Stage.VERIFY.failed if problems else log.Stage.VERIFY.done
    log.get().info(event, artifact=link.source_version, commit=str(link.commit))
    names = (link.source_version, str(version.ref), str(link.commit))
    return _answer(*names, problems, receipt=report.receipt, edited=edits)


def _verify_born(runtime: Runtime, version: Version, born: Published) -> dict[str, Any]:
    """Prove a version that was born in Oxen: its commit, and that W&B refers to it."""
    named = parse_reference_url(born.url)
    prefix = (named[1] if named else "").removesuffix(LINEAGE_PATH).rstrip("/")
    report = verify(runtime.store, runtime.catalog, born.commit, prefix=prefix, everything=True)
    problems = list(report.problems)
    try:
        problems += islice(_unlike(runtime, version, born, prefix), TOLD)
    except PermanentError as error:
        if not problems:  # else the proof has told why
            problems.append(f"cannot be compared with its commit ({error})")
    event = log.Stage.VERIFY.failed if problems else log.Stage.VERIFY.done
    log.get().info(event, artifact=str(version.ref), commit=str(born.commit))
    names = (str(version.ref), str(version.ref), str(born.commit))
    return _answer(*names, problems, receipt=report.receipt)


def _unlike(runtime: Runtime, version: Version, born: Published, prefix: str) -> Iterator[str]:
    """In what the references of a version that was born in Oxen differ from its commit."""
    begin = f"{prefix}/" if prefix else ""
    tree = runtime.store.tree(born.commit)
    entries = runtime.source.manifest(version).entries.values()
    for entry, held in paired(
        entries, tree, lambda entry: f"{begin}{entry.path}", attrgetter("path")
    ):
        if entry is None:
            continue
        if parse_reference_url(entry.ref or "") != (born.commit, f"{begin}{entry.path}"):
            yield f"{entry.path}: W&B does not refer to the commit"
        elif held is None or held.hash != linked_content(entry):
            yield f"{entry.path}: W&B names another content than the commit"


def _answer(
    version: str,
    replacement: str,
    oxen: str,
    problems: Sequence[str],
    *,
    receipt: Receipt | None = None,
    edited: Sequence[str] = (),
) -> dict[str, Any]:
    return {
        "version": version,
        "replacement": replacement,
        "oxen": oxen,
        "files": receipt.files if receipt else 0,
        "bytes": receipt.bytes if receipt else 0,
        "problems": list(problems),
        "edited": list(edited),
    }
