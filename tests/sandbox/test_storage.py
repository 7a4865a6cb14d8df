from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import sandbox_graph as graph

if TYPE_CHECKING:
    from sandbox_client import Client

BIG = bytes(range(251)) * 20_000


def _cut_off(url: str) -> tuple[int, int]:
    """The announced and the received length of a download that ends too early."""
    received = 0
    with httpx.stream("GET", url) as answer:
        try:
            for chunk in answer.iter_raw():
                received += len(chunk)
        except httpx.RemoteProtocolError:
            return int(answer.headers["content-length"]), received
    raise AssertionError("the download was whole")


def test_signed_url_works_without_a_key_until_it_expires(client: Client) -> None:
    """A URL says nothing but where; after its time, or changed, it is 403."""
    graph.log(client, {"f": b"content"})
    good = graph.urls(client, "v0")["f"]
    client.admin("settings", {"url_ttl": -1})
    expired = graph.urls(client, "v0")["f"]

    assert httpx.get(good).content == b"content"
    assert httpx.get(expired).status_code == 403
    assert httpx.get(good.replace("Expires=1", "Expires=2")).status_code == 403
    assert httpx.get(good.replace("/wandb_artifacts/1/", "/wandb_artifacts/2/")).status_code == 403
    assert httpx.put(good, content=b"content").status_code == 403


def test_urls_have_the_shapes_the_sdk_tells_files_from_manifests_by(client: Client) -> None:
    """Absolute, with `wandb_artifacts/` for files and `wandb_manifest.json` for manifests."""
    graph.log(client, {"f": b"content"})
    data = client.gql(graph.URLS, project="p", collection="ds", alias="v0", names=None)
    member = data["project"]["artifactCollection"]["artifactMembership"]
    manifest = member["artifact"]["currentManifest"]["file"]["directUrl"]
    file = member["files"]["edges"][0]["node"]["directUrl"]

    assert manifest.startswith(client.base_url)
    assert file.startswith(client.base_url)
    assert ("wandb_manifest.json" in manifest, "wandb_artifacts/" in manifest) == (True, False)
    assert "wandb_artifacts/" in file
    assert httpx.get(manifest).json()["contents"]["f"]["size"] == 7


def test_sdk_asks_again_when_a_url_has_expired(client: Client) -> None:
    """A URL that runs out in the middle of a download costs the client a second way, and no byte."""
    graph.log(client, {"a": b"A", "b": b"B"})
    client.admin("settings", {"url_ttl": 1})
    client.admin("faults", [{"match": "download:a", "times": 1, "action": "delay:1200"}])
    read = client.sdk("""
path = wandb.Api().artifact("sandbox/p/ds:v0").download()
emit(files={name: open(os.path.join(path, name)).read() for name in sorted(os.listdir(path))})
""")

    assert read["files"] == {"a": "A", "b": "B"}
    assert client.stats()["downloads"] == 2


@pytest.mark.parametrize(
    ("span", "status", "expected"),
    [
        ("bytes=0-9", 206, BIG[:10]),
        ("bytes=4999990-", 206, BIG[4_999_990:]),
        ("bytes=-5", 206, BIG[-5:]),
        ("bytes=99999999-", 416, None),
    ],
)
def test_ranges_are_served(client: Client, span: str, status: int, expected: bytes | None) -> None:
    """Parts of a file, as a client asks for big ones."""
    graph.log(client, {"f": BIG})
    answer = httpx.get(graph.urls(client, "v0")["f"], headers={"Range": span})

    assert answer.status_code == status
    assert expected is None or answer.content == expected


def test_upload_that_does_not_match_its_md5_is_refused(client: Client) -> None:
    """Neither a wrong header nor wrong bytes get in; the right ones still do."""
    artifact = graph.create(client, {"f": b"right"})["id"]
    spec = {"artifactID": artifact, "name": "f", "md5": graph.md5(b"right")}
    made = client.gql(graph.FILES, input={"artifactFiles": [spec]})["createArtifactFiles"]
    node = made["files"]["edges"][0]["node"]

    http = client.http
    assert graph.upload(http, node, b"wrong") == 400
    assert graph.upload(http, {**node, "uploadHeaders": []}, b"wrong") == 400
    headers = [f"Content-MD5:{graph.md5(b'wrong')}"]
    assert graph.upload(http, {**node, "uploadHeaders": headers}, b"right") == 400
    assert graph.upload(http, node, b"right") == 200
    again = client.gql(graph.FILES, input={"artifactFiles": [spec]})["createArtifactFiles"]
    assert again["files"]["edges"][0]["node"]["uploadUrl"] is None


def test_graphql_fault_is_retried_by_the_sdk_as_often_as_it_was_asked_for(client: Client) -> None:
    """A status fault counts down, then the operation works."""
    client.admin(
        "faults",
        [{"match": "graphql:CommitArtifact", "times": 2, "action": "status:503", "retry_after": 0}],
    )
    client.sdk("""
with wandb.init(project="p") as run:
    log(run, "ds", {"f": "1"})
""")

    assert client.stats()["graphql"]["CommitArtifact"] == 3
    assert graph.version(client, "ds:v0") is not None


def test_a_fault_with_a_rate_meets_its_share(client: Client) -> None:
    """Every fifth, not the first five."""
    graph.log(client, {"f": b"content"})
    url = graph.urls(client, "v0")["f"]
    client.admin("faults", [{"match": "download:f", "action": "status:503", "rate": 0.2}])
    answers = [httpx.get(url).status_code for _ in range(10)]

    assert answers == [*[200] * 4, 503] * 2


def test_faults_hit_downloads_in_the_way_they_say(client: Client) -> None:
    """Status, drop, truncate, corrupt and delay, for the paths that match and as many times as given."""
    graph.log(client, {"f": BIG, "g/small": b"small"})
    urls = graph.urls(client, "v0")

    def arm(match: str, action: str, **more: object) -> None:
        client.admin("faults", [{"match": match, "times": 1, "action": action, **more}])

    arm("download:f", "status:503", retry_after=7)
    refused = httpx.get(urls["f"])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
    arm("download:*", "drop")
    with pytest.raises(httpx.TransportError):
        httpx.get(urls["f"])
    for path, length in (("f", 1000), ("g/small", 2)):
        arm("download:*", f"truncate:{length}")
        announced, received = _cut_off(urls[path])
        assert received == length < announced
    for path, content in (("f", BIG), ("g/small", b"small")):
        arm("download:*", "corrupt")
        damaged = httpx.get(urls[path]).content
        assert len(damaged) == len(content)
        assert sum(a != b for a, b in zip(damaged, content, strict=True)) == 1
    arm("download:g/*", "delay:300")
    assert httpx.get(urls["f"]).elapsed.total_seconds() < 0.3
    assert httpx.get(urls["g/small"]).elapsed.total_seconds() >= 0.3
    assert httpx.get(urls["f"]).content == BIG


def test_faults_hit_uploads_and_end_when_told(client: Client) -> None:
    """A damaged upload is refused for its MD5; a fault without a number lasts until it is cleared."""
    artifact = graph.create(client, {"f": b"right"})["id"]
    spec = {"artifactID": artifact, "name": "f", "md5": graph.md5(b"right")}
    made = client.gql(graph.FILES, input={"artifactFiles": [spec]})["createArtifactFiles"]
    node = made["files"]["edges"][0]["node"]

    http = client.http
    for action in ("corrupt", "truncate:2"):
        client.admin("faults", [{"match": "upload:*", "times": 1, "action": action}])
        assert graph.upload(http, node, b"right") == 400
    client.admin("faults", [{"match": "upload:*", "times": 1, "action": "drop"}])
    with pytest.raises(httpx.TransportError):
        graph.upload(http, node, b"right")
    client.admin("faults", [{"match": "upload:*", "action": "status:500"}])
    assert [graph.upload(http, node, b"right") for _ in range(3)] == [500] * 3
    http.delete("/sandbox/faults")
    assert graph.upload(http, node, b"right") == 200
    for wrong in ({"match": "download", "action": "drop"}, {"match": "upload:*", "action": "burn"}):
        assert client.post("/sandbox/faults", [wrong]).status_code == 400


def test_counters_count_files_and_operations_and_start_again(client: Client) -> None:
    """Operations by name, files and bytes both ways, bytes stored."""
    graph.log(client, {"a": b"123", "b": b"12345", "same": b"123"})
    httpx.get(graph.urls(client, "v0")["b"])
    stats = client.stats()
    client.admin("stats/reset", {})

    assert stats["graphql"]["CommitArtifact"] == 1
    assert (stats["uploads"], stats["bytes_uploaded"]) == (3, 11)
    assert (stats["downloads"], stats["bytes_downloaded"]) == (1, 5)
    assert stats["stored_bytes"] == 8
    assert (client.stats()["graphql"], client.stats()["uploads"]) == ({}, 0)
    assert client.stats()["stored_bytes"] == 8
