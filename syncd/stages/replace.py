"""Replace: the reference version is logged, and everything that points at the old one follows.

The replacement is an output of the original run. It is logged without aliases, so that `latest`
stays where it is; then the aliases that the source holds at that moment move over in one request.
At each instant `latest` names the same content. Each step finds its own effect when repeated;
`complete` marks the replacement when all that goes with it, the runs' config included, is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from dataclasses import replace as changed
from typing import Any

from syncd.blocks import Builder
from syncd.clients.protocols import ArtifactSource, Version
from syncd.entry import Entries, Entry, entry_row
from syncd.errors import PermanentError
from syncd.manifest import Manifest
from syncd.plans import LINEAGE_PATH, Contents, Decision, Receipt, TransferPlan
from syncd.refs import CommitRef, reference_url
from syncd.replacements import CONTENT_KEY, Replacement, replacement_of, version_digest


def replace(
    source: ArtifactSource,
    plan: TransferPlan,
    commit: CommitRef,
    receipt: Receipt,
    *,
    contents: Contents,
    base_url: str,
    etagged: Callable[[str], bool],
    existing: Version | None = None,
) -> Version:
    """Put a version of references in the place of the plan's version; it is returned as it was logged.

    Args:
        source: W&B.
        plan: the version.
        commit: the commit that holds it.
        receipt: the proof that it does.
        contents: what the store holds, see `TransferPlan.located`; not asked when there is an
            `existing` one.
        base_url: under which references are served.
        etagged: whether what is served under a URL comes with its hash as ETag.
        existing: the replacement, when an earlier attempt logged it.

    Raises:
        PermanentError: when W&B hands back a version that is not this replacement.
    """
    now = source.version(plan.version.id)
    made = existing or _log(
        source,
        plan,
        now,
        commit=commit,
        receipt=receipt,
        contents=contents,
        base_url=base_url,
        etagged=etagged,
    )
    written = replacement_of(made.metadata, made.digest)
    if written and written.restored and written.source_digest == now.digest:
        written = _adopt(source, made, written, now, receipt=receipt)
    if written is None or written.source_artifact_id != now.id:
        raise PermanentError(
            f"{made.ref} was expected to replace {now.ref} but says it replaces "
            f"{written.source_version if written else 'nothing'}",
            hint="Two versions of the collection hold the same content; look at both in W&B.",
        )
    aliases = source.version(now.id).aliases
    if aliases:
        source.move_aliases(made, aliases)
    for run in source.consumers(now):
        source.record_use(run, made)
    return made


def complete(source: ArtifactSource, replacement_id: str) -> None:
    """Note on a replacement that nothing is left to do for it; the next discovery skips it."""
    made = source.version(replacement_id)
    written = replacement_of(made.metadata, made.digest)
    if written is not None and not written.complete:
        source.update_metadata(made, changed(written, complete=True).into(made.metadata))


def _adopt(
    source: ArtifactSource, made: Version, written: Replacement, now: Version, *, receipt: Receipt
) -> Replacement:
    """What was restored moves again: the replacement that there is takes its place.

    Another one would have the same digest, and W&B gives this one back for it. Its receipt is the
    new proof: from there on the grace of the version counts.
    """
    again = changed(
        written,
        source_version=str(now.ref),
        source_artifact_id=now.id,
        source_created_at=now.created_at,
        receipt=_kept(receipt),
        complete=False,
        reclaimed=None if now.id != written.source_artifact_id else written.reclaimed,
        restored=None,
    )
    source.update_metadata(made, again.into(made.metadata))
    return again


def _log(
    source: ArtifactSource,
    plan: TransferPlan,
    now: Version,
    *,
    commit: CommitRef,
    receipt: Receipt,
    contents: Contents,
    base_url: str,
    etagged: Callable[[str], bool],
) -> Version:
    served = reference_url(base_url, commit, plan.tree_path(LINEAGE_PATH))
    manifest = reference_manifest(plan, commit, contents, base_url, etags=etagged(served))
    link = Replacement(
        commit=commit,
        url=served,
        source_version=str(now.ref),
        source_artifact_id=now.id,
        source_digest=now.digest,
        source_created_at=now.created_at,
        moved_files=len(plan.of(Decision.MOVE)),
        moved_bytes=plan.moved_bytes,
        digest=version_digest(manifest, now.digest_algorithm),
        receipt=_kept(receipt),
    )
    return source.log_replacement(now, manifest, link.into(now.metadata))


def _kept(receipt: Receipt) -> dict[str, Any]:
    """A receipt as metadata has it, beside the commit."""
    return {key: value for key, value in asdict(receipt).items() if key != "commit"}


def reference_manifest(
    plan: TransferPlan, commit: CommitRef, contents: Contents, base_url: str, *, etags: bool
) -> Manifest:
    """The replacement's manifest: references for what moved, all else unchanged.

    A plain client takes the URL for the digest where no ETag is sent; the hash is kept beside it.
    """
    moved = plan.located(contents, Decision.MOVE)
    rows = Builder()
    for item in plan.entries:
        entry = item.entry
        if item.decision is Decision.MOVE:
            content = next(moved)[1].hash
            url = reference_url(base_url, commit, plan.tree_path(entry.path))
            entry = Entry(
                path=entry.path,
                digest=content if etags else url,
                size=entry.size,
                ref=url,
                extra={"etag": f'"{content}"'} if etags else {CONTENT_KEY: content},
            )
        rows.add(entry_row(entry))
    config = plan.manifest.storage_policy_config
    return Manifest(entries=Entries(rows.build()), storage_policy_config=config)
