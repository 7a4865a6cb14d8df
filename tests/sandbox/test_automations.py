from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import sandbox_graph as graph
import sandbox_hooks as hooks

if TYPE_CHECKING:
    from sandbox_client import Client
    from sandbox_hooks import Receiver


def test_sdk_manages_automations(client: Client) -> None:
    """What the SDK makes, it finds, changes and deletes; conditions come back as they were given."""
    client.admin("organizations", {"name": "o", "username": "sandbox"})
    client.admin("teams", {"name": "t", "organization": "o", "username": "sandbox"})
    webhook = hooks.register(client, "http://127.0.0.1:1/")
    read = client.sdk("""
from wandb.automations import *
with wandb.init(entity="t", project="p") as run:
    log(run, "ds", {"f": "0"})
api = wandb.Api()
collection = api.artifact("t/p/ds:v0").collection
project, registry = api.project("p", "t"), api.create_registry("r", visibility="organization", organization="o")
hook = next(api.webhook_integrations(entity="sandbox"))
def make(name, event, action=None, **fields):
    return api.create_automation(event >> (action or SendWebhook.from_integration(hook, payload={"a": "${alias}"})), name=name, **fields)
def refused(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__ + " " + str(error)
made = make("one", OnAddArtifactAlias(scope=collection, filter=ArtifactEvent.alias == "prod"), description="d")
make("two", OnLinkArtifact(scope=registry))
make("three", OnRunState(scope=project, filter=RunEvent.state == "failed"), DoNothing())
make("four", OnAddArtifactTag(scope=api.team("t")))
twice = refused(lambda: make("one", OnAddArtifactAlias(scope=collection)))
same = api.create_automation(OnAddArtifactAlias(scope=collection) >> DoNothing(), name="one", fetch_existing=True)
found = api.automation("one")
emit(found=found == made == same, hook=hook.id, twice=twice, condition=found.event.filter.model_dump(),
     payload=found.action.request_payload, scopes=[found.scope.name, api.automation("two", entity="o-org").scope.name],
     all=sorted(a.name for a in api.automations()), team=[a.name for a in api.automations(entity="t", per_page=1)])
changed = api.update_automation(found, name="uno", enabled=False)
moved = refused(lambda: api.update_automation(api.automation("three"), scope=collection))
api.delete_automation(changed)
emit(changed=[changed.name, changed.enabled, changed.description, changed.event == found.event], moved=moved,
     gone=refused(lambda: api.delete_automation(changed)), lost=refused(lambda: api.update_automation(changed)),
     left=sorted(a.name for a in api.automations(entity="t")))
""")

    assert read["found"] is True
    assert (read["hook"], read["payload"]) == (webhook, {"a": "${alias}"})
    assert "ValueError" in read["twice"] or "exists" in read["twice"]
    assert "prod" in json.dumps(read["condition"])
    assert read["scopes"] == ["ds", "wandb-registry-r"]
    assert read["all"] == ["one", "three", "two"]
    assert read["team"] == ["four", "three", "one"]
    assert read["changed"] == ["uno", False, "d", True]
    assert "cannot be watched" in read["moved"]
    assert "not found" in read["gone"]
    assert "not found" in read["lost"]
    assert read["left"] == ["four", "three"]


def test_disabled_and_deleted_automations_are_silent(client: Client, receiver: Receiver) -> None:
    """Only what is enabled at the time of the event is set off; a failed mutation sets off nothing."""
    hook = hooks.register(client, receiver.url)
    made = hooks.watch(client, hook, "ADD_ARTIFACT_ALIAS")
    found = graph.log(client, {"f": b"1"})
    client.refused(hooks.ALIASES, id=found, alias="not/possible")
    client.gql(hooks.UPDATE, input={"id": made, "enabled": False})
    client.gql(hooks.ALIASES, id=found, alias="a")
    client.gql(hooks.UPDATE, input={"id": made, "enabled": True})
    client.gql(hooks.ALIASES, id=found, alias="b")
    bodies = receiver.settled(client)
    client.gql(hooks.DELETE, id=made)
    client.gql(hooks.ALIASES, id=found, alias="c")
    receiver.settled(client)

    assert [body["alias"] for body in bodies] == ["b"]
    assert len(receiver.received) == 1
    assert "not found" in client.refused(hooks.DELETE, id=made)
    assert "not found" in client.refused(hooks.UPDATE, input={"id": made})


def test_statuses_tell_what_is_wrong(client: Client) -> None:
    """A name taken is 409, an automation gone 404, as the SDK needs it; nonsense is refused."""
    hook = hooks.register(client, "http://127.0.0.1:1/")
    made = hooks.watch(client, hook, "LINK_MODEL")
    with pytest.raises(AssertionError):
        hooks.watch(client, hook, "LINK_MODEL")
    for wrong in (
        {"triggeringEventType": "CREATE_ARTIFACT"},
        {"eventFilter": "no json"},
        {"eventFilter": '{"shoeSize": 1}'},
        {"triggeredActionType": "NOTIFICATION"},
    ):
        with pytest.raises(AssertionError):
            hooks.watch(client, hook, "LINK_MODEL", name="new", **wrong)
    client.gql(hooks.DELETE, id=made)
    query = {"query": hooks.UPDATE, "variables": {"input": {"id": made, "name": "x"}}}

    assert client.post("/graphql", query).status_code == 404
    hooks.watch(client, hook, "LINK_MODEL")
    assert "already exists" in client.refused(
        hooks.WEBHOOK, input={"entityName": "sandbox", "name": "hook", "urlEndpoint": "http://x/"}
    )
