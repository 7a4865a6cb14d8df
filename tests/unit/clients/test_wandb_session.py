"""W&B's session: what an answer means, and that the key goes nowhere else."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from wandb_server import KEY, Answer, Server, harmless, node, page

from syncd import retry
from syncd.clients.http import LONGEST_PAUSE, told_time
from syncd.clients.wandb import WandbSource
from syncd.errors import (
    AuthenticationError,
    IntegrityError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    SyncdError,
)
from syncd.sandbox.server import Sandbox

ATTEMPTS = retry.DEFAULT.attempts
Talk = tuple[Server, WandbSource]


@pytest.fixture
def talk(api: Server, source: WandbSource) -> Talk:
    """Both ends."""
    return api, source


def said(*messages: str) -> bytes:
    """A GraphQL error."""
    return json.dumps({"data": None, "errors": [{"message": m} for m in messages]}).encode()


@pytest.mark.parametrize(
    ("answer", "error", "text", "attempts"),
    [
        (Answer(status=401, body=said("who are you")), AuthenticationError, "who are you", 1),
        (Answer(status=403), AuthenticationError, "answered 403", 1),
        (Answer(status=404), NotFoundError, "answered 404", 1),
        (Answer(status=410), NotFoundError, "answered 410", 1),
        (Answer(status=400, body=said("no such field")), PermanentError, "no such field", 1),
        (Answer(status=409), PermanentError, "answered 409", 1),
        (Answer(status=501), PermanentError, "answered 501", 1),
        (Answer(status=408), ServiceUnavailableError, "answered 408", ATTEMPTS),
        (Answer(status=429), ServiceUnavailableError, "answered 429", ATTEMPTS),
        (Answer(status=500), ServiceUnavailableError, "answered 500", ATTEMPTS),
        (Answer(status=502, body=b"<html>"), ServiceUnavailableError, "answered 502", ATTEMPTS),
        (Answer(status=503), ServiceUnavailableError, "answered 503", ATTEMPTS),
        (Answer(status=504), ServiceUnavailableError, "answered 504", ATTEMPTS),
        # A logical error comes with status 200.
        (Answer(body=said("one", "two")), PermanentError, "W&B refused: one; two", 1),
        (Answer(body=b"<!DOCTYPE html>"), PermanentError, "did not answer with GraphQL", 1),
        (Answer(body=b'{"data": '), PermanentError, "did not answer with GraphQL", 1),
        (Answer(body=b"\xff\xfe"), PermanentError, "did not answer with GraphQL", 1),
        (Answer(body=b""), PermanentError, "did not answer with GraphQL", 1),
        (Answer(body=b"[]"), PermanentError, "did not answer with GraphQL", 1),
        (Answer(body=b"{}"), PermanentError, "did not answer with GraphQL", 1),
        (Answer(body=b'{"data": null}'), AuthenticationError, "no data", 1),
        (Answer(body=b'{"data": {"artifact": null}}'), NotFoundError, "gone from W&B", 1),
        # The line broke.
        (Answer(body=b'{"data": {}}', cut=5), IntegrityError, "cut short", ATTEMPTS),
        (
            Answer(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
            IntegrityError,
            "cut short or garbled",
            ATTEMPTS,
        ),
    ],
)
def test_an_answer_is_read_as_what_it_means(
    answer: Answer, error: type[SyncdError], text: str, attempts: int, talk: Talk
) -> None:
    """One error class for each cause, repeated only where that may help, with no secret in it."""
    api, source = talk
    api.on("ArtifactByID", answer)
    with pytest.raises(SyncdError) as caught:
        source.version("id0")

    assert type(caught.value) is error
    assert text in str(caught.value)
    assert harmless(caught.value)
    assert len(api.asked["ArtifactByID"]) == attempts


def test_a_redirect_in_a_circle_ends(api: Server, source: WandbSource) -> None:
    """And is nothing to try again."""
    api.on("ArtifactByID", Answer(status=307, headers={"Location": "/graphql"}))
    with pytest.raises(PermanentError, match="in a circle"):
        source.version("id0")


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://x/y"])
def test_a_redirect_away_from_the_web_is_not_followed(
    place: str, api: Server, source: WandbSource
) -> None:
    """Nor tried again."""
    api.on("ArtifactByID", Answer(status=307, headers={"Location": place}))
    with pytest.raises(PermanentError, match="away from the web"):
        source.version("id0")
    assert len(api.asked["ArtifactByID"]) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),  # RFC 9110 knows dates, too
        ("Fri, 21 Oct 2095 07:28:00 GMT", LONGEST_PAUSE),
        ("86400", LONGEST_PAUSE),
        ("9" * 400, LONGEST_PAUSE),
        ("Wed, 21 Oct 2015 07:28:00", None),  # of no zone
        ("-1", None),
        ("soon", None),
        ("", None),
    ],
)
def test_how_long_the_service_asks_to_wait_is_passed_on(
    header: str, seconds: float | None, api: Server, source: WandbSource
) -> None:
    """To the retry layer, which never waits less; but one service must not stop everything for ever."""
    api.on("ArtifactByID", Answer(status=429, headers={"Retry-After": header}))
    with pytest.raises(ServiceUnavailableError) as caught:
        source.version("id0")

    assert caught.value.retry_after == seconds


def test_a_server_that_is_not_there_is_one_to_ask_later() -> None:
    """Connection refused, without the key in the message."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        source = WandbSource(f"http://127.0.0.1:{free.getsockname()[1]}", KEY)
        with pytest.raises(ServiceUnavailableError, match="did not answer") as caught:
            source.version("id0")
    source.close()

    assert harmless(caught.value)


def test_a_service_that_recovers_is_not_an_error(api: Server, source: WandbSource) -> None:
    """The call goes on where it was."""
    api.on("ArtifactByID", Answer(status=503), Answer(body=b"{", cut=1), {"artifact": node()})

    assert source.version("id0").id == "id0"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "x", "", "http://"])
def test_a_base_url_that_is_no_web_address_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(PermanentError):
        WandbSource(url, KEY)


@pytest.mark.parametrize("cursor", [None, "same"])
def test_a_list_that_never_ends_is_an_error_and_not_a_hang(
    cursor: str | None, api: Server, source: WandbSource
) -> None:
    """A server that says there is more, and not from where on."""
    endless = page({"name": "digits"})
    endless["pageInfo"] = {"endCursor": cursor, "hasNextPage": True}
    api.on("GetProjects", {"models": endless})

    with pytest.raises(PermanentError, match="there is more"):
        list(source.projects("team"))


@pytest.mark.parametrize("offset", [0, 90_000, -90_000, None])
def test_wandb_tells_the_time(offset: float | None) -> None:
    """By the `Date` header of its answers, wrong or right; none is none."""
    with Sandbox() as sandbox, closing(WandbSource(sandbox.base_url, sandbox.api_key)) as source:
        httpx.post(f"{sandbox.base_url}/sandbox/settings", json={"date_offset": offset})
        told = source.told_time(sandbox.entity)

    if offset is None:
        assert told is None
    else:
        assert told is not None
        assert abs(told - datetime.now(UTC) - timedelta(seconds=offset)) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["yesterday", "", "Fri, 31 Feb 2026 00:00:00 GMT"])
def test_a_date_that_is_none_tells_no_time(text: str) -> None:
    """Whoever needs the time refuses then."""
    assert told_time({"date": text}) is None
