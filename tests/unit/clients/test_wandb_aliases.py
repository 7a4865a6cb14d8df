"""Where aliases are: many are asked for at a time, and silence where W&B does not tell."""

from __future__ import annotations

from typing import Any

import pytest
from wandb_server import Answer, Server, page

from syncd.clients.artifacts import Collection
from syncd.clients.wandb import WandbSource
from syncd.errors import AuthenticationError

OPERATION = "ArtifactCollectionAliases"


def collection(name: str, *aliases: str, crowded: bool = False) -> Collection:
    """One that was listed, with `latest` on its newest version."""
    return Collection(
        id=f"id of {name}",
        entity="team",
        project="proj",
        name=name,
        type="dataset",
        newest=(("id9", ("latest",)),),
        elsewhere=aliases,
        crowded=crowded,
    )


def on(artifact_id: str, state: str = "COMMITTED") -> dict[str, Any]:
    """A membership as GraphQL answers it."""
    return {"artifact": {"id": artifact_id, "state": state}}


def test_the_aliases_of_several_collections_are_one_request(
    api: Server, source: WandbSource
) -> None:
    """Names are variables; what is on no committed version, or no longer there, is left out."""
    api.on(
        OPERATION,
        {
            "c0": {"a0_0": on("id1"), "a0_1": on("id2", "PENDING"), "a0_2": None},
            "c1": None,
            "c2": {"a2_0": on("id3")},
        },
    )
    listed = [
        collection("ds", 'odd"} name', "pending", "gone"),
        collection("gone", "prod"),
        collection("none"),
        collection("model", "prod"),
    ]

    assert source.pointed(listed) == [{'odd"} name': "id1"}, {}, {}, {"prod": "id3"}]
    [asked] = api.asked[OPERATION]
    assert asked.variables == {
        "c0": "id of ds", "a0_0": 'odd"} name', "a0_1": "pending", "a0_2": "gone",
        "c1": "id of gone", "a1_0": "prod", "c2": "id of model", "a2_0": "prod",
    }  # fmt: skip
    assert source.pointed([collection("none")]) == [{}]
    assert len(api.asked[OPERATION]) == 1


def test_a_hundred_aliases_are_asked_for_at_a_time(api: Server, source: WandbSource) -> None:
    """A collection may be spread over two requests."""
    listed = [collection(name, *(f"{n}" for n in range(75))) for name in ("ds", "model")]
    api.on(
        OPERATION,
        {"c0": {"a0_74": on("id1")}, "c1": {"a1_24": on("id2")}},
        {"c0": {"a0_0": on("id3")}},
    )

    assert source.pointed(listed) == [{"74": "id1"}, {"24": "id2", "25": "id3"}]
    assert [len(asked.variables) for asked in api.asked[OPERATION]] == [102, 51]


def test_where_there_are_too_many_to_list_beside_all_names_are_read(
    api: Server, source: WandbSource
) -> None:
    """Page by page; those of the newest versions have been told."""
    first = [{"alias": "latest"}, {"alias": "best"}]
    api.on(
        OPERATION,
        {"artifactCollection": {"aliases": page(*first, cursor="c")}},
        {"artifactCollection": {"aliases": page({"alias": "prod"})}},
        {"c0": {"a0_0": on("id1"), "a0_1": on("id2")}},
    )

    assert source.pointed([collection("ds", "best", crowded=True)]) == [
        {"best": "id1", "prod": "id2"}
    ]
    assert [asked.variables.get("cursor") for asked in api.asked[OPERATION]] == [None, "c", None]


def test_a_collection_that_was_deleted_just_now_has_no_aliases(
    api: Server, source: WandbSource
) -> None:
    """The next list does not have it."""
    api.on(OPERATION, {"artifactCollection": None})

    assert source.pointed([collection("ds", "best", crowded=True)]) == [{}]


def test_a_server_that_refuses_the_question_does_not_tell(api: Server, source: WandbSource) -> None:
    """So many questions at a time may be more than it takes; that is no reason to stop looking."""
    api.on(OPERATION, Answer(body=b'{"errors": [{"message": "the query is too complex"}]}'))

    assert source.pointed([collection("ds", "best")]) is None


def test_a_refused_key_is_a_failure(api: Server, source: WandbSource) -> None:
    """And no reason to go on without aliases."""
    api.on(OPERATION, Answer(status=401))

    with pytest.raises(AuthenticationError):
        source.pointed([collection("ds", "best")])
