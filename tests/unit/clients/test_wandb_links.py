"""Links over a real socket: what was done though the answer was lost is not refused on the repeat."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wandb_server import Answer, Server, node, version

from syncd.clients.protocols import Membership
from syncd.clients.wandb import WandbSource
from syncd.errors import NotFoundError, PermanentError

REFUSED = Answer(body=json.dumps({"errors": [{"message": "it is there already"}]}).encode())
LOST = Answer(status=503)
SHELF = Membership(
    collection_id="c1",
    kind="portfolio",
    entity="team",
    project="proj",
    collection="shelf",
    latest="id7",
)


def place(*aliases: str, latest: str | None = "id7", project: bool = True) -> dict[str, Any]:
    """A membership in the shelf as GraphQL answers it."""
    return {
        "versionIndex": 4,
        "aliases": [{"alias": alias} for alias in aliases],
        "artifactCollection": {
            "__typename": "ArtifactPortfolio",
            "id": "c1",
            "name": "shelf",
            "project": {"name": "proj", "readOnly": False, "entity": {"name": "team"}}
            if project
            else None,
            "latest": latest and {"artifact": {"id": latest}},
            "newest": {"edges": [{"node": {"id": "id0"}}, {"node": {"id": "id7"}}]},
        },
    }


def held(*places: dict[str, Any]) -> dict[str, Any]:
    """The answer to who holds a version."""
    return {"artifact": {"artifactMemberships": {"edges": [{"node": item} for item in places]}}}


def test_a_link_and_what_puts_latest_back_are_one_request(api: Server, source: WandbSource) -> None:
    """Nobody sees the portfolio in between, and no kill comes in between."""
    ours = version(source, api)
    api.on("LinkArtifact", {"result": {"artifactMembership": place("gold")}, "back": {}})
    made = source.link(ours, SHELF, ["gold"])
    [asked] = api.asked["LinkArtifact"]

    assert (made.version_index, made.aliases, made.latest) == (4, ("gold",), "id7")
    assert asked.variables["input"] == {
        "artifactID": "id0",
        "artifactPortfolioName": "shelf",
        "entityName": "team",
        "projectName": "proj",
        "aliases": [{"artifactCollectionName": "shelf", "alias": "gold"}],
    }
    back = asked.variables["back"]
    assert (back["artifactID"], back["aliases"][0]["alias"]) == ("id7", "latest")
    assert "addAliases" in asked.body.decode()


@pytest.mark.parametrize(
    ("aliases", "now", "done"),
    [
        ((), held(place()), True),
        (("gold",), held(place("gold")), True),
        (("latest",), held(place("latest", latest="id0")), True),
        ((), held(), False),  # it is not there
        ((), held(place("latest", latest="id0")), False),  # `latest` was not put back
    ],
)
def test_a_link_whose_answer_was_lost_is_not_refused_on_the_repeat(
    aliases: tuple[str, ...],
    now: dict[str, Any],
    done: bool,
    api: Server,
    source: WandbSource,
) -> None:
    """If all of it was done; a real refusal stays one."""
    ours = version(source, api)
    api.on("LinkArtifact", LOST, REFUSED)
    api.on("FetchLinkedArtifacts", now)
    if done:
        assert source.link(ours, SHELF, aliases).collection_id == "c1"
        return
    with pytest.raises(PermanentError, match="already"):
        source.link(ours, SHELF, aliases)


def test_a_version_that_is_linked_already_gets_the_aliases_all_the_same(
    api: Server, source: WandbSource
) -> None:
    """Where a server takes no link twice."""
    ours = version(source, api)
    api.on("LinkArtifact", REFUSED)
    api.on("FetchLinkedArtifacts", held(place()), held(place("gold")))
    api.on("AddAliases", {"addAliases": {"success": True}})
    made = source.link(ours, SHELF, ["gold"])
    [asked] = api.asked["AddAliases"]

    assert made.aliases == ("gold",)
    [alias] = asked.variables["input"]["aliases"]
    assert (alias["artifactCollectionName"], alias["alias"]) == ("shelf", "gold")


@pytest.mark.parametrize("gone", [True, False])
def test_an_unlink_whose_answer_was_lost_is_not_refused_on_the_repeat(
    gone: bool, api: Server, source: WandbSource
) -> None:
    """What is gone is gone."""
    ours = version(source, api)
    api.on("UnlinkArtifact", LOST, REFUSED)
    api.on("FetchLinkedArtifacts", held() if gone else held(place()))
    if gone:
        source.unlink(ours, SHELF)
        return
    with pytest.raises(PermanentError, match="already"):
        source.unlink(ours, SHELF)


def test_what_the_key_may_not_see_may_not_be_written_either(
    api: Server, source: WandbSource
) -> None:
    """A registry of others; a run of a project of others; a collection that was deleted."""
    user = {"name": "r9", "project": None}
    shut = {"name": "r8", "project": {"name": "p", "readOnly": True, "entity": {"name": "e"}}}
    deleted = {**place(), "artifactCollection": None}
    answer = node(
        artifactMemberships={"edges": [{"node": place(project=False)}, {"node": deleted}]},
        usedBy={"edges": [{"node": user}, {"node": shut}]},
    )
    api.on("ArtifactByID", {"artifact": answer})
    found = source.standing("id0")
    [hidden] = found.memberships

    assert (hidden.read_only, hidden.name) == (True, "?/?/shelf")
    assert (found.consumers, found.closed) == ((), ("e/p/runs/r8", "run r9 of a hidden project"))


@pytest.mark.parametrize("answer", [None, {"state": "DELETED"}])
def test_a_version_that_is_gone_is_not_found(
    answer: dict[str, Any] | None, api: Server, source: WandbSource
) -> None:
    """Whether W&B says so or says nothing."""
    more: dict[str, Any] = {"artifactMemberships": {"edges": []}, "usedBy": {"edges": []}}
    api.on("ArtifactByID", {"artifact": answer and {**node(), **answer, **more}})
    with pytest.raises(NotFoundError, match="gone"):
        source.standing("id0")
