"""`syncd gateway` and `syncd sandbox serve`: ready lines, settings and ends."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncd.cli import ExitCode
from syncd.cli.main import main
from syncd.operations.webhooks import PATH, SIGNATURE, signed

ANYWHERE = {"SYNCD_WEB__BIND": "127.0.0.1:0"}


def started(*words: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    """A server's process."""
    return subprocess.Popen(
        [sys.executable, "-m", "syncd", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ) | environ,
    )


@contextmanager
def serving(
    *words: str, environ: dict[str, str], end: signal.Signals = signal.SIGTERM
) -> Iterator[dict[str, str]]:
    """Run a server until the block ends; the block gets its ready line."""
    with started(*words, environ=environ) as process:
        assert process.stdout
        assert process.stderr
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield json.loads(line)
        finally:
            process.send_signal(end)
            rest = process.stdout.read(), process.stderr.read()
    assert (process.returncode, rest) == (ExitCode.DONE, ("", ""))


def status(url: str, token: str = "") -> int:
    """The status of a GET."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_says_when_it_is_ready_and_ends_on_a_signal(end: signal.Signals) -> None:
    """One line on standard output, an answer at that address, and a clean end."""
    with serving("gateway", environ=ANYWHERE, end=end) as ready:
        assert set(ready) == {"url"}
        assert status(f"{ready['url']}/healthz") == 200


@pytest.mark.skipif(sys.platform != "linux", reason="asks another process's limits")
def test_a_server_opens_as_many_files_as_it_may() -> None:
    """A shell lets a program begin with 1,024 of them; each client takes two."""
    few, many = 256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    program = f"ulimit -Sn {few}; exec {shlex.quote(sys.executable)} -m syncd gateway"
    with subprocess.Popen(
        ["/bin/sh", "-c", program], stdout=subprocess.PIPE, env=dict(os.environ) | ANYWHERE
    ) as process:
        assert process.stdout
        assert process.stdout.readline()
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        process.terminate()

    assert limits == (many, many)


def test_a_gateway_asks_for_the_configured_tokens(tmp_path: Path) -> None:
    """Any line of the file is a token; nothing else is."""
    (tmp_path / "tokens").write_text("first-token\nsecond-token\n")
    (tmp_path / "oxen" / "n").mkdir(
        parents=True
    )  # an empty folder may be a disk that is not mounted
    environ = ANYWHERE | {
        "SYNCD_WEB__READ_TOKEN_FILE": str(tmp_path / "tokens"),
        "SYNCD_OXEN__URL": (tmp_path / "oxen").as_uri(),
    }
    with serving("gateway", environ=environ) as ready:
        url = f"{ready['url']}/api/repos/n/r/file/{'0' * 32}/a"
        answers = [status(url, token) for token in ("", "third-token", "second-token")]

    assert answers == [401, 401, 404]


def test_the_face_hears_of_new_projects_as_the_daemon_does(tmp_path: Path) -> None:
    """With the same signal; a configuration with a mistake changes nothing."""
    config, secret = tmp_path / "config.toml", "the secret of the webhook"
    environ = ANYWHERE | {
        "SYNCD_CONFIG": str(config),
        "SYNCD_ENGINE__STATE_DIR": str(tmp_path),
        "SYNCD_WEBHOOK_SECRET": secret,
    }
    config.write_text('[wandb]\nprojects = ["team/first"]\n')
    with started("face", environ=environ) as process:
        assert process.stdout
        assert process.stderr
        url = json.loads(process.stdout.readline())["url"]

        def told(number: int) -> str:
            body = json.dumps({"entity": "team", "project": "second", "number": number}).encode()
            headers = {SIGNATURE: signed(secret.encode(), body)}
            request = urllib.request.Request(url + PATH, body, headers)
            with urllib.request.urlopen(request) as answer:
                status: str = json.load(answer)["status"]
                return status

        found = [told(0)]
        config.write_text('[wandb]\nprojects = ["team/first", "team/second", 7]\n')
        process.send_signal(signal.SIGUSR1)
        while "reload.refused" not in process.stderr.readline():
            pass
        found.append(told(1))
        config.write_text('[wandb]\nprojects = ["team/first", "team/second"]\n')
        process.send_signal(signal.SIGUSR1)
        numbers = itertools.count(2)
        end = time.monotonic() + 20
        while told(next(numbers)) != "accepted":
            assert time.monotonic() < end
        process.terminate()
        process.stderr.read()

    assert (found, process.returncode) == (["ignored", "ignored"], ExitCode.DONE)


@pytest.mark.parametrize("verb", ["gateway", "face"])
def test_an_address_that_is_taken_is_no_mistake_in_the_configuration(
    verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A service manager starts again what ended so, and not what ended with 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setenv("SYNCD_WEB__BIND", address)
        monkeypatch.setenv("SYNCD_ENGINE__STATE_DIR", str(tmp_path))
        code = main([verb])

    assert code == ExitCode.FAILED
    assert f"web.bind {address}: Address already in use" in capfd.readouterr().err


def test_a_gateway_with_an_oxen_token_does_not_open_it_to_everybody(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is private on the server stays so; the token itself is not shown."""
    monkeypatch.setenv("SYNCD_OXEN__URL", "https://hub.oxen.ai")
    monkeypatch.setenv("OXEN_TOKEN", "a-token-of-the-hub")

    assert main(["gateway"]) == ExitCode.USAGE
    told = capfd.readouterr().err
    assert "web.read_token_file" in told
    assert "a-token-of-the-hub" not in told


def test_a_sandbox_says_how_to_reach_it_and_ends_on_a_signal(tmp_path: Path) -> None:
    """One line on standard output with what a wandb client needs."""
    with serving("sandbox", "serve", "--data", str(tmp_path / "data"), environ={}) as ready:
        assert set(ready) == {"base_url", "api_key", "entity"}
        assert status(f"{ready['base_url']}/sandbox/stats", ready["api_key"]) == 200
