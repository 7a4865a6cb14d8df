"""The face as it is started, before a W&B server that calls it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from acceptance_process import Process, until
from acceptance_world import World

from syncd.catalog.catalog import Catalog
from syncd.operations.webhooks import PATH, SIGNATURE, signed

SECRET = "the secret of the webhook"
WEBHOOK = """
mutation CreateGenericWebhookIntegration($input: CreateGenericWebhookIntegrationInput!) {
  createGenericWebhookIntegration(input: $input) { integration { __typename } }
}
"""
LOG = """
with wandb.init(entity=sys.argv[1], project="p") as run:
    for number in range(int(sys.argv[2])):
        artifact = wandb.Artifact("called", "dataset")
        with artifact.new_file("a.bin", "wb") as file:
            file.write(bytes([int(sys.argv[3]), number]) * 100)
        run.log_artifact(artifact).wait()
"""


@contextmanager
def catalog_of(world: World, face: Process) -> Iterator[tuple[Catalog, str]]:
    """The local state once the face has made it, and the face's URL."""
    url = str(face.first_line()["url"])
    made = Catalog(f"sqlite:///{world.state}/syncd.db")
    yield made, url
    made.close()


def test_wandb_calls_and_the_hint_arrives(small: World) -> None:
    """`webhook install` makes the automation once, `webhook test` proves the way, a new version takes it."""
    secret = {"SYNCD_WEBHOOK_SECRET": SECRET}
    with small.running("face", **secret) as face, catalog_of(small, face) as (catalog, url):
        env = {**secret, "SYNCD_WEB__PUBLIC_URL": url}
        lost = small.syncd("webhook", "install", code=2, env=env)
        assert "Webhooks" in lost.err
        small.http.post(
            "/sandbox/secrets", json={"entity": small.entity, "name": "HOOK", "value": SECRET}
        ).raise_for_status()
        small.gql(
            WEBHOOK,
            input={
                "entityName": small.entity,
                "name": "syncd",
                "urlEndpoint": url + PATH,
                "secretRef": "HOOK",
            },
        )
        outcomes = [
            small.syncd("webhook", "install", "--json", env=env).document["automations"]
            for _ in range(2)
        ]
        assert [[item["outcome"] for item in made] for made in outcomes] == [["made"], ["there"]]

        proof = small.syncd("webhook", "test", "--json", env=env).document
        assert proof["project"] == small.target
        assert proof["arrived_in"] < 5
        catalog.pulse.taken(catalog.pulse.hints())

        for number, encoding in enumerate(("hex", "base64")):
            small.http.post("/sandbox/settings", json={"webhook_signature": encoding})
            small.sdk(LOG, small.entity, "2", str(number))
            until(catalog.pulse.hints, f"the hint of {encoding} arrived")
            until(lambda: not small.stats()["webhooks_waiting"], "all were delivered")
            found = {(hint.project, hint.collection) for hint in catalog.pulse.hints()}
            assert found == {(small.target, "called")}
            catalog.pulse.taken(catalog.pulse.hints())
        ready = httpx.get(f"{url}/readyz")
        assert (ready.status_code, "no engine" in ready.text) == (503, True)
    assert SECRET not in "".join(small.said)


def test_webhooks_of_a_project_that_was_added_are_heard_without_a_restart(empty: World) -> None:
    """The daemon tells its face that it has read the configuration again."""
    added = f"{empty.entity}/added"
    body = json.dumps({"event": "CREATE_ARTIFACT", "entity": empty.entity, "project": "added"})
    headers = {SIGNATURE: signed(SECRET.encode(), body.encode())}
    with empty.running("run", SYNCD_WEBHOOK_SECRET=SECRET) as process:
        process.alive_until(lambda: process.told("face.started"), "its face had started")
        lines = [line for line in process.err.splitlines() if '"event": "face.started"' in line]
        url = json.loads(lines[0])["url"]

        def answer() -> str:
            return str(httpx.post(url + PATH, content=body, headers=headers).json()["status"])

        assert answer() == "ignored"
        process.alive_until(lambda: process.told("daemon.started"), "it had started")
        right = empty.config.read_text()
        empty.config.write_text(right.replace(f'"{empty.target}"', f'"{empty.target}", "{added}"'))
        process.popen.send_signal(signal.SIGHUP)
        process.alive_until(lambda: process.told("reload.done"), "it was taken over")
        until(lambda: answer() != "ignored", "its face heard of it")

        assert not process.told("child.lost")


def test_the_face_starts_without_liboxen_and_engine() -> None:
    """It has to be there at once, and its memory is its own."""
    script = (
        "import sys, syncd.cli.face, syncd.web.face;"
        "print(sorted({'oxen', 'dbos', 'wandb', 'apscheduler', 'ariadne'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
