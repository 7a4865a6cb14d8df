"""The GraphQL requests of a client that logs versions without the SDK, into runs that may be long finished."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client import Client

# Storage asks for no key, and the SDK sends none there.
NOBODY = httpx.Auth()

UPSERT_RUN = """
mutation UpsertBucket($project: String, $name: String, $state: String) {
  upsertBucket(input: {modelName: $project, name: $name, state: $state}) {
    bucket { id name state } inserted
  }
}
"""
CREATE = """
mutation CreateArtifact($input: CreateArtifactInput!) {
  createArtifact(input: $input) { artifact { id state artifactSequence { latestArtifact { id } } } }
}
"""
MANIFEST = """
mutation CreateArtifactManifest($input: CreateArtifactManifestInput!) {
  createArtifactManifest(input: $input) {
    artifactManifest { id file { id uploadUrl uploadHeaders } }
  }
}
"""
FILES = """
mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) {
  createArtifactFiles(input: $input) {
    files { edges { node { storagePath uploadUrl uploadHeaders artifact { id } } } }
  }
}
"""
COMMIT = """
mutation CommitArtifact($id: ID!) {
  commitArtifact(input: {artifactID: $id}) { artifact { id digest versionIndex size fileCount } }
}
"""
VERSION = """
query Version($project: String!, $name: String!) {
  project(name: $project, entityName: "sandbox") {
    artifactCollectionMembership(name: $name) {
      versionIndex
      aliases { alias }
      artifact { id digest size state description metadata createdBy { ... on Run { name } } }
    }
  }
}
"""
URLS = """
query Urls($project: String!, $collection: String!, $alias: String!, $names: [String!]) {
  project(name: $project, entityName: "sandbox") {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: $alias) {
        artifact { currentManifest { file { directUrl } } }
        files(first: 5000, names: $names) { edges { node { name directUrl sizeBytes digest } } }
      }
    }
  }
}
"""


def md5(content: bytes) -> str:
    """The base64 MD5 of some bytes."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def manifest_of(contents: Mapping[str, Any]) -> bytes:
    """A manifest as the SDK writes it."""
    head = {"version": 1, "storagePolicy": "wandb-storage-policy-v1"}
    config = {"storagePolicyConfig": {"storageLayout": "V2"}}
    return json.dumps({**head, **config, "contents": contents}).encode()


def upload(http: httpx.Client, node: Mapping[str, Any], content: bytes) -> int:
    """Put bytes where a file node says; the status."""
    headers = dict(header.split(":", 1) for header in node["uploadHeaders"])
    status: int = http.put(
        node["uploadUrl"], content=content, headers=headers, auth=NOBODY
    ).status_code
    return status


def create(client: Client, files: Mapping[str, bytes], **fields: Any) -> dict[str, Any]:
    """Begin a version; the server's answer."""
    lines = "".join(f"{path}:{md5(files[path])}\n" for path in sorted(files))
    text = "wandb-artifact-manifest-v1\n" + lines
    values = {
        "entityName": "sandbox",
        "projectName": "p",
        "artifactTypeName": "dataset",
        "artifactCollectionName": "ds",
        "digest": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
        **fields,
    }
    answer: dict[str, Any] = client.gql(CREATE, input=values)["createArtifact"]["artifact"]
    return answer


def fill(client: Client, artifact: str, files: Mapping[str, bytes]) -> int:
    """Upload the files and the manifest of a begun version; how many files had to travel."""
    sent = 0
    http = client.http
    specs = [
        {"artifactID": artifact, "name": path, "md5": md5(content)}
        for path, content in files.items()
    ]
    edges = client.gql(FILES, input={"artifactFiles": specs})["createArtifactFiles"]["files"]
    for edge, content in zip(edges["edges"], files.values(), strict=True):
        if edge["node"]["uploadUrl"] is not None:
            assert upload(http, edge["node"], content) == 200
            sent += 1
    contents = {
        path: {"digest": md5(content), "size": len(content), "birthArtifactID": artifact}
        for path, content in files.items()
    }
    put_manifest(client, artifact, contents)
    return sent


def put_manifest(client: Client, artifact: str, contents: Mapping[str, Any]) -> None:
    """Upload the manifest of a begun version, over one that was there."""
    target = {
        "artifactID": artifact,
        "entityName": "sandbox",
        "projectName": "p",
        "name": "wandb_manifest.json",
        "type": "FULL",
    }
    manifest = manifest_of(contents)
    made = client.gql(MANIFEST, input={**target, "digest": md5(manifest)})
    node = made["createArtifactManifest"]["artifactManifest"]["file"]
    assert upload(client.http, node, manifest) == 200


def log(client: Client, files: Mapping[str, bytes], **fields: Any) -> str:
    """Log a version; its id."""
    artifact: str = create(client, files, **fields)["id"]
    fill(client, artifact, files)
    client.gql(COMMIT, id=artifact)
    return artifact


def version(client: Client, name: str) -> dict[str, Any] | None:
    """What `collection:version` of project p is."""
    found: dict[str, Any] | None = client.gql(VERSION, project="p", name=name)["project"][
        "artifactCollectionMembership"
    ]
    return found


def urls(client: Client, alias: str, *names: str) -> dict[str, str]:
    """The download URLs of a version of p/ds by path."""
    variables: dict[str, Any] = {"project": "p", "collection": "ds", "alias": alias}
    data = client.gql(URLS, **variables, names=list(names) or None)
    edges = data["project"]["artifactCollection"]["artifactMembership"]["files"]["edges"]
    return {edge["node"]["name"]: edge["node"]["directUrl"] for edge in edges}
