from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import sandbox_graph as graph
import xxhash

if TYPE_CHECKING:
    from sandbox_client import Client

PARTS = """
mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) {
  createArtifactFiles(input: $input) { files { edges { node {
    storagePath uploadUrl uploadHeaders artifact { id }
    uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } }
  } } } }
}
"""
COMPLETE = """
mutation CompleteMultipartUploadArtifact($completeMultipartAction: CompleteMultipartAction!,
    $completedParts: [UploadPartsInput!]!, $artifactID: ID!, $storagePath: String!, $uploadID: String!) {
  completeMultipartUploadArtifact(input: {completeMultipartAction: $completeMultipartAction,
    completedParts: $completedParts, artifactID: $artifactID, storagePath: $storagePath, uploadID: $uploadID}) {
    digest
  }
}
"""
PIECES = [b"first" * 1000, b"second" * 1000, b"third"]
WHOLE = b"".join(PIECES)


def _announce(client: Client, artifact: str, content: bytes, **digests: str) -> dict[str, Any]:
    parts = [
        {"partNumber": number, "hexMD5": hashlib.md5(piece, usedforsecurity=False).hexdigest()}
        for number, piece in enumerate(PIECES, start=1)
    ]
    spec = {
        "artifactID": artifact,
        "name": "big",
        "md5": graph.md5(content),
        "uploadPartsInput": parts,
        **digests,
    }
    made = client.gql(PARTS, input={"artifactFiles": [spec]})["createArtifactFiles"]
    node: dict[str, Any] = made["files"]["edges"][0]["node"]
    return node


def _send(client: Client, node: dict[str, Any], pieces: list[bytes]) -> list[dict[str, Any]]:
    """Upload the parts; what the client then says of them."""
    done = []
    for part, piece in zip(node["uploadMultipartUrls"]["uploadUrlParts"], pieces, strict=True):
        headers = {"Content-Md5": graph.md5(piece), "Content-Type": "application/octet-stream"}
        answer = client.http.put(
            part["uploadUrl"], content=piece, headers=headers, auth=graph.NOBODY
        )
        assert answer.status_code == 200, answer.text
        done.append({"partNumber": part["partNumber"], "hexMD5": answer.headers["ETag"]})
    return done


def _completion(node: dict[str, Any], artifact: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "completeMultipartAction": "Complete",
        "completedParts": parts,
        "artifactID": artifact,
        "storagePath": node["storagePath"],
        "uploadID": node["uploadMultipartUrls"]["uploadID"],
    }


def test_big_file_arrives_in_parts(client: Client) -> None:
    """Each part has its URL and ETag; completed, the file is there and need not be sent again."""
    artifact = graph.create(client, {"big": WHOLE})["id"]
    node = _announce(client, artifact, WHOLE)
    parts = _send(client, node, PIECES)
    answer = client.gql(COMPLETE, **_completion(node, artifact, parts))
    again = _announce(client, artifact, WHOLE)
    sent = graph.fill(client, artifact, {"big": WHOLE})
    client.gql(graph.COMMIT, id=artifact)

    assert "Content-Type:application/octet-stream" in node["uploadHeaders"]
    assert node["uploadUrl"] is not None
    assert answer["completeMultipartUploadArtifact"]["digest"] == graph.md5(WHOLE)
    assert (again["uploadUrl"], again["uploadMultipartUrls"], sent) == (None, None, 0)
    url = graph.urls(client, "v0")["big"]
    assert client.http.get(url, auth=graph.NOBODY).content == WHOLE


def test_big_file_whose_parts_alone_were_hashed_arrives_under_its_other_digest(
    client: Client,
) -> None:
    """The SDK tells no MD5 of an XXH128 file of 2 GiB or more, only that of each part."""
    artifact = graph.create(client, {"big": WHOLE}, digestAlgorithm="MANIFEST_XXH128")["id"]
    xxh = base64.b64encode(xxhash.xxh3_128_digest(WHOLE)).decode()
    node = _announce(client, artifact, WHOLE, md5="", digest=xxh)
    parts = _send(client, node, PIECES)
    client.gql(COMPLETE, **_completion(node, artifact, parts))
    again = _announce(client, artifact, WHOLE, md5="", digest=xxh)
    other = _announce(client, artifact, WHOLE, md5="", digest=graph.md5(b"something else"))
    _send(client, other, PIECES)
    unlike = client.refused(COMPLETE, **_completion(other, artifact, parts))
    _announce(client, artifact, WHOLE, md5="", digest=xxh)
    entry = {"digest": xxh, "size": len(WHOLE), "birthArtifactID": artifact}
    graph.put_manifest(client, artifact, {"big": {**entry, "extra": {"alg": "XXH128"}}})
    client.gql(graph.COMMIT, id=artifact)

    assert not any(header.startswith("Content-MD5") for header in node["uploadHeaders"])
    assert again["uploadUrl"] is again["uploadMultipartUrls"] is None
    assert "add up" in unlike
    url = graph.urls(client, "v0")["big"]
    assert client.http.get(url, auth=graph.NOBODY).content == WHOLE


def test_parts_have_to_be_the_announced_ones(client: Client) -> None:
    """A wrong part is refused; parts that are missing, or are not the file, cannot be completed."""
    artifact = graph.create(client, {"big": WHOLE})["id"]
    node = _announce(client, artifact, WHOLE)
    first = node["uploadMultipartUrls"]["uploadUrlParts"][0]["uploadUrl"]
    wrong = client.http.put(first, content=b"wrong", auth=graph.NOBODY).status_code
    md5s = [hashlib.md5(piece, usedforsecurity=False).hexdigest() for piece in PIECES]
    parts = [{"partNumber": n, "hexMD5": md5} for n, md5 in enumerate(md5s, start=1)]
    missing = client.refused(COMPLETE, **_completion(node, artifact, parts))
    fewer = client.refused(COMPLETE, **_completion(node, artifact, parts[:2]))
    other = _announce(client, artifact, b"another file")
    _send(client, other, PIECES)
    unlike = client.refused(COMPLETE, **_completion(other, artifact, parts))

    assert wrong == 400
    assert "not been uploaded" in missing
    assert "not the announced" in fewer
    assert "add up" in unlike


def test_distributed_version_is_what_all_its_processes_brought(client: Client) -> None:
    """Upserts with one id go to one pending version; only finishing commits it, without the older version's files."""
    read = client.sdk("""
def part(names):
    artifact = wandb.Artifact("ds", "dataset")
    for name in names:
        with artifact.new_file(name) as file: file.write(name)
    return artifact
with wandb.init(project="p") as run:
    log(run, "ds", {"old": "old"})
for number in (1, 2):
    with wandb.init(project="p", group="g") as run:
        run.upsert_artifact(part([f"{number}/a", f"{number}/b"]))
emit(before=[a.version for a in wandb.Api().artifacts("dataset", "sandbox/p/ds")])
with wandb.init(project="p", group="g") as run:
    run.finish_artifact(part(["last"]))
found = wandb.Api().artifact("sandbox/p/ds:latest")
path = found.download()
emit(version=found.version, count=found.file_count, paths=sorted(found.manifest.entries),
     content=open(os.path.join(path, "2/b")).read())
""")

    assert read["before"] == ["v0"]
    assert (read["version"], read["count"]) == ("v1", 5)
    assert read["paths"] == ["1/a", "1/b", "2/a", "2/b", "last"]
    assert read["content"] == "2/b"
