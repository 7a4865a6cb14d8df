"""The checks see what is wrong after a step, and name it."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from syncd.clients.protocols import Run, Version
from syncd.errors import PermanentError
from syncd.refs import ArtifactRef, RunRef
from syncd.rehearsal.checks import CHECKS
from syncd.rehearsal.findings import Outcome
from syncd.rehearsal.story import LOG, MOVE, SMALL, Sight, Stage, Story

FILES = {"train.bin": "1", SMALL: "2"}
RUN = RunRef(entity="e", project="p", run_id="r")
STAGE: Stage = None  # type: ignore[assignment]  # these checks look at the story alone


def version(number: int, *aliases: str) -> Version:
    """A version of the collection."""
    ref = ArtifactRef(entity="e", project="p", collection="ds", alias=f"v{number}")
    facts = {"type": "dataset", "digest": "d", "created_at": "", "aliases": aliases, "run": RUN}
    return Version(id=str(number), ref=ref, size=3, file_count=2, **facts)  # type: ignore[arg-type]


def sight(*versions: Version, state: str = "finished", used: str = "") -> Sight:
    """What is seen when all is well."""
    names = {f"ds:{found.ref.alias}": found for found in versions}
    wanted = dict.fromkeys([*names, "ds:latest"], "ds:v0")
    run = Run(id="1", ref=RUN, name="r", state=state, url="", config={"seed": 1})
    return Sight(
        wanted=wanted,
        files=dict.fromkeys(wanted, FILES) if len(versions) > 1 else {},
        versions=names,
        consumers=dict.fromkeys(names, frozenset(used.split())),
        runs={"r": run},
    )


@pytest.fixture
def story() -> Story:
    """One version that moved, as it should."""
    return Story(
        logged={"ds:v0": FILES},
        aliases={"ds:latest": "ds:v0"},
        replaced={"ds:v0": "ds:v1"},
        again={"versions": {"replaced": 0}, "bytes": {"downloaded": 0}},
        sights={
            LOG: sight(version(0, "latest"), used="train"),
            MOVE: sight(version(0), version(1, "latest"), used="train"),
        },
    )


def outcome(story: Story, check: str) -> tuple[Outcome, str]:
    """What a check finds."""
    found = CHECKS[check](STAGE, story)
    return found.outcome, found.seen


@pytest.mark.parametrize(
    "check",
    [
        "migration-ends",
        "bytes-after-move",
        "latest-stays-on-the-newest",
        "aliases-follow",
        "lineage-follows",
        "finished-runs-stay-finished",
        "again-is-nothing",
    ],
)
def test_what_is_right_holds(story: Story, check: str) -> None:
    """Nobody is alarmed for nothing."""
    assert outcome(story, check)[0] is Outcome.HOLDS


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({**FILES, "train.bin": "9"}, "train.bin"),
        ({SMALL: "2"}, "train.bin"),
        ({**FILES, "more": "1"}, "more"),
        ({"error": "ValueError: gone"}, "ValueError: gone"),
    ],
)
def test_other_bytes_are_seen_by_each_name(story: Story, files: dict[str, str], said: str) -> None:
    """A file that changed, is missing, or was never there; a version that is not to be had."""
    good = story.sights[MOVE]
    story.sights[MOVE] = changed(good, files={**good.files, "ds:latest": files})
    bytes_, latest = (
        outcome(story, check) for check in ("bytes-after-move", "latest-stays-on-the-newest")
    )

    assert bytes_[0] is latest[0] is Outcome.FAILS
    assert said in bytes_[1]
    assert "ds:latest" in bytes_[1]
    assert f"after {MOVE}, ds:latest" in latest[1]


def test_an_alias_that_stayed_behind_is_seen(story: Story) -> None:
    """Even where the bytes are the same."""
    story.sights[MOVE] = sight(version(0, "latest"), version(1), used="train")

    assert outcome(story, "aliases-follow") == (
        Outcome.FAILS,
        f"after {MOVE}, ds:latest is ds:v0 instead of ds:v1",
    )


def test_lost_lineage_and_disturbed_runs_are_seen(story: Story) -> None:
    """A consumer is missing; the run is running again; its config lost a key."""
    story.sights[MOVE] = sight(version(0), version(1, "latest"), state="running")

    assert outcome(story, "lineage-follows")[0] is Outcome.FAILS
    assert "running" in outcome(story, "finished-runs-stay-finished")[1]
    good = sight(version(0), version(1, "latest"))
    story.sights[MOVE] = changed(good, runs={"r": changed(good.runs["r"], config={})})
    assert "config" in outcome(story, "finished-runs-stay-finished")[1]


def test_a_story_that_broke_off_says_where(story: Story) -> None:
    """What came before counts, what comes after nobody can tell."""
    story.broken = "reclaim: refused"

    assert outcome(story, "migration-ends") == (Outcome.FAILS, "reclaim: refused")
    assert outcome(story, "bytes-after-move")[0] is Outcome.HOLDS
    with pytest.raises(PermanentError, match="ended before: reclaim: refused"):
        outcome(story, "bytes-after-restore")
