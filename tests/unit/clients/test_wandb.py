"""W&B as a source: versions and runs are read whole, and changes change nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from wandb_server import (
    SIGNATURE,
    Answer,
    Server,
    harmless,
    node,
    page,
    version,
)

from syncd.clients.wandb import WandbSource
from syncd.errors import AuthenticationError, NotFoundError
from syncd.manifest import Entry, Manifest, manifest_digest, to_json
from syncd.refs import RunRef, Target

MANIFEST = Manifest(entries={"a": Entry(path="a", digest="dd", size=2, birth_artifact_id="QQ==")})


# --- versions


def test_a_version_is_read_with_all_that_is_about_it(api: Server, source: WandbSource) -> None:
    """Only the aliases of its own collection count; a registry's are another matter."""
    registry = {"name": "ds", "project": {"name": "registry", "entity": {"name": "org"}}}
    own = node()["aliases"]
    api.on(
        "ArtifactByID",
        {"artifact": node(aliases=[*own, {"alias": "prod", "artifactCollection": registry}])},
    )
    found = source.version("id0")

    assert str(found.ref) == "team/proj/ds:v0"
    assert (found.size, found.file_count, found.metadata) == (7, 1, {"rows": 5})
    assert (found.aliases, found.tags, found.ttl_seconds) == (("latest",), ("gold",), -1)
    assert found.run == RunRef(entity="team", project="proj", run_id="r1")
    assert (found.author, found.history_step) == ("ann", 3)


@pytest.mark.parametrize(
    ("inherited", "seconds", "read"),
    [(True, -2, -1), (True, 86400, -1), (False, 86400, 86400), (False, -2, -2), (False, 0, -2)],
)
def test_a_time_to_live_is_seconds_inherited_or_off(
    inherited: bool, seconds: int, read: int, api: Server, source: WandbSource
) -> None:
    """A team's default is told beside the word that it is inherited."""
    api.on(
        "ArtifactByID",
        {"artifact": node(ttlIsInherited=inherited, ttlDurationSeconds=seconds)},
    )

    assert source.version("id0").ttl_seconds == read


@pytest.mark.parametrize(
    ("changes", "run", "author"),
    [
        ({"createdBy": None}, False, ""),
        ({"createdBy": {"__typename": "User", "username": "bob"}}, False, "bob"),
        # A run whose project this key may not see.
        ({"createdBy": {"__typename": "Run", "name": "r", "project": None}}, False, ""),
    ],
)
def test_who_logged_a_version_may_be_unknown(
    changes: dict[str, Any], run: bool, author: str, api: Server, source: WandbSource
) -> None:
    """A user without a run, or nobody any more."""
    api.on("ArtifactByID", {"artifact": node(**changes)})
    found = source.version("id0")

    assert (found.run is not None, found.author) == (run, author)


@pytest.mark.parametrize("metadata", [None, "", "null", "[]", "5"])
def test_metadata_that_is_no_map_is_none(
    metadata: str | None, api: Server, source: WandbSource
) -> None:
    """An old server may answer so."""
    api.on("ArtifactByID", {"artifact": node(metadata=metadata)})

    assert source.version("id0").metadata == {}


def test_listing_follows_the_cursors_of_collections_and_versions(
    api: Server, source: WandbSource
) -> None:
    """Every page once, each asked for with the last one's cursor; links are no collections."""

    def collections(*names: str, cursor: str | None = None) -> dict[str, Any]:
        nodes = [
            {
                "__typename": "ArtifactPortfolio" if name == "link" else "ArtifactSequence",
                "name": name,
                "type": {"name": "dataset"},
            }
            for name in names
        ]
        return {"project": {"artifactCollections": page(*nodes, cursor=cursor)}}

    def versions(*indexes: int, cursor: str | None = None) -> dict[str, Any]:
        nodes = [node(index) for index in indexes]
        artifacts = page(*nodes, cursor=cursor)
        return {"project": {"artifactType": {"artifactCollection": {"artifacts": artifacts}}}}

    api.on("ProjectArtifactCollections", collections("ds", "link", cursor="c1"), collections("ds2"))
    api.on("ProjectArtifacts", versions(0, 1, cursor="v1"), versions(2), versions(5))
    found = list(source.versions(Target.parse("team/proj")))

    assert [item.index for item in found] == [0, 1, 2, 5]
    asked = [request.variables for request in api.asked["ProjectArtifactCollections"]]
    assert [variables["cursor"] for variables in asked] == [None, "c1"]
    asked = [request.variables for request in api.asked["ProjectArtifacts"]]
    assert [(item["collection"], item["cursor"]) for item in asked] == [
        ("ds", None),
        ("ds", "v1"),
        ("ds2", None),
    ]
    assert {(item["order"], item["filters"]) for item in asked} == {
        ("+version_index", '{"state": "COMMITTED"}')
    }


def test_all_projects_of_an_entity_are_looked_at(api: Server, source: WandbSource) -> None:
    """Page by page."""
    api.on(
        "GetProjects",
        {"models": page({"name": "one"}, cursor="p1")},
        {"models": page({"name": "two"})},
    )
    api.on("ProjectArtifactCollections", {"project": {"artifactCollections": page()}})

    assert list(source.versions(Target.parse("team/*"))) == []
    asked = api.asked["ProjectArtifactCollections"]
    assert [request.variables["project"] for request in asked] == ["one", "two"]


def test_a_collection_is_looked_up_by_its_name(api: Server, source: WandbSource) -> None:
    """A project may have tens of thousands: they are not listed for the sake of one."""
    found = {"__typename": "ArtifactSequence", "name": "ds", "type": {"name": "dataset"}}
    listed = {"artifactCollection": {"artifacts": page(node(0), node(1))}}
    api.on("ProjectArtifactCollection", {"project": {"artifactCollection": found}})
    api.on("ProjectArtifacts", {"project": {"artifactType": listed}})

    assert [item.index for item in source.versions(Target.parse("team/proj/ds"))] == [0, 1]
    assert api.asked.keys() == {"ProjectArtifactCollection", "ProjectArtifacts"}
    assert api.asked["ProjectArtifacts"][0].variables["type"] == "dataset"


@pytest.mark.parametrize(
    "told",
    [
        {"data": {"project": {"artifactCollection": None}}},
        {"errors": [{"message": "no such collection"}]},
        {
            "data": {
                "project": {
                    "artifactCollection": {
                        "__typename": "ArtifactPortfolio",
                        "name": "ds",
                        "type": {"name": "dataset"},
                    }
                }
            }
        },
    ],
)
def test_what_a_name_does_not_tell_the_list_tells(
    told: dict[str, Any], api: Server, source: WandbSource
) -> None:
    """A collection that is not there, and one of which a server does not want to tell by its name."""
    api.on("ProjectArtifactCollection", Answer(body=json.dumps(told).encode()))
    nothing, one = (
        {"project": {"artifactCollections": page(*nodes)}}
        for nodes in (
            [],
            [{"__typename": "ArtifactSequence", "name": "ds", "type": {"name": "dataset"}}],
        )
    )
    api.on("ProjectArtifactCollections", nothing, one)
    listed = {"artifactCollection": {"artifacts": page(node(0))}}
    api.on("ProjectArtifacts", {"project": {"artifactType": listed}})

    with pytest.raises(NotFoundError, match="no such collection"):
        list(source.versions(Target.parse("team/proj/ds")))
    assert [item.index for item in source.versions(Target.parse("team/proj/ds"))] == [0]


@pytest.mark.parametrize(
    ("target", "operation", "data"),
    [
        ("team/proj", "ProjectArtifactCollections", {"project": None}),
        ("team/proj/ds:v9", "ArtifactMembershipByName", {"project": None}),
        (
            "team/proj/ds:v9",
            "ArtifactMembershipByName",
            {"project": {"artifactCollectionMembership": None}},
        ),
    ],
)
def test_a_name_that_wandb_does_not_know_is_an_error(
    target: str, operation: str, data: dict[str, Any], api: Server, source: WandbSource
) -> None:
    """A spelling mistake must not look like nothing to do."""
    api.on(operation, data)
    with pytest.raises(NotFoundError, match="team/proj"):
        list(source.versions(Target.parse(target)))


def test_a_runs_inputs_and_outputs_are_paged_each_by_itself(
    api: Server, source: WandbSource
) -> None:
    """No version twice, none left out, however long the other list is."""

    def answer(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        config = {"lr": {"value": 0.1, "desc": None}, "_wandb": {"value": {}}, "plain": 5}
        run = {
            "id": "1",
            "displayName": "quick fox",
            "createdAt": "2026-01-01T00:00:00Z",
            "state": "finished",
            "config": json.dumps(config),
            "summaryMetrics": json.dumps({"recall": 0.9, "_step": 7}),
            "inputArtifacts": inputs,
            "outputArtifacts": outputs,
        }
        return {"project": {"run": run}}

    api.on(
        "RunArtifacts",
        answer(page(node(0), cursor="i1"), page(node(7))),
        answer(page(node(1), cursor="i2"), page()),
        answer(page(node(2)), page()),
    )
    found = source.run(RunRef(entity="team", project="proj", run_id="r1"))

    assert [item.index for item in found.inputs] == [0, 1, 2]
    assert [item.index for item in found.outputs] == [7]
    assert found.config == {"lr": 0.1, "plain": 5}
    assert found.summary == {"recall": 0.9}
    assert [r.variables["inputsCursor"] for r in api.asked["RunArtifacts"]] == [None, "i1", "i2"]


def test_what_a_run_used_of_others_and_may_not_be_seen_is_left_out(
    api: Server, source: WandbSource
) -> None:
    """A registry's model of another team; what is around it moves all the same."""
    hidden = node(0)
    hidden["artifactSequence"] = {**hidden["artifactSequence"], "project": None}
    run = {
        "id": "1",
        "displayName": "quick fox",
        "createdAt": "2026-01-01T00:00:00Z",
        "state": "finished",
        "config": None,
        "summaryMetrics": None,
        "inputArtifacts": page(hidden, node(1)),
        "outputArtifacts": page(node(7)),
    }
    api.on("RunArtifacts", {"project": {"run": run}})
    found = source.run(RunRef(entity="team", project="proj", run_id="r1"))

    assert [item.index for item in found.inputs] == [1]
    assert [item.index for item in found.outputs] == [7]


# --- changes


def upload(url: str | None) -> dict[str, Any]:
    """Where to put the manifest."""
    headers = ["Content-MD5:abc=", "X-Colon:a:b"]
    file = {"uploadUrl": url, "uploadHeaders": headers}
    return {"createArtifactManifest": {"artifactManifest": {"file": file}}}


def created(state: str) -> dict[str, Any]:
    """The answer to CreateArtifact."""
    return {"createArtifact": {"artifact": {"id": "id1", "state": state}}}


@pytest.mark.parametrize("relative", [False, True])
def test_a_replacement_is_logged_as_output_of_the_same_run_without_alias(
    relative: bool, api: Server, storage: Server, source: WandbSource
) -> None:
    """Manifest before commit; the key does not go to where the manifest is put."""
    ours = version(source, api)
    target = api if relative else storage
    api.on("CreateArtifact", created("PENDING"))
    api.on("CreateArtifactManifest", upload("/put" if relative else f"{storage.url}/put"))
    target.on("/put", Answer(status=503), Answer())
    api.on("CommitArtifact", {"commitArtifact": {"artifact": {"id": "id1"}}})
    api.on("ArtifactByID", {"artifact": node(1)})
    made = source.log_replacement(ours, MANIFEST, {"oxen": {}})
    digest = manifest_digest(MANIFEST.entries.values())

    assert made.index == 1
    sent = api.asked["CreateArtifact"][0].variables["input"]
    assert sent == {
        "entityName": "team",
        "projectName": "proj",
        "runName": "r1",
        "artifactTypeName": "dataset",
        "artifactCollectionName": "ds",
        "digest": digest,
        "digestAlgorithm": "MANIFEST_MD5",
        "aliases": [],
        "tags": [{"tagName": "gold"}],
        "description": "what it is",
        "metadata": '{"oxen": {}}',
        "ttlDurationSeconds": None,
        "historyStep": 3,
        "enableDigestDeduplication": True,
    }
    first, put = target.asked["/put"]
    assert (first.body, put.method) == (put.body, "PUT")
    assert json.loads(put.body) == to_json(MANIFEST)
    assert (put.headers["content-md5"], put.headers["x-colon"]) == ("abc=", "a:b")
    assert put.headers["content-length"] == str(len(put.body))  # S3 takes no other body
    assert "transfer-encoding" not in put.headers
    assert "authorization" not in put.headers
    md5 = base64.b64encode(hashlib.md5(put.body).digest()).decode()
    asked = api.asked["CreateArtifactManifest"][-1].variables
    assert (asked["digest"], asked["baseArtifactID"]) == (md5, "id0")
    assert api.asked["CommitArtifact"][0].variables == {"artifactID": "id1"}


def test_a_manifest_that_wandb_holds_is_not_sent_again(api: Server, source: WandbSource) -> None:
    """No upload URL means so."""
    ours = version(source, api)
    api.on("CreateArtifact", created("PENDING"))
    api.on("CreateArtifactManifest", upload(None))
    api.on("CommitArtifact", {"commitArtifact": {"artifact": {"id": "id1"}}})
    source.log_replacement(ours, MANIFEST, {})

    assert {request.method for request in api.all_asked()} == {"POST"}
    assert len(api.asked["CommitArtifact"]) == 1


def test_the_answer_to_a_commit_is_the_version_where_it_is_whole(
    api: Server, source: WandbSource
) -> None:
    """It need not be read again; a server that commits later than it answers is asked."""
    ours = version(source, api)
    read = len(api.asked["ArtifactByID"])
    api.on("CreateArtifact", created("PENDING"))
    api.on("CreateArtifactManifest", upload(None))
    whole, pending = (
        {"commitArtifact": {"artifact": node(1, **changes)}}
        for changes in ({}, {"state": "PENDING", "versionIndex": None})
    )
    api.on("CommitArtifact", whole, pending)
    first = source.log_replacement(ours, MANIFEST, {})
    assert (first.index, len(api.asked["ArtifactByID"])) == (1, read)
    api.on("ArtifactByID", {"artifact": node(2)})

    assert source.log_replacement(ours, MANIFEST, {}).index == 2


def test_a_version_with_the_same_digest_is_taken_as_it_is(api: Server, source: WandbSource) -> None:
    """A repeat after a lost answer logs nothing twice."""
    ours = version(source, api)
    api.on("CreateArtifact", created("COMMITTED"))
    source.log_replacement(ours, MANIFEST, {})

    assert "CreateArtifactManifest" not in api.asked
    assert "CommitArtifact" not in api.asked


def test_a_manifest_that_was_not_stored_is_never_committed(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """A version without files would be there for all to see."""
    ours = version(source, api)
    api.on("CreateArtifact", created("PENDING"))
    api.on("CreateArtifactManifest", upload(f"{storage.url}/put?sig={SIGNATURE}"))
    storage.on("/put", Answer(status=403))
    with pytest.raises(AuthenticationError) as caught:
        source.log_replacement(ours, MANIFEST, {})

    assert "CommitArtifact" not in api.asked
    assert harmless(caught.value)


CONFIG = {
    "_wandb": {"value": {"t": 1}, "desc": None},
    "lr": {"value": 0.1, "desc": "rate"},
    "old": {"value": "x", "desc": None},
    "plain": "x",
}


@pytest.mark.parametrize(
    ("values", "unset", "written"),
    [
        ({"new": "y"}, [], {**CONFIG, "new": {"value": "y", "desc": None}}),
        ({"old": "y"}, [], {**CONFIG, "old": {"value": "y", "desc": None}}),
        ({"plain": "y"}, [], {**CONFIG, "plain": {"value": "y", "desc": None}}),
        ({}, ["old", "absent"], {key: CONFIG[key] for key in ("_wandb", "lr", "plain")}),
        # Nothing changes, nothing is written.
        ({"old": "x", "lr": 0.1, "plain": "x"}, [], None),
        ({}, ["absent"], None),
        ({}, [], None),
    ],
)
def test_a_runs_config_keeps_all_that_is_not_named(
    values: dict[str, Any],
    unset: list[str],
    written: dict[str, Any] | None,
    api: Server,
    source: WandbSource,
) -> None:
    """W&B replaces the whole of it, its own part included."""
    api.on("Run", {"project": {"run": {"id": "1", "config": json.dumps(CONFIG)}}})
    api.on("UpsertBucket", {"upsertBucket": {"bucket": {"id": "1"}}})
    run = RunRef(entity="team", project="proj", run_id="r1")

    assert source.update_config(run, values, unset) == (written is not None)
    sent = [request.variables for request in api.asked["UpsertBucket"]]
    assert [json.loads(item["config"]) for item in sent] == ([written] if written else [])
    assert all(item.keys() == {"id", "config"} for item in sent)


def test_aliases_move_in_one_request(api: Server, source: WandbSource) -> None:
    """There is no moment with half of them."""
    ours = version(source, api)
    api.on("AddAliases", {"result": {"success": True}})
    source.move_aliases(ours, ["latest", "best"])
    [asked] = api.asked["AddAliases"]

    assert asked.variables["input"]["artifactID"] == ours.id
    assert [item["alias"] for item in asked.variables["input"]["aliases"]] == ["latest", "best"]
    assert {item["artifactCollectionName"] for item in asked.variables["input"]["aliases"]} == {
        "ds"
    }
