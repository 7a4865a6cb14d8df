"""HTTP as both ends need it: one keep-alive session, and one place that reads answers as errors.

httpx exceptions and status codes become the errors of `syncd.errors` here and nowhere else. No
message ever holds a header or a query string: signed URLs and keys are secrets.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from syncd.errors import (
    AuthenticationError,
    IntegrityError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
)
from syncd.outages import OUTAGES

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 60.0  # seconds; above the 15 s heartbeats of long Oxen answers
MAX_CONNECTIONS = 64
LONGEST_PAUSE = 600.0  # seconds that a service may ask for: all transfers of a process wait for it
CHUNK_BYTES = 1 << 20
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


def session() -> httpx.Client:
    """A session with kept-alive connections, shared by all threads of a client.

    Redirects are followed, as the wandb client does (`requests` defaults); environment proxies
    are honoured, ~/.netrc is not: each client says itself what it sends to whom.
    """
    return httpx.Client(
        timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
        ),
        follow_redirects=True,
        verify=ssl.create_default_context(),
    )


def place(url: str) -> str:
    """A URL as an error may show it: without user, query and fragment."""
    return f"{origin(url)}{urlsplit(url).path}"


def origin(url: str) -> str:
    """Scheme, host and port of a URL: the server, as an outage names it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def check_url(url: str) -> str:
    """Return an http(s) URL with a host.

    Raises:
        PermanentError: for any other URL; what W&B names must not make us read local files.
    """
    try:
        parts = urlsplit(url)
        web = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError as error:  # brackets that hold no address, a port that is none
        raise PermanentError("a URL that cannot be read is no http(s) URL") from error
    if not web:
        raise PermanentError(f"{place(url) if parts.hostname else 'a URL'} is not an http(s) URL")
    return url


@contextmanager
def translated(what: str, url: str) -> Iterator[None]:
    """Turn httpx exceptions into ours.

    Args:
        what: what was being done, for the message.
        url: where; shown without its query.
    """
    try:
        yield
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        raise garbled(what, url) from error
    except (httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
        raise PermanentError(
            f"{what}: {place(url)} leads in a circle, or away from the web"
        ) from error
    except httpx.TransportError as error:
        raise unanswered(what, url, error) from error
    except httpx.InvalidURL as error:
        raise PermanentError(f"{what}: {place(url)} is not a usable URL") from error


def garbled(what: str, url: str) -> IntegrityError:
    """The error for an answer that does not come whole, or is no HTTP."""
    return IntegrityError(f"{what}: the answer of {place(url)} was cut short or garbled")


def broken_off(what: str, url: str, error: Exception) -> ServiceUnavailableError:
    """The error for a connection that ended before there was an answer."""
    return ServiceUnavailableError(
        f"{what}: {place(url)} broke the connection off ({type(error).__name__})",
        service=origin(url),
    )


def unanswered(what: str, url: str, error: Exception) -> ServiceUnavailableError:
    """The error for nobody being there, or nothing coming."""
    return ServiceUnavailableError(
        f"{what}: {place(url)} did not answer ({type(error).__name__})", service=origin(url)
    )


def check_status(what: str, response: httpx.Response, *, detail: str = "") -> None:
    """Raise the error that a status code means; nothing for 2xx.

    Args:
        what: what was being done, for the message.
        response: the answer.
        detail: what the service said about it, if it said something a person can read.
    """
    raise_for_status(what, response.status_code, response.headers, str(response.url), detail=detail)


def raise_for_status(
    what: str, status: int, headers: Mapping[str, str], url: str, *, detail: str = ""
) -> None:
    """Raise the error that a status code means; nothing for 2xx.

    Args:
        what: what was being done, for the message.
        status: the status code.
        headers: the answer's, of which Retry-After counts.
        url: where; shown without its query.
        detail: what the service said about it, if it said something a person can read.
    """
    if status not in _RETRYABLE:  # whatever it says, it is there
        OUTAGES.answered(origin(url))
    if 200 <= status < 300:  # noqa: PLR2004 success
        return
    text = f"{what}: {place(url)} answered {status}{f': {detail}' if detail else ''}"
    if status in _RETRYABLE:
        raise ServiceUnavailableError(text, retry_after=_retry_after(headers), service=origin(url))
    if status in {401, 403}:
        raise AuthenticationError(text, hint="Check the API key or token and what it may access.")
    if status in {404, 410}:
        raise NotFoundError(text)
    raise PermanentError(text)


def told_time(headers: Mapping[str, str]) -> datetime | None:
    """What time an answer says it is, by its `Date` header (RFC 9110); None when it says none."""
    try:
        told = parsedate_to_datetime(headers.get("date", ""))
        return told.astimezone(UTC) if told.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a service asks for, by number or by date (RFC 9110), at most LONGEST_PAUSE."""
    value = headers.get("retry-after", "").strip()
    try:
        if value.isdecimal():
            seconds = float(value)
        else:
            until = parsedate_to_datetime(value)
            seconds = (until - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):  # no date, or one without its zone
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)
