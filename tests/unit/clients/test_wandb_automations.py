"""What is around versions: read as W&B tells it, and silence where it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wandb_server import Answer, Server, page, version

from syncd.clients.wandb import WandbSource
from syncd.errors import AuthenticationError
from syncd.refs import RunRef, Target

OWNER = {"name": "proj", "readOnly": False, "entity": {"name": "team"}}
ALIASES = {"$or": [{"$and": [{"alias": {"$eq": "prod"}}]}]}


def trigger(scope: str = "Project", event: str = "ADD_ARTIFACT_ALIAS", **condition: Any) -> Any:
    """An automation as GraphQL answers it."""
    return {
        "name": "rule",
        "enabled": True,
        "scope": {"__typename": scope, "id": "1", "name": "proj"},
        "event": {"eventType": event, "filter": json.dumps(condition)},
    }


def test_automations_are_read_page_by_page(api: Server, source: WandbSource) -> None:
    """Each with its scope; the condition as it was given, which W&B wraps once more."""
    api.on(
        "GetEntityAutomations",
        {"scope": {"triggers": page(trigger(filter=json.dumps(ALIASES)), cursor="c")}},
        {"scope": {"triggers": page(trigger("ArtifactSequence", "CREATE_ARTIFACT"))}},
    )
    first, second = source.automations("team") or []

    assert (first.entity, first.scope, first.scope_name) == ("team", "project", "proj")
    assert (first.event, json.loads(first.condition)) == ("ADD_ARTIFACT_ALIAS", ALIASES)
    assert (second.scope, second.event, second.condition) == ("collection", "CREATE_ARTIFACT", "{}")


def test_automations_of_an_unknown_kind_are_passed_over(api: Server, source: WandbSource) -> None:
    """They watch what a replacement has nothing to do with."""
    strange = {**trigger(), "event": {}}
    api.on(
        "GetEntityAutomations",
        {"scope": {"triggers": page(trigger("Sweep"), strange, trigger("Entity"))}},
    )

    assert [item.scope for item in source.automations("team") or []] == ["entity"]


@pytest.mark.parametrize(
    "answer",
    [
        {"scope": None},  # not visible to this key
        Answer(body=b'{"errors": [{"message": "Cannot query field triggers on type Entity"}]}'),
    ],
)
def test_automations_that_cannot_be_read_are_not_none(
    answer: Any, api: Server, source: WandbSource
) -> None:
    """An older server, or another's entity: nobody may take that for silence."""
    api.on("GetEntityAutomations", answer)

    assert source.automations("team") is None


def test_a_refused_key_is_a_failure(api: Server, source: WandbSource) -> None:
    """And no reason to go on without automations."""
    api.on("GetEntityAutomations", Answer(status=401))

    with pytest.raises(AuthenticationError):
        source.automations("team")


def test_what_refers_to_versions_is_listed_until_all_are_found(
    api: Server, source: WandbSource
) -> None:
    """With places and runs; further pages are not asked for."""
    own: dict[str, Any] = {
        "__typename": "ArtifactSequence", "id": "c", "name": "ds", "project": OWNER,
        "latest": None, "newest": {"edges": []},
    }  # fmt: skip
    place = {"versionIndex": 0, "aliases": [{"alias": "latest"}], "artifactCollection": own}
    gone = {"versionIndex": 0, "aliases": [], "artifactCollection": None}
    run = {"name": "r", "createdAt": "2026-01-02T00:00:00Z", "project": OWNER}
    node = {
        "id": "id0",
        "usedBy": {"edges": [{"node": run}]},
        "artifactMemberships": {"edges": [{"node": place}, {"node": gone}]},
    }
    listed = {"artifacts": page({**node, "id": "other"}, node, cursor="more")}
    api.on("ProjectArtifacts", {"project": {"artifactType": {"artifactCollection": listed}}})
    [found] = source.surroundings([version(source, api)])

    assert found.version_id == "id0"
    assert [(item.kind, item.aliases) for item in found.memberships] == [("sequence", ("latest",))]
    assert found.uses == (
        (RunRef(entity="team", project="proj", run_id="r"), "2026-01-02T00:00:00Z"),
    )
    assert len(api.asked["ProjectArtifacts"]) == 1
    assert source.surroundings([]) == []


def test_collections_are_told_with_their_newest_versions(api: Server, source: WandbSource) -> None:
    """And their other aliases; portfolios, which own no versions, are not told of."""
    newest = [
        {"id": "id3", "aliases": [{"alias": "z"}, {"alias": "a"}]},
        {"id": "id2", "aliases": None},
    ]
    node = {
        "__typename": "ArtifactSequence",
        "id": "c1",
        "name": "ds",
        "type": {"name": "dataset"},
        "artifacts": {"edges": [{"node": item} for item in newest]},
        "aliases": page(*({"alias": alias} for alias in ("z", "old", "a", "best"))),
    }
    more = page({"alias": "z"}, cursor="c")
    listed = page(
        node,
        {**node, "__typename": "ArtifactPortfolio"},
        {**node, "name": "other", "aliases": more},
    )
    api.on("ProjectArtifactCollections", {"project": {"artifactCollections": listed}})
    api.on("ProjectArtifactCollection", {"project": {"artifactCollection": node}})
    found, other = source.collections(Target.parse("team/proj"))

    assert other.name == "other"
    assert list(source.collections(Target.parse("team/proj/ds"))) == [found]
    assert list(source.collections(Target.parse("team/proj/DS"))) == []
    assert len(api.asked["ProjectArtifactCollections"]) == 1
    assert (found.id, found.name, found.type) == ("c1", "ds", "dataset")
    assert found.newest == (("id3", ("a", "z")), ("id2", ()))
    assert (found.elsewhere, found.crowded) == (("best", "old"), False)
    assert (other.elsewhere, other.crowded) == ((), True)
    asked = json.loads(api.asked["ProjectArtifactCollections"][0].body)["variables"]
    assert (asked["order"], asked["filters"]) == ("-version_index", '{"state": "COMMITTED"}')
