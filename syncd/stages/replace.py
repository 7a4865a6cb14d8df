"""Replace: the reference version is logged, and everything that points at the old one follows.

The replacement is an output of the original run. It is logged without aliases, so that `latest`
stays where it is; what points at the old version follows in the order that `syncd.versions.succession` tells.
Each step finds its own effect when repeated. `conclude` waits until nothing is left to follow and holds
both versions against each other; `complete` marks the replacement when the runs' config is done, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from dataclasses import replace as changed
from datetime import datetime
from typing import Any

from syncd.blocks import Builder
from syncd.clients.artifacts import TTL_INHERIT, TTL_OFF, Standing, Version
from syncd.clients.protocols import ArtifactSource
from syncd.entry import Entries, Entry, entry_row
from syncd.errors import NotFoundError, PermanentError
from syncd.manifest import Manifest
from syncd.refs import CommitRef, reference_url
from syncd.replacements import (
    CONTENT_KEY,
    KEY,
    Replacement,
    replacement_of,
    returned_of,
    version_digest,
)
from syncd.versions.appearance import (
    Appearance,
    Difference,
    appearance,
    differences,
    expected,
    file_differences,
)
from syncd.versions.plans import LINEAGE_PATH, Contents, Decision, Receipt, TransferPlan
from syncd.versions.succession import advance, check_rights, follow


def replace(
    source: ArtifactSource,
    plan: TransferPlan,
    commit: CommitRef,
    receipt: Receipt,
    *,
    contents: Contents,
    base_url: str,
    etagged: Callable[[str], bool],
    now: datetime,
    existing: Version | None = None,
    linking: AbstractContextManager[object] | None = None,
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
        now: the time, from which on what is left of the version's time to live is counted.
        existing: the replacement, when an earlier attempt logged it.
        linking: held while portfolios change, see `succession.advance`.

    Raises:
        PermanentError: when this API key may not move all that points at the version; nothing has
            been changed then. When the version has expired. When W&B hands back a version that is not
            this replacement.
    """
    before = source.standing(plan.version.id)
    check_rights(source, before)
    made = existing or _log(
        source,
        plan,
        _with_time_left(before.version, now),
        commit=commit,
        receipt=receipt,
        contents=contents,
        base_url=base_url,
        etagged=etagged,
    )
    written = replacement_of(made.metadata, made.digest)
    adopted = written is not None and (
        written.restored is not None
        or (written.source_artifact_id != before.version.id and _is_gone(source, written))
    )
    if written and adopted and written.source_digest == before.version.digest:
        written = _adopt(source, made, written, before.version, receipt=receipt)
    if written is None or written.source_artifact_id != before.version.id:
        raise PermanentError(
            f"{made.ref} was expected to replace {before.version.ref} but says it replaces "
            f"{written.source_version if written else 'nothing'}",
            hint="Two versions of the collection hold the same content; look at both in W&B.",
        )
    # W&B may have handed back an earlier attempt's, or one that was restored.
    fresh = existing is None and not made.aliases and not adopted
    advance(source, before.version.id, made, linking or nullcontext(), fresh=fresh)
    return made


def conclude(
    source: ArtifactSource,
    plan: TransferPlan,
    replacement_id: str,
    *,
    linking: AbstractContextManager[object] | None = None,
) -> Standing:
    """Let follow what was changed about a version while it was replaced, then compare the two.

    Args:
        source: W&B.
        plan: the version.
        replacement_id: its replacement's GraphQL id.
        linking: see `replace`.

    Returns:
        The version as it stands now, with the runs that used it.

    Raises:
        PermanentError: when the two differ in what W&B shows of them; it names the fields.
    """
    old, new = follow(source, plan.version.id, replacement_id, linking or nullcontext())
    written = replacement_of(new.version.metadata, new.version.digest)
    if written is None:
        return old
    wanted = expected(plan.version, old, new)
    if differences(wanted, appearance(new)):
        _heal(source, wanted, new.version)
        new = source.standing(replacement_id)
    manifest = source.manifest(new.version)
    found = differences(wanted, appearance(new))
    found += file_differences(
        plan.manifest.entries.values(), manifest.entries.values(), written.commit, plan.prefix
    )
    if version_digest(manifest, new.version.digest_algorithm) != written.digest:
        found.append(Difference(field="files", text="the manifest is not the one that was logged"))
    if found:
        raise PermanentError(
            f"{new.version.ref} does not look like {old.version.ref}, which it replaces: "
            f"{'; '.join(map(str, found))}",
            hint="Both versions are whole. Compare them in W&B, correct the newer one, then retry.",
        )
    return old


def complete(source: ArtifactSource, replacement_id: str) -> None:
    """Note on a replacement that nothing is left to do for it; the next discovery skips it."""
    made = source.version(replacement_id)
    written = replacement_of(made.metadata, made.digest)
    if written is not None and not written.complete:
        source.update_metadata(made, changed(written, complete=True).into(made.metadata))


def _with_time_left(version: Version, now: datetime) -> Version:
    """The version with what is left of its time to live, whole seconds."""
    ends = version.expires_at
    if ends is None:
        return version
    left = int((ends - now).total_seconds())
    if left <= 0:
        raise PermanentError(
            f"{version.ref} expired at {ends.isoformat(timespec='seconds')}",
            hint="W&B deletes it. To keep it, give it a longer time to live in W&B, then retry.",
        )
    return changed(version, ttl_seconds=left)


def _heal(source: ArtifactSource, wanted: Appearance, made: Version) -> None:
    """Make a replacement look as wanted, as far as W&B lets it be edited."""
    ttl = TTL_OFF if wanted.ttl is None else TTL_INHERIT
    if isinstance(wanted.ttl, datetime):
        ttl = max(1, int((wanted.ttl - made.created).total_seconds()))
    source.update_metadata(
        made,
        {**wanted.metadata, KEY: made.metadata[KEY]},
        description=wanted.description,
        tags=sorted(wanted.tags - set(made.tags)),
        ttl_seconds=ttl,
    )


def _is_gone(source: ArtifactSource, written: Replacement) -> bool:
    """Whether W&B has no more what a replacement replaced: it was reclaimed, or deleted.

    Who then logs the same content again gets a version of files, and for its references W&B hands the
    replacement back that there is.
    """
    try:
        source.version(written.source_artifact_id)
    except NotFoundError:
        return True
    return False


def _adopt(
    source: ArtifactSource, made: Version, written: Replacement, now: Version, *, receipt: Receipt
) -> Replacement:
    """What was restored, or logged again, moves again: the replacement that there is takes its place.

    Another one would have the same digest, and W&B gives this one back for it. Its receipt is the
    new proof: from there on the grace of the version counts.
    """
    first = written.first
    again = changed(
        written,
        source_version=str(now.ref),
        source_artifact_id=now.id,
        source_created_at=now.created_at,
        receipt=_kept(receipt),
        complete=False,
        reclaimed=None if now.id != written.source_artifact_id else written.reclaimed,
        restored=None,
        logged=first if first.artifact_id != now.id else None,
    )
    # What people wrote on the version since it was restored counts.
    source.update_metadata(
        made,
        again.into(now.metadata),
        description=now.description or "",
        tags=sorted(set(now.tags) - set(made.tags)),
    )
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
    back = returned_of(now.metadata, now.digest)
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
        logged=back.logged if back else None,
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
