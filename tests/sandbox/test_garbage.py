from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sandbox_graph as graph

if TYPE_CHECKING:
    from sandbox_client import Client

DELETE = """
mutation DeleteArtifact($id: ID!) {
  deleteArtifact(input: {artifactID: $id, deleteAliases: true}) { artifact { id } }
}
"""


def _collect(client: Client, **body: Any) -> dict[str, Any]:
    report: dict[str, Any] = client.post("/sandbox/gc", body).json()
    return report


def test_bytes_of_deleted_versions_stay_until_they_are_collected(client: Client) -> None:
    """Deletion is soft; collection frees what no manifest needs, and nothing else, once."""
    first = graph.log(client, {"own": b"12345", "shared": b"123"})
    graph.log(client, {"shared": b"123"})
    own = graph.urls(client, "v0", "own")["own"]
    client.gql(DELETE, id=first)
    kept = client.stats()["stored_bytes"]
    readable = client.http.get(own, auth=graph.NOBODY).content
    reports = [_collect(client), _collect(client)]

    assert (kept, readable) == (8, b"12345")
    assert [report["freed_bytes"] for report in reports] == [5, 0]
    assert client.stats()["stored_bytes"] == 3
    assert client.http.get(own, auth=graph.NOBODY).status_code == 404
    shared = graph.urls(client, "v0", "shared") if graph.version(client, "ds:v0") else None
    assert shared is None
    assert client.http.get(graph.urls(client, "v1")["shared"], auth=graph.NOBODY).content == b"123"


def test_pending_version_keeps_the_bytes_it_counts_on(client: Client) -> None:
    """A file that need not be uploaded is not taken away before the commit; later it may go again."""
    first = graph.log(client, {"f": b"12345"})
    pending = graph.create(client, {"f": b"12345"}, artifactCollectionName="other")["id"]
    sent = graph.fill(client, pending, {"f": b"12345"})
    client.gql(DELETE, id=first)
    before = _collect(client)["freed_bytes"]
    client.gql(graph.COMMIT, id=pending)
    client.gql(DELETE, id=pending)

    assert (sent, before) == (0, 0)
    assert _collect(client)["freed_bytes"] == 5


def test_draft_of_a_version_outlives_the_one_its_files_were_born_in(client: Client) -> None:
    """Entries that point at a deleted version's bytes stay downloadable after collection, XXH128 ones too."""
    client.sdk("""
with wandb.init(project="p") as run:
    log(run, "ds", {"a": "A", "b": "B"}, digest_algorithm="XXH128")
def draft(number):
    made = wandb.Api().artifact("sandbox/p/ds:latest").new_draft()
    with made.new_file(f"more{number}") as file: file.write(str(number))
    with wandb.init(project="p") as run: run.log_artifact(made).wait()
draft(1)
wandb.Api().artifact("sandbox/p/ds:v0").delete(delete_aliases=True)
""")
    _collect(client)
    read = client.sdk("""
made = wandb.Api().artifact("sandbox/p/ds:latest").new_draft()
made.remove("b")
with wandb.init(project="p") as run: run.log_artifact(made).wait()
path = wandb.Api().artifact("sandbox/p/ds:latest").download()
emit(files={name: open(os.path.join(path, name)).read() for name in sorted(os.listdir(path))})
""")

    assert read["files"] == {"a": "A", "more1": "1"}


def test_version_expires_when_its_time_is_over_unless_a_registry_or_its_type_keeps_it(
    client: Client,
) -> None:
    """Collection deletes what has expired by the given time; types the client makes itself never expire."""
    client.admin("organizations", {"name": "acme", "username": "sandbox"})
    client.admin("teams", {"name": "team", "organization": "acme", "username": "sandbox"})
    read = client.sdk("""
from datetime import timedelta
api = wandb.Api()
api.create_registry("models", organization="acme", visibility="organization")
day = timedelta(days=1)
with wandb.init(project="p", entity="team") as run:
    for name in ("short", "long", "kept"):
        artifact = wandb.Artifact(name, "dataset"); artifact.ttl = 10 * day if name == "long" else day
        with artifact.new_file("f") as file: file.write(name)
        logged = run.log_artifact(artifact).wait()
        if name == "kept": run.link_artifact(logged, "acme-org/wandb-registry-models/kept")
    artifact = wandb.Artifact("script", "code"); artifact.ttl = day
    with artifact.new_file("f") as file: file.write("code")
    run.log_artifact(artifact).wait()
kept = api.artifact("team/p/kept:v0")
kept.ttl = day; kept.save()
emit(ttl={name: str(api.artifact(f"team/p/{name}:v0").ttl) for name in ("short", "kept", "script")})
""")
    now = _collect(client)["expired"]
    report = _collect(client, now="2100-01-01T00:00:00+00:00")
    left = client.sdk("""
emit(left=[n for n in ("short", "long", "kept", "script") if wandb.Api().artifact_exists(f"team/p/{n}:v0")])
""")

    assert read["ttl"] == {"short": "1 day, 0:00:00", "kept": "None", "script": "None"}
    assert (now, report["expired"]) == (0, 2)
    assert report["freed_bytes"] == len("short") + len("long")
    assert left["left"] == ["kept", "script"]
