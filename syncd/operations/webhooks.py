"""W&B's webhooks from the operator's side: the automations that call us, and the proof that they can.

What both ends of a request have to agree on stands here: path, payload, events, signature.
"""

from __future__ import annotations

import hmac
import json
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from syncd.catalog.catalog import Catalog
from syncd.clients.wandb_hooks import Outcome, WandbHooks, Webhook, deliver
from syncd.errors import PermanentError, UsageError
from syncd.refs import Target

PATH = "/webhooks/wandb"
SIGNATURE = "x-wandb-signature"
AUTOMATION = "syncd: new versions"
TEST_EVENT = "SYNCD_TEST"
FACE = "face"  # the name of the receiver's sign of life
# By which the mover lets the receiver read again which projects are moved. Not SIGHUP: by that a terminal
# that is closed ends what was started in it.
RELOAD = signal.SIGUSR1
PATIENCE = 10.0  # seconds until what was sent has to have arrived
# What W&B is asked to send, its variables in it.
PAYLOAD = {
    "event": "${event_type}",
    "entity": "${entity_name}",
    "project": "${project_name}",
    "collection": "${artifact_collection_name}",
    "artifact": "${artifact_version}",
    "alias": "${alias}",
    "version": "${artifact_version_string}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An automation of a project (`entity/project`), and what became of it."""

    project: str
    webhook: str
    outcome: Outcome


def signed(secret: bytes, body: bytes) -> str:
    """The signature of a body, in hex."""
    return hmac.digest(secret, body, "sha256").hex()


def install(hooks: WandbHooks, targets: Iterable[Target], url: str) -> Iterator[Installed]:
    """Make the automations of these projects; what is as it should be stays.

    Args:
        hooks: W&B.
        targets: projects.
        url: where W&B reaches us, without a path.

    Raises:
        UsageError: when an entity has no webhook that leads to us; saying where to make it.
    """
    wanted = f"{url.rstrip('/')}{PATH}"
    found: dict[str, Webhook] = {}
    for target in targets:
        assert target.project, "the caller names projects"
        if target.entity not in found:
            found[target.entity] = _webhook(hooks, target.entity, wanted)
        webhook = found[target.entity]
        outcome = hooks.ensure(
            target.entity, target.project, name=AUTOMATION, webhook=webhook, payload=PAYLOAD
        )
        yield Installed(
            project=f"{target.entity}/{target.project}", webhook=webhook.name, outcome=outcome
        )


def _webhook(hooks: WandbHooks, entity: str, url: str) -> Webhook:
    for webhook in hooks.webhooks(entity):
        if webhook.url.rstrip("/") == url:
            return webhook
    raise UsageError(
        f"{entity} has no webhook that leads to {url}",
        hint=f"W&B lets only a person make one. In the settings of {entity}: under Team secrets, add "
        "a secret with the content of [web] webhook_secret_file; under Webhooks, add one with this "
        "URL and that secret. Then run this command again.",
    )


def probe(
    catalog: Catalog,
    target: Target,
    url: str,
    secret: bytes,
    *,
    clock: Callable[[], float] = time.time,
    wait: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Send a signed request as W&B does, and see the hint arrive in the catalog.

    Args:
        catalog: where the receiver writes.
        target: a project that is moved; it is looked at, and nothing else happens.
        url: where W&B reaches us, without a path.
        secret: what it is signed with.
        clock: Unix seconds.
        wait: sleeps for some seconds.

    Raises:
        PermanentError: when the request is refused, or does not arrive.
        ServiceUnavailableError: when nobody answers.
    """
    nonce = secrets.token_hex(16)
    began = clock()
    document = {
        "event": TEST_EVENT,
        "entity": target.entity,
        "project": target.project,
        "nonce": nonce,
        "sent_at": began,
    }
    body = json.dumps(document).encode()
    headers = {"content-type": "application/json", SIGNATURE: signed(secret, body)}
    status, said = deliver(f"{url.rstrip('/')}{PATH}", body, headers)
    answered = clock()
    if status != 202:  # noqa: PLR2004
        raise PermanentError(said, hint="The answer names the cause; docs/webhooks.md has more.")
    if '"ignored"' in said:
        raise PermanentError(
            f"the request arrived and was ignored: {said}",
            hint="Is the project among [wandb] projects of the server at web.public_url?",
        )
    while nonce not in _heard(catalog):
        if clock() - began > PATIENCE:
            raise PermanentError(
                f"the request was accepted, and its hint did not arrive within {PATIENCE:.0f} s",
                hint="Does the server at web.public_url use the same [engine] database as this "
                "command? Its log says whether the catalog can be written.",
            )
        wait(0.05)
    return {
        "project": f"{target.entity}/{target.project}",
        "answered_in": answered - began,
        "arrived_in": clock() - began,
    }


def _heard(catalog: Catalog) -> set[str]:
    """The tests that the receiver has written into the catalog."""
    found = (beat.detail.get("tests") or () for beat in catalog.pulse.beats() if beat.name == FACE)
    return {str(nonce) for nonces in found for nonce in nonces}
