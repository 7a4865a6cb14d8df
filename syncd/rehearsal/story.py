"""The migration that a rehearsal plays, and what a plain client and W&B show after each step.

    log      two runs with the plain SDK: two versions of a dataset, one with XXH128 digests, a model
    move     backfill, and once more
    reclaim  two days later, as far as syncd is told, the old versions are deleted
    restore  the files come back

A step that fails ends the story; what the steps before it showed counts all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.clients.artifacts import Membership, Run, Version
from syncd.clients.wandb_scratch import WandbScratch
from syncd.errors import PermanentError, ServiceUnavailableError, SyncdError
from syncd.operations import restoration, sweep
from syncd.operations.backfill import Follower, Scope, backfill
from syncd.refs import Target
from syncd.rehearsal.plain import PlainClient
from syncd.runtime import Runtime

LATER = timedelta(days=2)  # reclaim waits for runs to be silent for a day, and clocks may differ
LOG, MOVE, RECLAIM, RESTORE = "log", "move", "reclaim", "restore"
LARGE, SMALL = "train.bin", "note.txt"  # a file that moves, one that stays in W&B
Json = dict[str, Any]
Files = dict[str, str]  # sha256 by path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the story plays.

    Args:
        parts: open clients, with a state of their own.
        scratch: the project in W&B.
        project: its name.
        mark: what all names begin with.
        plain: somebody who knows nothing of syncd.
        reading: headers that let one read references.
    """

    parts: Runtime
    scratch: WandbScratch
    project: Target
    mark: str
    plain: PlainClient
    reading: Mapping[str, str] = field(default_factory=dict)

    def collection(self, name: str) -> str:
        """A collection's or run's name with the mark."""
        return f"{self.mark}-{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is to be seen after a step.

    Args:
        wanted: which logged version each name stands for.
        files: what a plain client downloads by each name, or `error`.
        versions: all versions of the project, by `collection:vN`.
        consumers: names of the runs that used each.
        runs: the runs, by id.
    """

    wanted: Mapping[str, str]
    files: Mapping[str, Files]
    versions: Mapping[str, Version]
    consumers: Mapping[str, frozenset[str]]
    runs: Mapping[str, Run]

    def holder(self, name: str) -> str | None:
        """The version that has the alias of `collection:alias`."""
        collection, _, alias = name.partition(":")
        held = (
            key
            for key, version in self.versions.items()
            if version.ref.collection == collection and alias in version.aliases
        )
        return next(held, None)


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened.

    Args:
        logged: the files of each version, by `collection:vN`.
        aliases: the version of each `collection:alias` that a person gave, links included.
        links: those of the aliases that are a portfolio's.
        replaced: the replacement of each version.
        restored: what was restored for each.
        removed: versions that were deleted.
        stays: those that were not, with the reasons.
        again: the document of the second backfill.
        sights: what was seen after each step.
        broken: which step failed, and why.
    """

    logged: dict[str, Files] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    links: frozenset[str] = frozenset()
    moved: Json = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    restored: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    stays: dict[str, str] = field(default_factory=dict)
    again: Json = field(default_factory=dict)
    sights: dict[str, Sight] = field(default_factory=dict)
    broken: str = ""

    def sight(self, step: str) -> Sight:
        """What was seen after a step.

        Raises:
            PermanentError: when the story did not come so far.
        """
        if step not in self.sights:
            raise PermanentError(f"the rehearsal ended before: {self.broken}")
        return self.sights[step]


def play(stage: Stage, tell: Callable[[str], None]) -> Story:
    """Play the story.

    Args:
        stage: where.
        tell: prints one line for people.

    Raises:
        ServiceUnavailableError: when a server cannot be reached.
    """
    story = Story()
    for name, step in STEPS.items():
        tell(f"{name} ...")
        try:
            step(stage, story)
            story.sights[name] = _look(stage, story)
        except ServiceUnavailableError:
            raise
        except SyncdError as error:
            story.broken = f"{name}: {error}"
            break
    return story


# --- steps


def _log(stage: Stage, story: Story) -> None:
    data, xxh, model = (stage.collection(name) for name in ("data", "xxh", "model"))
    links = stage.collection("links")
    prepared = [
        _version(data, "dataset", 0, ["first"], description="as scanned", metadata={"rows": 5}),
        _version(data, "dataset", 1, ["best"], description="cleaned", metadata={"rows": 4}),
        _version(xxh, "dataset", 0, [], digest_algorithm="XXH128"),
    ]
    trained = [_version(model, "model", 0, ["production"])]
    runs = [
        {"id": stage.collection("prepare"), "uses": [], "versions": prepared},
        {"id": stage.collection("train"), "uses": [f"{data}:best"], "versions": trained},
    ]
    names = {"entity": stage.project.entity, "project": stage.project.project}
    story.logged = stage.plain.ask("log", {**names, "runs": runs})
    story.aliases = {
        f"{data}:first": f"{data}:v0",
        f"{data}:best": f"{data}:v1",
        f"{data}:latest": f"{data}:v1",
        f"{xxh}:latest": f"{xxh}:v0",
        f"{model}:latest": f"{model}:v0",
        f"{model}:production": f"{model}:v0",
        f"{links}:latest": f"{model}:v0",
        f"{links}:approved": f"{model}:v0",
    }
    story.links = frozenset(name for name in story.aliases if name.startswith(f"{links}:"))
    linked = stage.scratch.named(f"{model}:v0")
    assert linked is not None, "it has just been logged"
    stage.scratch.link(linked, portfolio(stage, "links"), ("latest", "approved"))


def _version(name: str, kind: str, number: int, aliases: list[str], **fields: Any) -> Json:
    own = f"{name} {number}"
    files = {
        LARGE: (f"{own} train", 200_000),
        "shared.bin": (f"{name} shared", 50_000),
        "names/ä b#100%.bin": (f"{own} names", 20_000),
        SMALL: (f"{own} note", 100),
    }
    return {
        "name": name,
        "type": kind,
        "files": files,
        "fields": fields,
        "aliases": ["latest", *aliases],
        "tags": ["rehearsal"],
    }


def portfolio(stage: Stage, name: str, latest: str = "") -> Membership:
    """A place in a portfolio of the project, made when it does not exist."""
    assert stage.project.project is not None, "a project is named"
    return Membership(
        collection_id="",
        kind="portfolio",
        entity=stage.project.entity,
        project=stage.project.project,
        collection=stage.collection(name),
        latest=latest,
    )


def _move(stage: Stage, story: Story) -> None:
    scope = Scope(targets=[stage.project])
    story.moved = backfill(stage.parts, scope, Follower()).document()
    _refuse(story.moved)
    story.replaced = {
        _short(item["source"]): _short(item["replacement"]) for item in story.moved["replacements"]
    }
    if missing := story.logged.keys() - story.replaced.keys():
        raise PermanentError(f"{', '.join(sorted(missing))} did not move: {story.moved['skipped']}")
    story.again = backfill(stage.parts, scope, Follower()).document()


def _reclaim(stage: Stage, story: Story) -> None:
    planned = sweep.plan(stage.parts, [stage.project], _now())
    report = sweep.execute(planned, stage.parts, _now).document()
    story.removed = [_short(item["source"]) for item in report["removals"]]
    story.stays = {_short(item["source"]): "; ".join(item["reasons"]) for item in report["stays"]}
    _refuse(report)
    if wrong := [
        f"{name} stays: {why}" for name, why in story.stays.items() if "linked" not in why
    ]:
        raise PermanentError("; ".join(wrong))


def _restore(stage: Stage, story: Story) -> None:
    report = restoration.restore_target(stage.parts, stage.project, _now).document()
    story.restored = {
        _short(item["source"]): _short(item["restored"]) for item in report["restored"]
    }
    _refuse(report)
    if missing := set(story.removed) - story.restored.keys():
        raise PermanentError(f"{', '.join(sorted(missing))} did not come back: {report['skipped']}")


STEPS: Mapping[str, Callable[[Stage, Story], None]] = {
    LOG: _log,
    MOVE: _move,
    RECLAIM: _reclaim,
    RESTORE: _restore,
}


def _refuse(document: Json) -> None:
    if document["failures"]:
        raise PermanentError(
            "; ".join(f"{item['version']}: {item['error']}" for item in document["failures"])
        )


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _now() -> datetime:
    return datetime.now(UTC) + LATER


# --- what is seen


def _look(stage: Stage, story: Story) -> Sight:
    scratch = stage.scratch
    versions = {
        f"{version.ref.collection}:{version.ref.alias}": version
        for version in scratch.versions(stage.project)
        if version.ref.collection.startswith(stage.mark)
    }
    stands_for = {name: name for name in story.logged} | dict(story.aliases)
    stands_for |= {after: before for before, after in story.replaced.items()}
    stands_for |= {after: before for before, after in story.restored.items()}
    wanted = {
        name: source
        for name, source in stands_for.items()
        if name in versions or name in story.aliases
    }
    # Before the move there is nothing to find out: the bytes have just been logged.
    request = {"project": str(stage.project), "names": sorted(wanted)}
    files = stage.plain.ask("download", request) if story.replaced else {}
    runs = {version.run for version in versions.values() if version.run}
    return Sight(
        wanted=wanted,
        files=files,
        versions=versions,
        consumers={
            name: frozenset(run.run_id for run in scratch.consumers(version))
            for name, version in versions.items()
        },
        runs={run.run_id: scratch.run(run) for run in runs},
    )
