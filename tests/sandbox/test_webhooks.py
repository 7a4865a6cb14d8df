from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Any

import sandbox_graph as graph
import sandbox_hooks as hooks
from sandbox_client import Client

from syncd.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox_hooks import Receiver


def test_sdk_events_arrive_filled_in_and_signed(client: Client, receiver: Receiver) -> None:
    """A version, its aliases and tags, a link and its end: each arrives once, with what the template asks for."""
    client.admin("organizations", {"name": "o", "username": "sandbox"})
    client.admin("teams", {"name": "t", "organization": "o", "username": "sandbox"})
    for name, value in {"TOKEN": "let me in", "KEY": "sign here", "OTHER": "psst"}.items():
        client.admin("secrets", {"entity": "t", "name": name, "value": value})
    hooks.register(client, receiver.url, entityName="t", accessTokenRef="TOKEN", secretRef="KEY")
    made = client.sdk("""
from wandb.automations import *
api = wandb.Api()
with wandb.init(entity="t", project="p") as run:
    log(run, "ds", {"f": "0"})
hook = next(api.webhook_integrations(entity="t"))
words = ["event_type", "event_author", "entity_name", "project_name", "artifact_collection_name", "artifact_version",
    "artifact_version_string", "alias", "tag", "artifact_metadata.lr", "artifact_metadata.deep.er", "artifact_metadata.no"]
payload = {"secret": "${ACCESS_TOKEN} ${OTHER} ${UNKNOWN}", "list": ["<${alias}>", 1, None], **{word: "${%s}" % word for word in words}}
def watch(name, event):
    api.create_automation(event >> SendWebhook.from_integration(hook, payload=payload), name=name)
collection = api.artifact("t/p/ds:v0").collection
registry = api.create_registry("r", visibility="organization", organization="o")
watch("new", OnCreateArtifact(scope=collection))
watch("alias", OnAddArtifactAlias(scope=collection, filter=ArtifactEvent.alias == "prod"))
watch("tag", OnAddArtifactTag(scope=collection))
watch("untag", OnRemoveArtifactTag(scope=collection, filter=ArtifactEvent.tag == "bad"))
watch("shelf", OnAddCollectionTag(scope=collection))
watch("link", OnLinkArtifact(scope=registry, filter=ArtifactEvent.alias == "best"))
watch("unlink", OnUnlinkArtifact(scope=registry))
with wandb.init(entity="t", project="p") as run:
    log(run, "ds", {"f": "1"}, metadata={"lr": 0.5, "deep": {"er": 'quo"te'}})
made = api.artifact("t/p/ds:v1")
made.aliases += ["dev", "prod"]
made.tags = ["good", "bad"]
made.save()
made.tags = ["good"]
made.save()
collection.tags = ["shelved"]
collection.save()
made.link("wandb-registry-r/models")
api.artifact("t/p/ds:v0").link("wandb-registry-r/models", aliases=["best"])
api.artifact("o-org/wandb-registry-r/models:v0").unlink()
emit(id=made.id)
""")
    bodies = receiver.settled(client)
    by_event: dict[str, list[dict[str, Any]]] = {}
    for body in bodies:
        by_event.setdefault(body["event_type"], []).append(body)
    prod = by_event["ADD_ARTIFACT_ALIAS"][0]
    tags = {body["tag"] for body in by_event["ADD_ARTIFACT_TAG"]}
    link, unlink = by_event["LINK_ARTIFACT"][0], by_event["UNLINK_ARTIFACT"][0]

    assert {event: len(found) for event, found in by_event.items()} == {
        "CREATE_ARTIFACT": 1,
        "ADD_ARTIFACT_ALIAS": 1,
        "ADD_ARTIFACT_TAG": 2,
        "REMOVE_ARTIFACT_TAG": 1,
        "ADD_COLLECTION_TAG": 1,
        "LINK_ARTIFACT": 1,
        "UNLINK_ARTIFACT": 1,
    }
    assert prod == {
        "secret": "let me in psst ${UNKNOWN}",
        "list": ["<prod>", 1, None],
        "event_type": "ADD_ARTIFACT_ALIAS",
        "event_author": "sandbox",
        "entity_name": "t",
        "project_name": "p",
        "artifact_collection_name": "ds",
        "artifact_version": f"wandb-artifact://_id/{made['id']}",
        "artifact_version_string": "t/p/ds:prod",
        "alias": "prod",
        "tag": "",
        "artifact_metadata.lr": "0.5",
        "artifact_metadata.deep.er": 'quo"te',
        "artifact_metadata.no": "",
    }
    assert tags == {"good", "bad"}
    assert by_event["REMOVE_ARTIFACT_TAG"][0]["tag"] == "bad"
    assert by_event["ADD_COLLECTION_TAG"][0]["tag"] == "shelved"
    assert (link["entity_name"], link["project_name"]) == ("o-org", "wandb-registry-r")
    assert link["artifact_version_string"].startswith("o-org/wandb-registry-r/models:")
    assert unlink["artifact_version_string"] == "o-org/wandb-registry-r/models:v0"
    for received in receiver.received:
        expected = hmac.new(b"sign here", received.body, hashlib.sha256).hexdigest()
        assert received.headers["authorization"] == "Bearer let me in"
        assert received.headers["x-wandb-signature"] == expected
        assert received.headers["content-type"] == "application/json"
    assert client.stats()["webhooks_delivered"] == len(bodies) == 8


def test_conditions_choose_the_events(client: Client, receiver: Receiver) -> None:
    """An alias given again is no event, one that moves is; drafts and other projects are none either."""
    hook = hooks.register(client, receiver.url)
    condition = {"$or": [{"$and": [{"alias": {"$regex": "^prod"}}]}]}
    hooks.watch(client, hook, "ADD_ARTIFACT_ALIAS", condition=condition)
    hooks.watch(client, hook, "ADD_ARTIFACT_TAG", "REMOVE_ARTIFACT_TAG")
    one = graph.log(client, {"f": b"1"}, **hooks.alias("latest"), tags=[{"tagName": "first"}])
    two = graph.log(client, {"f": b"2"}, **hooks.alias("prod-eu"))
    graph.create(client, {"f": b"3"}, **hooks.alias("prod-draft"), tags=[{"tagName": "draft"}])
    graph.log(client, {"f": b"4"}, projectName="q", **hooks.alias("prod"))
    client.gql(hooks.ALIASES, id=two, alias="prod-eu")
    client.gql(hooks.ALIASES, id=one, alias="prod-eu")
    client.gql(hooks.TAGS, id=one, add=[{"tagName": "first"}], drop=[{"tagName": "none"}])
    bodies = receiver.settled(client)

    assert [(body["event"], body["alias"] or body["tag"]) for body in bodies] == [
        ("ADD_ARTIFACT_TAG", "first"),
        ("ADD_ARTIFACT_ALIAS", "prod-eu"),
        ("ADD_ARTIFACT_ALIAS", "prod-eu"),
    ]


def test_receiver_in_trouble_holds_up_nobody(client: Client, receiver: Receiver) -> None:
    """The mutation is answered while the receiver sleeps; what fails is tried again, and given up some time."""
    hook = hooks.register(client, receiver.url)
    hooks.watch(client, hook, "ADD_ARTIFACT_ALIAS")
    receiver.gate.clear()
    receiver.answers = [500, 503]
    found = graph.log(client, {"f": b"1"}, **hooks.alias("a"))
    client.gql(hooks.ALIASES, id=found, alias="b")
    waiting = client.stats()["webhooks_waiting"]
    receiver.gate.set()
    bodies = receiver.settled(client)
    retried = client.stats()["webhooks_retried"]
    receiver.answers = [500] * 5
    client.gql(hooks.ALIASES, id=found, alias="c")
    receiver.settled(client)
    stats = client.stats()

    assert waiting == 2
    assert sorted(body["alias"] for body in bodies) == ["a", "a", "b", "b"]
    assert retried == 2
    assert (stats["webhooks_delivered"], stats["webhooks_failed"]) == (2, 1)


def test_receiver_that_is_not_there_fails_quietly(client: Client, receiver: Receiver) -> None:
    """Nobody listens, or the address makes no sense: counted, and the mutation has succeeded."""
    for number, url in enumerate(("http://127.0.0.1:1/", "nonsense")):
        hook = hooks.register(client, url, name=f"hook{number}")
        hooks.watch(client, hook, "ADD_ARTIFACT_ALIAS", name=f"a{number}")
    graph.log(client, {"f": b"1"}, **hooks.alias("a"))
    receiver.settled(client)

    assert client.stats()["webhooks_failed"] == 2
    assert graph.version(client, "ds:a") is not None


def test_faults_of_delivery(client: Client, receiver: Receiver) -> None:
    """Deliveries can be lost, doubled, refused and late, by the webhook's name."""
    hook = hooks.register(client, receiver.url)
    hooks.watch(client, hook, "ADD_ARTIFACT_ALIAS")
    found = graph.log(client, {"f": b"1"})
    names: list[list[str]] = []
    elapsed = []
    for alias, action in zip("abcd", ["drop", "double", "status:503", "delay:300"], strict=True):
        client.admin("faults", [{"match": "webhook:ho*", "action": action, "times": 1}])
        start = time.monotonic()
        client.gql(hooks.ALIASES, id=found, alias=alias)
        bodies = receiver.settled(client)
        elapsed.append(time.monotonic() - start)
        names.append([body["alias"] for body in bodies])
        receiver.received.clear()
    stats = client.stats()
    wrong = [
        {"match": "webhook:*", "action": "corrupt"},
        {"match": "graphql:X", "action": "double"},
    ]

    assert names == [[], ["b", "b"], ["c"], ["d"]]
    assert elapsed[3] >= 0.3
    assert [stats[f"webhooks_{name}"] for name in ("delivered", "dropped", "retried")] == [4, 1, 1]
    assert [client.post("/sandbox/faults", [fault]).status_code for fault in wrong] == [400, 400]


def test_cooldown_skips_repeats(client: Client, receiver: Receiver) -> None:
    """Within the cooldown an automation delivers once; the rest is lost, as on the real server."""
    hooks.watch(client, hooks.register(client, receiver.url), "ADD_ARTIFACT_ALIAS")
    client.admin("settings", {"webhook_cooldown": 60})
    found = graph.log(client, {"f": b"1"}, **hooks.alias("a"))
    receiver.settled(client)
    client.gql(hooks.ALIASES, id=found, alias="b")
    bodies = receiver.settled(client)

    assert [body["alias"] for body in bodies] == ["a"]
    assert client.stats()["webhooks_skipped"] == 1
    assert client.post("/sandbox/settings", {"webhook_cooldown": "soon"}).status_code == 400


def test_signature_encoding_can_be_chosen(client: Client, receiver: Receiver) -> None:
    """The docs and the receivers disagree on the encoding, so there is a switch."""
    client.admin("secrets", {"entity": "sandbox", "name": "KEY", "value": "k"})
    client.admin("settings", {"webhook_signature": "base64"})
    hooks.watch(client, hooks.register(client, receiver.url, secretRef="KEY"), "ADD_ARTIFACT_ALIAS")
    graph.log(client, {"f": b"1"}, **hooks.alias("a"))
    receiver.settled(client)
    received = receiver.received[0]

    expected = base64.b64encode(hmac.new(b"k", received.body, hashlib.sha256).digest()).decode()
    assert received.headers["x-wandb-signature"] == expected
    assert "authorization" not in received.headers
    assert client.post("/sandbox/settings", {"webhook_signature": "rot13"}).status_code == 400


def test_deliveries_survive_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    """What was not delivered before the server stopped is delivered by the next one."""
    with Sandbox(tmp_path / "data") as one, Client(one.base_url, one.api_key, tmp_path) as client:
        client.admin("faults", [{"match": "webhook:*", "action": "delay:1500"}])
        hooks.watch(client, hooks.register(client, receiver.url), "ADD_ARTIFACT_ALIAS")
        graph.log(client, {"f": b"1"}, **hooks.alias("a"))
    before = len(receiver.received)
    with Sandbox(tmp_path / "data") as two, Client(two.base_url, two.api_key, tmp_path) as client:
        after = receiver.settled(client)

    assert before == 0
    assert [body["alias"] for body in after] == ["a"]


def test_condition_on_a_link_is_asked_once(client: Client, receiver: Receiver) -> None:
    """An event without an alias of its own is judged by the version's aliases; a later attempt does not judge again."""
    hooks.watch(
        client, hooks.register(client, receiver.url), "LINK_MODEL", condition={"alias": "best"}
    )
    client.admin("faults", [{"match": "webhook:*", "action": "delay:300"}])
    found = graph.log(client, {"f": b"1"})
    move = (
        """mutation D($input: DeleteAliasesInput!) { deleteAliases(input: $input) { success } }"""
    )
    wanted = {"artifactID": found, "artifactPortfolioName": "one", "projectName": "p"}
    client.gql(hooks.LINK, input={**wanted, "artifactPortfolioName": "two"})
    best = {"artifactCollectionName": "one", "alias": "best"}
    client.gql(hooks.LINK, input={**wanted, "aliases": [best]})
    time.sleep(0.1)
    place = {"entityName": "sandbox", "projectName": "p", **best}
    client.gql(move, input={"artifactID": found, "aliases": [place]})
    bodies = receiver.settled(client)

    assert [body["event"] for body in bodies] == ["LINK_ARTIFACT"]


def test_tag_of_a_linked_version_counts_once(client: Client, receiver: Receiver) -> None:
    """A version that is in two collections of the watched project is still one version."""
    hooks.watch(
        client, hooks.register(client, receiver.url), "ADD_ARTIFACT_TAG", "REMOVE_ARTIFACT_TAG"
    )
    found = graph.log(client, {"f": b"1"})
    shelf = {"artifactID": found, "artifactPortfolioName": "shelf", "projectName": "p"}
    client.gql(hooks.LINK, input=shelf)
    client.gql(hooks.TAGS, id=found, add=[{"tagName": "good"}])
    client.gql(hooks.TAGS, id=found, drop=[{"tagName": "good"}])
    bodies = receiver.settled(client)

    assert [body["event"] for body in bodies] == ["ADD_ARTIFACT_TAG", "REMOVE_ARTIFACT_TAG"]
