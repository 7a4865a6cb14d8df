"""`syncd rehearse`: what is true of a server is found out, whatever that is, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from acceptance_world import World

from syncd import runtime
from syncd.clients.wandb_scratch import WandbScratch
from syncd.config import load
from syncd.errors import PermanentError
from syncd.refs import RunRef, Target
from syncd.rehearsal.assumptions import ASSUMPTIONS, PROMISES
from syncd.rehearsal.grounds import Cleaner, is_marked, new_mark
from syncd.rehearsal.plain import PlainClient
from syncd.rehearsal.probes import PROBES
from syncd.rehearsal.story import Stage, portfolio
from syncd.rehearsal.versions import logged

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "could not tell"
# Each switch with its values and what a rehearsal then says.
SWITCHES: dict[str, dict[Any, str]] = {
    "bare_name": {"latest": HOLDS, "nothing": FAILS},
    "deduplication": {"any": HOLDS, "latest": FAILS},
    "error_status": {200: HOLDS, 400: FAILS},
    "latest_after_delete": {"nobody": HOLDS, "newest": FAILS},
    "latest_removal": {"allow": HOLDS, "refuse": FAILS, "restore": FAILS},
    "mixed_digests": {"refuse": HOLDS, "accept": FAILS},
    "patch_base": {"ignore": HOLDS, "include": FAILS},
    "reference_inputs": {False: HOLDS, True: FAILS},
    "relink": {"same": HOLDS, "refuse": FAILS},
    "repeat_updates": {False: HOLDS, True: FAILS},
    "reuse_numbers": {False: HOLDS, True: FAILS},
    "twin_commits": {"separate": HOLDS, "refuse": FAILS},
    "version_order": {"newest": HOLDS, "oldest": FAILS},
    "webhook_cooldown": {0: UNKNOWN, 60: UNKNOWN},
    "webhook_signature": {"hex": UNKNOWN, "base64": UNKNOWN},
}
FIRST = {name: next(iter(values)) for name, values in SWITCHES.items()}
LAST = {name: list(values)[-1] for name, values in SWITCHES.items()}
STRICT = {
    "bare_name": "nothing",
    "deduplication": "latest",
    "error_status": 400,
    "latest_removal": "refuse",
    "relink": "refuse",
    "twin_commits": "refuse",
    "version_order": "oldest",
}
SCRATCH = "sandbox/scratch"


def _set(world: World, **settings: Any) -> dict[str, Any]:
    answer = world.http.post("/sandbox/settings", json=settings).raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


@contextmanager
def _stage(world: World, project: str, api_key: str) -> Iterator[Stage]:
    """Somewhere to ask W&B single questions."""
    environ = world.environ(WANDB_API_KEY=api_key)
    config = load(world.config, environ)
    target = Target.parse(project)
    mark = new_mark()
    source = partial(WandbScratch, within=target, mark=mark)
    with runtime.opened(config, environ, source=source) as parts:
        assert isinstance(parts.source, WandbScratch)
        plain = PlainClient(folder=world.folder, base_url=world.base_url, api_key=api_key)
        yield Stage(parts=parts, scratch=parts.source, project=target, mark=mark, plain=plain)
        assert Cleaner(parts.source, config, environ).clean() == []
        assert not any(map(is_marked, parts.source.contents()))


def _ask(stage: Stage, setting: str) -> str:
    """What is found out about the assumption that a switch stands for."""
    [item] = [item for item in ASSUMPTIONS if setting in item.settings]
    return str(PROBES[item.id](stage).outcome)


def test_each_switch_of_the_sandbox_is_seen_either_way(empty: World) -> None:
    """A question tells what the server does, and is cleaned away behind it."""
    found: dict[str, dict[Any, str]] = {}
    with _stage(empty, SCRATCH, empty.api_key) as stage:
        for setting, values in SWITCHES.items():
            found[setting] = {}
            for value in values:
                _set(empty, **{setting: value})
                fresh = changed(stage, mark=f"{stage.mark}-{setting}-{value}")
                found[setting][value] = _ask(fresh, setting)
            _set(empty, **{setting: FIRST[setting]})

    assert found == SWITCHES


def test_a_protected_alias_is_seen_by_who_may_not_move_it(empty: World) -> None:
    """A team's member may move what its admins have not protected."""
    key = "w" * 40
    for path, body in (
        ("users", {"name": "worker", "api_key": key}),
        ("organizations", {"name": "org", "username": "sandbox"}),
        ("teams", {"name": "crew", "organization": "org", "username": "sandbox"}),
        ("organizations/org/members", {"username": "worker", "role": "member"}),
        ("teams", {"name": "crew", "organization": "org", "username": "worker", "role": "member"}),
    ):
        empty.http.post(f"/sandbox/{path}", json=body).raise_for_status()
    found = []
    for protected in ({}, {"crew/scratch": ["production"]}):
        _set(empty, protected_aliases=protected)
        with _stage(empty, "crew/scratch", key) as stage:
            found.append(_ask(stage, "protected_aliases"))

    assert found == [HOLDS, FAILS]


def test_a_link_that_is_there_is_no_failure(empty: World) -> None:
    """A repeat after a kill, on a server that takes no link twice: the aliases move all the same."""
    _set(empty, relink="refuse")
    with _stage(empty, SCRATCH, empty.api_key) as stage:
        first, second = (logged(stage, "ds", content) for content in "ab")
        stage.scratch.link(first, portfolio(stage, "shelf"), ("latest", "gold"))
        stage.scratch.link(second, portfolio(stage, "shelf", latest=first.id), ())
        again = portfolio(stage, "shelf", latest=first.id)
        found = [stage.scratch.link(second, again, aliases) for aliases in ((), ("gold",))]
        latest = stage.scratch.named(f"{again.collection}:latest")

        assert [place.version_index for place in found] == [1, 1]
        assert [place.aliases for place in found] == [(), ("gold",)]
        assert latest is not None
        assert latest.id == first.id
        with pytest.raises(PermanentError, match="type"):
            stage.scratch.link(
                logged(stage, "other", "a", type="model"), portfolio(stage, "shelf"), ()
            )


def test_a_latest_that_cannot_be_taken_off_is_no_failure(empty: World) -> None:
    """Where nobody is `latest`, the one who is linked becomes it if the server insists."""
    _set(empty, latest_removal="refuse")
    with _stage(empty, SCRATCH, empty.api_key) as stage:
        first, second = (logged(stage, "ds", content) for content in "ab")
        shelf = stage.scratch.link(first, portfolio(stage, "shelf"), ("latest",))
        stage.scratch.unlink(first, shelf)
        made = stage.scratch.link(second, portfolio(stage, "shelf"), ("gold",))

        assert set(made.aliases) == {"latest", "gold"}


def _rehearse(world: World) -> dict[str, Any]:
    """A whole rehearsal that loses nothing and leaves nothing behind; its document."""
    done = world.syncd("rehearse", "--project", SCRATCH, "--json")
    outcomes = {item["id"]: item["outcome"] for item in done.document["assumptions"]}
    promised = {item.id: outcomes[item.id] for item in PROMISES}
    assert set(promised.values()) == {HOLDS}, done.out
    for setting, value in _set(world).items():
        for item in ASSUMPTIONS:
            if setting in item.settings and setting in SWITCHES:
                assert outcomes[item.id] == SWITCHES[setting][value], (setting, done.out)
    assert not list(world.store.glob("*/syncd-rehearsal*"))
    with _stage(world, SCRATCH, world.api_key) as stage:
        assert stage.scratch.contents() == []
    assert world.api_key not in "".join(world.said)
    return done.document


def test_a_rehearsal_tells_what_is_true_of_the_server(empty: World) -> None:
    """With the sandbox as it is, all holds that can be told; the project was made, and is named."""
    empty.configure(references=empty.gateway())
    document = _rehearse(empty)

    assert document["project"] == SCRATCH
    assert {item["outcome"] for item in document["assumptions"]} == {HOLDS, UNKNOWN}
    assert [item["id"] for item in document["assumptions"]] == [item.id for item in ASSUMPTIONS]
    assert [SCRATCH in item for item in document["left_behind"]] == [True]


@pytest.mark.nightly
def test_the_strictest_server_loses_nothing_even_after_a_kill(empty: World) -> None:
    """What a killed rehearsal left is cleared away first; without a gateway it has its own."""
    _set(empty, **STRICT)
    with empty.running("rehearse", "--project", SCRATCH) as process:
        process.alive_until(lambda: empty.asked("CommitArtifact") >= 5, "a version was replaced")
        process.kill()
    assert list(empty.store.glob("*/syncd-rehearsal*"))
    document = _rehearse(empty)
    failed = {item["id"] for item in document["assumptions"] if item["outcome"] == FAILS}

    assert document["left_behind"] == []
    assert failed == {"references-are-served"} | {
        item.id for item in ASSUMPTIONS for setting in item.settings if setting in STRICT
    }


@pytest.mark.nightly
def test_the_laxest_server_loses_nothing(empty: World) -> None:
    """All switches the other way round."""
    lax = {name: value for name, value in LAST.items() if name not in STRICT}
    _set(empty, **lax, latest_removal="restore")
    _rehearse(empty)


def test_a_project_with_anything_of_anybodys_is_refused(small: World) -> None:
    """It is named, nothing is written, and the exit code says that the call was wrong."""
    small.reset_stats()
    done = small.syncd("rehearse", "--project", small.target, "--json", code=2)
    asked = small.stats()["graphql"]

    assert "ds" in done.document["error"]["message"]
    assert set(asked) <= {"IsProjectReadOnly", "ProjectArtifactCollections", "Runs"}
    assert json.loads(done.out)["error"]["exit_code"] == 2
    assert not small.store.exists() or not list(Path(small.store).glob("*/*"))


def test_an_entity_that_is_not_there_is_told_before_anything_is_made(empty: World) -> None:
    """A slip of the hand, most often; W&B would refuse the first upload much later."""
    done = empty.syncd("rehearse", "--project", "acmee/scratch", "--json", code=2)

    assert "no user and no team 'acmee'" in done.document["error"]["message"]


def test_nothing_but_the_rehearsals_own_is_reached(small: World) -> None:
    """Not by name, not by id, not through a run; what is not read cannot be changed.

    Not in another project, and not in its own, where somebody may log while it plays.
    """
    query = """query { project(entityName: "sandbox", name: "p") {
        artifactCollectionMembership(name: "ds:v0") { artifact { id } } } }"""
    version = small.gql(query)["project"]["artifactCollectionMembership"]["artifact"]["id"]
    run = RunRef(entity="sandbox", project="p", run_id="train")
    for project in (SCRATCH, small.target):
        with _stage(small, project, small.api_key) as stage:
            scratch = stage.scratch
            with pytest.raises(PermanentError, match="outside"):
                scratch.version(version)
            with pytest.raises(PermanentError, match="outside"):
                scratch.run(run)
            assert list(scratch.versions(Target.parse(small.target))) == []
            assert list(scratch.projects("sandbox")) == [Target.parse(project).project]
            assert list(scratch.projects("other")) == []
