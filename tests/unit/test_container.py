"""The container: what the Dockerfile and the compose file promise, read from them.

Nothing is built here: that needs a container engine and the network.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from syncd.config import credentials

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "runtime-requirements"
Instruction = tuple[str, str]


@pytest.fixture(scope="module")
def stages() -> list[list[Instruction]]:
    """The Dockerfile's instructions with their arguments, a list for each stage."""
    text = re.sub(
        r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found: list[list[Instruction]] = []
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest.strip()))
    return found


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return found


def arguments(stage: list[Instruction], word: str) -> list[str]:
    """The arguments of all instructions of a kind."""
    return [rest for kind, rest in stage if kind == word]


def test_the_image_runs_as_nobody_in_particular_and_has_no_tools(
    stages: list[list[Instruction]],
) -> None:
    """Two stages; the second is given the finished environment alone."""
    build, final = stages

    assert arguments(final, "USER") == ["10001:10001"]
    assert arguments(final, "COPY") == ["--from=build /opt/syncd /opt/syncd"]
    assert not any("pip" in rest for rest in arguments(final, "RUN"))
    assert arguments(final, "VOLUME") == ["/var/lib/syncd"]
    installs = re.findall(r"pip install ([^&]*)", " && ".join(arguments(build, "RUN")))
    assert all("--require-hashes" in words or "--no-index" in words for words in installs)


def test_the_image_s_health_is_what_the_program_says(stages: list[list[Instruction]]) -> None:
    """Asked at the port that it listens on."""
    [check] = arguments(stages[1], "HEALTHCHECK")
    command = json.loads(check[check.index("[") :])

    assert command[:2] == ["python", "-c"]
    assert "http://127.0.0.1:8337/healthz" in command[2]
    compile(command[2], "healthcheck", "exec")
    assert "ProxyHandler({})" in command[2]
    assert arguments(stages[1], "EXPOSE") == ["8337"]


def test_what_the_build_copies_is_there_and_nothing_else_is_sent(
    stages: list[list[Instruction]],
) -> None:
    """The list of what is left out begins with everything."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    sent = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copied = [word for rest in arguments(stages[0], "COPY") for word in rest.split()[:-1]]

    assert rules[0] == "*"
    assert sorted(sent) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert not any(fnmatch.fnmatch("secrets", rule) for rule in sent)


def test_the_image_gets_what_the_program_needs_of_the_lock_and_no_tools() -> None:
    """Everything that something in it needs, with hashes; nothing of the tests."""
    said = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True)
    pinned = re.findall(
        r"^([a-z0-9-]+)==(?:[^\n]*\\\n)((?: +--hash=\S+(?: \\)?\n)+)", said.stdout, re.MULTILINE
    )
    names = {name for name, _ in pinned}
    lacking = set()
    for name in names | {"syncd"}:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                lacking |= {canonicalize_name(need.name)} - names

    assert len(pinned) == len(re.findall(r"^[a-z0-9]", said.stdout, re.MULTILINE))
    assert lacking == set()
    assert not names & {"mypy", "hypothesis", "selenium", "scikit-learn", "pytest-xdist"}


@pytest.mark.parametrize("name", ["syncd", "worker"])
def test_a_container_has_nothing_to_write_but_its_state(name: str, compose: dict[str, Any]) -> None:
    """And no right that it does not need."""
    service = compose["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(
        volume.endswith(":ro") or volume == "state:/var/lib/syncd" for volume in service["volumes"]
    )
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_workers_share_no_state(compose: dict[str, Any]) -> None:
    """A second one in the same folder would be refused."""
    assert not any(
        "/var/lib/syncd" in volume for volume in compose["services"]["worker"]["volumes"]
    )


def test_secrets_are_files_under_the_names_that_the_program_looks_for(
    compose: dict[str, Any],
) -> None:
    """And stand in no variable."""
    source = Path(credentials.__file__).read_text(encoding="utf-8")
    for name in ("syncd", "worker"):
        service = compose["services"][name]
        assert service["environment"]["CREDENTIALS_DIRECTORY"] == "/run/secrets"
        assert set(service["secrets"]) <= compose["secrets"].keys()
        assert all(f'"{item}"' in source for item in service["secrets"] if item != "pgpass")
        url = service["environment"]["SYNCD_ENGINE__DATABASE"]
        assert re.fullmatch(r"postgresql://\w+@postgres/\w+", url)  # no password in it
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())
