"""Runs that say which Oxen commits they use: in their config, and in W&B's lineage graph."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from syncd import retry
from syncd.clients.artifacts import Version
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.errors import NotFoundError, UsageError
from syncd.refs import ArtifactRef, CommitRef, Target
from syncd.replacements import KEY, commit_of, replacement_of
from syncd.stages.annotate import PINNED, full_map, is_map
from syncd.training import ends
from syncd.training.folder import check_readable
from syncd.training.pins import SHORT, Pins, pinned, variables_of
from syncd.training.tracking import Tracker, WandbRun, begin

if TYPE_CHECKING:
    import wandb

LEAVE_OUT = "Leave these keys out of the config: they are filled in from the environment."
ANOTHER = (
    "A run has one set of commits: begin another run for others, and end one that still goes on in "
    "this process with run.finish()."
)


@ends.telling
def start_run(
    pins: Pins | None = None,
    *,
    project: str | None = None,
    config: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> wandb.Run:
    """`wandb.init`, with the pinned commits in the run's config and in W&B's lineage graph.

    Args:
        pins: what the run uses; what the environment says when None, see `pinned`.
        project: the W&B project.
        config: the run's config.
        environ: the environment variables; the process's own when None.
        options: passed on to `wandb.init`.

    Raises:
        PinError: when the environment does not say what to use.
        UsageError: when `config`, or the run that is resumed, names other commits than are pinned.
    """
    variables = os.environ if environ is None else environ
    pins = pinned(environ=variables) if pins is None else pins
    keys = run_keys(pins)
    _refuse_others(config or {}, keys, LEAVE_OUT)
    # Without the pins: where a run goes on, what it says of itself must not be written over. A fork is
    # another run, which has its parent's config.
    more = keys if options.get("fork_from") else {}
    run = begin(project, {**(config or {}), **more}, options)
    record(run, pins, environ=variables)
    return run


@ends.telling
def record(run: wandb.Run, pins: Pins, *, environ: Mapping[str, str] | None = None) -> None:
    """Make a run that has begun say which commits it uses; `start_run` does it by itself.

    Where W&B holds a version that stands for a commit, the run becomes a consumer of it. Nothing
    happens a second time.

    Args:
        run: what `wandb.init` gave.
        pins: what it uses.
        environ: the environment variables; the process's own when None.

    Raises:
        UsageError: when its config names other commits than are pinned.
        ServiceUnavailableError: when a service is away, or a folder's disk is not mounted.
    """
    variables = os.environ if environ is None else environ
    tracker = WandbRun(run)
    _refuse_others(tracker.config, run_keys(pins), ANOTHER)
    _refuse_other_pins(tracker.config, pins)
    # At once: whatever fails from here on, the run says what it was told to use.
    tracker.configure(run_keys(pins))
    if not tracker.server:
        tracker.configure(_map(tracker.config, {}, {}, pins))
        tracker.say(
            "syncd: this run is not logged to a server: its inputs stand in its config alone"
        )
        return
    config = ends.configuration(variables)
    check_readable(config, list(pins.commits.values()))
    with ExitStack() as stack:
        store = stack.enter_context(ends.reading(config, variables))
        source = stack.enter_context(ends.wandb_source(config, variables, tracker.server))
        note(tracker, pins, store, source)


def note(tracker: Tracker, pins: Pins, store: VersionStore, source: ArtifactSource) -> None:
    """Record what a run uses; see `record`.

    Args:
        tracker: the run.
        pins: what it uses.
        store: Oxen.
        source: W&B.
    """
    inputs: dict[str, str] = {}
    nameless: list[str] = []
    for name in pins:
        commit = pins[name]
        version = standing_for(store, source, commit)
        if version is None:
            nameless.append(str(commit))
            continue
        tracker.use(version)
        inputs[_called(version)] = str(commit)
    if nameless:
        tracker.say(
            f"syncd: W&B has no version of {', '.join(nameless)}: the run's config names it, W&B's "
            "lineage graph does not"
        )
    tracker.configure({**run_keys(pins), **_map(tracker.config, inputs, {}, pins)})


def run_keys(pins: Pins) -> dict[str, str]:
    """What a run's config says of its pins in short."""
    return {
        f"{SHORT[name]}_{part}": value
        for name in pins
        if name in SHORT
        for part, value in (("repo", str(pins[name].repo)), ("commit", pins[name].commit))
    }


def add_output(tracker: Tracker, version: Version, commit: CommitRef) -> None:
    """Write down that a run published a version; the short keys name the latest model.

    Args:
        tracker: the run.
        version: the version.
        commit: its commit.
    """
    values: dict[str, Any] = {}
    if "model" in version.type.lower():
        values = {"output_model_repo": str(commit.repo), "output_model_commit": commit.commit}
    values |= _map(tracker.config, {}, {_called(version): str(commit)}, None)
    tracker.configure(values)


def standing_for(store: VersionStore, source: ArtifactSource, commit: CommitRef) -> Version | None:
    """The version of W&B's that stands for a commit: it was moved there, or born there.

    The commit says in its trailers which collection to look in.

    Args:
        store: Oxen.
        source: W&B.
        commit: the commit.
    """
    found = retry.call(lambda: store.resolve(commit.repo, commit.commit), what=f"read {commit}")
    named = found.trailers.get("Wandb-Artifact") if found else None
    try:
        collection = Target.of(ArtifactRef.parse(named or ""))
    except UsageError:
        return None  # somebody's own commit
    try:
        versions = retry.call(
            lambda: list(source.versions(collection)), what=f"list versions of {collection}"
        )
    except NotFoundError:
        return None  # another server's, or gone
    standing = (v for v in versions if commit_of(v.metadata, v.digest) == commit)
    return next(standing, None)


def _called(version: Version) -> str:
    """The name under which a run's map has a version: a moved one's old name."""
    link = replacement_of(version.metadata, version.digest)
    return link.source_version if link else str(version.ref)


def _map(
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    pins: Pins | None,
) -> dict[str, dict[str, dict[str, str]]]:
    """The key `oxen` with more in its map than the config has; nothing where a person uses the key."""
    held = config.get(KEY)
    if held is not None and not is_map(held):
        return {}
    sides = {
        side: {**part} if isinstance(part := (held or {}).get(side), Mapping) else {}
        for side in ("inputs", "outputs", "pinned")
    }
    commits = {name: CommitRef.parse(str(text)) for name, text in sides["pinned"].items()}
    if pins is not None:
        commits |= {SHORT.get(name, name): pins[name] for name in pins}
    return {KEY: full_map(sides["inputs"] | {**inputs}, sides["outputs"] | {**outputs}, commits)}


def _refuse_others(config: Mapping[str, Any], keys: Mapping[str, str], hint: str) -> None:
    """A config that names other commits would make the run say what is not so."""
    wrong = [key for key in keys if key in config and config[key] != keys[key]]
    if wrong:
        known = {f"{SHORT[name]}_{part}": at for name in SHORT for part, at in _at(name)}
        raise UsageError(
            "; ".join(
                f"the run's config has {key}={config[key]!r}, and {known[key]} says {keys[key]!r}"
                for key in wrong
            ),
            hint=hint,
        )


def _refuse_other_pins(config: Mapping[str, Any], pins: Pins) -> None:
    """The same of further datasets, which have no key of their own."""
    held = config.get(KEY)
    said = held.get(PINNED, {}) if isinstance(held, Mapping) and is_map(held) else {}
    for name in (name for name in pins if name not in SHORT):
        if said.get(name, str(pins[name])) != str(pins[name]):
            raise UsageError(
                f"the run's config was pinned to {said[name]} as {name}, and "
                f"{variables_of(name)[0]} says {pins[name].commit!r}",
                hint=ANOTHER,
            )


def _at(name: str) -> Iterable[tuple[str, str]]:
    commit_at, repo_at = variables_of(name)
    return (("repo", repo_at), ("commit", commit_at))
