from __future__ import annotations

from typing import TYPE_CHECKING

import sandbox_graph as graph

if TYPE_CHECKING:
    from sandbox_client import Client


def test_download_equals_what_was_logged_under_hostile_names(client: Client) -> None:
    """Files, directories and references come back byte for byte; known bytes are not sent again."""
    logged = client.sdk("""
files = {
    "plain.bin": bytes(range(256)) * 3, "same.bin": bytes(range(256)) * 3, "ascii": bytes(range(128)), "empty": b"",
    "a b/c#d?e%20%f+g&h=i.txt": b"hostile", "ünï/日本語.txt": b"unicode", "d/" * 20 + "deep": b"deep",
    "it's \\"quoted\\"": b"quoted", "big": b"x" * 3_000_000,
}
os.mkdir("tree"); open("tree/one", "w").write("one"); open("tree/two", "w").write("two")
open("outside", "w").write("by reference")
artifact = wandb.Artifact("ds", "dataset")
for path, content in files.items():
    with artifact.new_file(path, mode="wb") as file: file.write(content)
artifact.add_dir("tree", name="tree")
artifact.add_reference("file://" + os.path.abspath("outside"), name="refs/outside")
artifact.add_reference(os.environ["WANDB_BASE_URL"] + "/healthz", checksum=False, name="refs/web")
with wandb.init(project="p") as run:
    run.log_artifact(artifact).wait()
    log(run, "copy", {"again": bytes(range(128)).decode(), "empty too": ""})
emit(size=artifact.size, count=artifact.file_count, digest=artifact.digest)
""")
    stats = client.stats()
    read = client.sdk("""
artifact = wandb.Api().artifact("sandbox/p/ds:latest")
artifact.download("out", skip_cache=True)
found = {os.path.relpath(os.path.join(root, name), "out"): open(os.path.join(root, name), "rb").read()
         for root, _, names in os.walk("out") for name in names}
emit(
    paths=sorted(found), entries=sorted(artifact.manifest.entries), hostile=found["a b/c#d?e%20%f+g&h=i.txt"].decode(),
    unicode=found["ünï/日本語.txt"].decode(), quoted=found["it's \\"quoted\\""].decode(),
    empty=len(found["empty"]), big=found["big"] == b"x" * 3_000_000,
    same=found["same.bin"] == found["plain.bin"] == bytes(range(256)) * 3,
    outside=found["refs/outside"].decode(), web=found["refs/web"].decode(), digest=artifact.digest,
    listed=sorted(file.name for file in artifact.files(per_page=3)),
)
""")

    assert logged["count"] == 13
    assert stats["uploads"] == 11
    assert read["paths"] == read["entries"] == read["listed"]
    assert (read["hostile"], read["unicode"], read["quoted"]) == ("hostile", "unicode", "quoted")
    assert (read["empty"], read["big"], read["same"]) == (0, True, True)
    assert (read["outside"], read["web"]) == ("by reference", "ok")
    assert read["digest"] == logged["digest"]


def test_edits_are_kept_and_an_alias_belongs_to_one_version(client: Client) -> None:
    """Description, metadata, tags, aliases and time to live can be changed; moving an alias takes it away."""
    client.sdk("""
from datetime import timedelta
with wandb.init(project="p") as run:
    log(run, "ds", {"f": "0"}, aliases=["best"], description="old", metadata={"k": [1]})
    log(run, "ds", {"f": "1"})
api = wandb.Api()
first, second = api.artifact("sandbox/p/ds:v0"), api.artifact("sandbox/p/ds:v1")
first.description = "new"; first.metadata["more"] = {"deep": True}
first.tags = ["t 1", "t2"]; first.ttl = timedelta(days=2)
first.save()
first.tags = ["t2"]; first.aliases.append("extra"); first.save()
second.aliases = ["latest", "best"]; second.save()
""")
    read = client.sdk("""
api = wandb.Api()
first, second = api.artifact("sandbox/p/ds:v0"), api.artifact("sandbox/p/ds:best")
emit(description=first.description, metadata=first.metadata, tags=first.tags, ttl=first.ttl.days,
     aliases=[first.aliases, sorted(second.aliases)], best=second.version, none=second.ttl,
     tagged=[v.version for v in api.artifacts("dataset", "sandbox/p/ds", tags=["t2"])])
""")

    assert read["description"] == "new"
    assert read["metadata"] == {"k": [1], "more": {"deep": True}}
    assert (read["tags"], read["tagged"], read["ttl"]) == (["t2"], ["v0"], 2)
    assert read["aliases"] == [["extra"], ["best", "latest"]]
    assert (read["best"], read["none"]) == ("v1", None)


def test_new_draft_keeps_entries_without_sending_them_again(client: Client) -> None:
    """A draft of a version is a new one with the old entries; only what was added travels."""
    client.sdk("""
with wandb.init(project="p") as run:
    log(run, "ds", {"a": "A", "b": "B", "c": "C"})
""")
    client.admin("stats/reset", {})
    client.sdk("""
draft = wandb.Api().artifact("sandbox/p/ds:latest").new_draft()
draft.remove("c")
with draft.new_file("d") as file: file.write("D")
with wandb.init(project="p") as run:
    run.log_artifact(draft).wait()
""")
    stats = client.stats()
    read = client.sdk("""
api = wandb.Api()
api.artifact("sandbox/p/ds:v0").delete(delete_aliases=True)
path = api.artifact("sandbox/p/ds:v1").download()
emit(files={name: open(os.path.join(path, name)).read() for name in sorted(os.listdir(path))})
""")

    assert stats["uploads"] == 1
    assert read["files"] == {"a": "A", "b": "B", "d": "D"}


def test_incremental_version_is_its_base_and_what_was_added(client: Client) -> None:
    """An incremental artifact's manifest is merged into that of the latest version."""
    read = client.sdk("""
with wandb.init(project="p") as run:
    log(run, "ds", {"a": "A", "b": "B"})
    log(run, "ds", {"b": "new", "c": "C"}, incremental=True)
artifact = wandb.Api().artifact("sandbox/p/ds:latest")
path = artifact.download()
emit(version=artifact.version, count=artifact.file_count,
     files={name: open(os.path.join(path, name)).read() for name in sorted(os.listdir(path))})
""")

    assert (read["version"], read["count"]) == ("v1", 3)
    assert read["files"] == {"a": "A", "b": "new", "c": "C"}


def test_xxh128_entries_are_found_by_their_own_digest(client: Client) -> None:
    """An XXH128 version keeps its digests and downloads, by file list and entry by entry."""
    read = client.sdk("""
with wandb.init(project="p") as run:
    log(run, "ds", {"f": "hello"}, digest_algorithm="XXH128")
api = wandb.Api()
artifact = api.artifact("sandbox/p/ds:latest")
entry = artifact.get_entry("f")
single = open(entry.download(root="one", skip_cache=True)).read()
whole = open(os.path.join(artifact.download("all", skip_cache=True), "f")).read()
emit(digest=entry.digest, extra=entry.extra, single=single, whole=whole)
""")

    assert read["digest"] == "tenBrQcbPn/Hec+qXlI4GA=="
    assert read["extra"] == {"alg": "XXH128"}
    assert (read["single"], read["whole"]) == ("hello", "hello")


def test_same_content_is_the_same_version(client: Client) -> None:
    """Any earlier version with the digest is given back, with the new aliases and one more output edge."""
    read = client.sdk("""
with wandb.init(project="p", id="r1") as run:
    log(run, "ds", {"f": "0"})
    log(run, "ds", {"f": "1"})
with wandb.init(project="p", id="r2") as run:
    again = log(run, "ds", {"f": "0"}, aliases=["again"])
    emit(version=again.version)
api = wandb.Api()
emit(outputs=[a.name for a in api.run("sandbox/p/r2").logged_artifacts()],
     creator=api.artifact("sandbox/p/ds:v0").logged_by().id,
     aliases=sorted(api.artifact("sandbox/p/ds:again").aliases),
     count=len(api.artifacts("dataset", "sandbox/p/ds")))
""")

    assert (read["version"], read["outputs"], read["creator"]) == ("v0", ["ds:v0"], "r1")
    assert (read["aliases"], read["count"]) == (["again", "latest"], 2)


def test_lineage_leads_both_ways(client: Client) -> None:
    """What a run used and logged, and who logged and used a version."""
    read = client.sdk("""
with wandb.init(project="p", id="maker") as run:
    log(run, "ds", {"f": "0"})
with wandb.init(project="q", id="trainer") as run:
    run.use_artifact("sandbox/p/ds:latest"); run.use_artifact("sandbox/p/ds:v0")
    log(run, "model", {"w": "1"}, type="model")
api = wandb.Api()
trainer = api.run("sandbox/q/trainer")
dataset = api.artifact("sandbox/p/ds:v0")
api.create_run(run_id="late", project="p")
late = api.run("sandbox/p/late")
late.use_artifact(dataset)
late.log_artifact(dataset, aliases=["late"])
emit(late=[[a.name for a in late.used_artifacts()], [a.name for a in late.logged_artifacts()]],
     aliases=sorted(api.artifact("sandbox/p/ds:v0").aliases))
emit(used=[a.qualified_name for a in trainer.used_artifacts()],
     logged=[a.qualified_name for a in trainer.logged_artifacts()],
     users=[run.id for run in dataset.used_by()], maker=dataset.logged_by().id)
""")

    assert read["used"] == ["sandbox/p/ds:v0"]
    assert read["logged"] == ["sandbox/q/model:v0"]
    assert (read["users"], read["maker"]) == (["trainer", "late"], "maker")
    assert read["late"] == [["ds:v0"], ["ds:v0"]]
    assert read["aliases"] == ["late", "latest"]


def test_listings_come_in_pages_and_survive_writes_in_between(client: Client) -> None:
    """Every version, collection and type is listed once, whatever the page size."""
    for number in range(5):
        graph.log(client, {"f": str(number).encode()})
        graph.log(client, {"f": b"1"}, artifactCollectionName=f"other-{number}")
    graph.log(client, {"f": b"1"}, artifactCollectionName="m", artifactTypeName="model")
    read = client.sdk("""
api = wandb.Api()
versions = api.artifacts("dataset", "sandbox/p/ds", per_page=2)
seen = []
for version in versions:
    seen.append(version.version)
    if len(seen) == 1:
        with wandb.init(project="p") as run:
            log(run, "ds", {"f": "later"})
collections = api.artifact_type("dataset", "sandbox/p").collections(per_page=2)
emit(versions=seen, ascending=[v.version for v in api.artifacts("dataset", "sandbox/p/ds", order="version_index")],
     collections=sorted(c.name for c in collections), count=len(collections),
     types=sorted(t.name for t in api.artifact_types("sandbox/p")),
     exists=[api.artifact_exists("sandbox/p/ds:v3"), api.artifact_exists("sandbox/p/ds:v9")])
""")

    assert read["versions"] == ["v4", "v3", "v2", "v1", "v0"]
    assert read["ascending"] == ["v0", "v1", "v2", "v3", "v4", "v5"]
    assert read["collections"] == ["ds", *(f"other-{number}" for number in range(5))]
    assert read["count"] == 6
    assert read["types"] == ["dataset", "model"]
    assert read["exists"] == [True, False]


def test_deleted_version_needs_its_aliases_gone_and_its_index_is_not_reused(
    client: Client,
) -> None:
    """Deletion is refused while aliases remain; bytes of other versions stay."""
    read = client.sdk("""
with wandb.init(project="p") as run:
    log(run, "ds", {"own": "0", "shared": "s"})
    log(run, "ds", {"own": "1", "shared": "s"})
api = wandb.Api()
newest = api.artifact("sandbox/p/ds:v1")
try: newest.delete()
except Exception as error: emit(refused=str(error))
newest.delete(delete_aliases=True)
with wandb.init(project="p") as run:
    again = log(run, "ds", {"own": "1", "shared": "s"})
    emit(version=again.version)
path = api.artifact("sandbox/p/ds:v0").download()
emit(gone=api.artifact_exists("sandbox/p/ds:v1"), files=sorted(os.listdir(path)))
""")

    assert "aliases" in read["refused"]
    assert (read["version"], read["gone"]) == ("v2", False)
    assert read["files"] == ["own", "shared"]


def test_collections_can_be_renamed_tagged_moved_and_deleted(client: Client) -> None:
    """Edits of a collection hold for its versions; deleting it deletes them."""
    graph.log(client, {"f": b"1"})
    read = client.sdk("""
api = wandb.Api()
collection = api.artifact_collection("dataset", "sandbox/p/ds")
collection.name = "renamed"; collection.description = "about"; collection.tags = ["x"]; collection.save()
collection.change_type("raw")
collection = api.artifact_collection("raw", "sandbox/p/renamed")
emit(description=collection.description, tags=list(collection.tags), type=api.artifact("sandbox/p/renamed:v0").type)
collection.delete()
emit(left=api.artifact_exists("sandbox/p/renamed:v0"))
""")

    assert (read["description"], read["tags"], read["type"]) == ("about", ["x"], "raw")
    assert read["left"] is False


def test_name_has_one_type_in_a_project(client: Client) -> None:
    """Logging another type under a known name is refused, by the server as well."""
    graph.log(client, {"f": b"1"})
    values = {
        "entityName": "sandbox",
        "projectName": "p",
        "artifactTypeName": "model",
        "artifactCollectionName": "ds",
        "digest": "0" * 32,
    }

    assert "already exists with type" in client.refused(graph.CREATE, input=values)


def test_version_with_a_file_that_never_arrived_is_not_committed(client: Client) -> None:
    """Committing looks at every entry's bytes."""
    artifact = graph.create(client, {"f": b"1"})["id"]
    nothing = client.refused(graph.COMMIT, id=artifact)
    graph.fill(client, artifact, {})
    content = graph.manifest_of({"f": {"digest": graph.md5(b"1")}})
    target = {"artifactID": artifact, "entityName": "sandbox", "projectName": "p"}
    made = client.gql(
        graph.MANIFEST,
        input={**target, "name": "wandb_manifest.json", "digest": graph.md5(content)},
    )
    node = made["createArtifactManifest"]["artifactManifest"]["file"]
    http = client.http
    graph.upload(http, node, content)

    assert "manifest" in nothing
    assert "'f' has not been uploaded" in client.refused(graph.COMMIT, id=artifact)
    assert graph.version(client, "ds:v0") is None
