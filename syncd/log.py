"""Telling what happens: one event per line, from a closed vocabulary, with no secret in it.

An event is `stage.outcome` or one of `Life`; what it is about are bound keys (`artifact`, `commit`,
`attempt`). Lines go to standard error, for people or as JSON. What libraries log through the
standard library comes out the same way, from WARNING up.

    log.get().info(log.Stage.TRANSFER.done, artifact=str(version.ref), bytes=result.size)
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Literal, cast, get_args

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from syncd import errors

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]
REDACTED = "[redacted]"
REPEATED = 60.0  # seconds in which a library's line, or a server's absence, is told once
LINES_KNOWN = 1000
SHORTEST_SECRET = 6  # characters; a shorter one would blot out ordinary words


class Stage(StrEnum):
    """The steps of the path; each has the same five outcomes."""

    DISCOVER = "discover"
    PLAN = "plan"
    TRANSFER = "transfer"
    COMMIT = "commit"
    VERIFY = "verify"
    REPLACE = "replace"
    RECLAIM = "reclaim"
    RESTORE = "restore"

    @property
    def started(self) -> str:
        """The stage began."""
        return f"{self}.started"

    @property
    def done(self) -> str:
        """The stage had its effect."""
        return f"{self}.done"

    @property
    def skipped(self) -> str:
        """There was nothing to do; the key `reason` says why."""
        return f"{self}.skipped"

    @property
    def failed(self) -> str:
        """The stage gave up; the key `error` says why."""
        return f"{self}.failed"

    @property
    def retried(self) -> str:
        """An attempt failed and another follows."""
        return f"{self}.retried"


class Life(StrEnum):
    """Events outside the path."""

    CALL_RETRIED = "call.retried"
    CHILD_LOST = "child.lost"
    CHILD_STARTED = "child.started"
    CHORE_DONE = "chore.done"
    CHORE_FAILED = "chore.failed"
    CLIENT_DROPPED = "client.dropped"
    CLOCK_JUMPED = "clock.jumped"
    CATALOG_FAILED = "catalog.failed"
    DAEMON_STARTED = "daemon.started"
    DAEMON_STOPPING = "daemon.stopping"
    DAEMON_STOPPED = "daemon.stopped"
    FETCH_PARTIAL = "fetch.partial"
    FETCH_WAITING = "fetch.waiting"
    FACE_STARTED = "face.started"
    FACE_STOPPED = "face.stopped"
    GATEWAY_FAILED = "gateway.failed"
    GATEWAY_STARTED = "gateway.started"
    GATEWAY_STOPPED = "gateway.stopped"
    PROCESS_DIED = "process.died"
    POLL_FAILED = "poll.failed"
    POLL_RECOVERED = "poll.recovered"
    PAGE_FAILED = "page.failed"
    QUARANTINE_RELEASED = "quarantine.released"
    REFERENCE_REFUSED = "reference.refused"
    RELOAD_DONE = "reload.done"
    RELOAD_REFUSED = "reload.refused"
    SCHEDULE_FIRED = "schedule.fired"
    SERVICE_ANSWERED = "service.answered"
    SERVICE_AWAY = "service.away"
    SERVICE_BACK = "service.back"
    SWEEP_DONE = "sweep.done"
    TRIGGER_FAILED = "trigger.failed"
    TRIGGER_FIRED = "trigger.fired"
    WEBHOOK_ACCEPTED = "webhook.accepted"
    WEBHOOK_REFUSED = "webhook.refused"
    WORKER_STARTED = "worker.started"
    WORKER_LOST = "worker.lost"
    WORKER_STOPPED = "worker.stopped"
    WORKER_STOPPING = "worker.stopping"
    WORKFLOW_FAILED = "workflow.failed"
    WORKFLOW_LOST = "workflow.lost"
    COMMAND_FAILED = "command.failed"


VOCABULARY = frozenset(
    {getattr(stage, outcome) for stage in Stage
     for outcome in ("started", "done", "skipped", "failed", "retried")} | set(Life)
)  # fmt: skip

_secrets: set[str] = set()
_CREDENTIALS = (
    re.compile(r"(?i)(\b(?:basic|bearer)\s+)(?=\S*[0-9=])[A-Za-z0-9+/=._~-]{6,}"),
    re.compile(r"(?i)(\b(?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?(?:\w+\s+)?)[^\s'\",}]{6,}"),
    re.compile(
        r"(?i)([?&](?:x-[a-z]+-(?:signature|security-token)|signature|sig|token)=)[^&\s'\"]+"
    ),
    re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)"),
)
_HIDDEN_KEYS = frozenset({"authorization", "proxy-authorization", "api_key", "token", "password"})


def get(**bound: object) -> FilteringBoundLogger:
    """A logger; `bound` is in each of its events."""
    return cast("FilteringBoundLogger", structlog.get_logger(**bound))


@contextmanager
def about(stage: Stage | None = None, **bound: object) -> Iterator[None]:
    """Put keys into every event of this thread within the block, whoever logs it."""
    keys = bound | ({"stage": str(stage)} if stage else {})
    with structlog.contextvars.bound_contextvars(**keys):
        yield


def retried() -> str:
    """The event of a repeated attempt in the stage that is running, if one is."""
    stage = structlog.contextvars.get_contextvars().get("stage")
    return Stage(stage).retried if stage else Life.CALL_RETRIED


def redact(secret: str) -> None:
    """Never print this text again, wherever it turns up."""
    if len(secret) >= SHORTEST_SECRET:
        _secrets.add(secret)


def clean(text: str) -> str:
    """The text without known secrets and without what looks like a credential."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    for pattern in _CREDENTIALS:
        text = pattern.sub(rf"\1{REDACTED}", text)
    return text


def visible(text: str) -> str:
    """The text as a terminal may see it: what would not print is escaped, lines stay lines."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode()
        for sign in text
    )


def configure(level: str = "info", style: str = "auto", *, strict: bool = False) -> None:
    """Set up logging for this process; a later call replaces an earlier one.

    Args:
        level: the least severe event of ours that is told, a `Level`.
        style: how lines look, a `Format`.
        strict: refuse events outside the vocabulary, as the tests do.

    Raises:
        syncd.errors.UsageError: for a level or style that is none.
    """
    for word, known in ((level, get_args(Level)), (style, get_args(Format))):
        if word not in known:
            raise errors.UsageError(f"logging knows no {word!r}; say {', '.join(known)}")
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    own = _shared(as_json=as_json)
    if strict:
        own.insert(0, refuse_unknown_events)
    renderer = _renderer(as_json=as_json)
    structlog.configure(
        processors=[*own, _redact_event, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_StandardError,
        cache_logger_on_first_use=False,
    )
    handler = _Handler(logging.DEBUG if level == "debug" else logging.WARNING)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared(as_json=as_json)],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _redact_event,
                renderer,
            ],
        )
    )
    _route_libraries(handler)


def embed() -> None:
    """Set up logging in a program of somebody else's: warnings of ours, to standard error.

    Nothing happens where structlog is set up, and the standard library's logging is left alone.
    """
    if structlog.is_configured():
        return
    as_json = not sys.stderr.isatty()
    structlog.configure(
        processors=[*_shared(as_json=as_json), _redact_event, _renderer(as_json=as_json)],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=_StandardError,
        cache_logger_on_first_use=False,
    )


def refuse_unknown_events(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor that raises for an event that the vocabulary does not know.

    Raises:
        ValueError: for such an event.
    """
    if event["event"] not in VOCABULARY:
        raise ValueError(f"{event['event']!r} is not in the vocabulary of syncd.log")
    return event


class _StandardError:
    """Writes lines to whatever standard error is now, so that a progress bar may stand below."""

    def __init__(self, *_arguments: object) -> None:
        pass

    def msg(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    log = debug = info = warning = error = critical = exception = msg


class Seldom:
    """Lets what says the same through once in `REPEATED` seconds, and counts the others."""

    def __init__(self) -> None:
        self._told: dict[Hashable, float] = {}  # when something was told last
        self._untold: Counter[Hashable] = Counter()

    def __call__(self, key: Hashable, *, hush: bool = False) -> int | None:
        """Whether something is told.

        Args:
            key: what makes it the same.
            hush: do not tell it whenever it was told last.

        Returns:
            How many were not told since the last one; None when this one is not told either.
        """
        now = time.monotonic()
        if hush or now - self._told.get(key, float("-inf")) < REPEATED:
            self._untold[key] += 1
            return None
        if len(self._told) >= LINES_KNOWN:
            self._told.clear()
            self._untold.clear()
        self._told[key] = now
        return self.untold(key)

    def untold(self, key: Hashable) -> int:
        """How many were not told since the last one; they are counted anew from now on."""
        return self._untold.pop(key, 0)


class _Handler(logging.Handler):
    """Like `_StandardError`, for the standard library.

    A library that meets the same failure four times a second, on a full disk say, is told once a
    minute; at debug, each time.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._seldom = Seldom()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not self._just_told(record):
                _StandardError().msg(self.format(record))
        except Exception:  # noqa: BLE001 a handler reports its own failures this way
            self.handleError(record)

    def _just_told(self, record: logging.LogRecord) -> bool:
        if self.level <= logging.DEBUG:
            return False
        cause = str(record.exc_info[1]) if record.exc_info else ""
        # Further lines hold statements and their values, which differ each time.
        key = record.name, *(text.partition("\n")[0] for text in (record.getMessage(), cause))
        return self._seldom(key) is None


def _shared(*, as_json: bool) -> list[Processor]:
    clock = structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json)
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        clock,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _renderer(*, as_json: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(default=str)
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())

    def seen(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        shown = {
            key: visible(value) if isinstance(value, str) else value for key, value in event.items()
        }
        return str(console(logger, method, shown))

    return seen


def _route_libraries(handler: logging.Handler) -> None:
    """Make the root logger's only handler ours; loggers that brought their own lose them."""
    root = logging.getLogger()
    for other in list(root.handlers):
        if isinstance(other, _Handler) or type(other) is logging.StreamHandler:
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(handler.level)
    for name in (
        "dbos",
        "uvicorn",
        "uvicorn.error",
        "uvicorn.access",
        "httpx",
        "httpcore",
        "wandb",
    ):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(handler.level)
    # At debug it tells every URL with its query, and so every signature; and it costs time.
    logging.getLogger("urllib3").setLevel(max(handler.level, logging.WARNING))
    # DBOS adds its own handler unless it finds one.
    logging.getLogger("dbos").addHandler(logging.NullHandler())


def _redact_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _cleaned(key, value)
    return event


def _cleaned(key: str, value: object) -> object:
    if str(key).lower() in _HIDDEN_KEYS:
        return REDACTED
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {name: _cleaned(str(name), inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned("", inner) for inner in value]
    return value if isinstance(value, (int, float, bool, type(None))) else clean(str(value))
