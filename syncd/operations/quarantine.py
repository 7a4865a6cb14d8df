"""Quarantine: versions that failed for good, with cause and next step; and the second chance.

It is a memory, not a state of W&B or Oxen: such a version is untouched in W&B, and every backfill
tries it again. When the local state is lost, all that is lost is what failed how often.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncd.catalog.catalog import Catalog, Quarantined, State
from syncd.errors import NotFoundError, UsageError
from syncd.operations.backfill import Follower, Report, move
from syncd.refs import ArtifactRef, Target
from syncd.runtime import Runtime
from syncd.stages.discover import discover


def listed(catalog: Catalog, targets: Sequence[Target] = ()) -> list[Quarantined]:
    """The versions in quarantine, of these targets or of all, each once."""
    places: Sequence[Target | None] = targets or (None,)
    found = {
        item.record.artifact_id: item
        for target in places
        for item in catalog.quarantined(target)
        if target is None or target.alias in {None, item.record.ref.alias}
    }
    return list(found.values())


def find(catalog: Catalog, ref: ArtifactRef) -> Quarantined:
    """The version of this name.

    Raises:
        UsageError: when it is not in quarantine.
    """
    for item in catalog.quarantined(Target.of(ref)):
        if item.record.ref == ref:
            return item
    raise UsageError(
        f"{ref} is not in quarantine",
        hint="`syncd quarantine list` shows what is; name a version as team/project/ds:v3.",
    )


def retry(runtime: Runtime, chosen: Iterable[Quarantined], follower: Follower) -> Report:
    """Take these versions, and no others, along the whole path again.

    What has gone from W&B since is forgotten; what is replaced or excluded by now leaves quarantine
    for that reason. Both stand in the report as skipped.

    Args:
        runtime: open clients; the caller holds the state directory's lock.
        chosen: versions in quarantine.
        follower: told how it goes.
    """
    wanted = {item.record.artifact_id: item.record for item in chosen}
    for artifact_id in wanted:
        runtime.catalog.deaths.forgive(artifact_id)  # a second chance is a whole one
    gone: list[str] = []
    collections: dict[Target, None] = {}  # each is read once
    for artifact_id in wanted:
        try:
            now = runtime.source.version(artifact_id)  # its collection may have another name by now
        except NotFoundError:
            gone.append(artifact_id)
        else:
            collections[Target.of(now.ref)] = None
    found = [
        item
        for item in discover(runtime.source, collections, runtime.config.select)
        if item.version.id in wanted
    ]
    report = move(runtime, found, follower)
    for item in found:
        if item.skip:
            runtime.catalog.note(item.version, State.SKIPPED, reason=item.skip, hint="")
    for artifact_id in gone:
        runtime.catalog.forget(artifact_id)
        reason = {"version": str(wanted[artifact_id].ref), "reason": "gone from W&B"}
        report.skipped.append(reason)
    return report
