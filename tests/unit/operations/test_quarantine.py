"""Quarantine: what failed is listed with cause and next step, and a retry touches nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from unit_world import World

from syncd.catalog.catalog import State
from syncd.config import Config
from syncd.errors import UsageError
from syncd.operations import quarantine
from syncd.operations.backfill import Report
from syncd.refs import Target
from syncd.testing import Damage, MemoryArtifactSource

ATTEMPTS = 6  # reads of a damaged file until a version is given up


class Hospital(World):
    """A project in which one version failed; its file is damaged for so many reads."""

    def __init__(self, folder: Path, times: int = ATTEMPTS) -> None:
        damage = Damage(path="d", change=lambda data: data[:-1], times=times)
        super().__init__(folder, MemoryArtifactSource(damages=[damage]))
        self.bad = self.source.log("ds", {"d": b"payload"})
        self.good = self.source.log("ds", {"a": b"other data"})
        assert len(self.backfill().failures) == 1

    def retry(self) -> Report:
        """Give all that failed another chance."""
        return quarantine.retry(self.runtime, quarantine.listed(self.catalog), self.told)


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """A project in which one version failed, and would be moved now."""
    made = Hospital(tmp_path)
    yield made
    made.catalog.close()


def names(hospital: Hospital, *targets: str) -> list[str]:
    """What is listed."""
    found = quarantine.listed(hospital.catalog, [Target.parse(text) for text in targets])
    return [str(item.record.ref) for item in found]


def test_what_failed_is_listed_with_cause_next_step_and_times(hospital: Hospital) -> None:
    """As often as it was tried."""
    [item] = quarantine.listed(hospital.catalog)

    assert (str(item.record.ref), item.record.attempts) == ("team/proj/ds:v0", 1)
    assert (item.record.failed_stage, bool(item.record.hint)) == ("transfer", True)
    assert "W&B's manifest says" in item.record.reason
    assert item.first_at == item.last_at != ""


@pytest.mark.parametrize(
    ("target", "listed"),
    [
        ("team/proj", True),
        ("team/*", True),
        ("team/proj/ds", True),
        ("team/proj/ds:v0", True),
        ("team/proj/ds:v1", False),
        ("team/other", False),
    ],
)
def test_a_target_is_what_is_listed(hospital: Hospital, target: str, listed: bool) -> None:
    """Once, however often it is named."""
    assert names(hospital, target, "team/proj/nothing", target) == ["team/proj/ds:v0"] * listed


def test_a_version_that_did_not_fail_is_not_found(hospital: Hospital) -> None:
    """And the answer says where to look."""
    assert quarantine.find(hospital.catalog, hospital.bad.ref).record.artifact_id == hospital.bad.id
    with pytest.raises(UsageError, match="ds:v1 is not in quarantine"):
        quarantine.find(hospital.catalog, hospital.good.ref)


def test_a_retry_moves_what_failed_and_nothing_else(hospital: Hospital) -> None:
    """Neither new versions nor those of other collections."""
    new = hospital.source.log("ds", {"n": b"new data"})
    hospital.told.ends.clear()
    report = hospital.retry()
    record = hospital.catalog.get(hospital.bad.id)

    assert (len(report.replaced), report.failures, report.skipped) == (1, [], [])
    assert hospital.told.ends == ["ds:v0"]
    assert record is not None
    assert (record.state, record.attempts, record.reason) == (State.REPLACED, 2, "")
    assert quarantine.listed(hospital.catalog) == []
    assert hospital.catalog.get(new.id) is None


def test_what_fails_again_says_since_when_and_how_often(tmp_path: Path) -> None:
    """The first time stays, the last one moves on."""
    hospital = Hospital(tmp_path, times=1000)
    [before] = quarantine.listed(hospital.catalog)
    report = hospital.retry()
    [after] = quarantine.listed(hospital.catalog)
    hospital.catalog.close()

    assert [failure["version"] for failure in report.failures] == ["team/proj/ds:v0"]
    assert (after.record.attempts, after.first_at) == (2, before.first_at)
    assert after.last_at > before.last_at


def test_what_is_gone_from_wandb_is_forgotten(hospital: Hospital) -> None:
    """There is nothing left to do for it."""
    del hospital.source._logged[hospital.bad.id]
    report = hospital.retry()

    assert report.skipped == [{"version": "team/proj/ds:v0", "reason": "gone from W&B"}]
    assert hospital.catalog.get(hospital.bad.id) is None


def test_a_version_whose_collection_was_renamed_is_found(hospital: Hospital) -> None:
    """By the id that survives it."""
    hospital.source.rename("ds", "renamed")

    assert [item["version"] for item in hospital.retry().replaced] == ["team/proj/renamed:v0"]


def test_what_is_replaced_or_excluded_by_now_leaves_quarantine(hospital: Hospital) -> None:
    """Another machine may have moved it."""
    runtime = replace(
        hospital.runtime,
        config=Config.model_validate({"select": {"exclude": {"types": ["dataset"]}}}),
    )
    report = quarantine.retry(runtime, quarantine.listed(hospital.catalog), hospital.told)
    record = hospital.catalog.get(hospital.bad.id)

    assert [item["reason"] for item in report.skipped] == ["type dataset is excluded by dataset"]
    assert record is not None
    assert record.state is State.SKIPPED
    assert quarantine.listed(hospital.catalog) == []
