"""Nobody notices: with every kind of version and link, W&B shows the same before and after, by the real SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from acceptance_project import content, sums, tree, write
from acceptance_world import World

TEAM, PROJECT = "team", "p"
BOB = "b" * 40
REGISTRY = "Acme-org/wandb-registry-models"
FILES = {"a.bin": content("a"), "b/c.bin": content("c"), "small": b"small"}
ORGANIZE = """
wandb.Api().create_registry("models", visibility="organization", organization="Acme")
"""
# One collection of each kind; every version has an alias of its own, by which it is found again.
LOG = """
from datetime import timedelta
files, local = sys.argv[1:]
def begin(name, **more):
    return wandb.init(entity="team", project="p", id=name, **more)
def log(run, artifact, *aliases, **more):
    return run.log_artifact(artifact, aliases=list(aliases), **more).wait()
def draft(name, type="dataset", **more):
    artifact = wandb.Artifact(name, type, **more)
    artifact.add_dir(files)
    return artifact
def add(artifact, name, text):
    with artifact.new_file(name, mode="w") as file:
        file.write(text * 1000)
    return artifact
api = wandb.Api(overrides={"entity": "team"})
with begin("prepare") as run:
    run.log({"rows": 1}); run.log({"rows": 2})
    first = draft("ds", description="first", metadata={"rows": {"n": [1, 2.5, None]}})
    first.ttl = timedelta(days=30)
    first = log(run, first, "first", tags=["clean", "old one"])
    second = wandb.Artifact("ds", "dataset", incremental=True)
    second = log(run, add(second, "more.bin", "more"), "second")
    third = log(run, add(draft("ds"), "more.bin", "less"), "third", "latest")
    first.link("team/p/shelf", ["gold"])
    third.link("team/p/shelf", ["silver"])
    second.link("team/q/other")
    fast = log(run, draft("fast", digest_algorithm="XXH128"), "latest")
    mixed = draft("mixed")
    mixed.add_reference("file://" + local, "linked.txt")
    mixed.add_reference(first.get_entry("a.bin").ref_url(), "of another.bin")
    mixed.add(wandb.Table(columns=["n"], data=[[n] for n in range(50)]), "table")
    log(run, mixed, "latest")
for part in ("one", "two"):
    with begin(part, group="together") as run:
        run.upsert_artifact(add(wandb.Artifact("spread", "dataset"), part + ".bin", part))
with begin("three", group="together") as run:
    run.finish_artifact(wandb.Artifact("spread", "dataset")).wait()
with begin("user") as run:
    run.use_artifact(api.artifact("team/p/shelf:gold"))
    run.use_artifact(draft("made-by-hand")).wait()
with begin("train") as run:
    run.use_artifact("ds:third")
    model = draft("model", "model")
    model.ttl = timedelta(days=3)
    old = log(run, model, "one")
    new = log(run, add(draft("model", "model"), "w.bin", "w"), "two", "latest")
    run.link_artifact(new, "wandb-registry-models/best", aliases=["prod", "two"])
    run.link_artifact(old, "wandb-registry-models/best", aliases=["one"])
"""
# By alias, what a plain client is told and gets; `sys.argv[1]` is where to download to.
OBSERVE = """
api = wandb.Api(overrides={"entity": "team"})
names = ["team/p/" + name for name in ("ds", "fast", "mixed", "spread", "made-by-hand", "model", "shelf")]
names += ["team/q/other", "Acme-org/wandb-registry-models/best"]
found, ends = {}, {}
for name in names:
    kind = "model" if "model" in name else "dataset"
    versions = [v for v in api.artifacts(kind, name) if v.aliases]
    for version in versions:
        for alias in version.aliases:
            folder = os.path.join(sys.argv[1], name, alias)
            artifact = api.artifact(name + ":" + alias)
            artifact.download(root=folder)
            maker = artifact.logged_by()
            key = name + ":" + alias
            found[key] = {
                "type": artifact.type,
                "with": sorted(artifact.aliases),
                "tags": sorted(artifact.tags),
                "description": artifact.description,
                "metadata": {k: v for k, v in artifact.metadata.items() if k != "oxen"},
                "logged_by": [maker.id, artifact.history_step] if hasattr(maker, "id") else None,
                "used_by": sorted(run.id for run in artifact.used_by()),
                "linked": sorted(
                    link.qualified_name.split(":")[0]
                    for link in api.artifact(artifact.source_qualified_name).linked_artifacts),
                "files": {path: entry.size for path, entry in artifact.manifest.entries.items()},
            }
            if artifact.ttl:
                from datetime import datetime
                created = datetime.fromisoformat(artifact.created_at.replace("Z", "+00:00"))
                ends[key] = (created + artifact.ttl).timestamp()
emit({"found": found, "ends": ends})
"""


def organize(world: World) -> None:
    """A team of an organization with a registry, and bob, who is no admin."""
    for path, body in (
        ("users", {"name": "bob", "api_key": BOB, "admin": False}),
        ("organizations", {"name": "Acme", "username": world.entity}),
        ("organizations/Acme/members", {"username": "bob", "role": "member"}),
        ("teams", {"name": TEAM, "organization": "Acme", "username": world.entity}),
        ("teams", {"name": TEAM, "organization": "Acme", "username": "bob", "role": "member"}),
    ):
        admin(world, path, body)
    world.sdk(ORGANIZE)
    world.target = f"{TEAM}/{PROJECT}"
    world.configure()


def admin(world: World, path: str, body: dict[str, Any]) -> None:
    """An administrative call."""
    world.http.post(f"/sandbox/{path}", json=body).raise_for_status()


def observed(world: World, folder: Path) -> tuple[dict[str, Any], dict[str, float], Any]:
    """What a plain client is told, when what it is told expires, and the files it gets."""
    told = world.sdk(OBSERVE, str(folder))
    return told["found"], told["ends"], tree(folder)


def test_every_kind_of_version_and_link_looks_the_same_afterwards(
    empty: World, tmp_path: Path
) -> None:
    """Incremental, distributed, XXH128, partly references, by hand; portfolios and a registry."""
    organize(empty)
    write(tmp_path / "files", FILES)
    (tmp_path / "local.txt").write_text("kept by somebody else")
    empty.sdk(LOG, str(tmp_path / "files"), str(tmp_path / "local.txt"))
    before, ends, files = observed(empty, tmp_path / "before")
    assert files["team/p/shelf/gold/a.bin"] == sums(FILES)["a.bin"]
    assert f"{REGISTRY}/best:prod" in before
    assert set(ends) == {"team/p/ds:first", "team/p/shelf:gold"}
    empty.configure(references=empty.gateway())
    document = empty.backfill()
    assert document["failures"] == []
    assert document["versions"]["replaced"] == document["versions"]["discovered"] == 9
    after, ends_after, files_after = observed(empty, tmp_path / "after")

    assert after == before
    assert files_after == files
    assert ends_after == pytest.approx(ends, abs=60)
    verified = empty.syncd("verify", "--json").document
    assert (verified["verified"], verified["failed"]) == (9, 0), verified
    assert all(item["edited"] == [] for item in verified["versions"])
    empty.reset_stats()
    assert empty.backfill()["versions"]["replaced"] == 0
    changes = ("LinkArtifact", "UnlinkArtifact", "AddAliases", "UpdateArtifact", "CreateArtifact")
    assert [empty.asked(operation) for operation in changes] == [0] * len(changes)


def test_what_may_not_be_moved_is_told_before_anything_is_changed(
    empty: World, tmp_path: Path
) -> None:
    """A protected alias, a registry that may only be read; with the right to it, it is moved."""
    organize(empty)
    write(tmp_path / "files", FILES)
    empty.sdk(
        """
with wandb.init(entity="team", project="p", id="train") as run:
    for name in ("guarded", "listed", "free"):
        artifact = wandb.Artifact(name, "model")
        artifact.add_dir(sys.argv[1])
        logged = run.log_artifact(artifact, aliases=["latest", "prod" if name == "guarded" else "x"]).wait()
        if name == "listed":
            run.link_artifact(logged, "wandb-registry-models/best", aliases=["prod"])
""",
        str(tmp_path / "files"),
    )
    admin(empty, "settings", {"protected_aliases": {f"{TEAM}/{PROJECT}": ["prod"]}})
    admin(empty, "organizations/Acme/members", {"username": "bob", "role": "viewer"})
    empty.api_key = BOB
    document = empty.backfill(code=3)
    failures = {item["version"]: item for item in document["failures"]}

    assert set(failures) == {"team/p/guarded:v0", "team/p/listed:v0"}
    assert "may not move" in failures["team/p/guarded:v0"]["error"]
    assert "prod" in failures["team/p/guarded:v0"]["error"]
    assert "may only read" in failures["team/p/listed:v0"]["error"]
    assert all("Nothing was changed" in item["hint"] for item in failures.values())
    assert document["versions"]["replaced"] == 1
    assert versions(empty) == {"guarded": 1, "listed": 1, "free": 2}
    admin(empty, "settings", {"protected_aliases": {}})
    admin(empty, "organizations/Acme/members", {"username": "bob", "role": "member"})
    assert empty.backfill()["versions"]["replaced"] == 2
    assert versions(empty) == {"guarded": 2, "listed": 2, "free": 2}


def versions(world: World) -> dict[str, int]:
    """How many versions each collection has."""
    query = """
query Count($project: String!, $entity: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollections(first: 50) { edges { node { __typename name artifacts { totalCount } } } }
  }
}
"""
    edges = world.gql(query, project=PROJECT, entity=TEAM)["project"]["artifactCollections"][
        "edges"
    ]
    nodes = [edge["node"] for edge in edges]
    return {
        node["name"]: node["artifacts"]["totalCount"]
        for node in nodes
        if node["__typename"] == "ArtifactSequence"
    }
