from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sandbox_graph as graph

if TYPE_CHECKING:
    from sandbox_client import Client

DELETE = """
mutation DeleteArtifact($id: ID!) {
  deleteArtifact(input: {artifactID: $id, deleteAliases: true}) { artifact { id } }
}
"""
TAKE = """
mutation DeleteAliases($id: ID!, $alias: String!) {
  deleteAliases(input: {artifactID: $id, aliases: [{
    entityName: "sandbox", projectName: "p", artifactCollectionName: "ds", alias: $alias}]}) { success }
}
"""
LINK = """
mutation LinkArtifact($id: ID!) {
  linkArtifact(input: {artifactID: $id, artifactPortfolioName: "links", entityName: "sandbox", projectName: "p"}) {
    versionIndex
  }
}
"""
ORDER = """
query Order { project(name: "p", entityName: "sandbox") { artifactCollection(name: "ds") {
  artifacts { edges { version } } } } }
"""
INPUTS = """
query Inputs { project(name: "p", entityName: "sandbox") { run(name: "r") {
  inputArtifacts { totalCount } } } }
"""
LATEST = [{"artifactCollectionName": "ds", "alias": "latest"}]


def _index(client: Client, name: str) -> int | None:
    found = graph.version(client, name)
    return None if found is None else int(found["versionIndex"])


def _log(client: Client, content: str, **fields: Any) -> str:
    return graph.log(client, {"f": content.encode()}, **{"aliases": LATEST, **fields})


def test_settings_are_told_and_nonsense_is_refused(client: Client) -> None:
    """All settings come back; an unknown name or value changes nothing."""
    answer = client.post("/sandbox/settings", {"relink": "refuse"}).json()
    refused = [
        client.post("/sandbox/settings", body).status_code
        for body in (
            {"relink": "maybe"},
            {"reuse_numbers": "yes"},
            {"nonsense": 1},
            {"relink": "same", "nonsense": 1},
            {"protected_aliases": ["a"]},
            {"url_ttl": "long"},
            {"date_offset": "long"},
            {"bandwidth": 0},
            {"bandwidth": "fast"},
        )
    ]

    assert (answer["relink"], answer["mixed_digests"], answer["url_ttl"]) == (
        "refuse",
        "refuse",
        3600,
    )
    assert refused == [400] * 9
    assert client.post("/sandbox/settings", {}).json()["relink"] == "refuse"


def test_numbers_and_latest_after_a_deletion(client: Client) -> None:
    """By default a number is never used again and nobody becomes latest; both can be switched."""
    _log(client, "0")
    client.gql(DELETE, id=_log(client, "1"))
    strict = (_index(client, "ds:latest"), _index(client, "ds:v0"))
    client.admin("settings", {"reuse_numbers": True, "latest_after_delete": "newest"})
    client.gql(DELETE, id=_log(client, "2"))
    latest = _index(client, "ds:latest")
    _log(client, "3")

    assert strict == (None, 0)
    assert latest == 0
    assert (_index(client, "ds:v1"), _index(client, "ds:latest")) == (1, 1)


@pytest.mark.parametrize(
    ("rule", "refused", "latest"), [("allow", 0, None), ("refuse", 1, 1), ("restore", 0, 1)]
)
def test_removal_of_latest(client: Client, rule: str, refused: int, latest: int | None) -> None:
    """Taking `latest` off works, is refused, or gives it back to the newest version."""
    _log(client, "0")
    second = _log(client, "1")
    client.admin("settings", {"latest_removal": rule})
    answer = client.post(
        "/graphql", {"query": TAKE, "variables": {"id": second, "alias": "latest"}}
    ).json()

    assert len(answer.get("errors", [])) == refused
    assert _index(client, "ds:latest") == latest


def test_name_without_a_version(client: Client) -> None:
    """A bare name is the latest version, or nothing."""
    _log(client, "0")
    found = _index(client, "ds")
    client.admin("settings", {"bare_name": "nothing"})

    assert (found, _index(client, "ds")) == (0, None)


def test_repeat_of_known_content(client: Client) -> None:
    """Any earlier version is found, and only its aliases change; else only the newest, or more changes too."""
    dedupe = {"enableDigestDeduplication": True}
    first = _log(client, "0", description="old")
    _log(client, "1")
    repeat = graph.create(client, {"f": b"0"}, **dedupe, description="new")
    described = graph.version(client, "ds:v0")
    client.admin("settings", {"repeat_updates": True})
    graph.create(client, {"f": b"0"}, **dedupe, description="new", metadata='{"a": 1}')
    updated = graph.version(client, "ds:v0")
    client.admin("settings", {"deduplication": "latest"})
    other = graph.create(client, {"f": b"0"}, **dedupe)

    assert (repeat["id"], repeat["state"]) == (first, "COMMITTED")
    assert described is not None
    assert described["artifact"]["description"] == "old"
    assert updated is not None
    assert (updated["artifact"]["description"], updated["artifact"]["metadata"]) == (
        "new",
        '{"a": 1}',
    )
    assert (other["state"], other["id"] == first) == ("PENDING", False)


def test_twins_under_way_at_once(client: Client) -> None:
    """Two pending versions with one content become two versions, or the second is refused."""
    ids = []
    for _ in range(3):
        artifact = graph.create(client, {"f": b"same"})["id"]
        graph.fill(client, artifact, {"f": b"same"})
        ids.append(artifact)
    for artifact in ids[:2]:
        client.gql(graph.COMMIT, id=artifact)
    client.admin("settings", {"twin_commits": "refuse"})

    assert "this content" in client.refused(graph.COMMIT, id=ids[2])
    assert (_index(client, "ds:v1"), _index(client, "ds:v2")) == (1, None)


def test_other_digests_in_a_collection(client: Client) -> None:
    """A collection of XXH128 versions takes no MD5 ones, unless told to."""
    script = """
with wandb.init(project="p") as run:
    log(run, "ds", {"f": "1"}, digest_algorithm="XXH128")
    try: log(run, "ds", {"f": "2"})
    except Exception as error: emit(refused=str(error))
"""
    refused = client.sdk(script)
    client.admin("settings", {"mixed_digests": "accept"})
    accepted = client.sdk(script)

    assert "MANIFEST_XXH128" in refused["refused"]
    assert "refused" not in accepted
    assert _index(client, "ds:latest") == 1


def test_order_of_versions_and_linking_again(client: Client) -> None:
    """Versions are listed from the newest or the oldest; a version linked again keeps its place or is refused."""
    artifact = _log(client, "0")
    _log(client, "1")

    def order() -> list[str]:
        edges = client.gql(ORDER)["project"]["artifactCollection"]["artifacts"]["edges"]
        return [edge["version"] for edge in edges]

    newest = order()
    again = [client.gql(LINK, id=artifact)["linkArtifact"]["versionIndex"] for _ in range(2)]
    client.admin("settings", {"version_order": "oldest", "relink": "refuse"})

    assert (newest, order()) == (["v1", "v0"], ["v0", "v1"])
    assert again == [0, 0]
    assert "already" in client.refused(LINK, id=artifact)


def test_reference_to_another_version_as_input(client: Client) -> None:
    """A reference makes no lineage by itself; it can be made to."""
    script = """
source = wandb.Api().artifact("sandbox/p/ds:latest")
with wandb.init(project="p", id="r") as run:
    artifact = wandb.Artifact("refs", "dataset", metadata={"n": %d})
    with artifact.new_file("n") as file: file.write("%d")
    artifact.add_reference(source.get_entry("f"), name="f")
    run.log_artifact(artifact).wait()
"""
    _log(client, "0")
    client.sdk(script % (1, 1))
    strict = client.gql(INPUTS)["project"]["run"]["inputArtifacts"]["totalCount"]
    client.admin("settings", {"reference_inputs": True})
    client.sdk(script % (2, 2))

    assert strict == 0
    assert client.gql(INPUTS)["project"]["run"]["inputArtifacts"]["totalCount"] == 1


def test_status_of_a_logical_error(client: Client) -> None:
    """Errors are told with HTTP 200, or with 400."""
    wrong = {"query": DELETE, "variables": {"id": "nonsense"}}
    plain = client.post("/graphql", wrong).status_code
    client.admin("settings", {"error_status": 400})

    assert (plain, client.post("/graphql", wrong).status_code) == (200, 400)


def test_downloads_share_the_bandwidth(client: Client) -> None:
    """Two at a time take as long as one after the other."""
    size = 1 << 20
    _log(client, "a" * size)
    _log(client, "b" * size)
    urls = [graph.urls(client, alias, "f")["f"] for alias in ("v0", "v1")]
    client.admin("settings", {"bandwidth": 8 * size})
    begin = time.monotonic()
    with ThreadPoolExecutor() as pool:
        got = [response.content for response in pool.map(httpx.get, urls)]
    took = time.monotonic() - begin

    assert [len(content) for content in got] == [size, size]
    assert took >= 2 / 8
