"""Following runs: who uses what was moved, after it was moved.

A run that begins when its data lies in Oxen already, and logs nothing that moves, is around no
replacement that is made. W&B lists runs by when they were last heard of, so those that ended since the
last look are a request away: each is read once, its lineage is kept, and where it used or logged
something that is in Oxen its config says so. One that is resumed is heard of anew, and read again. One
that still runs is looked at when it has ended: W&B lists it again then, but for one that was lost, which
ends without being heard of once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from syncd.clients.artifacts import Heard, Run
from syncd.durable.locks import Locks, run_lock
from syncd.errors import NotFoundError
from syncd.refs import RunRef, Target
from syncd.replacements import KEY, commit_of
from syncd.runtime import Runtime
from syncd.stages.annotate import PENDING, UNFINISHED, write

SILENT = timedelta(hours=1)  # without a heartbeat, and a run is waited for by its name


def follow_runs(runtime: Runtime, target: Target, *, most: int | None = None) -> None:
    """Look at the runs of a target's projects that ended since the last look.

    The first look begins at what was heard of last: runs around what is moved then are read when
    it is moved. Without a project's own memory of it nothing is lost but the runs between.

    Args:
        runtime: open clients.
        target: whose projects.
        most: runs that are read at most in each project, None for all; the next look goes on there.

    Raises:
        TransientError: when W&B cannot be asked.
    """
    entity = target.entity
    projects = [target.project] if target.project else runtime.source.projects(entity)
    for project in projects:
        _follow(runtime, entity, project, most)


def _follow(runtime: Runtime, entity: str, project: str, most: int | None) -> None:
    descent = runtime.catalog.descent
    since = descent.followed(entity, project)
    found: list[Heard] = []
    for heard in runtime.source.heard(entity, project):
        if since is None:
            descent.follow(entity, project, heard.at)
            return
        if heard.at < since:
            break
        found.append(heard)
    if not found:
        return
    known = {
        str(run.ref): run.state
        for run in descent.runs([str(item.run) for item in found])
        if run.seen
    }
    ended = [item for item in reversed(found) if item.state not in UNFINISHED]
    before = descent.heard([str(item.run) for item in ended])
    fresh = [
        item
        for item in ended
        if known.get(str(item.run)) != item.state or before.get(str(item.run), item.at) != item.at
    ]
    later = {item.run for item in (fresh[most:] if most is not None else ())}
    for item in fresh[:most]:
        try:
            run = runtime.source.run(item.run)
        except NotFoundError:
            continue  # deleted since
        descent.keep(run)
        if _is_around(run):
            write(runtime.source, run)
    dealt_with = {str(item.run): item.at for item in ended if item.run not in later}
    descent.note_heard({run: at for run, at in dealt_with.items() if before.get(run) != at})
    waiting = list(_waited_for(runtime, found))
    if most is not None:
        waiting += [item.at for item in fresh[most : most + 1]]
    descent.follow(entity, project, min(waiting, default=found[0].at))


def _waited_for(runtime: Runtime, found: Sequence[Heard]) -> Iterator[datetime]:
    """When unfinished runs were heard of that the next look has to begin with.

    Not with one that has not begun, of which W&B hears when it does, nor with one of which it has not
    heard for long: that is asked for by its name.
    """
    for item in found:
        if item.state not in UNFINISHED or item.state == PENDING:
            continue
        if found[0].at - item.at > SILENT:
            runtime.catalog.add_run_due(item.run)
        else:
            yield item.at


def finish_runs(runtime: Runtime, runs: Iterable[RunRef], locks: Locks) -> None:
    """Write the configs of runs that were waited for and have ended; who was deleted is forgotten.

    Args:
        runtime: open clients.
        runs: of those that are due.
        locks: keep those apart who move versions around these runs.
    """
    for ref in runs:
        with locks.alone(run_lock(ref)):
            _finish_run(runtime, ref)


def _finish_run(runtime: Runtime, ref: RunRef) -> None:
    try:
        run = runtime.source.run(ref)
    except NotFoundError:
        runtime.catalog.remove_run_due(ref)
        return
    runtime.catalog.descent.keep(run)
    if run.state not in UNFINISHED:
        if _is_around(run) or KEY in run.config:
            write(runtime.source, run)
        runtime.catalog.remove_run_due(ref)


def _is_around(run: Run) -> bool:
    """Whether something that a run used or logged is in Oxen."""
    return any(commit_of(item.metadata, item.digest) for item in (*run.inputs, *run.outputs))
