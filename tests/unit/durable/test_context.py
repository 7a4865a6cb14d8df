"""Context: plans are made once, and not so many are kept that memory runs out."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.config import Config
from syncd.config.units import parse_bandwidth
from syncd.durable import context as module
from syncd.durable.context import Context
from syncd.testing import MemoryArtifactSource, MemoryVersionStore


@pytest.fixture
def source() -> MemoryArtifactSource:
    """W&B."""
    return MemoryArtifactSource()


@pytest.fixture
def context(source: MemoryArtifactSource, tmp_path: Path) -> Context:
    """A context over that source."""
    return Context(
        source=source,
        store=MemoryVersionStore(),
        catalog=Catalog(f"sqlite:///{tmp_path}/catalog.db"),
        config=Config(),
        etagged=lambda _url: True,
    )


def logged(source: MemoryArtifactSource, count: int) -> list[Version]:
    """Versions of three files each."""
    return [
        source.log("ds", {name: f"{name}{number}".encode() for name in "abc"})
        for number in range(count)
    ]


def test_a_plan_is_made_once(context: Context, source: MemoryArtifactSource) -> None:
    """Each stage of a version asks for it."""
    [version] = logged(source, 1)

    assert context.plans(version.id) is context.plans(version.id)
    assert source.calls["manifest"] == 1


def test_the_oldest_plans_go_when_there_are_many(
    context: Context, source: MemoryArtifactSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for lately stays."""
    monkeypatch.setattr(module, "PLANS_KEPT", 2)
    first, second, third = logged(source, 3)
    for version in (first, second, first, third, first):
        context.plans(version.id)
    assert source.calls["manifest"] == 3

    context.plans(second.id)
    assert source.calls["manifest"] == 4


def test_plans_of_many_entries_go_earlier(
    context: Context, source: MemoryArtifactSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest one stays, whatever its size."""
    monkeypatch.setattr(module, "ENTRIES_KEPT", 2)
    first, second = logged(source, 2)
    for version in (first, first, second, second):
        context.plans(version.id)
    assert source.calls["manifest"] == 2

    context.plans(first.id)
    assert source.calls["manifest"] == 3


def test_a_version_is_decided_under_the_configuration_its_path_began_with(
    source: MemoryArtifactSource, context: Context
) -> None:
    """Also when another one comes in the middle; the next version and the bandwidth follow it."""
    first, second = logged(source, 2)
    moves_all = context.config.model_copy(
        update={
            "select": context.config.select.model_copy(update={"min_file_size": 1}),
            "transfer": context.config.transfer.model_copy(
                update={"bandwidth_limit": parse_bandwidth("1MiB")}
            ),
        }
    )
    assert context._rate() is None
    with context.deciding(first.id):
        context.config = moves_all
        during = context.plans(first.id)
    after = context.plans(first.id)

    assert [bool(found.skip) for found in (during, after, context.plans(second.id))] == [
        True,
        False,
        False,
    ]
    assert context._rate() == 1 << 20
