from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import sandbox_graph as graph

if TYPE_CHECKING:
    from sandbox_client import Client

LINK = """
mutation LinkArtifact($input: LinkArtifactInput!) {
  linkArtifact(input: $input) {
    versionIndex artifactMembership { versionIndex aliases { alias } artifact { id } }
  }
}
"""


def test_link_has_aliases_and_versions_of_its_own(client: Client) -> None:
    """A portfolio numbers its versions itself; the newest link is latest; the source is untouched."""
    read = client.sdk("""
with wandb.init(project="p", id="r1") as run:
    log(run, "ds", {"f": "0"})
    one = log(run, "ds", {"f": "1"})
    run.link_artifact(one, "sandbox/q/shelf", aliases=["good"])
api = wandb.Api()
api.artifact("sandbox/p/ds:v0").link("q/shelf")
old, new = api.artifact("sandbox/q/shelf:v0"), api.artifact("sandbox/q/shelf:latest")
with wandb.init(project="q", id="user") as run:
    path = run.use_artifact("sandbox/q/shelf:good").download()
    emit(content=open(os.path.join(path, "f")).read())
emit(old=[old.version, old.aliases, old.source_name, old.is_link], new=[new.version, new.aliases, new.source_name],
     source=api.artifact("sandbox/p/ds:v1").aliases, users=[run.id for run in api.artifact("sandbox/p/ds:v1").used_by()],
     links=[a.qualified_name for a in api.artifact("sandbox/p/ds:v1").linked_artifacts],
     used=[a.qualified_name for a in api.run("sandbox/q/user").used_artifacts()])
new.unlink()
emit(exists=[api.artifact_exists("sandbox/q/shelf:v1"), api.artifact_exists("sandbox/p/ds:v0")])
""")

    assert read["old"] == ["v0", ["good"], "ds:v1", True]
    assert read["new"] == ["v1", ["latest"], "ds:v0"]
    assert (read["source"], read["content"]) == (["latest"], "1")
    assert (read["users"], read["used"]) == (["user"], ["sandbox/p/ds:v1"])
    assert read["links"] == ["sandbox/q/shelf:v0"]
    assert read["exists"] == [False, True]


def test_team_links_into_the_registry_of_its_organization(client: Client) -> None:
    """A registry takes versions from teams of its organization, and keeps them from expiring."""
    client.admin("organizations", {"name": "Acme Labs", "username": "sandbox"})
    client.admin("users", {"name": "bob", "api_key": "b" * 40, "admin": False})
    client.admin("organizations/Acme Labs/members", {"username": "bob", "role": "member"})
    client.admin("teams", {"name": "team", "organization": "Acme Labs", "username": "sandbox"})
    read = client.sdk("""
api = wandb.Api()
registry = api.create_registry("models", visibility="organization", organization="Acme Labs")
with wandb.init(entity="team", project="p") as run:
    model = log(run, "m", {"w": "1"}, type="model")
    link = run.link_artifact(model, "wandb-registry-models/best", aliases=["prod"])
api = wandb.Api(overrides={"entity": "team"})
path = "wandb-registry-models/best:prod"
found = api.artifact(path)
registry = api.registry("models", organization="Acme Labs")
emit(link=link.qualified_name, found=[found.version, sorted(found.aliases), found.source_qualified_name],
     collections=[c.name for c in registry.collections()], versions=[v.name for v in registry.versions()],
     registries=[r.name for r in api.registries(organization="Acme Labs")],
     by_filter=[c.name for c in api.registries(organization="Acme Labs", filter={"name": "models"}).collections(filter={"name": "best"})],
     ttl=api.artifact("team/p/m:v0").ttl)
""")
    personal = graph.log(client, {"f": b"1"})
    wanted = {
        "artifactID": personal,
        "artifactPortfolioName": "best",
        "entityName": "Acme Labs-org",
    }
    outside = client.refused(LINK, input={**wanted, "projectName": "wandb-registry-models"})
    missing = client.refused(LINK, input={**wanted, "projectName": "wandb-registry-none"})

    assert read["link"] == "Acme Labs-org/wandb-registry-models/best:v0"
    assert read["found"] == ["v0", ["latest", "prod"], "team/p/m:v0"]
    assert (read["collections"], read["versions"]) == (["best"], ["best:v0"])
    assert (read["registries"], read["by_filter"]) == (["models"], ["best"])
    assert read["ttl"] is None
    assert "does not belong" in outside
    assert missing


def test_linking_again_adds_aliases_and_no_version(client: Client) -> None:
    """The same version is in a portfolio once."""
    artifact = graph.log(client, {"f": b"1"})
    wanted = {"artifactID": artifact, "artifactPortfolioName": "shelf", "projectName": "q"}
    client.gql(LINK, input=wanted)
    alias = {"artifactCollectionName": "shelf", "alias": "good"}
    again = client.gql(LINK, input={**wanted, "aliases": [alias]})["linkArtifact"]

    assert again["versionIndex"] == 0
    names = [alias["alias"] for alias in again["artifactMembership"]["aliases"]]
    assert sorted(names) == ["good", "latest"]


def test_people_can_be_added_and_lose_access(client: Client) -> None:
    """Administrative calls can be repeated; a deleted user's key is worth nothing."""
    for _ in range(2):
        client.admin("users", {"name": "ann", "api_key": "ann", "admin": False})
        client.admin("organizations", {"name": "o", "username": "ann"})
        client.admin("teams", {"name": "t", "organization": "o", "username": "ann"})
    query = {"query": "{ viewer { username teams { edges { node { name } } } } }"}
    seen = httpx.post(f"{client.base_url}/graphql", json=query, auth=("api", "ann")).json()
    http = client.http
    assert http.delete("/sandbox/users/ann").is_success
    assert http.delete("/sandbox/organizations/o").is_success
    after = httpx.post(f"{client.base_url}/graphql", json=query, auth=("api", "ann"))

    teams = [edge["node"]["name"] for edge in seen["data"]["viewer"]["teams"]["edges"]]
    assert teams == ["ann", "t"]
    assert after.status_code == 401
    assert client.gql('{ organization(name: "o") { id } }') == {"organization": None}
