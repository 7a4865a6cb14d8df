"""An endpoint that the hub serves: a checkpoint is deployed, and rolled back by what was there before.

The hub has no call that replaces what a deployment serves. So every deployment is one of its own, with
a model name that clients ask for; the endpoint's name stands for whichever is active. What the hub
answered stands in the journal, and rolling back activates that one again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from syncd.clients.oxen_hub import OxenHub
from syncd.errors import PermanentError, UsageError
from syncd.refs import OxenURL
from syncd.versions.events import Kind

CHECKPOINT = "checkpoint"  # in what the endpoint is told: fine_tune, step


def checkpoint(fine_tune: str, step: str) -> dict[str, Any]:
    """What a hub endpoint is told beside the version.

    Raises:
        UsageError: when either is missing.
    """
    if not fine_tune or not step:
        raise UsageError(
            "a hub endpoint serves a checkpoint of a fine-tune",
            hint="Name both: --fine-tune ID --checkpoint STEP.",
        )
    return {CHECKPOINT: {"fine_tune": fine_tune, "step": step}}


def tell(hub: OxenHub, document: Mapping[str, Any], deployment_type: str) -> str:
    """Let the hub serve a version, and no more what it served before; what it answered, as JSON.

    Raises:
        PermanentError: when the hub refuses, or the journal does not know how it was deployed.
    """
    before = _model(document["said_before"])
    if document["kind"] == Kind.DEPLOY:
        asked = document[CHECKPOINT]
        repo = OxenURL.parse(f"{document['repo']}@{document['commit']}").repo
        made = hub.deploy(repo, asked["fine_tune"], asked["step"], deployment_type)
        model, said = made.model, {"deployment_id": made.id, "model": made.model}
    else:
        found = _model(document["said"])
        if found is None:
            raise PermanentError(
                f"the journal does not know which model of the hub's serves {document['version']}",
                hint=f"Deploy it anew: syncd deploy {document['version']} {document['endpoint']} "
                "--fine-tune ID --checkpoint STEP.",
            )
        hub.activate(found)
        model, said = found, {"model": found}
    if before is not None and before != model:
        hub.deactivate(before)
    return json.dumps(said)


def _model(said: str) -> str | None:
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(said)["model"])
    return None
