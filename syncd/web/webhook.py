"""The webhook receiver: `POST /webhooks/wandb`, answered before anything is done.

A webhook is a hint that something is new in a collection, and nothing else: whoever forges, repeats
or withholds one changes only when the mover looks. What is accepted (202) is put into the inbox;
what is refused costs no more than reading its head and at most MAX_BODY bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from syncd import log
from syncd.errors import UsageError
from syncd.operations.webhooks import PATH, TEST_EVENT
from syncd.refs import ArtifactRef, Target
from syncd.web import signature
from syncd.web.answers import RefusedError
from syncd.web.bodies import whole
from syncd.web.inbox import Inbox, Notice, Seen

MAX_BODY = 65_536  # bytes; ours has some hundred
MAX_NAME = 255  # characters, as the catalog holds
TOO_OLD = 300.0  # seconds that a body which tells its time may have travelled
QUIET = 10.0  # seconds between two lines about refused requests
ARTIFACT = "wandb-artifact://_id/"
ALIAS = "ADD_ARTIFACT_ALIAS"
# Events after which there may be something to move (W&B's names; LINK_MODEL is told as LINK_ARTIFACT).
EVENTS = frozenset(
    {
        ALIAS,
        "ADD_ARTIFACT_TAG",
        "CREATE_ARTIFACT",
        "LINK_ARTIFACT",
        "LINK_MODEL",
        "REMOVE_ARTIFACT_TAG",
        TEST_EVENT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A request that is in order and of which nothing follows."""

    reason: str


def webhook_routes(
    inbox: Inbox,
    targets: Callable[[], Sequence[Target]],
    secret: bytes | None,
    clock: Callable[[], float] = time.time,
) -> list[BaseRoute]:
    """The receiver's route.

    Args:
        inbox: takes what is accepted.
        targets: tells the projects that are moved; notices of others are ignored.
        secret: what W&B signs with; without it every request is refused.
        clock: Unix seconds.
    """
    seen = Seen()
    refusals = Refusals(inbox)

    async def receive(request: Request) -> Response:
        try:
            body = await _proven_body(request, secret)
            notice = read(body, targets(), clock())
        except RefusedError as error:
            return refusals.answer(error)
        if isinstance(notice, Ignored):
            return _accepted(inbox, "ignored", reason=notice.reason)
        if seen.before((notice.project, notice.collection), body):
            return _accepted(inbox, "repeated")
        return _accepted(inbox, "accepted" if inbox.put(notice) else "dropped")

    return [Route(PATH, receive, methods=["POST"])]


class Refusals:
    """Answers to what is refused; a flood of them fills no log.

    Args:
        inbox: counts them.
        clock: seconds that only grow.
    """

    def __init__(self, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        self._inbox = inbox
        self._clock = clock
        self._told_at = float("-inf")
        self._untold = 0

    def answer(self, error: RefusedError) -> Response:
        """The answer, counted and told of."""
        self._inbox.count("refused")
        self._untold += 1
        if self._clock() - self._told_at >= QUIET:
            log.get().warning(
                log.Life.WEBHOOK_REFUSED, error=str(error), hint=error.hint, requests=self._untold
            )
            self._told_at, self._untold = self._clock(), 0
        return JSONResponse(
            {"error": str(error), "hint": error.hint},
            status_code=error.status,
            headers={"cache-control": "no-store", "connection": "close"},
        )


async def _proven_body(request: Request, secret: bytes | None) -> bytes:
    """The body of a request that W&B made.

    Raises:
        RefusedError: when it did not, or the body is too large or too slow.
    """
    if secret is None:
        raise RefusedError(
            403, "no webhook secret is configured", "Set [web] webhook_secret_file on this server."
        )
    if not signature.attempted(request.headers):
        raise RefusedError(
            401,
            "the request is not signed",
            "Give the webhook in W&B a secret, or an access token, with the value of "
            "[web] webhook_secret_file.",
        )
    body = await whole(request, MAX_BODY, "`syncd webhook install` sets a small one.")
    if not signature.proven(secret, request.headers, body):
        raise RefusedError(
            401,
            "the signature or the token is wrong",
            "The secret in W&B and [web] webhook_secret_file have to be the same.",
        )
    return body


def read(body: bytes, targets: Sequence[Target], now: float) -> Notice | Ignored:
    """What a proven body says.

    Args:
        body: JSON; the fields of `webhooks.PAYLOAD`, or W&B's own names for them.
        targets: the projects of interest.
        now: Unix seconds.

    Raises:
        RefusedError: when it is not an object of JSON, or tells a time that is long over.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            400, "the body is not JSON", "Compare the webhook's payload with docs/webhooks.md."
        ) from error
    if not isinstance(document, dict):
        raise RefusedError(
            400,
            "the body is not a JSON object",
            "Compare the webhook's payload with docs/webhooks.md.",
        )
    _check_time(document, now)
    event = _text(document, "event", "event_type")
    if event and event not in EVENTS:
        return Ignored(reason="an event that moves nothing")
    is_alias = event == ALIAS
    if not is_alias and _ours(document):
        return Ignored(reason="a version that syncd made")
    named = _names(document)
    if named is None:
        return Ignored(
            reason="it names no project; `syncd webhook install` sets a payload that does"
        )
    entity, project, collection = named
    if not any(t.entity == entity and t.project in {None, project} for t in targets):
        return Ignored(reason="a project that is not moved")
    version = _text(document, "artifact", "artifact_version")
    return Notice(
        project=f"{entity}/{project}",
        collection=collection,
        # People give aliases to replacements, too: then it does not matter who made the version.
        artifact_id=""
        if is_alias or not version.startswith(ARTIFACT)
        else version.removeprefix(ARTIFACT),
        test=_text(document, "nonce") if event == TEST_EVENT else "",
    )


def _check_time(document: Mapping[str, Any], now: float) -> None:
    """Refuse what was overheard long ago, where it tells when it was sent; W&B does not."""
    told = document.get("sent_at", document.get("timestamp"))
    if told is None:
        return
    try:
        at = datetime.fromisoformat(told).timestamp() if isinstance(told, str) else float(told)
    except (ValueError, TypeError, OverflowError):
        return  # a text of somebody's own
    if not abs(now - at) <= TOO_OLD:
        raise RefusedError(
            401, "the request is too old", "Compare the clocks of both machines; then send it anew."
        )


def _names(document: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Entity, project and collection; the last one empty when it is not told."""
    entity = _text(document, "entity", "entity_name")
    project = _text(document, "project", "project_name")
    collection = _text(document, "collection", "artifact_collection_name")
    if entity and project:
        return entity, project, collection
    try:
        ref = ArtifactRef.parse(_text(document, "version", "artifact_version_string"))
    except UsageError:
        return None
    return ref.entity, ref.project, ref.collection


def _ours(document: Mapping[str, Any]) -> bool:
    """Whether the metadata that the payload carries is that of a replacement."""
    metadata = document.get("metadata")
    told = document.get("oxen", metadata.get("oxen") if isinstance(metadata, dict) else None)
    return bool(told) and not (isinstance(told, str) and told.startswith("${"))


def _text(document: Mapping[str, Any], *names: str) -> str:
    """The first of these members that is a text which W&B filled in and that may be a name."""
    for name in names:
        value = document.get(name)
        if isinstance(value, str) and 0 < len(value) <= MAX_NAME and "${" not in value:
            return value if value.isprintable() else ""
    return ""


def _accepted(inbox: Inbox, outcome: str, **more: str) -> Response:
    inbox.count(outcome)
    return JSONResponse(
        {"status": outcome, **more}, status_code=202, headers={"cache-control": "no-store"}
    )
