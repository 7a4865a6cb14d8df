"""Telling somebody outside: a command, or a signed POST.

Both may be told of the same thing twice, after a kill or a lost answer, and can tell by its key.
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

import httpx

from syncd import log, retry
from syncd.clients.http import CONNECT_TIMEOUT, check_status, check_url, place, session, translated
from syncd.errors import PermanentError

SIGNATURE = "X-Wandb-Signature"  # as W&B's own webhooks have it
KEY = "Idempotency-Key"
KEPT = 2000  # characters of what a command or a server said, the last ones
_GRACE = 5.0  # seconds between the request to end and the end


def run(
    command: Sequence[str],
    document: Mapping[str, Any],
    *,
    variables: Mapping[str, str],
    timeout: float,
) -> str:
    """Run a command without a shell, in a process group of its own; the end of what it said.

    Args:
        command: the program and its arguments.
        document: JSON on its standard input.
        variables: environment variables beside this process's.
        timeout: seconds after which it and all it has started are ended.

    Raises:
        PermanentError: when it cannot be started, ends with another code than 0, or does not end.
    """
    name = command[0]
    # Into a file: what a command leaves running, a server, may keep its output open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            process = _ended(command, document, variables, timeout, output)
        except OSError as error:
            raise PermanentError(
                f"{name} cannot be run: {error.strerror or error}",
                hint="Check the program's path in the configuration, and that it may be run.",
            ) from error
        # It may have said very much.
        output.seek(max(0, output.seek(0, os.SEEK_END) - 4 * KEPT))
        said = _tail(output.read())
    if process is None:
        raise PermanentError(
            f"{name} did not end within {timeout:.0f} s{_words(said)}",
            hint="It was ended. Give it more time with `timeout`, or see why it hangs.",
        )
    if process.returncode:
        raise PermanentError(
            f"{name} ended with {process.returncode}{_words(said)}",
            hint="What it printed last is told; run it by hand with the same variables.",
        )
    return said


def post(url: str, document: Mapping[str, Any], *, secret: str, key: str, timeout: float) -> str:
    """Post a document, again while nobody answers; the end of the answer.

    Args:
        url: where.
        document: sent as JSON.
        secret: what the body is signed with; empty for no signature.
        key: names what it is about, the same in every attempt.
        timeout: seconds for an answer.

    Raises:
        PermanentError: when it is refused.
        ServiceUnavailableError: when nobody answers, or 429 or 5xx.
    """
    body = json.dumps(document).encode()
    headers = {"Content-Type": "application/json", KEY: key}
    if secret:
        headers[SIGNATURE] = hmac.digest(secret.encode(), body, "sha256").hex()
    what = f"post to {place(check_url(url))}"
    limits = httpx.Timeout(timeout, connect=CONNECT_TIMEOUT)

    with session() as http:

        def attempt() -> str:
            with translated(what, url):
                answer = http.post(
                    url, content=body, headers=headers, timeout=limits, follow_redirects=False
                )
            said = _tail(answer.content)
            if (
                answer.is_redirect
            ):  # a client that follows asks for the other URL, and tells nothing
                raise PermanentError(
                    f"{what}: it leads elsewhere ({answer.status_code})",
                    hint="Configure the URL that takes the post: with or without its last slash, https.",
                )
            check_status(what, answer, detail=said)
            return said

        return retry.call(attempt, what=what)


def _ended(
    command: Sequence[str],
    document: Mapping[str, Any],
    variables: Mapping[str, str],
    timeout: float,
    output: IO[bytes],
) -> subprocess.Popen[bytes] | None:
    """Run a command to its end; None when it had to be ended with all it has started."""
    with subprocess.Popen(  # noqa: S603 the operator's own command, never through a shell
        list(command),
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **variables},
        start_new_session=True,
    ) as process:
        try:
            process.communicate(json.dumps(document).encode(), timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            return None
        except BaseException:
            _end(process)
            raise
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE)
            return
    process.wait()


def _tail(data: bytes) -> str:
    return log.clean(data.decode(errors="replace").strip())[-KEPT:]


def _words(said: str) -> str:
    return f": {said}" if said else ""
