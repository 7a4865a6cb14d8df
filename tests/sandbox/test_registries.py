from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox_client import Client

_PEOPLE = """
def refused(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__ + " " + str(error)
api = wandb.Api()
"""


def _organize(client: Client) -> None:
    client.admin("organizations", {"name": "o", "username": "sandbox"})
    client.admin("teams", {"name": "t", "organization": "o", "username": "sandbox"})


def test_registry_is_renamed_and_deleted(client: Client) -> None:
    """The collections go along with a name; after the end only the sources are left, and the name is free."""
    _organize(client)
    read = client.sdk(f"""{_PEOPLE}
registry = api.create_registry("r", visibility="organization", organization="o", description="d")
other = api.create_registry("other", visibility="organization", organization="o")
with wandb.init(entity="t", project="p") as run:
    made = log(run, "m", {{"f": "0"}}, type="model")
    run.link_artifact(made, "wandb-registry-r/models", aliases=["best"])
registry.name = "s"
registry.save()
emit(renamed=[registry.name, registry.description, [c.name for c in registry.collections()]],
     version=api.artifact("o-org/wandb-registry-s/models:best").version,
     old=refused(lambda: api.registry("r", "o")))
other.name = "s"
emit(taken=refused(other.save))
registry.delete()
emit(again=refused(registry.delete), gone=refused(lambda: api.registry("s", "o")),
     source=[api.artifact("t/p/m:v0").version, [a.qualified_name for a in api.artifact("t/p/m:v0").linked_artifacts]],
     fresh=[c.name for c in api.create_registry("s", visibility="organization", organization="o").collections()])
""")

    assert read["renamed"] == ["s", "d", ["models"]]
    assert read["version"] == "v0"
    assert read["old"]
    assert "already exists" in read["taken"]
    assert "Failed to delete" in read["again"]
    assert read["gone"]
    assert (read["source"], read["fresh"]) == (["v0", []], [])


def test_project_with_runs_cannot_be_deleted(client: Client) -> None:
    """Deletion is for registries; a project keeps its runs and versions, and its kind of name."""
    client.gql('mutation U { upsertBucket(input: {name: "r", modelName: "p"}) { bucket { id } } }')
    project = client.gql('{ project(name: "p", entityName: "sandbox") { id } }')["project"]["id"]
    message = client.refused(
        "mutation D($id: String!) { deleteModel(input: {id: $id}) { success } }", id=project
    )
    renamed = client.refused("""mutation R { renameProject(input:
        {entityName: "sandbox", oldProjectName: "p", newProjectName: "wandb-registry-p"}) { inserted } }""")

    assert "only a registry" in message
    assert "cannot be named" in renamed


def test_registry_has_members(client: Client) -> None:
    """Users and teams join in a role, change it and leave; leaving twice is fine."""
    _organize(client)
    client.admin("users", {"name": "ann", "api_key": "a" * 40, "admin": False})
    read = client.sdk(f"""{_PEOPLE}
registry = api.create_registry("r", visibility="organization", organization="o")
ann, team = api.user("ann"), api.create_team("free")
def people():
    return sorted([m.user.username, m.role] for m in registry.user_members()) + [[m.team.name, m.role] for m in registry.team_members()]
registry.add_members(ann, team)
emit(joined=people())
registry.update_member(ann, "restricted_viewer").update_member(team, "admin").add_members(ann)
emit(changed=people(), wrong=refused(lambda: registry.update_member(ann, "king")))
registry.remove_members(ann.id, team).remove_members(ann)
emit(left=people())
""")

    assert read["joined"] == [["ann", "member"], ["sandbox", "admin"], ["free", "member"]]
    assert read["changed"] == [
        ["ann", "restricted_viewer"],
        ["sandbox", "admin"],
        ["free", "admin"],
    ]
    assert "unknown role" in read["wrong"]
    assert read["left"] == [["sandbox", "admin"]]


def test_source_of_a_link_is_hidden_from_outsiders(client: Client) -> None:
    """Who is not in the team reads the link and gives it aliases, and does not see where it comes from."""
    _organize(client)
    client.admin("users", {"name": "ann", "api_key": "a" * 40, "admin": False})
    client.admin("organizations/o/members", {"username": "ann", "role": "member"})
    client.sdk("""
api = wandb.Api()
api.create_registry("r", visibility="organization", organization="o")
with wandb.init(entity="t", project="p") as run:
    run.link_artifact(log(run, "m", {"f": "0"}, type="model"), "wandb-registry-r/models")
""")
    script = """
found = wandb.Api().artifact("o-org/wandb-registry-r/models:v0")
found.aliases.append("mine")
found.save()
emit(source=[found.source_entity, found.source_project], content=open(os.path.join(found.download(), "f")).read(),
     aliases=sorted(wandb.Api().artifact("o-org/wandb-registry-r/models:v0").aliases))
"""
    outside = client.sdk(script, api_key="a" * 40)
    invited = client.sdk('emit(done=wandb.Api().team("t").invite("ann"))')
    inside = client.sdk(script, api_key="a" * 40)
    client.sdk('[m.delete() for m in wandb.Api().team("t").members if m.username == "ann"]')
    after = client.sdk(script, api_key="a" * 40)

    assert (outside["content"], outside["aliases"]) == ("0", ["latest", "mine"])
    assert not any(outside["source"])
    assert invited["done"] is True
    assert inside["source"] == ["t", "p"]
    assert not any(after["source"])
