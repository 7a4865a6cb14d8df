from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import sandbox_graph as graph
from sandbox_client import Client

from syncd.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]


@contextmanager
def _process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    command = [sys.executable, "-m", "syncd.sandbox", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_state_survives_a_killed_server(tmp_path: Path) -> None:
    """After kill -9 the same directory has the same key, versions, aliases and bytes."""
    data = str(tmp_path / "data")
    with (
        _process("--data", data) as (process, info),
        Client(info["base_url"], info["api_key"], tmp_path) as client,
    ):
        graph.log(
            client, {"f": b"content"}, aliases=[{"artifactCollectionName": "ds", "alias": "x"}]
        )
        before = graph.version(client, "ds:x")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with (
        _process("--data", data) as (process, again),
        Client(again["base_url"], again["api_key"], tmp_path) as client,
    ):
        after = graph.version(client, "ds:x")
        content = httpx.get(graph.urls(client, "x")["f"]).content
        graph.log(client, {"f": b"more"})
        newest = graph.version(client, "ds:v1")

    assert again["api_key"] == info["api_key"]
    assert (after, content) == (before, b"content")
    assert after is not None
    assert newest is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_cleanly(number: signal.Signals) -> None:
    """A polite signal is exit code 0, connections open or not."""
    with _process() as (process, info):
        assert sorted(info) == ["api_key", "base_url", "entity"]
        assert len(info["api_key"]) == 40
        with httpx.Client(base_url=info["base_url"]) as http:
            assert http.get("/healthz").text == "ok"
            process.send_signal(number)
            assert process.wait(timeout=20) == 0


def test_several_clients_write_at_once(client: Client) -> None:
    """Versions logged in parallel get an index each, and none is lost."""
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(10):
                graph.log(client, {"f": f"{worker} {number}".encode()})
        except BaseException as error:  # noqa: BLE001  told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    found = [graph.version(client, f"ds:v{number}") for number in range(40)]
    assert len({version["artifact"]["id"] for version in found if version}) == 40


def test_failed_mutation_leaves_nothing_behind(client: Client) -> None:
    """An operation of two steps, the second wrong, has not done the first."""
    artifact = graph.log(client, {"f": b"1"})
    message = client.refused(
        """mutation Both($id: ID!) {
          one: updateArtifact(input: {artifactID: $id, description: "changed"}) { artifact { id } }
          two: updateArtifact(input: {artifactID: $id, metadata: "not json"}) { artifact { id } }
        }""",
        id=artifact,
    )
    found = graph.version(client, "ds:v0")

    assert "metadata" in message
    assert found is not None
    assert found["artifact"]["description"] is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{ viewer { shoeSize } }", "Cannot query field 'shoeSize'"),
        ("{ viewer { id }", "Syntax Error"),
        ('{ artifact(id: "nonsense") { id } }', "invalid Artifact id"),
        ('mutation { upsertBucket(input: {entityName: "nobody"}) { inserted } }', "not found"),
        (
            'mutation { commitArtifact(input: {id: "x"}) { artifact { id } } }',
            "required field 'artifactID'",
        ),
        ('mutation { stopRun(input: {id: "UnVuOjk5"}) { success } }', "run not found"),
    ],
)
def test_nonsense_is_a_logical_error_and_never_a_server_error(
    client: Client, query: str, message: str
) -> None:
    """Unknown fields, broken documents and missing things are told in a 200."""
    assert message in client.refused(query)


def test_urls_are_made_from_the_servers_own_address(client: Client) -> None:
    """A Host header of some proxy does not get into signed URLs."""
    artifact = graph.create(client, {"f": b"1"})["id"]
    spec = {"artifactID": artifact, "name": "f", "md5": graph.md5(b"1")}
    http = client.http
    answer = http.post(
        "/graphql",
        json={"query": graph.FILES, "variables": {"input": {"artifactFiles": [spec]}}},
        headers={"Host": "proxy.invalid"},
    ).json()
    edges = answer["data"]["createArtifactFiles"]["files"]["edges"]

    assert edges[0]["node"]["uploadUrl"].startswith(client.base_url)


def test_temporary_sandbox_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a data directory nothing remains."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Sandbox() as sandbox:
        assert len(list(tmp_path.iterdir())) == 1
        assert httpx.get(sandbox.base_url + "/healthz").is_success

    assert list(tmp_path.iterdir()) == []


def test_many_versions_are_listed_page_by_page(client: Client) -> None:
    """Every version comes once, in order, with a total."""
    query = """
query Versions($after: String, $filters: JSONString) {
  project(name: "p", entityName: "sandbox") {
    artifactCollection(name: "ds") {
      artifacts(first: 500, after: $after, filters: $filters) {
        totalCount
        pageInfo { endCursor hasNextPage }
        edges { node { versionIndex aliases { alias } tags { name } } }
      }
    }
  }
}
"""
    create = "mutation B($e: String!) {" + "".join(
        f"""
  m{number}: createArtifact(input: {{entityName: $e, projectName: "p", artifactTypeName: "t",
    artifactCollectionName: "ds", digest: "{number}"}}) {{ artifact {{ id }} }}"""
        for number in range(120)
    )
    manifest = graph.manifest_of({})
    announce = """
mutation M($id: ID!, $md5: String!) {
  createArtifactManifest(input: {artifactID: $id, name: "wandb_manifest.json", digest: $md5,
    entityName: "sandbox", projectName: "p"}) {
    artifactManifest { file { uploadUrl uploadHeaders } } } }
"""
    http = client.http
    made = client.gql(create + "}", e="sandbox")
    for answer in made.values():
        artifact = answer["artifact"]["id"]
        body = client.gql(announce, id=artifact, md5=graph.md5(manifest))
        node = body["createArtifactManifest"]["artifactManifest"]["file"]
        assert graph.upload(http, node, manifest) == 200
        client.gql(graph.COMMIT, id=artifact)
    after, seen = None, []
    while True:
        page = client.gql(query, after=after, filters='{"state": "COMMITTED"}')["project"][
            "artifactCollection"
        ]["artifacts"]
        seen += [edge["node"]["versionIndex"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break

    assert page["totalCount"] == 120
    assert seen == list(range(119, -1, -1))
