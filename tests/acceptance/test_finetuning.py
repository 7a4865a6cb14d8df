"""Fine-tuning on the hub, command by command; the hub is a stand-in of its documented calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from acceptance_process import SYNCD
from acceptance_world import World

from syncd.testing.hub import Hub, hub

TOKEN = "hub-token-0123456789abcdef"
# Repositories lie in a folder, which trains nothing: the hub's calls alone go to the stand-in. All
# commands run in one process, one after the other.
AT_HUB = """
import contextlib, json, os, sys
import syncd.cli.hub
from syncd.cli.main import main
from syncd.clients.oxen_hub import OxenHub

@contextlib.contextmanager
def opened(context, what):
    with contextlib.closing(OxenHub(os.environ["HUB"], os.environ["HUB_TOKEN"])) as client:
        yield client

syncd.cli.hub.opened = opened
codes = [main(["finetune", *words, "--json"]) for words in json.loads(sys.argv[1])]
print(json.dumps(codes))
"""
Run = Callable[..., tuple[list[int], list[dict[str, Any]]]]


@pytest.fixture
def stand_in() -> Iterator[Hub]:
    """The hub, as its documentation has it."""
    with hub(TOKEN) as made:
        yield made


@pytest.fixture
def finetune(small: World, stand_in: Hub) -> Run:
    """Run `syncd finetune ... --json` against it, several times; exit codes and documents."""

    def run(*commands: Sequence[str]) -> tuple[list[int], list[dict[str, Any]]]:
        command = [SYNCD[0], "-c", AT_HUB, json.dumps(commands)]
        with small.running(command=command, HUB=stand_in.url, HUB_TOKEN=TOKEN) as process:
            done = process.wait()
        assert done.code == 0, done.out + done.err
        *documents, codes = map(json.loads, done.out.splitlines())
        return codes, documents

    return run


def test_a_fine_tune_is_pinned_listed_shown_and_found_by_lineage(
    small: World, stand_in: Hub, finetune: Run
) -> None:
    """From the dataset to what was trained on it, with the commit."""
    small.backfill()
    data = f"{small.target}/ds:best"
    commit = small.syncd("resolve", "--json", data).document["oxen"]["commit"]
    words = ("--base-model", "Qwen/Qwen3-0.6B", "--param", "epochs=3", "--param", "column=text")

    codes, found = finetune(
        ("start", data, "no.parquet", *words),
        ("start", data, "train.bin", *words, "--by", "ann"),
        ("list",),
        *((action, "ft-1") for action in ("show", "stop", "run", "logs")),
        ("show", "ft-9"),
    )
    missing, begun, listed, shown, stopped, running, logs, unknown = found

    assert codes == [1, 0, 0, 0, 0, 0, 0, 1]
    assert "no file 'no.parquet'" in missing["error"]["message"]
    assert "train.bin" in missing["error"]["hint"]
    begun = begun["fine_tune"]
    assert (begun["commit"], begun["by"], begun["id"]) == (commit, "ann", "ft-1")
    assert begun["training_params"] == {"epochs": 3, "column": "text"}
    assert stand_in.tunes["ft-1"]["resource"] == f"{commit.partition('@')[2]}/train.bin"
    assert listed["fine_tunes"] == [begun]
    states = [document["fine_tune"]["status"] for document in (shown, stopped, running)]
    assert states == ["running", "stopped", "running"]
    assert logs["logs"] == []
    assert unknown["error"]["message"].endswith("no fine-tune 'ft-9'")
    for side in ("catalog", "oxen"):
        told = small.syncd("lineage", data, "--down", "1", "--from", side).out
        assert "fine-tune ft-1" in told


def test_a_folder_of_repositories_trains_nothing(empty: World) -> None:
    """What to set is told, before anything is looked up."""
    words = ("finetune", "start", f"{empty.target}/ds:best", "a", "--base-model", "m", "--json")
    error = empty.syncd(*words, code=1).document["error"]
    assert "trains nothing" in error["message"]
    assert "[oxen] url" in error["hint"]
    usage = empty.syncd(*words[:-1], "--param", "epochs", "--json", code=2).document["error"]
    assert "NAME=VALUE" in usage["message"]
