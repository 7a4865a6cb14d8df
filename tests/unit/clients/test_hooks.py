"""Commands and posts: no shell, no end without an end, no secret in what is said."""

from __future__ import annotations

import hmac
import json
import sys
import time
from pathlib import Path

import pytest
from wandb_server import Answer, Server

from syncd import log
from syncd.clients import hooks
from syncd.errors import NotFoundError, PermanentError, ServiceUnavailableError
from syncd.web.signature import proven

SECRET = "hook-secret-0123456789"
WHAT = {"version": "team/proj/model:v3; rm -rf /"}


def run(*words: str, timeout: float = 20) -> str:
    """Run Python with this text."""
    command = [sys.executable, "-c", *words]
    return hooks.run(command, WHAT, variables={"SYNCD_VERSION": WHAT["version"]}, timeout=timeout)


def test_a_command_gets_the_same_as_json_and_as_variables() -> None:
    """And nothing of it goes through a shell."""
    text = "import json,os,sys; print(json.load(sys.stdin)['version'], os.environ['SYNCD_VERSION'])"

    assert run(text) == f"{WHAT['version']} {WHAT['version']}"


def test_a_command_that_fails_is_told_with_its_last_words() -> None:
    """Without secrets."""
    log.redact(SECRET)
    text = f"import sys; print('{SECRET}', 'x' * 5000, 'no such model'); sys.exit(3)"

    with pytest.raises(PermanentError, match=r"ended with 3.*no such model") as error:
        run(text)

    assert SECRET not in str(error.value)
    assert len(str(error.value)) < hooks.KEPT + 200


def test_a_command_that_cannot_be_run_is_told() -> None:
    """With the next step."""
    with pytest.raises(PermanentError, match="cannot be run: No such file") as error:
        hooks.run(["/no/such/program"], WHAT, variables={}, timeout=1)

    assert "path" in error.value.hint


def test_a_command_that_ignores_its_input_is_no_failure() -> None:
    """However much it was given."""
    assert (
        hooks.run([sys.executable, "-c", ""], {"a": "b" * 1_000_000}, variables={}, timeout=20)
        == ""
    )


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """Not only the process that was started itself."""
    file = tmp_path / "child"
    text = (
        "import subprocess,sys,time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(file)!r} + '.new', 'w').write(str(child.pid))\n"
        f"import os; os.rename({str(file)!r} + '.new', {str(file)!r})\n"
        "time.sleep(60)"
    )
    with pytest.raises(PermanentError, match="did not end within 2 s"):
        run(text, timeout=2)
    end = time.monotonic() + 20
    while _alive(int(file.read_text())):
        assert time.monotonic() < end, "the child lives on"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_post_is_signed_as_our_own_webhooks_are_and_has_a_key(api: Server) -> None:
    """Whoever takes W&B's webhooks can check it."""
    api.on("/deploy", Answer(body=b"serving"))
    said = hooks.post(f"{api.url}/deploy", WHAT, secret=SECRET, key="event-1", timeout=5)
    [asked] = api.asked["/deploy"]

    assert said == "serving"
    assert json.loads(asked.body) == WHAT
    assert asked.headers["idempotency-key"] == "event-1"
    assert proven(SECRET.encode(), asked.headers, asked.body)
    assert asked.headers["x-wandb-signature"] == (
        hmac.digest(SECRET.encode(), asked.body, "sha256").hex()
    )


def test_without_a_secret_nothing_is_signed(api: Server) -> None:
    """An empty key would be no proof."""
    api.on("/deploy", Answer())
    hooks.post(f"{api.url}/deploy", WHAT, secret="", key="event-1", timeout=5)

    assert "x-wandb-signature" not in api.asked["/deploy"][0].headers


def test_a_post_is_repeated_under_the_same_key_while_it_is_put_off(api: Server) -> None:
    """429 and 5xx, and then it is taken."""
    api.on("/deploy", Answer(status=503), Answer(status=429), Answer(body=b"ok"))

    assert hooks.post(f"{api.url}/deploy", WHAT, secret="", key="event-1", timeout=5) == "ok"
    keys = [asked.headers["idempotency-key"] for asked in api.asked["/deploy"]]
    assert keys == ["event-1"] * 3


def test_a_post_that_is_refused_is_not_repeated(api: Server) -> None:
    """The reason is told, without a query."""
    api.on("/deploy", Answer(status=404, body=b"no such model"))

    with pytest.raises(NotFoundError, match="answered 404: no such model") as error:
        hooks.post(f"{api.url}/deploy?token=hush", WHAT, secret="", key="event-1", timeout=5)

    assert "hush" not in str(error.value)
    assert len(api.asked["/deploy"]) == 1


def test_nobody_who_answers_is_told_as_away(api: Server) -> None:
    """To be tried again."""
    api.on("/deploy", Answer(status=502))

    with pytest.raises(ServiceUnavailableError):
        hooks.post(f"{api.url}/deploy", WHAT, secret="", key="event-1", timeout=5)


def test_a_post_that_is_led_elsewhere_was_not_taken(api: Server) -> None:
    """A client that follows would GET the other URL, without the body, and call that success."""
    api.on("/deploy", Answer(status=301, headers={"Location": f"{api.url}/deploy/"}))
    api.on("/deploy/", Answer(body=b"a page"))
    with pytest.raises(PermanentError, match="leads elsewhere") as error:
        hooks.post(f"{api.url}/deploy", WHAT, secret=SECRET, key="event-1", timeout=5)
    assert "last slash" in error.value.hint
    assert "/deploy/" not in api.asked


def test_a_command_may_leave_a_server_running(tmp_path: Path) -> None:
    """What it began keeps its standard output open; the command itself has ended, and well."""
    mark = tmp_path / "alive"
    serve = f"import time, pathlib; time.sleep(2); pathlib.Path({str(mark)!r}).touch()"
    script = (
        "import subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', {serve!r}]); print('started')"
    )
    began = time.monotonic()
    said = hooks.run([sys.executable, "-c", script], WHAT, variables={}, timeout=20)
    assert said == "started"
    assert time.monotonic() - began < 2
    deadline = time.monotonic() + 20
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mark.exists()
