"""Automations that call us: made once, mended when somebody changed them, nothing else touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from wandb_server import KEY, Answer, Server, page

from syncd.catalog.catalog import Catalog
from syncd.clients.wandb_hooks import CONDITION, EVENT, WandbHooks, Webhook, deliver
from syncd.errors import NotFoundError, PermanentError, ServiceUnavailableError, UsageError
from syncd.operations import webhooks
from syncd.refs import Target

URL = "https://syncd.example.com"
HOOK = Webhook(id="H1", name="ours", url=URL + webhooks.PATH)
PROJECT = {"project": {"id": "P1", "name": "proj"}}
TARGETS = (Target.parse("team/proj"), Target.parse("team/other"))


@pytest.fixture
def hooks(api: Server) -> Iterator[WandbHooks]:
    """The client."""
    made = WandbHooks(api.url, KEY)
    yield made
    made.close()


def integration(url: str = HOOK.url, kind: str = "GenericWebhookIntegration") -> dict[str, Any]:
    """A webhook as GraphQL answers it."""
    return {"__typename": kind, "id": HOOK.id, "name": HOOK.name, "urlEndpoint": url}


def trigger(**changes: Any) -> dict[str, Any]:
    """Our automation as GraphQL answers it: its condition one level deeper than it was given."""
    return {
        "id": "T1",
        "name": webhooks.AUTOMATION,
        "enabled": True,
        "scope": {"__typename": "Project", "id": "P1", "name": "proj"},
        "event": {"eventType": EVENT, "filter": json.dumps({"filter": json.dumps(CONDITION)})},
        "action": {
            "integration": {"id": HOOK.id},
            "requestPayload": json.dumps(webhooks.PAYLOAD),
        },
        **changes,
    }


def ensured(hooks: WandbHooks) -> str:
    """What becomes of the automation."""
    return hooks.ensure(
        "team", "proj", name=webhooks.AUTOMATION, webhook=HOOK, payload=webhooks.PAYLOAD
    )


def test_the_automation_is_made_where_there_is_none(api: Server, hooks: WandbHooks) -> None:
    """With the names the SDK sends; one of the same name elsewhere is another."""
    elsewhere = trigger(scope={"__typename": "Project", "id": "P2", "name": "other"})
    api.on("GetProject", PROJECT)
    api.on("GetEntityAutomations", {"scope": {"triggers": page(elsewhere)}})
    api.on("CreateAutomation", {"result": {"trigger": {"id": "T1"}}})

    assert ensured(hooks) == "made"
    [asked] = api.asked["CreateAutomation"]
    given = asked.variables["input"]
    assert (given["scopeType"], given["scopeID"]) == ("PROJECT", "P1")
    assert json.loads(given["eventFilter"]) == CONDITION
    action = given["triggeredActionConfig"]["genericWebhookActionInput"]
    assert json.loads(action["requestPayload"]) == webhooks.PAYLOAD
    assert action["integrationID"] == HOOK.id


def test_an_automation_that_is_right_stays(api: Server, hooks: WandbHooks) -> None:
    """Nothing is written."""
    api.on("GetProject", PROJECT)
    api.on("GetEntityAutomations", {"scope": {"triggers": page(trigger())}})

    assert ensured(hooks) == "there"
    assert {"CreateAutomation", "UpdateAutomation"} & set(api.asked) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": False},
        {"event": {"eventType": "LINK_MODEL", "filter": "{}"}},
        {"event": {"eventType": EVENT, "filter": "no JSON"}},
        {"event": {"eventType": EVENT, "filter": json.dumps({"filter": "{}"})}},
        {"event": None, "action": None},
        {"action": {"integration": {"id": "H2"}, "requestPayload": "{}"}},
        {"action": {"integration": {"id": HOOK.id}, "requestPayload": "{}"}},
        {"action": {}},
    ],
)
def test_an_automation_that_was_changed_is_mended(
    api: Server, hooks: WandbHooks, changes: dict[str, Any]
) -> None:
    """It keeps its id."""
    api.on("GetProject", PROJECT)
    api.on("GetEntityAutomations", {"scope": {"triggers": page(trigger(**changes))}})
    api.on("UpdateAutomation", {"result": {"trigger": {"id": "T1"}}})

    assert ensured(hooks) == "changed"
    assert api.asked["UpdateAutomation"][0].variables["input"]["id"] == "T1"


def test_a_project_that_is_not_there_is_named(api: Server, hooks: WandbHooks) -> None:
    """Before anything is made."""
    api.on("GetProject", {"project": None})

    with pytest.raises(NotFoundError, match="team/proj"):
        ensured(hooks)


def test_the_webhook_of_an_entity_is_looked_up_once(api: Server, hooks: WandbHooks) -> None:
    """For all of its projects; a slash at the end is no difference."""
    found = page(integration(kind="SlackIntegration"), integration(f"{HOOK.url}/"))
    api.on("IntegrationsByEntity", {"entity": {"integrations": found}})
    api.on("GetProject", PROJECT)
    api.on("GetEntityAutomations", {"scope": {"triggers": page(trigger())}})
    made = list(webhooks.install(hooks, TARGETS, f"{URL}/"))

    assert [(item.project, item.outcome) for item in made] == [
        ("team/proj", "there"),
        ("team/other", "there"),
    ]
    assert len(api.asked["IntegrationsByEntity"]) == 1


def test_without_a_webhook_it_says_where_to_click(api: Server, hooks: WandbHooks) -> None:
    """With the URL to enter; automations stay as they are."""
    other = page(integration("https://elsewhere.example.com/hook"))
    api.on("IntegrationsByEntity", {"entity": {"integrations": other}})

    with pytest.raises(UsageError, match=URL + webhooks.PATH) as caught:
        list(webhooks.install(hooks, TARGETS, URL))
    assert "Team secrets" in caught.value.hint
    assert "Webhooks" in caught.value.hint


# --- the proof of the way


@pytest.fixture
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(f"sqlite:///{tmp_path_factory.mktemp('probe')}/syncd.db")
    yield made
    made.close()


def probe(api: Server, catalog: Catalog, **more: Any) -> dict[str, Any]:
    """Send the test, with a clock that passes a second at each look."""
    ticks = iter(range(1_000))
    values: dict[str, Any] = {"clock": lambda: float(next(ticks)), "wait": lambda _seconds: None}
    return webhooks.probe(catalog, TARGETS[0], api.url, b"secret", **{**values, **more})


def test_a_request_that_does_not_arrive_is_a_failure(api: Server, catalog: Catalog) -> None:
    """Somebody answered, and wrote elsewhere or nowhere: the hint asks after the database."""
    api.on(webhooks.PATH, Answer(status=202, body=b"{}"))
    catalog.pulse.beat(webhooks.FACE, {"tests": ["another"]}, at=0.0)

    with pytest.raises(PermanentError, match="did not arrive") as caught:
        probe(api, catalog)
    assert "[engine] database" in caught.value.hint
    [asked] = api.asked[webhooks.PATH]
    assert asked.headers[webhooks.SIGNATURE] == webhooks.signed(b"secret", asked.body)


def test_a_request_that_is_refused_says_why(api: Server, catalog: Catalog) -> None:
    """In the words of whoever refused it."""
    api.on(webhooks.PATH, Answer(status=401, body=b'{"error": "the signature is wrong"}'))

    with pytest.raises(PermanentError, match=r"401.*the signature is wrong"):
        probe(api, catalog)


def test_nobody_there_is_told_as_such() -> None:
    """With the address."""
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:9"):
        deliver("http://127.0.0.1:9/webhooks/wandb", b"{}", {})
