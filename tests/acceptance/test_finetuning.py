"""Fine-tuning on the hub, command by command; the hub is a stand-in of its documented calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from acceptance_process import SYNCD
from acceptance_world import World

from syncd.testing.hub import Hub, hub

TOKEN = "hub-token-0123456789abcdef"
# Repositories lie in a folder, which trains nothing: the hub's calls alone go to the stand-in.
AT_HUB = """
import contextlib, os, sys
import syncd.cli.hub
from syncd.cli.main import main
from syncd.clients.oxen_hub import OxenHub

@contextlib.contextmanager
def opened(context, what):
    with contextlib.closing(OxenHub(os.environ["HUB"], os.environ["HUB_TOKEN"])) as client:
        yield client

syncd.cli.hub.opened = opened
sys.exit(main(sys.argv[1:]))
"""
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def stand_in() -> Iterator[Hub]:
    """The hub, as its documentation has it."""
    with hub(TOKEN) as made:
        yield made


@pytest.fixture
def finetune(small: World, stand_in: Hub) -> Run:
    """Run `syncd finetune ... --json` against it; the document."""

    def run(*words: str, code: int = 0) -> dict[str, Any]:
        command = [SYNCD[0], "-c", AT_HUB]
        told = ("finetune", *words, "--json")
        with small.running(*told, command=command, HUB=stand_in.url, HUB_TOKEN=TOKEN) as process:
            done = process.wait()
        assert done.code == code, done.out + done.err
        return done.document

    return run


def test_a_fine_tune_is_pinned_listed_shown_and_found_by_lineage(
    small: World, stand_in: Hub, finetune: Run
) -> None:
    """From the dataset to what was trained on it, with the commit."""
    small.backfill()
    data = f"{small.target}/ds:best"
    found = small.syncd("resolve", "--json", data).document["oxen"]
    words = ("--base-model", "Qwen/Qwen3-0.6B", "--param", "epochs=3", "--param", "column=text")

    missing = finetune("start", data, "no.parquet", *words, code=1)["error"]
    assert "no file 'no.parquet'" in missing["message"]
    path = missing["hint"].removeprefix("It has ").split(",")[0]
    begun = finetune("start", data, path, *words, "--by", "ann")["fine_tune"]

    commit = found["commit"]
    assert (begun["commit"], begun["by"], begun["id"]) == (commit, "ann", "ft-1")
    assert begun["training_params"] == {"epochs": 3, "column": "text"}
    assert stand_in.tunes["ft-1"]["resource"] == f"{commit.partition('@')[2]}/{path}"
    assert finetune("list")["fine_tunes"] == [begun]
    assert finetune("show", "ft-1")["fine_tune"]["status"] == "running"
    assert finetune("stop", "ft-1")["fine_tune"]["status"] == "stopped"
    assert finetune("run", "ft-1")["fine_tune"]["status"] == "running"
    assert finetune("logs", "ft-1")["logs"] == []
    assert finetune("show", "ft-9", code=1)["error"]["message"].endswith("no fine-tune 'ft-9'")
    for side in ("catalog", "oxen"):
        told = small.syncd("lineage", data, "--down", "1", "--from", side).out
        assert "fine-tune ft-1" in told


def test_a_folder_of_repositories_trains_nothing(small: World) -> None:
    """What to set is told, and nothing is written down."""
    small.backfill()
    words = ("finetune", "start", f"{small.target}/ds:best", "a", "--base-model", "m", "--json")
    error = small.syncd(*words, code=1).document["error"]
    assert "trains nothing" in error["message"]
    assert "[oxen] url" in error["hint"]
    assert small.syncd("finetune", "list", "--json").document == {"fine_tunes": []}
    usage = small.syncd(*words[:-1], "--param", "epochs", "--json", code=2).document["error"]
    assert "NAME=VALUE" in usage["message"]
