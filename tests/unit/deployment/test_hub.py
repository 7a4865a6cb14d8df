"""Endpoints of the hub: the documented calls, against a stand-in of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from promoted_project import REPO, Models

from syncd.clients.artifacts import Version
from syncd.clients.oxen_hub import OxenHub
from syncd.config import Config
from syncd.config.hooks import Endpoint
from syncd.deployment import hub as work
from syncd.deployment.deploy import Ramp, deploy, rollback
from syncd.errors import (
    AuthenticationError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    UsageError,
)
from syncd.promotion.journal import journals, read
from syncd.promotion.located import from_ref
from syncd.testing.hub import Hub, hub
from syncd.versions.events import Event, State

TOKEN = "hub-token-0123456789abcdef"
CONFIG = Config.model_validate(
    {"endpoints": {"search": {"hub": True}}, "wandb": {"projects": ["team/proj"]}}
)


@pytest.fixture
def stand_in() -> Iterator[Hub]:
    """The hub, as its documentation has it."""
    with hub(TOKEN) as made:
        yield made


@pytest.fixture
def client(stand_in: Hub) -> Iterator[OxenHub]:
    """Its client."""
    made = OxenHub(stand_in.url, TOKEN)
    yield made
    made.close()


def tuned(client: OxenHub) -> str:
    """A fine-tune that has run."""
    made = client.create(
        REPO,
        resource="main/train.parquet",
        base_model="small",
        script_type="text",
        training_params={},
    )
    client.start(REPO, made.id)
    return made.id


def test_a_fine_tune_is_made_run_looked_at_and_stopped(client: OxenHub, stand_in: Hub) -> None:
    """By the documented routes, and no others."""
    made = client.create(
        REPO,
        resource="main/train.parquet",
        base_model="small",
        script_type="text",
        training_params={"epochs": 3},
    )
    assert made.status == "created"
    client.start(REPO, made.id)
    assert client.fine_tune(REPO, made.id).status == "running"
    assert client.train_status(REPO, made.id)["status"] == "running"
    assert client.logs(REPO, made.id)["logs"] == []
    assert client.checkpoints(REPO, made.id)["checkpoints"] == []
    client.stop(REPO, made.id)
    assert client.fine_tune(REPO, made.id).status == "stopped"
    tunes = "/api/repos/team/proj-model/fine_tunes"
    assert stand_in.asked[:3] == [
        f"POST {tunes}",
        f"POST {tunes}/ft-1/actions/run",
        f"GET {tunes}/ft-1",
    ]
    assert stand_in.tunes["ft-1"]["training_params"] == {"epochs": 3}


def test_what_may_cost_money_is_never_repeated_by_itself(client: OxenHub, stand_in: Hub) -> None:
    """Looking is, and switching between what is there."""
    name = tuned(client)
    stand_in.refuse = [503]
    with pytest.raises(ServiceUnavailableError):
        client.deploy(REPO, name, "100", "normal")
    assert stand_in.active == {}

    made = client.deploy(REPO, name, "100", "normal")
    stand_in.refuse = [503, 429]
    assert client.fine_tune(REPO, name).status == "deployed"
    stand_in.refuse = [503]
    client.deactivate(made.model)
    assert stand_in.active == {made.model: False}
    assert [model["id"] for model in client.models()["models"]] == [made.model]


def test_a_refused_token_is_told_without_it(stand_in: Hub) -> None:
    """And nothing that the hub does not have is made up."""
    client = OxenHub(stand_in.url, "wrong-token-0123456789")
    with pytest.raises(AuthenticationError) as error:
        client.models()
    assert "wrong-token" not in str(error.value)
    client.close()


def test_what_the_hub_does_not_have_is_told(client: OxenHub) -> None:
    """By name."""
    with pytest.raises(NotFoundError, match="fine-tune ft-9"):
        client.fine_tune(REPO, "ft-9")


class Serving:
    """An endpoint of the hub's, deployed to by processes of their own.

    Args:
        models: what can be deployed.
        client: the hub.
    """

    def __init__(self, models: Models, client: OxenHub) -> None:
        self.models, self.client = models, client

    def _tell(
        self, endpoint: Endpoint, what: Mapping[str, Any], _key: str, _names: Mapping[str, str]
    ) -> str:
        return work.tell(self.client, what, endpoint.deployment_type)

    @property
    def ramp(self) -> Ramp:
        """What a process has that is started now."""
        desk = self.models.desk
        return Ramp(
            journal=lambda _point: desk.journal,
            events=self.events,
            store=self.models.store,
            config=CONFIG,
            by="ann",
            tell=self._tell,
            clock=desk.clock,
            new_id=desk.new_id,
        )

    def events(self) -> list[Event]:
        """What the journals hold."""
        return read(self.models.store, journals(CONFIG))

    def deploy(self, version: Version, fine_tune: str, step: str) -> Event:
        """Deploy a checkpoint."""
        found = from_ref(self.models.source, self.models.store, str(version.ref))
        return deploy(self.ramp, found.point, "search", work.checkpoint(fine_tune, step))


def test_a_checkpoint_takes_the_place_of_another_and_gives_it_back(
    models: Models, client: OxenHub, stand_in: Hub
) -> None:
    """One deployment each; rolling back activates the former one and asks for no new one."""
    serving = Serving(models, client)
    first, second = models.make(2)
    name = tuned(client)
    serving.deploy(first, name, "100")
    serving.deploy(second, name, "200")
    assert stand_in.active == {"ft-1-100": False, "ft-1-200": True}

    rollback(serving.ramp, "search")
    assert stand_in.active == {"ft-1-100": True, "ft-1-200": False}
    assert serving.events()[-1].after.version == str(first.ref)
    serving.deploy(second, name, "300")
    assert stand_in.active == {"ft-1-100": False, "ft-1-200": False, "ft-1-300": True}


def test_a_hub_that_refuses_leaves_the_former_one(
    models: Models, client: OxenHub, stand_in: Hub
) -> None:
    """And the journal says why."""
    serving = Serving(models, client)
    first, second = models.make(2)
    name = tuned(client)
    serving.deploy(first, name, "100")
    with pytest.raises(PermanentError, match=f"it serves {models.logged(first)}"):
        serving.deploy(second, "ft-9", "200")

    assert stand_in.active == {"ft-1-100": True}
    assert serving.events()[-1].state is State.FAILED
    assert "404" in serving.events()[-1].note


def test_a_checkpoint_has_to_be_named() -> None:
    """Before anything is asked."""
    with pytest.raises(UsageError, match="checkpoint of a fine-tune"):
        work.checkpoint("ft-1", "")
