"""Restoring: which versions a name means, each of them put back, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from syncd import log
from syncd.clients.artifacts import Version
from syncd.errors import IntegrityError, NotFoundError, PermanentError
from syncd.limiter import Limiter
from syncd.refs import ArtifactRef, CommitRef, OxenURL, Target
from syncd.replacements import Replacement, published_of, replacement_of
from syncd.runtime import Runtime
from syncd.stages.restore import rebuild, restore
from syncd.versions.originals import original
from syncd.versions.plans import LINEAGE_PATH
from syncd.versions.relatives import relatives

BORN = "born in Oxen: W&B never had its files"


@dataclass(slots=True, kw_only=True)
class Report:
    """What was restored; `document()` is the answer of `syncd restore --json`."""

    restored: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The report as JSON, sizes in bytes."""
        return {
            "restored": self.restored,
            "skipped": self.skipped,
            "failures": self.failures,
            "bytes": sum(item["bytes"] for item in self.restored),
        }


def restore_target(runtime: Runtime, target: Target, now: Callable[[], datetime]) -> Report:
    """Restore every replacement of a version, a collection or a project.

    Args:
        runtime: open clients; the caller holds the state directory's lock.
        target: what was named; a version also by its old name.
        now: the time, UTC.

    Raises:
        NotFoundError: when nothing has this name.
    """
    report = Report()
    named = 0
    for versions in _collections(runtime, target):
        ordinary = {
            version.digest: version
            for version in versions
            if replacement_of(version.metadata, version.digest) is None
        }
        restored_ids = set()
        for version, link in _replacements(versions):
            if target.alias in (None, *_names(version, link)):
                named += 1
                existing = ordinary.get(link.source_digest)
                restored_ids.add(existing.id if existing else "")
                _restore_one(runtime, report, version, link, existing=existing, now=now)
        for version in ordinary.values():
            if target.alias in (version.ref.alias, *version.aliases):
                named += 1
                if version.id not in restored_ids:
                    born = published_of(version.metadata, version.digest)
                    reason = BORN if born else "W&B has its files"
                    report.skipped.append({"version": str(version.ref), "reason": reason})
    if target.alias and not named:
        raise NotFoundError(f"{target}: there is no such version")
    return report


def restore_commit(runtime: Runtime, url: OxenURL, now: Callable[[], datetime]) -> Report:
    """Restore the version that an Oxen commit holds, also when W&B knows nothing of it any more.

    Raises:
        NotFoundError: when there is no such commit, or syncd did not make it.
        PermanentError: when it does not have all of the version.
    """
    found = runtime.store.resolve(url.repo, url.revision)
    named = found.trailers if found else {}
    if found is None or "Wandb-Artifact" not in named:
        raise NotFoundError(f"{url}: there is no such commit of syncd's")
    ref = ArtifactRef.parse(named["Wandb-Artifact"])
    if "Wandb-Artifact-Id" not in named:
        return Report(skipped=[{"version": str(url), "reason": BORN}])
    try:
        versions = list(runtime.source.versions(Target.of(ref)))
    except NotFoundError:
        versions = []  # the collection is gone, too
    if moved := _renamed(runtime, ref, found.ref):
        versions = list(runtime.source.versions(Target.of(moved).whole))
    report = Report()
    ordinary = {v.digest: v for v in versions if replacement_of(v.metadata, v.digest) is None}
    for version, link in _replacements(versions):
        if link.commit == found.ref:
            existing = ordinary.get(link.source_digest)
            _restore_one(runtime, report, version, link, existing=existing, now=now)
            return report
    path = _lineage_of(runtime, found.ref, named.get("Wandb-Artifact-Id", ""))
    held = original(runtime.store, found.ref, path)
    if held.digest in ordinary:
        reason = "W&B has its files"
        report.skipped.append({"version": str(ordinary[held.digest].ref), "reason": reason})
        return report
    log.get().info(log.Stage.RESTORE.started, artifact=str(ref), commit=str(found.ref))
    made = rebuild(
        runtime.source,
        runtime.store,
        held,
        collection=versions,
        now=now(),
        pace=_pace(runtime),
    )
    _remember(runtime, made)
    log.get().info(log.Stage.RESTORE.done, artifact=str(ref), restored=str(made.ref))
    report.restored.append(
        {
            "source": str(ref),
            "replacement": None,
            "restored": str(made.ref),
            "oxen": str(found.ref),
            "files": len(held.files),
            "bytes": sum(row[4] for row in held.files),
        }
    )
    return report


def _renamed(runtime: Runtime, ref: ArtifactRef, commit: CommitRef) -> ArtifactRef | None:
    """What the collection is called now whose version was moved to a commit, where that is known."""
    here = Target(entity=ref.entity, project=ref.project, collection=ref.collection)
    for record in runtime.catalog.records(here):
        if record.commit == commit and record.replacement_id:
            with suppress(NotFoundError):
                return runtime.source.version(record.replacement_id).ref
    return None


def _restore_one(
    runtime: Runtime,
    report: Report,
    version: Version,
    link: Replacement,
    *,
    existing: Version | None,
    now: Callable[[], datetime],
) -> None:
    done = link.restored is not None and existing is not None
    if done and link.restored and existing and link.restored.artifact_id == existing.id:
        _remember(runtime, version, existing)
        reason = f"restored as {existing.ref} on {link.restored.at}"
        report.skipped.append({"version": link.source_version, "reason": reason})
        return
    log.get().info(log.Stage.RESTORE.started, artifact=link.source_version, commit=str(link.commit))
    try:
        made = restore(
            runtime.source,
            runtime.store,
            version,
            existing=existing,
            now=now(),
            pace=_pace(runtime),
        )
    except (PermanentError, IntegrityError) as error:
        log.get().error(log.Stage.RESTORE.failed, artifact=link.source_version, error=str(error))
        report.failures.append(
            {
                "version": link.source_version,
                "stage": str(log.Stage.RESTORE),
                "error": str(error),
                "hint": error.hint,
            }
        )
        return
    _remember(runtime, runtime.source.version(version.id), made)
    log.get().info(log.Stage.RESTORE.done, artifact=link.source_version, restored=str(made.ref))
    report.restored.append(
        {
            "source": link.source_version,
            "replacement": str(version.ref),
            "restored": str(made.ref),
            "oxen": str(link.commit),
            "files": link.moved_files,
            "bytes": link.moved_bytes,
        }
    )


def _remember(runtime: Runtime, *versions: Version) -> None:
    """Let lineage know what W&B has now: who uses it from here on uses the same content as before."""
    runtime.catalog.descent.keep_versions(relatives(versions))


def _collections(runtime: Runtime, target: Target) -> Iterator[list[Version]]:
    """The versions of each collection of a target."""
    for _, group in groupby(
        runtime.source.versions(target.whole),
        key=lambda found: found.ref.place,
    ):
        yield list(group)


def _replacements(versions: list[Version]) -> list[tuple[Version, Replacement]]:
    """In the order of what they replace, so that newer content comes back later."""
    found = [
        (version, link)
        for version in versions
        if (link := replacement_of(version.metadata, version.digest)) is not None
    ]
    return sorted(found, key=lambda pair: ArtifactRef.parse(pair[1].source_version).index or 0)


def _names(version: Version, link: Replacement) -> set[str]:
    return {version.ref.alias, link.source_alias, *version.aliases}


def _lineage_of(runtime: Runtime, commit: CommitRef, artifact_id: str) -> str:
    """Where a commit's lineage file lies; a tree may have several folders of versions."""
    paths = [
        entry.path
        for entry in runtime.store.tree(commit)
        if entry.path == LINEAGE_PATH or entry.path.endswith(f"/{LINEAGE_PATH}")
    ]
    for path in paths:
        if original(runtime.store, commit, path).artifact.get("id") == artifact_id:
            return path
    raise NotFoundError(f"{commit} has no lineage file of artifact {artifact_id}")


def _pace(runtime: Runtime) -> Callable[[int], None]:
    transfer = runtime.config.transfer
    limit = transfer.bandwidth_limit
    return Limiter(transfer.concurrency, rate=limit.now if limit else lambda: None).pace
