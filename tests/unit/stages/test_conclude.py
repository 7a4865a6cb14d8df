"""Conclude: a replacement lives as long, and reads as its source does, whatever people wrote meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace as changed
from typing import Any

import pytest

from syncd.clients.artifacts import Version
from syncd.errors import PermanentError, ServiceUnavailableError
from syncd.manifest import Manifest
from syncd.refs import RunRef, Target
from syncd.replacements import KEY, Replacement, replacement_of
from syncd.testing import Fault, MemoryArtifactSource
from syncd.versions.succession import follow

Move = Callable[..., Version]
KILL = ServiceUnavailableError("killed here")
WHOLE = Target.parse("team/proj/ds")


def link_of(version: Version) -> Replacement:
    """What a replacement says about itself."""
    link = replacement_of(version.metadata, version.digest)
    assert link is not None
    return link


# --- time to live


@pytest.mark.parametrize(
    ("ttl", "age", "left"),
    [
        (86400, 0, 86400),
        (86400, 3600, 82800),  # counted from the source's creation
        (86400, 86399, 1),
        (-1, 3600, -1),  # the team decides
        (-2, 3600, -2),  # never
    ],
)
def test_a_replacement_lives_as_long_as_its_source_would_have(
    ttl: int, age: int, left: int, move: Move
) -> None:
    """To the second: it is made so and so long after it."""
    source = MemoryArtifactSource()
    old = source.log("ds", {"a": b"payload"}, ttl_seconds=ttl)
    source.pass_time(age - 60)  # a minute passes with each version
    new = move(source, old)

    assert new.ttl_seconds == left
    assert new.expires_at == old.expires_at


def test_a_version_that_has_expired_is_not_replaced(move: Move) -> None:
    """It was alive when it was planned."""
    source = MemoryArtifactSource()
    old = source.log("ds", {"a": b"payload"}, ttl_seconds=60)
    with pytest.raises(PermanentError, match="expired at 2026-01-01T00:01:00") as caught:
        move(source, old)

    assert "longer time to live" in caught.value.hint
    assert source.version(old.id).aliases == ("latest",)
    assert source.calls["log_replacement"] == 0


def test_what_a_registry_links_does_not_expire(move: Move) -> None:
    """W&B ends the time to live with the link, for good."""
    source = MemoryArtifactSource()
    old = source.log("ds", {"a": b"payload"}, ttl_seconds=3600)
    source.link_to(old, "org/wandb-registry-models/best")
    new = move(source, old)

    assert new.expires_at is None
    assert [place.name for place in source.standing(new.id).links] == [
        "org/wandb-registry-models/best"
    ]


# --- what people write meanwhile


def after_logging(edit: Callable[[MemoryArtifactSource, Version], object]) -> MemoryArtifactSource:
    """A source in which somebody edits `ds:v0` when its replacement has just been logged."""

    def look(method: str) -> None:
        if method == "log_replacement":
            edit(source, source.version(base64.b64encode(b"Artifact:1").decode()))

    source = MemoryArtifactSource(watch=look)
    return source


def test_what_is_written_on_the_version_meanwhile_is_written_on_its_replacement(move: Move) -> None:
    """Description, metadata, tags and time to live; keys that are gone are gone."""
    source = after_logging(
        lambda made, old: made.update_metadata(
            old, {"rows": 6, "new": 1}, description="better", tags=["late"], ttl_seconds=7200
        )
    )
    old = source.log(
        "ds",
        {"a": b"payload"},
        metadata={"rows": 5, "gone": 1},
        description="good",
        tags=["gold"],
        ttl_seconds=3600,
    )
    new = move(source, old)

    assert {**new.metadata, KEY: None} == {"rows": 6, "new": 1, KEY: None}
    assert (new.description, set(new.tags)) == ("better", {"gold", "late"})
    assert new.expires_at == source.version(old.id).expires_at
    assert link_of(new).complete


def test_what_is_written_on_the_replacement_stays(move: Move) -> None:
    """It has the alias, so that is where people write."""
    source = MemoryArtifactSource(faults=[Fault(method="move_aliases", error=KILL, late=True)])
    old = source.log("ds", {"a": b"payload"}, metadata={"rows": 5}, description="good")
    with pytest.raises(ServiceUnavailableError):
        move(source, old)
    [_, existing] = source.versions(WHOLE)
    source.update_metadata(
        existing, {**existing.metadata, "rows": 7, "score": 1}, description="best", tags=["mine"]
    )
    new = move(source, old, existing=existing)

    assert {**new.metadata, KEY: None} == {"rows": 7, "score": 1, KEY: None}
    assert (new.description, new.tags) == ("best", ("mine",))


class Forgetful(MemoryArtifactSource):
    """A W&B that drops something of what it is told to log."""

    def __init__(self, drop: dict[str, Any], *, deaf: bool) -> None:
        super().__init__()
        self._drop, self._deaf = drop, deaf

    def log_replacement(self, version: Version, *args: Any) -> Version:
        """Logs something else."""
        made = super().log_replacement(version, *args)
        self._logged[made.id].version = changed(self._logged[made.id].version, **self._drop)
        return self.version(made.id)

    def update_metadata(self, version: Version, metadata: Any, **more: Any) -> None:
        """Hears of the metadata only, when it is deaf."""
        super().update_metadata(version, metadata, **({} if self._deaf else more))


@pytest.mark.parametrize(
    ("drop", "field"),
    [({"tags": ()}, "tags"), ({"description": None}, "description"), ({"ttl_seconds": -1}, "ttl")],
)
def test_what_wandb_did_not_take_is_written_again_or_named(
    drop: dict[str, Any], field: str, move: Move
) -> None:
    """An incomplete replacement is an error, not a nuance."""
    forgetful, deaf = Forgetful(drop, deaf=False), Forgetful(drop, deaf=True)
    for source in (forgetful, deaf):
        source.log("ds", {"a": b"x" * 9}, tags=["gold"], description="good", ttl_seconds=3600)
    old = next(forgetful.versions(WHOLE))
    new = move(forgetful, old)
    assert (new.tags, new.description) == (("gold",), "good")
    assert new.expires_at == old.expires_at

    with pytest.raises(PermanentError, match=rf"does not look like.*{field}: ") as caught:
        move(deaf, next(deaf.versions(WHOLE)))
    assert "retry" in caught.value.hint
    [_, incomplete] = deaf.versions(WHOLE)
    assert not link_of(incomplete).complete


@pytest.mark.parametrize(
    ("drop", "field"),
    [({"type": "model"}, "type"), ({"history_step": 5}, "history_step"), ({"run": None}, "run")],
)
def test_what_cannot_be_edited_and_differs_is_named(
    drop: dict[str, Any], field: str, move: Move
) -> None:
    """The replacement stays incomplete."""
    source = Forgetful(drop, deaf=False)
    old = source.log("ds", {"a": b"payload"}, run=source.add_run("maker"))
    with pytest.raises(PermanentError, match=f"{field}: "):
        move(source, old)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"digest": "1" * 32}, "a names content|the manifest is not the one"),
        ({"size": 9}, "a had 7 bytes and has 9"),
        ({"ref": "https://elsewhere.example/a"}, "a refers to https://elsewhere.example/a"),
        ({"path": "b"}, "a is missing; files: b is new"),
    ],
)
def test_a_manifest_that_wandb_does_not_give_back_as_it_was_is_found(
    change: dict[str, Any], found: str, move: Move
) -> None:
    """What a client will read is read, not what was sent."""

    class Garbling(MemoryArtifactSource):
        def manifest(self, version: Version) -> Manifest:
            read = super().manifest(version)
            garbled = [
                changed(entry, **change) if entry.is_reference else entry
                for entry in read.entries.values()
            ]
            return Manifest(entries={entry.path: entry for entry in garbled})

    source = Garbling()
    old = source.log("ds", {"a": b"payload"})
    with pytest.raises(PermanentError, match=found):
        move(source, old)
    [_, made] = source.versions(WHOLE)
    assert not link_of(made).complete


@pytest.mark.parametrize("count", [20, 80])
def test_the_consumers_of_two_versions_are_compared_once_each(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset may have hundreds of thousands: each held against all others would take for ever."""
    source = MemoryArtifactSource()
    old, new = (source.log("ds", {"a": data}, aliases=()) for data in (b"old", b"new"))
    for number in range(count):
        run = source.add_run(f"train-{number}")
        source.record_use(run, old)
        source.record_use(run, new)
    compared = 0
    equal = RunRef.__eq__

    def counted(self: RunRef, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(self, other)

    standing = source.standing
    known = {item.id: standing(item.id) for item in (old, new)}
    monkeypatch.setattr(source, "standing", known.__getitem__)
    monkeypatch.setattr(RunRef, "__eq__", counted)
    follow(source, old.id, new.id, nullcontext(), fresh=True)

    assert compared <= count
