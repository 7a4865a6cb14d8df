"""Notices: the facts for cautions cost a request a collection and one an entity, not one a version."""

from __future__ import annotations

from datetime import UTC, datetime

from syncd.clients.artifacts import Automation
from syncd.operations.notices import notices
from syncd.testing import MemoryArtifactSource

NOW = datetime(2026, 2, 1, tzinfo=UTC)
RULE = Automation(
    entity="org", name="rule", enabled=True, event="LINK_MODEL", scope="project",
    scope_id="1", scope_name="wandb-registry-model",
)  # fmt: skip


def test_requests_follow_collections_and_entities() -> None:
    """Of a link's entity, too: a registry's automations are its organization's."""
    source = MemoryArtifactSource()
    versions = [source.log(name, {"a": b"%d" % n}) for name in ("a", "b") for n in range(5)]
    source.link_to(versions[3], "org/wandb-registry-model/Best")
    source.automated["org"] = [RULE]
    found = list(notices(source, versions, NOW))

    assert [(item.version, item.kind.value) for item in found] == [
        ("team/proj/a:v3", "automation"),
        ("team/proj/a:v3", "link"),
    ]
    assert source.calls["surroundings"] == 2
    assert source.calls["automations"] == 2


def test_where_nothing_moves_nothing_is_asked() -> None:
    """A plan of a migrated project stays cheap."""
    source = MemoryArtifactSource()

    assert list(notices(source, [], NOW)) == []
    assert not source.calls


def test_a_version_that_was_deleted_since_is_passed_over() -> None:
    """The others are told of."""
    source = MemoryArtifactSource()
    gone = source.log("a", {"a": b"1"})
    used = source.log("a", {"a": b"2"})
    source.record_use(source.add_run("r"), used)
    del source._logged[gone.id]

    assert [item.version for item in notices(source, [gone, used], NOW)] == ["team/proj/a:v1"]
