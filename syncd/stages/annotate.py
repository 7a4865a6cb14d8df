"""Annotate: a run's config says which Oxen commits went in and came out.

Part of replacing, done once per run that logged or used the version. The short keys stand where a
run has exactly one input or output of the kind; the full map is always under `oxen`. What a person
wrote is never overwritten; what syncd wrote is, when it is no longer true. What a run was pinned to
(`syncd.training`) stands in the map by its short name: it is true whatever else the run used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from syncd.clients.artifacts import Run, Version
from syncd.clients.protocols import ArtifactSource
from syncd.errors import UsageError
from syncd.refs import CommitRef, RunRef
from syncd.replacements import KEY, commit_of, replacement_of

PENDING = "pending"  # waits to begin
UNFINISHED = frozenset({"running", PENDING})
SHORT_KEYS = ("dataset", "base_model", "output_model")
SIDES = frozenset({"inputs", "outputs"})
PINNED = "pinned"  # in the map: the commits a run was told to use, by short name


def annotate(
    source: ArtifactSource, ref: RunRef, told: Callable[[Run], None] = lambda _run: None
) -> bool:
    """Write a run's keys; False when the run still runs, whose own client would write over them.

    Args:
        source: W&B.
        ref: the run.
        told: of the run, as it was read.
    """
    run = source.run(ref)
    told(run)
    if run.state in UNFINISHED:
        return False
    write(source, run)
    return True


def write(source: ArtifactSource, run: Run) -> None:
    """Write the keys of a run that has ended, as far as they are not there.

    Args:
        source: W&B.
        run: the run, as it was just read.
    """
    values, unset = run_config(run)
    if values or unset:
        source.update_config(run.ref, values, unset)


def is_due(run: Run) -> bool:
    """Whether `annotate` has something to do for a run, now or when it has ended."""
    values, unset = run_config(run)
    return run.state in UNFINISHED or bool(values or unset)


def run_config(run: Run) -> tuple[dict[str, Any], list[str]]:
    """The keys to set in a run's config, and those to take back.

    Args:
        run: the run, its replaced inputs and outputs included.
    """
    inputs, outputs = _commits(run.inputs), _commits(run.outputs)
    pinned = pinned_in(run.config)
    wanted: dict[str, str] = {}
    for name, kind, side in (
        ("dataset", "dataset", inputs),
        ("base_model", "model", inputs),
        ("output_model", "model", outputs),
    ):
        commits = {str(commit): commit for type_, commit in side.values() if kind in type_.lower()}
        if name in pinned:
            commits = {"": pinned[name]}
        if len(commits) == 1:
            commit = next(iter(commits.values()))
            wanted[f"{name}_repo"] = str(commit.repo)
            wanted[f"{name}_commit"] = commit.commit
    ours = _written_before(run.config)
    mine = {
        f"{name}_{part}"
        for name in SHORT_KEYS
        for part in ("repo", "commit")
        if str(run.config.get(f"{name}_{part}")) in ours
    }
    values: dict[str, Any] = {
        key: value for key, value in wanted.items() if key not in run.config or key in mine
    }
    full = full_map(_named(inputs), _named(outputs), pinned)
    theirs = run.config.get(KEY)
    if theirs is None or is_map(theirs):
        values[KEY] = full
    values = {
        key: value for key, value in values.items() if not _is_said(run.config.get(key), value)
    }
    return values, sorted(mine - wanted.keys())


def full_map(
    inputs: Mapping[str, str], outputs: Mapping[str, str], pinned: Mapping[str, CommitRef]
) -> dict[str, dict[str, str]]:
    """The map under `oxen`: commits by the names of versions.

    Args:
        inputs: of what the run used.
        outputs: of what it logged.
        pinned: what it was told to use, by short name; where W&B has no version that stands for a
            commit, the commit is an input under its repository's name, a further one of that under its own.
    """
    nameless: dict[str, str] = {}
    for _, commit in sorted(pinned.items()):
        if str(commit) not in inputs.values():
            taken = (nameless | dict(inputs)).get(str(commit.repo), str(commit)) != str(commit)
            nameless[str(commit if taken else commit.repo)] = str(commit)
    full = {"inputs": nameless | dict(inputs), "outputs": dict(outputs)}
    if pinned:
        full[PINNED] = {name: str(commit) for name, commit in sorted(pinned.items())}
    return full


def pinned_in(config: Mapping[str, Any]) -> dict[str, CommitRef]:
    """What a run was told to use, as `syncd.training` wrote it into the map."""
    full = config.get(KEY)
    held = full.get(PINNED) if isinstance(full, Mapping) and is_map(full) else None
    found: dict[str, CommitRef] = {}
    for name, text in held.items() if isinstance(held, Mapping) else ():
        with suppress(UsageError):
            found[str(name)] = CommitRef.parse(str(text))
    return found


def _commits(versions: Sequence[Version]) -> dict[str, tuple[str, CommitRef]]:
    """Type and commit of each version that stands for one, by its name, a moved one's old name."""
    found: dict[str, tuple[str, CommitRef]] = {}
    for version in versions:
        link = replacement_of(version.metadata, version.digest)
        commit = commit_of(version.metadata, version.digest)
        if commit is not None:
            found[link.source_version if link else str(version.ref)] = (version.type, commit)
    return found


def _named(side: Mapping[str, tuple[str, CommitRef]]) -> dict[str, str]:
    return {name: str(commit) for name, (_, commit) in sorted(side.items())}


def is_map(value: object) -> bool:
    """Whether what a config has under `oxen` is the map, and not somebody's own.

    The wandb client leaves out what is empty (0.31.0, tried): a run that logs nothing has no outputs.
    """
    if not isinstance(value, Mapping) or value.keys() - {PINNED} == SIDES:
        return isinstance(value, Mapping)
    sides = list(value.values()) if value.keys() <= {*SIDES, PINNED} else []
    return bool(sides) and all(isinstance(side, Mapping) and _are_commits(side) for side in sides)


def _are_commits(side: Mapping[str, object]) -> bool:
    return bool(side) and all(str(text).startswith("oxen://") for text in side.values())


def _is_said(held: object, value: object) -> bool:
    """Whether a config says a value, perhaps without what is empty in it."""
    if isinstance(held, Mapping) and isinstance(value, Mapping):
        parts = ({key: side for key, side in item.items() if side != {}} for item in (held, value))
        return next(parts) == next(parts)
    return held == value


def _written_before(config: Mapping[str, Any]) -> set[str]:
    """Repositories and commits in the map that syncd wrote earlier."""
    full = config.get(KEY)
    if not isinstance(full, Mapping) or not is_map(full):
        return set()
    found: set[str] = set()
    for side in full.values():
        for text in side.values() if isinstance(side, Mapping) else ():
            repo, at, commit = str(text).rpartition("@")
            found |= {repo, commit} if at else set()
    return found
