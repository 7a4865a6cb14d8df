"""An endpoint serves what the journal says, whatever it answers and wherever syncd is killed."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from generated_project import KilledError
from promoted_project import MODEL, SUBJECT, Models

from syncd.clients.artifacts import Version
from syncd.config import Config
from syncd.config.hooks import Endpoint
from syncd.deployment.deploy import Ramp, deploy, document, rollback, variables
from syncd.errors import NotFoundError, PermanentError, ServiceUnavailableError, UsageError
from syncd.promotion.agreement import from_both
from syncd.promotion.journal import journals, read
from syncd.promotion.located import from_ref
from syncd.promotion.production import endpoints, told_at, with_endpoints
from syncd.refs import CommitRef
from syncd.versions.deployments import Served, served
from syncd.versions.events import Event, Kind, State

CONFIG = Config.model_validate(
    {
        "endpoints": {"search": {"command": ["serve"]}, "other": {"url": "https://s.example"}},
        "references": {"base_url": "https://data.example"},
        "wandb": {"projects": ["team/proj"]},
    }
)


class Serving:
    """An endpoint that serves what it is told, unless something befalls it.

    Args:
        models: what can be deployed.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self.told: list[tuple[str, str]] = []  # keys and versions
        self.befalls: Callable[[], None] | None = None
        self.whats: list[Mapping[str, Any]] = []
        self.config = CONFIG

    @property
    def serves(self) -> str:
        """The version that it was told last."""
        return self.told[-1][1] if self.told else ""

    def tell(
        self, _hook: Endpoint, what: Mapping[str, Any], key: str, _names: Mapping[str, str]
    ) -> str:
        """Serve something else."""
        befalls, self.befalls = self.befalls, None
        if befalls is not None:
            befalls()
        self.told.append((key, what["version"]))
        self.whats.append(what)
        return "ok"

    @property
    def ramp(self) -> Ramp:
        """What a process has that is started now."""
        desk = self.models.desk
        return Ramp(
            journal=lambda _point: desk.journal,
            events=self.events,
            store=self.models.store,
            config=self.config,
            by="ann",
            tell=self.tell,
            clock=desk.clock,
            new_id=desk.new_id,
        )

    def events(self) -> list[Event]:
        """What the journals hold."""
        return read(self.models.store, journals(CONFIG))

    def deploy(self, version: Version) -> Event:
        """Deploy to `search`, as a process of its own."""
        found = from_ref(self.models.source, self.models.store, str(version.ref))
        return deploy(self.ramp, found.point, "search")

    def known(self) -> list[tuple[str, str]]:
        """Which version each endpoint serves, as the journal has it."""
        return [(item.endpoint, item.version) for item in served(self.events())]


@pytest.fixture
def serving(models: Models) -> Serving:
    """An endpoint that serves nothing yet."""
    return Serving(models)


def _fail(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_what_is_deployed_is_served_and_written_down(models: Models, serving: Serving) -> None:
    """Under the event's id as key; what the endpoint said is kept."""
    [model] = models.make()
    event = serving.deploy(model)

    assert serving.told == [(event.id, models.logged(model))]
    assert (event.kind, event.state, event.note) == (Kind.DEPLOY, State.DONE, "ok")
    commit = models.moved.link(model).commit
    assert served(serving.events()) == [
        Served(
            endpoint="search", version=models.logged(model), commit=commit, since=event.at, by="ann"
        )
    ]


def test_an_endpoint_that_refuses_serves_the_former_version(
    models: Models, serving: Serving
) -> None:
    """The journal says that it failed, and rolling back goes before what is served."""
    first, second, third = models.make(3)
    serving.deploy(first)
    serving.deploy(second)
    serving.befalls = _fail(PermanentError("serve ended with 1", hint="look"))
    with pytest.raises(PermanentError, match=f"it serves {models.logged(second)}"):
        serving.deploy(third)

    assert serving.known() == [("search", models.logged(second))]
    assert serving.events()[-1].state is State.FAILED
    rollback(serving.ramp, "search")
    assert serving.known() == [("search", models.logged(first))]
    assert serving.serves == models.logged(first)


@pytest.mark.parametrize(
    "befalls", [KilledError(), ServiceUnavailableError("nobody answers"), KeyboardInterrupt()]
)
def test_the_same_deployment_again_is_told_under_the_same_key(
    models: Models, serving: Serving, befalls: BaseException
) -> None:
    """At least once; the endpoint can tell that it is the same one."""
    [model] = models.make()
    serving.befalls = _fail(befalls)
    with pytest.raises(type(befalls)):
        serving.deploy(model)

    assert serving.known() == []
    [left] = serving.events()
    event = serving.deploy(model)
    assert (event.id, event.state) == (left.id, State.DONE)
    assert serving.told == [(left.id, models.logged(model))]


def test_after_a_deployment_that_was_cut_off_rolling_back_leads_to_what_was_served_before(
    models: Models, serving: Serving
) -> None:
    """Not to the one before that."""
    first, second, third = models.make(3)
    serving.deploy(first)
    serving.deploy(second)
    serving.befalls = _fail(KilledError())
    with pytest.raises(KilledError):
        serving.deploy(third)
    rollback(serving.ramp, "search")

    assert serving.serves == models.logged(second)
    assert serving.known() == [("search", models.logged(second))]
    assert [e.state for e in serving.events()] == [
        State.DONE, State.DONE, State.OVERTAKEN, State.DONE,
    ]  # fmt: skip


def test_repeated_rollbacks_go_further_back_until_there_is_nothing(
    models: Models, serving: Serving
) -> None:
    """Each in one call, and without asking W&B."""
    versions = models.make(3)
    for version in versions:
        serving.deploy(version)
    names = [models.logged(version) for version in versions]
    calls = dict(models.source.calls)
    rollback(serving.ramp, "search")
    assert serving.serves == names[1]
    rollback(serving.ramp, "search")
    assert serving.serves == names[0]
    with pytest.raises(NotFoundError, match="nothing to go back to"):
        rollback(serving.ramp, "search")

    assert models.source.calls == calls


def test_an_endpoint_that_is_not_configured_is_refused(models: Models, serving: Serving) -> None:
    """With those that are."""
    [model] = models.make()
    found = from_ref(models.source, models.store, str(model.ref))

    with pytest.raises(UsageError, match="it has other, search"):
        deploy(serving.ramp, found.point, "serach")


def test_production_shows_what_serves_it_and_what_trained_that(
    models: Models, serving: Serving
) -> None:
    """The version with the alias and the one that is served may differ."""
    old, data = models.moved.log_and_move("ds", {"rows.csv": b"a,b,c,d"}, kind="dataset")
    run = models.source.add_run("train")
    models.source.record_use(run, old)
    models.source.record_use(run, data)
    first, second = models.make(2, run=run)
    models.promote(second)
    serving.deploy(first)

    runtime = models.moved.runtime
    answer = from_both(runtime.source, runtime.store, serving.events(), runtime.config, SUBJECT)
    assert with_endpoints(answer, serving.events()).endpoints == ()
    [shown] = endpoints(serving.events(), lambda point: told_at(models.store, point))
    assert shown.served.version == models.logged(first)
    assert shown.run == "team/proj/runs/train"
    assert [item.commit for item in shown.data] == [models.moved.link(data).commit]
    serving.deploy(second)
    answer = with_endpoints(answer, serving.events())
    assert [item.endpoint for item in answer.endpoints] == ["search"]


def test_an_oxen_toml_comes_beside_the_weights_on_a_branch_of_the_endpoints(
    models: Models, serving: Serving
) -> None:
    """The version's own commit stays as it was proved, and a repeat makes no second one."""
    serving.config = Config.model_validate(
        {
            "endpoints": {
                "search": {"command": ["serve"], "model_type": "lora", "base_model": 'a "b"'}
            },
            "wandb": {"projects": ["team/proj"]},
        }
    )
    first, second = models.make(2)
    commit = models.moved.link(first).commit
    before = list(models.store.tree(commit))
    serving.deploy(first)
    [told] = serving.whats
    served_commit = CommitRef.parse(told["oxen"])
    text = b"".join(models.store.read(served_commit, "oxen.toml")).decode()

    assert tomllib.loads(text) == {"model": {"source": 'a "b"', "type": "lora"}}
    assert told["version_commit"] == str(commit)
    assert list(models.store.tree(commit)) == before
    paths = {entry.path for entry in models.store.tree(served_commit)}
    assert paths == {*(entry.path for entry in before), "oxen.toml"}
    assert models.store.branches(commit.repo)["deploy/search"] == served_commit.commit
    commits = models.store.calls["commit"]
    serving.deploy(first)
    assert models.store.calls["commit"] == commits + 2  # the journal's
    assert serving.whats[-1]["oxen"] == told["oxen"]
    assert [item.commit for item in served(serving.events())] == [commit]
    serving.deploy(second)
    assert serving.whats[-1]["oxen"] != told["oxen"]


def test_an_endpoint_is_told_where_the_files_are(models: Models, serving: Serving) -> None:
    """The same as JSON and as variables."""
    [model] = models.make()
    event = serving.deploy(model)
    commit: CommitRef = models.moved.link(model).commit
    told = document(event, CONFIG, commit)

    assert told["oxen"] == str(commit)
    assert told["files"] == (
        f"https://data.example/api/repos/team/proj-model/file/{commit.commit}/"
    )
    assert variables(told)["SYNCD_VERSION"] == models.logged(model)
    assert variables(told)["SYNCD_ENDPOINT"] == "search"
    assert MODEL in told["version"]
