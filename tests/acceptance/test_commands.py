"""What the commands answer, and how they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance_process import SYNCD
from acceptance_state import end_state
from acceptance_world import World

from syncd.testing.terminal import seen_on_terminal


@pytest.fixture
def unconnected(tmp_path: Path) -> Iterator[World]:
    """A world whose server does not answer."""
    server = {"base_url": "http://127.0.0.1:9", "api_key": "a" * 40, "entity": "sandbox"}
    with World(tmp_path, server) as made:
        yield made


def test_every_report_is_one_json_document_on_standard_output(small: World) -> None:
    """Whatever liboxen or the log print, before and after the migration."""
    dry = small.syncd("backfill", "--dry-run", "--json").document
    plan = small.syncd("plan", "--json").document
    assert dry == plan
    assert {item["version"] for item in plan["versions"]} == {
        f"{small.target}/{name}" for name in ("ds:v0", "ds:v1", "model:v0")
    }
    assert small.asked("CreateArtifact") == small.stats()["downloads"] == 0
    assert not list(small.store.glob("*/*"))

    report = small.syncd("backfill", "--json").document
    status, verified, resolved = small.each(
        ("status",), ("verify",), ("resolve", f"{small.target}/ds:v0")
    )

    moved = {item["source"]: item["oxen"] for item in report["replacements"]}
    assert [(row["seen"], row["moved"]) for row in status["collections"]] == [(2, 2), (1, 1)]
    assert all((row["lag_seconds"], row["freed_bytes"]) == (0, 0) for row in status["collections"])
    assert {item["version"]: item["oxen"] for item in verified["versions"]} == moved
    assert resolved["oxen"]["commit"] == moved[f"{small.target}/ds:v0"]
    back = small.syncd("resolve", resolved["oxen"]["commit"], "--json").document
    assert back == resolved

    # Which data trained the model: from each of three who know, while the others are away.
    store = small.store
    question = ("lineage", f"{small.target}/model:v0", "--down", "0", "--json")
    small.configure(store=small.folder / "nowhere")
    asked = {"wandb": small.syncd(*question, "--from", "wandb").document}
    small.configure(base_url="http://127.0.0.1:9", store=small.folder / "nowhere")
    asked["catalog"] = small.syncd(*question).document
    small.configure(base_url="http://127.0.0.1:9", store=store)
    asked["oxen"] = small.syncd(*question, "--from", "oxen", WANDB_API_KEY="").document
    nodes = {
        who: {(node["name"], node["oxen"]) for node in answer["nodes"]}
        for who, answer in asked.items()
    }
    assert {who: answer["from"] for who, answer in asked.items()} == {who: who for who in asked}
    assert nodes["wandb"] == nodes["catalog"] == nodes["oxen"]
    assert moved.items() >= {name: oxen for name, oxen in nodes["oxen"] if oxen}.items()
    assert len(nodes["oxen"]) == 4  # the model, its run, its data, and the run that made that


def test_refusal_is_one_json_document_too(small: World) -> None:
    """With what failed, what to do, and the exit code."""
    document = small.syncd("resolve", f"{small.target}/ds:v0", "--json", code=1).document

    assert document["error"]["type"] == "NotFoundError"
    assert "syncd plan" in document["error"]["hint"]


def test_verify_finds_one_flipped_bit_in_oxen_and_names_the_file(small: World) -> None:
    """Every byte is read again, not only what was never read."""
    small.backfill()
    versions = small.store / "sandbox" / "p-model" / ".oxen" / "versions" / "files"
    path = max(versions.rglob("data"), key=lambda found: found.stat().st_size)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(damaged)

    document = small.syncd("verify", "--json", code=1).document

    problems = {item["version"]: item["problems"] for item in document["versions"]}
    assert len(damaged) == 9000
    assert problems.pop(f"{small.target}/ds:v0") == problems.pop(f"{small.target}/ds:v1") == []
    assert all("weights.bin" in text for text in problems[f"{small.target}/model:v0"])
    assert problems[f"{small.target}/model:v0"]


def test_second_backfill_beside_a_running_one_is_refused(
    small: World, undisturbed: dict[str, object]
) -> None:
    """It says who is at work and what to do; the first goes on."""
    small.fault("graphql:CommitArtifact", "delay:600000", times=1)
    with small.running("backfill") as first:
        first.alive_until(lambda: small.asked("CommitArtifact") > 0, "the first is at work")
        second = small.syncd("backfill", "--json", code=1)
        first.kill()
    small.heal()
    small.backfill()

    error = second.document["error"]
    assert f"process {first.popen.pid}" in error["message"]
    assert "Wait for it to end" in error["hint"]
    assert end_state(small, small.folder / "scratch") == undisturbed


def test_every_mistake_of_a_configuration_is_told_at_once(unconnected: World) -> None:
    """Each with its key path, and nothing is contacted."""
    unconnected.config.write_text(
        """
        [wandb]
        base_url = "ftp://nowhere"
        projects = ["no-slash"]
        [oxen]
        url = "s3://bucket"
        repo = "{colection}"
        [select]
        min_file_size = "big"
        [transfer]
        concurrency = 0
        [web]
        bind = "here"
        [loging]
        level = "info"
        """,
        encoding="utf-8",
    )
    done = unconnected.syncd("backfill", "--json", code=2)

    problems = done.document["error"]["problems"]
    paths = {problem.split(":", 1)[0] for problem in problems}
    expected = {
        "wandb.base_url",
        "wandb.projects.0",
        "oxen.url",
        "oxen.repo",
        "select.min_file_size",
        "transfer.concurrency",
        "web.bind",
        "loging",
    }
    assert paths == expected, problems
    assert all(path in done.err for path in expected)


def test_missing_api_key_is_a_mistake_of_the_configuration(unconnected: World) -> None:
    """Exit 2, with the places a key may come from."""
    done = unconnected.syncd("backfill", code=2, WANDB_API_KEY="")

    assert "WANDB_API_KEY" in done.err
    assert "wandb.api_key_file" in done.err


def test_wandb_that_cannot_be_reached_is_told_with_a_hint(unconnected: World) -> None:
    """Exit 5: run it again later."""
    done = unconnected.syncd("backfill", "--json", code=5, impatient=True)

    error = done.document["error"]
    assert "http://127.0.0.1:9" in error["message"]
    assert "did not answer" in error["message"]
    assert "again later" in error["hint"]


def test_refused_api_key_is_told_with_a_hint(small: World) -> None:
    """Exit 1: somebody has to change something first."""
    done = small.syncd("backfill", "--json", code=1, WANDB_API_KEY="0" * 40)

    error = done.document["error"]
    assert error["type"] == "AuthenticationError"
    assert "API key" in error["hint"]


@pytest.mark.parametrize("word", ["plan", "backfill", "verify"])
def test_unknown_project_is_told_with_a_hint(small: World, word: str) -> None:
    """Rather than an empty report."""
    done = small.syncd(word, "sandbox/nowhere", "--json", code=1)

    assert "sandbox/nowhere" in done.document["error"]["message"]
    assert "spelling" in done.document["error"]["hint"]


def test_a_person_sees_bars_what_goes_wrong_and_the_result(small: World) -> None:
    """And no line for each stage of each version, unless it is asked for; a file gets them all."""
    first = _on_a_terminal(small, "backfill", "--limit", "1")
    second = _on_a_terminal(small, "backfill", "--limit", "1", "--log-level", "info")

    assert "1 version moved" in first
    assert "of 1" in first
    assert "transfer.done" not in first
    assert "transfer.done" in second


def _on_a_terminal(world: World, *words: str) -> str:
    """What a terminal shows while syncd runs in it."""
    environ = world.environ(SYNCD_LOG__FORMAT="auto")
    return seen_on_terminal([*SYNCD, *words], environ, world.folder).decode()
