"""Webhooks: what is W&B's is a hint at once, what is not does no harm."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from face_world import SECRET, client, made_parts, until

from syncd.catalog.catalog import Catalog, State
from syncd.operations.webhooks import PATH, PAYLOAD, SIGNATURE, TEST_EVENT, signed
from syncd.refs import Target
from syncd.testing import MemoryArtifactSource
from syncd.web.answers import RefusedError
from syncd.web.app import Parts
from syncd.web.inbox import NOTICES, WINDOW, Inbox, Notice, Seen
from syncd.web.signature import proven
from syncd.web.webhook import Ignored, read

NOW = 1_800_000_000.0
TARGETS = (Target.parse("team/proj"), Target.parse("research/*"))
EVENT = {
    "event": "ADD_ARTIFACT_ALIAS",
    "entity": "team",
    "project": "proj",
    "collection": "ds",
    "artifact": "wandb-artifact://_id/QXJ0aWZhY3Q6MQ==",
    "version": "team/proj/ds:latest",
}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(f"sqlite:///{tmp_path}/syncd.db")
    yield made
    made.close()


@pytest.fixture
def parts(catalog: Catalog) -> Parts:
    """The application's parts."""
    return made_parts(catalog)


def send(http: httpx.Client, document: Any = EVENT, **headers: str) -> httpx.Response:
    """Send an event as W&B does, signed unless a header says otherwise."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(PATH, content=body, headers=given or {SIGNATURE: signed(SECRET, body)})


def hints(catalog: Catalog) -> list[tuple[str, str | None]]:
    """What waits for the mover."""
    return [(hint.project, hint.collection) for hint in catalog.pulse.hints()]


# --- what is taken


def test_an_event_becomes_a_hint(parts: Parts) -> None:
    """Answered 202 before the hint is written, which then arrives by itself."""
    with client(parts) as http:
        answer = send(http)

        assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
        until(lambda: hints(parts.catalog) == [("team/proj", "ds")], "the hint arrived")


def test_a_repeated_event_is_one_hint(parts: Parts) -> None:
    """W&B sends twice what it did not see answered; whoever overheard it gains nothing."""
    with client(parts) as http:
        answers = [send(http).json()["status"] for _ in range(3)]
        until(lambda: hints(parts.catalog), "the hint arrived")

        assert answers == ["accepted", "repeated", "repeated"]
        assert hints(parts.catalog) == [("team/proj", "ds")]


def test_many_events_of_a_collection_are_one_hint(parts: Parts) -> None:
    """Whatever they say, the mover looks once."""
    with client(parts) as http:
        for number in range(20):
            send(http, {**EVENT, "artifact": f"wandb-artifact://_id/{number}"})
    assert hints(parts.catalog) == [("team/proj", "ds")]


@pytest.mark.parametrize("event", ["CREATE_ARTIFACT", "LINK_ARTIFACT"])
def test_our_own_versions_are_no_news(parts: Parts, event: str) -> None:
    """A replacement sets off the automation like any version; nobody looks because of it."""
    source = MemoryArtifactSource()
    old, new = (source.log("ds", {"a": bytes([number])}) for number in range(2))
    parts.catalog.note(old, State.REPLACED, replacement_id=new.id)
    with client(parts) as http:
        told = {**EVENT, "event": event, "artifact": f"wandb-artifact://_id/{new.id}"}
        ours = send(http, told)
        theirs = send(http, {**EVENT, "collection": "other"})
        until(lambda: hints(parts.catalog), "the other hint arrived")

        assert [ours.status_code, theirs.status_code] == [202, 202]
    assert hints(parts.catalog) == [("team/proj", "other")]
    assert parts.inbox.outcomes["own"] == 1


def test_an_alias_that_a_replacement_gets_is_news(parts: Parts) -> None:
    """What people see after a move are replacements: it is to them that they give aliases."""
    source = MemoryArtifactSource()
    old, new = (source.log("ds", {"a": bytes([number])}) for number in range(2))
    parts.catalog.note(old, State.REPLACED, replacement_id=new.id)
    told = {**EVENT, "alias": "best", "artifact": f"wandb-artifact://_id/{new.id}"}
    with client(parts) as http:
        assert send(http, told).json() == {"status": "accepted"}
    assert hints(parts.catalog) == [("team/proj", "ds")]


def test_an_alias_that_comes_back_within_minutes_is_news(parts: Parts) -> None:
    """A promotion that is taken back is told in the words of the first time."""
    with client(parts) as http:
        answers = [
            send(http, {**EVENT, "alias": "prod", "artifact": f"wandb-artifact://_id/{number}"})
            for number in (1, 2, 1, 1)
        ]

    statuses = [answer.json()["status"] for answer in answers]
    assert statuses == ["accepted", "accepted", "accepted", "repeated"]


@pytest.mark.parametrize("event", ["RUN_STATE", "SOMETHING_NEW", "REMOVE_COLLECTION_TAG"])
def test_unknown_events_are_accepted_and_ignored(parts: Parts, event: str) -> None:
    """A refusal would make W&B send them again."""
    with client(parts) as http:
        answer = send(http, {**EVENT, "event": event})

    assert (answer.status_code, answer.json()["status"]) == (202, "ignored")
    assert hints(parts.catalog) == []


# --- what is refused


def test_without_a_secret_everything_is_refused(catalog: Catalog) -> None:
    """Rather than open to everybody, and the answer says what to configure."""
    with client(made_parts(catalog, secret=None)) as http:
        answer = send(http)

    assert answer.status_code == 403
    assert "webhook_secret_file" in answer.json()["hint"]
    assert hints(catalog) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SIGNATURE: ""},
        {SIGNATURE: "00" * 32},
        {SIGNATURE: "sha256=" + "00" * 32},
        {SIGNATURE: signed(b"another secret", json.dumps(EVENT).encode())},
        {SIGNATURE: signed(SECRET, b"another body")},
        {SIGNATURE: "é" * 64},
        {"authorization": "Bearer another"},
        {"authorization": f"Basic {base64.b64encode(SECRET).decode()}"},
        # one that is wrong is not made good by one that is right
        {SIGNATURE: "00" * 32, "authorization": f"Bearer {SECRET.decode()}"},
    ],
)
def test_what_is_not_signed_is_refused(parts: Parts, headers: dict[str, str]) -> None:
    """Without a word about what the signature would have been, and without a hint."""
    body = json.dumps(EVENT).encode()
    with client(parts) as http:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = http.post(PATH, content=body, headers=raw)

    assert answer.status_code == 401
    assert signed(SECRET, body) not in answer.text
    assert SECRET.decode() not in answer.text
    assert hints(parts.catalog) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[1, 2]", b'"text"', b"[" * 60_000, b"9" * 20_000]
)
def test_what_is_no_object_is_a_clear_400(parts: Parts, body: bytes) -> None:
    """Whoever wrote the payload reads what is wrong with it."""
    with client(parts) as http:
        answer = send(http, body)

    assert answer.status_code == 400
    assert "not" in answer.json()["error"]
    assert "docs/webhooks.md" in answer.json()["hint"]


def test_a_large_body_is_refused_before_it_is_sent(parts: Parts) -> None:
    """100 MB by its own account: the answer comes while the sender still holds it."""
    with client(parts) as http:
        url = urlsplit(str(http.base_url))
        connection = http_connection(url.hostname, url.port)
        connection.putrequest("POST", PATH)
        connection.putheader(SIGNATURE, "00" * 32)
        connection.putheader("content-length", str(100_000_000))
        connection.endheaders()

        assert connection.getresponse().status == 413
        connection.close()


def test_a_large_body_that_hides_its_size_is_cut_off(parts: Parts) -> None:
    """100 MB in chunks: what is read is bounded, and the connection ends."""
    sent = 0
    with client(parts) as http:
        url = urlsplit(str(http.base_url))
        with socket.create_connection((url.hostname, url.port or 0), timeout=20) as raw:
            head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n{SIGNATURE}: {'00' * 32}\r\n"
            raw.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
            chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            try:
                while sent < 100_000_000:
                    raw.sendall(chunk)
                    sent += 0x10000
            except OSError:
                pass
        assert send(http).status_code == 202  # and the server goes on
    # What the sockets' buffers held, and not the whole of it.
    assert sent < 50_000_000


def http_connection(host: str | None, port: int | None) -> http.client.HTTPConnection:
    """A connection that sends only what it is told to."""
    assert host
    return http.client.HTTPConnection(host, port, timeout=20)


def test_a_flood_fills_neither_the_log_nor_the_catalog(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hundreds of bad signatures are counted, told of in a line, and remembered by nobody."""
    with client(parts) as http:
        for number in range(300):
            send(http, {**EVENT, "collection": str(number)}, x_wandb_signature="00" * 32)

        assert send(http).status_code == 202
    assert parts.inbox.outcomes == {"refused": 300, "accepted": 1}
    assert capsys.readouterr().err.count("webhook.refused") <= 2
    assert hints(parts.catalog) == [("team/proj", "ds")]


# --- signatures, as decisions


def digest(body: bytes) -> bytes:
    """The signature, made by other means than ours."""
    return hmac.new(SECRET, body, hashlib.sha256).digest()


@pytest.mark.parametrize(
    "text",
    [
        digest(b"body").hex(),
        digest(b"body").hex().upper(),
        f"sha256={digest(b'body').hex()}",
        base64.b64encode(digest(b"body")).decode(),
        f" {digest(b'body').hex()} ",
    ],
)
def test_a_signature_may_be_written_in_each_known_way(text: str) -> None:
    """W&B's documentation prints base64, receivers read hex."""
    assert proven(SECRET, {SIGNATURE: text}, b"body")
    assert not proven(SECRET, {SIGNATURE: text}, b"bodY")


def test_a_token_stands_for_a_signature() -> None:
    """Where the webhook in W&B has an access token and no secret."""
    assert proven(SECRET, {"authorization": f"bearer {SECRET.decode()}"}, b"anything")
    assert not proven(SECRET, {"authorization": "Bearer "}, b"anything")
    assert not proven(SECRET, {"authorization": f"Basic {SECRET.decode()}"}, b"anything")
    assert not proven(SECRET, {}, b"anything")


# --- bodies, as decisions


def told(**changes: Any) -> Notice | Ignored:
    """What a body says."""
    return read(json.dumps({**EVENT, **changes}).encode(), TARGETS, NOW)


def test_the_names_that_wandb_uses_are_read_too() -> None:
    """For whoever wrote the payload by hand."""
    document = {
        "event_type": "LINK_ARTIFACT",
        "entity_name": "research",
        "project_name": "vision",
        "artifact_collection_name": "ds",
        "artifact_version": "wandb-artifact://_id/QQ==",
    }
    found = read(json.dumps(document).encode(), TARGETS, NOW)

    assert found == Notice(project="research/vision", collection="ds", artifact_id="QQ==")


def test_a_version_string_is_enough() -> None:
    """It holds all three names."""
    document = {"artifact_version_string": "team/proj/ds:v3"}

    assert read(json.dumps(document).encode(), TARGETS, NOW) == Notice(
        project="team/proj", collection="ds"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"project": "other"},
        {"entity": "other"},
        {"entity": "${entity_name}", "project": 3, "version": "x"},
        {"entity": "a\x00b", "version": "none"},
        {"entity": "\ud800", "version": "none"},
        {"entity": "x" * 300, "version": "none"},
        {"event": "CREATE_ARTIFACT", "oxen": {"repo": "oxen://team/ds"}},
        {"event": "CREATE_ARTIFACT", "metadata": {"oxen": {"repo": "oxen://team/ds"}}},
        {"event": "CREATE_ARTIFACT", "oxen": '{"repo": "oxen://team/ds"}'},
    ],
)
def test_what_concerns_nothing_that_moves_is_ignored(changes: dict[str, Any]) -> None:
    """Other projects, names that are none, and what syncd's own metadata shows to be its own."""
    assert isinstance(told(**changes), Ignored)


@pytest.mark.parametrize(
    "name", ["", None, 7, "${artifact_collection_name}", "bad\x00name", "x" * 256]
)
def test_without_a_usable_collection_the_project_is_meant(name: object) -> None:
    """The mover then looks at all of it."""
    assert told(collection=name, version="") == Notice(project="team/proj")


def test_what_is_no_id_and_what_belongs_to_a_test_are_left_out() -> None:
    """The mover asks W&B for the one, and an answer waits for the other."""
    assert told(artifact="team/proj/ds:v3", nonce="5ecret") == Notice(
        project="team/proj", collection="ds"
    )
    found = told(event=TEST_EVENT, nonce="5ecret")
    assert isinstance(found, Notice)
    assert found.test == "5ecret"


def test_metadata_that_wandb_did_not_fill_in_means_nothing() -> None:
    """A version without the key leaves the variable as it is."""
    assert isinstance(told(oxen="${artifact_metadata.oxen}"), Notice)
    assert isinstance(told(oxen=""), Notice)


@pytest.mark.parametrize(
    ("moment", "fresh"),
    [
        (NOW, True),
        (NOW - 299, True),
        (NOW + 299, True),
        (NOW - 301, False),
        (NOW + 301, False),
        (float("nan"), False),
        ("2027-01-15T08:00:00+00:00", True),  # NOW
        ("2027-01-15T07:00:00Z", False),
        ("yesterday", True),  # a text of somebody's own
        (10**400, True),
        ([], True),
    ],
)
def test_what_tells_its_time_is_refused_when_that_is_over(moment: object, fresh: bool) -> None:
    """Overheard an hour ago, it is worth nothing."""
    if fresh:
        assert isinstance(told(sent_at=moment), Notice)
    else:
        with pytest.raises(RefusedError, match="too old"):
            told(sent_at=moment)


def test_the_payload_we_ask_for_is_the_one_we_read() -> None:
    """Filled in as W&B does it."""
    values = {"event_type": "CREATE_ARTIFACT", "entity_name": "team", "project_name": "proj"}
    values |= {"artifact_collection_name": "ds", "artifact_version": "wandb-artifact://_id/QQ=="}
    values |= {"artifact_version_string": "team/proj/ds:v0", "alias": ""}
    body = json.dumps({key: values[text[2:-1]] for key, text in PAYLOAD.items()}).encode()

    assert read(body, TARGETS, NOW) == Notice(
        project="team/proj", collection="ds", artifact_id="QQ=="
    )


# --- what waits


def test_bodies_are_forgotten_when_their_window_is_over() -> None:
    """An alias that comes back later is news again; and what is remembered is bounded."""
    moment = 0.0
    seen = Seen(lambda: moment)
    place = ("team/proj", "ds")

    assert [seen.before(place, b"a"), seen.before(place, b"a")] == [False, True]
    moment = WINDOW + 1
    assert not seen.before(place, b"a")
    for number in range(10_000):
        seen.before(("team/proj", str(number)), b"a")
    assert not seen.before(place, b"a")  # pushed out by younger ones
    assert len(seen._last) <= 4_096


def test_what_does_not_fit_is_told_of_its_project(catalog: Catalog) -> None:
    """Then nothing: the inbox is bounded, and the mover polls anyway."""
    inbox = Inbox(catalog)
    for number in range(NOTICES):
        assert inbox.put(Notice(project="team/proj", collection=str(number)))
    assert inbox.put(Notice(project="team/proj", collection="one more"))
    for number in range(NOTICES - 1):
        assert inbox.put(Notice(project=f"research/{number}", collection="x"))

    assert not inbox.put(Notice(project="research/last", collection="x"))
    assert ("team/proj", "", "") in inbox._waiting


def test_hints_wait_for_a_catalog_that_cannot_be_written(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written when it can; until then the inbox says why."""
    monkeypatch.setattr("syncd.web.inbox.AGAIN", 0.01)
    parts = made_parts(catalog)
    written = catalog.pulse.hint
    monkeypatch.setattr(catalog.pulse, "hint", broken)
    with client(parts) as http:
        assert send(http).status_code == 202
        until(lambda: "no room" in parts.inbox.problem, "the inbox told of it")
        ready = http.get("/readyz")
        monkeypatch.setattr(catalog.pulse, "hint", written)
        until(lambda: hints(catalog), "the hint arrived")
        until(lambda: not parts.inbox.problem, "the inbox was well again")

    assert "no room" in json.dumps(ready.json()["reasons"])


def broken(*_arguments: object, **_named: object) -> None:
    """What a full disk does."""
    raise OSError("no room left")


def test_the_face_gives_signs_of_life(parts: Parts) -> None:
    """With what became of the requests."""
    with client(parts) as http:
        send(http)
        until(parts.catalog.pulse.beats, "there was a sign of life")

    [beat] = parts.catalog.pulse.beats()
    assert beat.name == "face"
    assert abs(beat.at - time.time()) < 30
