from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sandbox_graph as graph

if TYPE_CHECKING:
    from sandbox_client import Client

KEYS = {name: f"{name}-" + name[0] * 40 for name in ("ann", "bob", "eve", "val")}


@pytest.fixture
def team(client: Client) -> Client:
    """A server with a team of ann (admin), bob (member) and val (viewer), where a version is logged."""
    for name, key in KEYS.items():
        client.admin("users", {"name": name, "api_key": key, "admin": False})
    client.admin("organizations", {"name": "acme", "username": "ann"})
    for name, role in (("ann", "admin"), ("bob", "member"), ("val", "viewer")):
        client.admin(
            "teams", {"name": "team", "organization": "acme", "username": name, "role": role}
        )
    graph.log(client, {"f": b"1"}, entityName="team")
    return client


def test_viewer_can_read_and_nothing_else(team: Client) -> None:
    """The project is told to be read-only; runs, edits and deletions are refused, and nothing changes."""
    script = """
api = wandb.Api()
def refused(work):
    try: work()
    except Exception as error: return str(error)
def begin(): wandb.init(project="p", entity="team", settings=wandb.Settings(init_timeout=20))
answer = api._service_api.execute_graphql(
    'query IsProjectReadOnly { project(name: "p", entityName: "team") { readOnly } }', {}, parse=json.loads)
emit(read_only=answer["project"]["readOnly"])
"""
    read = team.sdk(
        script
        + """
emit(content=open(os.path.join(api.artifact("team/p/ds:v0").download(), "f")).read(),
     begun=refused(begin), deleted=refused(lambda: api.artifact("team/p/ds:v0").delete(delete_aliases=True)),
     collection=refused(lambda: api.artifact_collection("dataset", "team/p/ds").delete()))
""",
        api_key=KEYS["val"],
    )
    written = team.sdk(
        script + 'emit(there=api.artifact_exists("team/p/ds:v0"))', api_key=KEYS["bob"]
    )

    assert (read["read_only"], read["content"]) == (True, "1")
    for what in ("begun", "deleted", "collection"):
        assert "permission denied" in read[what]
    assert (written["read_only"], written["there"]) == (False, True)


def test_outsider_sees_nothing_of_a_team(team: Client) -> None:
    """For a user outside the team there is no such project, and none to write to."""
    read = team.sdk(
        """
try: wandb.init(project="p", entity="team", settings=wandb.Settings(init_timeout=20))
except Exception as error: emit(begun=str(error))
emit(there=wandb.Api().artifact_exists("team/p/ds:v0"))
""",
        api_key=KEYS["eve"],
    )

    assert "permission denied" in read["begun"]
    assert read["there"] is False


def test_protected_alias_is_for_admins_only(team: Client) -> None:
    """Members can neither give nor take it, nor delete the version that has it; other aliases stay free."""
    team.admin("settings", {"protected_aliases": {"team/p": ["production"]}})
    read = team.sdk(
        f"KEYS = {KEYS!r}"
        """
def attempt(who, work):
    found = wandb.Api(api_key=KEYS[who]).artifact("team/p/ds:v0")
    try: work(found)
    except Exception as error: return str(error)
def alias(*names):
    def work(found): found.aliases = list(names); found.save()
    return work
emit(given=attempt("bob", alias("production")), free=attempt("bob", alias("free")),
     admin=attempt("ann", alias("free", "production")),
     deleted=attempt("bob", lambda found: found.delete(delete_aliases=True)),
     taken=attempt("bob", alias("free")),
     aliases=sorted(wandb.Api(api_key=KEYS["bob"]).artifact("team/p/ds:v0").aliases))
""",
        api_key=KEYS["bob"],
    )

    for what in ("given", "deleted", "taken"):
        assert "protected" in read[what]
    assert (read["free"], read["admin"]) == (None, None)
    assert read["aliases"] == ["free", "production"]
