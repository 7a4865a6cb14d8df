"""The steps of the path: what each stage does for one version, and what of it the engine remembers.

DBOS keeps a step's answer, so answers are small; what is large (manifest, hashes) is read again
where it is needed. A killed process goes on behind the last step that finished, and since every
stage finds its own earlier effect, a step that was cut off in the middle repeats harmlessly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from dataclasses import replace as changed
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from dbos import DBOS

from syncd import errors, log
from syncd.catalog.catalog import State
from syncd.catalog.deaths import Deaths
from syncd.clients.artifacts import Version
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.deployment import triggers
from syncd.durable.context import Context
from syncd.durable.locks import run_lock
from syncd.refs import CommitRef, Target
from syncd.replacements import Replacement, replacement_of
from syncd.stages import annotate, commit, discover, replace, transfer, verify
from syncd.versions.originals import lineage_path
from syncd.versions.plans import LINEAGE_PATH, Decision, Receipt, TransferPlan
from syncd.versions.relatives import relatives

AWAY = (errors.ServiceUnavailableError, errors.DiskFullError, errors.StoreLockedError)
_context: Context | None = None
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class LeftBehind(BaseException):
    """Ends a thread whose engine was stopped; the next start takes its version on.

    No `Exception`: the engine would write one down as how the step or the workflow ended, while it can.
    """


def use(context: Context | None) -> None:
    """Let the steps of this process work with a context; None when nothing is to run any more."""
    global _context  # noqa: PLW0603 DBOS calls module functions by name
    _context = context


def here() -> Context:
    """What the steps of this process work with.

    Raises:
        LeftBehind: when nothing is to run any more.
    """
    if _context is None:
        raise LeftBehind
    return _context


def over(context: Context) -> bool:
    """Whether this process has done with a context; what still runs in it is the next process's."""
    return _context is not context


def _patient(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same, again when what it needed was away and is back; see `context.Patience`."""

    @wraps(work)
    def patient(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        patience, own = here().patience, 0
        while True:
            try:
                with patience.working():
                    return work(*arguments, **named)
            except AWAY as error:
                again = patience.again(error, own)
                if again is None:
                    raise
                own = again

    return patient


@DBOS.step(name="transfer")
@_patient
def transfer_step(artifact_id: str) -> dict[str, int]:
    """Bring the version's bytes into Oxen; raises the first failure when any file failed."""
    context, stage = here(), log.Stage.TRANSFER
    planned = _enter(artifact_id, stage, State.TRANSFER)
    transfer.recall(context.store, context.catalog, planned)
    result = transfer.transfer(
        context.source,
        context.store,
        context.catalog,
        planned,
        concurrency=context.config.transfer.concurrency,
        limiter=context.limiter,
        kept=lambda: context.deaths.progressed(artifact_id),
        progress=lambda done: context.progress(artifact_id, stage, done),
    )
    if result.failed:
        # What was away is waited for, so it is told before what is wrong with a file.
        away = (failure for failure in result.failed if isinstance(failure.error, AWAY))
        first = next(away, result.failed[0])
        others = f" (and {len(result.failed) - 1} more files)" if len(result.failed) > 1 else ""
        kind = type(first.error) if isinstance(first.error, AWAY) else errors.PermanentError
        said = str(first.error)
        named = said if first.path in said else f"{first.path}: {said}"
        raise kind(f"{named}{others}", hint=getattr(first.error, "hint", None)) from first.error
    moved = {
        "downloaded": result.downloaded,
        "uploaded": result.uploaded,
        "deduplicated": result.deduplicated,
    }
    sizes = {"moved_bytes": planned.moved_bytes, "kept_bytes": planned.kept_bytes}
    context.catalog.note(planned.version, State.COMMIT, **moved, **sizes)
    log.get().info(stage.done, artifact=str(planned.version.ref), **moved)
    return moved


@DBOS.step(name="commit")
@_patient
def commit_step(artifact_id: str) -> str:
    """Commit the version; the commit's name."""
    context, stage = here(), log.Stage.COMMIT
    planned = _enter(artifact_id, stage, State.COMMIT)
    version = planned.version
    run = context.source.run(version.run, all_outputs=False) if version.run else None
    # Aliases may have moved while the bytes travelled, and become branches now.
    logged = {item.id: item for item in run.outputs} if run else {}
    now = logged.get(version.id) or context.source.version(artifact_id)
    planned = changed(planned, version=changed(version, aliases=now.aliases))
    made = commit.commit(context.store, planned, context.catalog.known, run=run)
    context.catalog.note(
        version,
        State.VERIFY,
        namespace=made.repo.namespace,
        repo=made.repo.repo,
        commit_id=made.commit,
    )
    log.get().info(stage.done, artifact=str(version.ref), commit=str(made))
    return str(made)


@DBOS.step(name="verify")
@_patient
def verify_step(artifact_id: str, committed: str) -> dict[str, Any]:
    """Read the commit back; the receipt, or a VerificationError with what is wrong."""
    context, stage = here(), log.Stage.VERIFY
    planned = _enter(artifact_id, stage, State.VERIFY)
    report = verify.verify(
        context.store,
        context.catalog,
        CommitRef.parse(committed),
        prefix=planned.prefix,
        kept=lambda: context.deaths.progressed(artifact_id),
        progress=lambda done: context.progress(artifact_id, stage, done),
    )
    if report.problems:
        shown = "; ".join(report.problems[:3])
        more = f" (and {len(report.problems) - 3} more)" if len(report.problems) > 3 else ""  # noqa: PLR2004
        raise errors.VerificationError(f"{committed}: {shown}{more}")
    log.get().info(stage.done, artifact=str(planned.version.ref), files=report.receipt.files)
    return {key: value for key, value in asdict(report.receipt).items() if key != "commit"}


@DBOS.step(name="replace")
@_patient
def replace_step(
    artifact_id: str, committed: str, receipt: dict[str, Any], replacement_id: str
) -> dict[str, Any]:
    """Log the reference version and move what points at the old one; the replacement's name."""
    context, stage = here(), log.Stage.REPLACE
    record = context.catalog.get(artifact_id)
    # Another attempt, or another machine's, may have logged one since this one was queued.
    again = record is not None and (record.state is State.REPLACE or bool(record.replacement_id))
    planned = _enter(artifact_id, stage, State.REPLACE)
    version = planned.version
    existing = context.source.version(replacement_id) if replacement_id else None
    if existing is None and again:
        existing = _logged_before(context.source, version)
    link = replacement_of(existing.metadata, existing.digest) if existing else None
    if link is not None and link.restored is not None:
        proof = _still_there(context, link)
        commit_ref = link.commit
    elif link is not None:
        proof = Receipt(commit=link.commit, files=0, bytes=0, tree="", verified_at="")
        commit_ref = link.commit
    else:
        commit_ref = CommitRef.parse(committed)
        _refuse_moved(context.store, planned, commit_ref)
        proof = Receipt(commit=commit_ref, **receipt)
    made = replace.replace(
        context.source,
        planned,
        commit_ref,
        proof,
        contents=context.catalog.known,
        base_url=context.config.references.base_url,
        etagged=context.etagged,
        now=datetime.now(UTC),
        existing=existing,
        linking=context.linking,
    )
    context.catalog.note(
        version,
        State.REPLACED,
        namespace=commit_ref.repo.namespace,
        repo=commit_ref.repo.repo,
        commit_id=commit_ref.commit,
        replacement_id=made.id,
        replacement=str(made.ref),
        moved_files=len(planned.of(Decision.MOVE)),
        moved_bytes=planned.moved_bytes,
        kept_bytes=planned.kept_bytes,
        reason="",
        hint="",
        failed_stage="",
    )
    context.catalog.descent.keep_versions(relatives([version, made]))
    log.get().info(stage.done, artifact=str(version.ref), replacement=str(made.ref))
    return {
        "replacement": str(made.ref),
        "replacement_id": made.id,
        "oxen": str(commit_ref),
        "entries_moved": len(planned.of(Decision.MOVE)),
        "planned": planned.moved_bytes,
        "kept": planned.kept_bytes,
    }


@DBOS.step(name="annotate")
@_patient
def annotate_step(artifact_id: str, replacement_id: str) -> None:
    """Write the run-config keys of the runs around the version; some are noted for later.

    Those that still run, and those around very many versions, which are written once for all of them.

    Only then is the replacement complete: a kill before that must not hide what is left to do.
    """
    context = here()
    planned = context.plans(artifact_id)
    old = replace.conclude(context.source, planned, replacement_id, linking=context.linking)
    runs = {*old.consumers, *([old.version.run] if old.version.run else [])}
    for run in sorted(runs, key=str):
        # It is read, and then written; what is due meanwhile must not be forgotten with it.
        with context.locks.alone(run_lock(run)):
            later = run in context.crowded or not annotate.annotate(
                context.source, run, context.met
            )
            if later:
                context.catalog.add_run_due(run)
            else:
                context.catalog.remove_run_due(run)
    config = context.config_of(artifact_id)
    if config.triggers:  # what is not complete is done again, also by a machine without any state
        triggers.enlist(context.catalog, config, context.source.version(replacement_id))
    replace.complete(context.source, replacement_id)


def _refuse_moved(store: VersionStore, planned: TransferPlan, committed: CommitRef) -> None:
    """Refuse to make references to another place than a version was committed to.

    Raises:
        PermanentError: when the configuration named another one when it was.
    """
    if not commit.lies_at(store, committed, planned):
        path = planned.tree_path(LINEAGE_PATH)
        raise errors.PermanentError(
            f"{planned.version.ref} was committed as {committed}, and is to lie at {path} in "
            f"{planned.repo} by now",
            hint="[oxen] was changed while it was under way. `syncd quarantine retry` commits it anew.",
        )


def _still_there(context: Context, link: Replacement) -> Receipt:
    """Prove the commit anew under a replacement that nothing needed since it was restored."""
    path = lineage_path(link)
    report = verify.verify(
        context.store,
        context.catalog,
        link.commit,
        prefix=path.removesuffix(LINEAGE_PATH).rstrip("/"),
        everything=True,
    )
    if report.problems:
        raise errors.VerificationError(f"{link.commit}: {'; '.join(report.problems[:3])}")
    return report.receipt


@_patient
def look(artifact_id: str) -> Deaths:
    """What is known of processes that died while they moved a version; see `Watch.look`."""
    return here().deaths.look(artifact_id)


@_patient
def begin(known: Deaths) -> None:
    """Write down that a version moves from now on."""
    here().deaths.begin(known)


@_patient
def planned(artifact_id: str) -> TransferPlan:
    """What is decided about a version."""
    return here().plans(artifact_id)


def _enter(artifact_id: str, stage: log.Stage, state: State) -> TransferPlan:
    context = here()
    planned = context.plans(artifact_id)
    context.catalog.note(planned.version, state)
    context.entered(planned, stage)
    log.get().info(stage.started, artifact=str(planned.version.ref))
    return planned


def _logged_before(source: ArtifactSource, version: Version) -> Version | None:
    """The replacement that an attempt which was cut off may have logged."""
    found = discover.replacements(source, Target.of(version.ref))
    return next((made for made, link in found if link.source_artifact_id == version.id), None)
