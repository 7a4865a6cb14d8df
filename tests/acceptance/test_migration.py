"""After `syncd backfill` W&B looks the same to a plain client, and the bytes come from Oxen."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from acceptance_project import OBSERVE, content, sums, tree, write
from acceptance_state import manifest, oxen_state, raw, runs_but_config
from acceptance_world import Once, World, world

from syncd.testing.served import served

LINKED = b"somebody else keeps this"
NAMES = (
    "a b.bin",
    "hash#1.bin",
    "what?.bin",
    "100%.bin",
    "%41.bin",
    "a+b&c=d.bin",
    unicodedata.normalize("NFC", "größe.bin"),
    unicodedata.normalize("NFD", "größe.bin"),
    "[a]*.bin",
    "日本 語/🙂.bin",
    "/".join(["deep"] * 20) + "/end.bin",
    ".hidden",
    "-dash",
    "'quote\".bin",
)
OLD = {
    **{name: content(name) for name in NAMES},
    "empty.bin": b"",
    "equal/one.bin": content("equal"),
    "equal/two.bin": content("equal"),
    "small.txt": b"small",
    "several chunks.bin": content("big", 3_500_000),
}
NEW = {**OLD, "a b.bin": content("changed"), "added.bin": content("added")}
del NEW["100%.bin"]
LOG = """
old, new, linked, local = sys.argv[1:]
with wandb.init(project="p", id="prepare", config={"seed": 1, "nested": {"a": [1, 2]}}) as run:
    run.log({"rows": 5}); run.log({"rows": 7})
    run.summary["done"] = True
    first = wandb.Artifact("names", "dataset", description="the first", metadata={"rows": 5})
    first.add_dir(old)
    run.log_artifact(first, aliases=["v1.0"], tags=["clean", "small"]).wait()
    second = wandb.Artifact("names", "dataset", description="the second")
    second.add_dir(new)
    run.log_artifact(second, aliases=["latest", "best"]).wait()
    mixed = wandb.Artifact("mixed", "dataset")
    mixed.add(wandb.Table(columns=["n", "name"], data=[[n, str(n)] for n in range(50)]), "table")
    mixed.add_file(os.path.join(old, "a b.bin"), "moves.bin")
    mixed.add_file(os.path.join(old, "small.txt"), "stays.txt")
    mixed.add_reference(linked, "linked/http.txt")
    mixed.add_reference("file://" + local, "linked/file.txt")
    run.log_artifact(mixed).wait()
with wandb.init(project="p", id="train", config={"output_model_repo": "a person's words"}) as run:
    run.use_artifact("names:v0")
    model = wandb.Artifact("model", "model")
    model.add_file(os.path.join(old, "several chunks.bin"), "weights.bin")
    run.log_artifact(model, aliases=["latest", "production"]).wait()
with wandb.init(project="p", id="test", config={"oxen": "a person's, too"}) as run:
    run.use_artifact("names:best")
    run.use_artifact("model:production")
try:
    with wandb.init(project="p", id="crashed") as run:
        run.use_artifact("names:v0")
        raise RuntimeError("on purpose")
except RuntimeError:
    pass
"""
READ_TABLE = """
table = wandb.Api().artifact("p/mixed:latest").get("table")
emit([table.columns, table.data])
"""
TARGET = "sandbox/p"
REPLACED = {
    "names:v0": "names:v2",
    "names:v1": "names:v3",
    "mixed:v0": "mixed:v1",
    "model:v0": "model:v1",
}


@contextmanager
def _somebody_elses_server() -> Iterator[str]:
    """The URL of a file that neither W&B nor Oxen serves."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("ETag", '"theirs"')
            self.send_header("Content-Length", str(len(LINKED)))
            self.end_headers()
            self.wfile.write(LINKED)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield f"{url}/their%20file.txt"


@pytest.fixture(scope="module")
def moved(once: Once) -> dict[str, Any]:
    """Everything that could be seen before and after the project was moved."""

    def fill(folder: Path) -> None:
        with _somebody_elses_server() as linked, world(folder, folder / "data") as made:
            seen = _migrate(made, linked)
        (folder / "seen.json").write_text(json.dumps(seen), encoding="utf-8")

    found = once("migration", fill) / "seen.json"
    seen: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return seen


def _migrate(made: World, linked: str) -> dict[str, Any]:
    old, new, local = (made.folder / name for name in ("old", "new", "local.txt"))
    write(old, OLD)
    write(new, NEW)
    local.write_bytes(b"on this machine")
    made.sdk(LOG, str(old), str(new), linked, str(local))
    before = made.sdk(OBSERVE, str(made.folder / "before"))
    runs_before = runs_but_config(made)
    made.configure(references=made.gateway())
    report = made.backfill()
    after = made.sdk(OBSERVE, str(made.folder / "after"))
    collections, runs = raw(made)
    return {
        "report": report,
        "before": before,
        "after": after,
        "files before": {name: tree(made.folder / "before" / name) for name in before},
        "files after": {name: tree(made.folder / "after" / name) for name in after},
        "runs before": runs_before,
        "runs after": runs_but_config(made),
        "mixed manifests": [manifest(version) for version in collections["mixed"]],
        "configs": {
            name: {key: item["value"] for key, item in json.loads(run["config"]).items()}
            for name, run in runs.items()
        },
        "table": made.sdk(READ_TABLE),
        "oxen": oxen_state(made.store, made.folder / "scratch"),
        "second report": _counted(made),
        "second stats": made.stats(),
        "verified": made.syncd("verify", "--json").document,
    }


def _counted(made: World) -> dict[str, Any]:
    made.reset_stats()
    return made.backfill()


def _commit(moved: dict[str, Any], replacement: str) -> str:
    link = moved["after"][replacement]["metadata"]["oxen"]
    return f"{link['repo']}@{link['commit']}"


def test_every_version_is_replaced_in_its_own_collection(moved: dict[str, Any]) -> None:
    """In version order, one replacement each, none besides."""
    versions = moved["report"]["versions"]
    assert versions == {"discovered": 4, "replaced": 4, "skipped": 0, "failed": 0}
    assert {item["source"]: item["replacement"] for item in moved["report"]["replacements"]} == {
        f"{TARGET}/{source}": f"{TARGET}/{made}" for source, made in REPLACED.items()
    }
    assert moved["after"].keys() == moved["before"].keys() | set(REPLACED.values())


@pytest.mark.parametrize(("source", "made"), REPLACED.items())
def test_replacement_looks_like_its_source(moved: dict[str, Any], source: str, made: str) -> None:
    """Texts, tags and lineage are equal on both; the aliases have moved over."""
    was, now, replacement = moved["before"][source], moved["after"][source], moved["after"][made]
    same = ("collection", "type", "description", "tags", "ttl", "logged_by", "used_by")
    assert {key: replacement[key] for key in same} == {key: was[key] for key in same}
    assert {key: now[key] for key in (*same, "metadata")} == {
        key: was[key] for key in (*same, "metadata")
    }
    link = replacement["metadata"]["oxen"]
    assert replacement["metadata"] == {**was["metadata"], "oxen": link}
    assert link["source_version"] == f"{TARGET}/{source}"
    assert (replacement["aliases"], now["aliases"]) == (was["aliases"], [])


def test_aliases_and_lineage_are_those_that_were_logged(moved: dict[str, Any]) -> None:
    """`latest` is on the newest content, and each version has its maker and its users."""
    after = moved["after"]
    assert after["names:v3"]["aliases"] == ["best", "latest"]
    assert after["names:v2"]["aliases"] == ["v1.0"]
    assert after["names:v2"]["logged_by"] == "prepare"
    assert after["names:v2"]["used_by"] == ["crashed", "train"]
    assert after["model:v1"]["aliases"] == ["latest", "production"]
    assert after["model:v1"]["used_by"] == ["test"]


@pytest.mark.parametrize(("source", "made"), REPLACED.items())
def test_download_gives_the_same_files(moved: dict[str, Any], source: str, made: str) -> None:
    """Of the original and of the replacement, whatever the files are called."""
    before, after = moved["files before"][source], moved["files after"]
    assert after[source] == before
    assert after[made] == before


@pytest.mark.parametrize(("made", "logged"), [("names:v2", OLD), ("names:v3", NEW)])
def test_download_gives_what_was_logged(
    moved: dict[str, Any], made: str, logged: dict[str, bytes]
) -> None:
    """Every name and every byte as the training script wrote it."""
    assert moved["files after"][made] == sums(logged)


def test_large_files_are_references_and_small_ones_stay(moved: dict[str, Any]) -> None:
    """By `min_file_size`; an empty file always stays."""
    after = moved["after"]
    assert after["names:v2"]["references"].keys() == OLD.keys() - {"small.txt", "empty.bin"}
    assert after["model:v1"]["references"].keys() == {"weights.bin"}


def test_tables_small_files_and_foreign_references_stay_as_they_are(moved: dict[str, Any]) -> None:
    """Only what moves is changed in a manifest, and W&B still reads the table."""
    was, now = (
        {
            path: {key: entry.get(key) for key in ("digest", "ref", "size", "birthArtifactID")}
            for path, entry in each.items()
        }
        for each in moved["mixed manifests"]
    )
    assert now.pop("moves.bin")["ref"].startswith("http://127.0.0.1:")
    assert was.pop("moves.bin")["ref"] is None
    assert now == was
    assert [path for path, entry in now.items() if entry["ref"]] == [
        "linked/file.txt",
        "linked/http.txt",
    ]
    assert moved["table"] == [["n", "name"], [[n, str(n)] for n in range(50)]]


def test_runs_are_untouched_but_for_their_config(moved: dict[str, Any]) -> None:
    """State, times, summary, history, tags: a finished run is not woken."""
    assert moved["runs after"] == moved["runs before"]
    assert {name: run["state"] for name, run in moved["runs after"].items()} == {
        "prepare": "finished",
        "train": "finished",
        "test": "finished",
        "crashed": "failed",
    }


def test_configs_name_the_commits_of_inputs_and_outputs(moved: dict[str, Any]) -> None:
    """The short keys where there is one of a kind, the map always."""
    configs = moved["configs"]
    old, new, mixed, model = (_commit(moved, made) for made in REPLACED.values())
    assert configs["prepare"]["oxen"] == {
        "inputs": {},
        "outputs": {
            f"{TARGET}/names:v0": old,
            f"{TARGET}/names:v1": new,
            f"{TARGET}/mixed:v0": mixed,
        },
    }
    assert not {"dataset_repo", "output_model_repo"} & configs["prepare"].keys()
    train, test = configs["train"], configs["test"]
    assert train["oxen"] == {
        "inputs": {f"{TARGET}/names:v0": old},
        "outputs": {f"{TARGET}/model:v0": model},
    }
    assert f"{train['dataset_repo']}@{train['dataset_commit']}" == old
    assert f"{test['dataset_repo']}@{test['dataset_commit']}" == new
    assert f"{test['base_model_repo']}@{test['base_model_commit']}" == model
    assert configs["crashed"]["oxen"]["inputs"] == {f"{TARGET}/names:v0": old}


def test_what_a_person_wrote_into_a_config_stays(moved: dict[str, Any]) -> None:
    """Beside the keys of syncd and under their very names."""
    prepare, train, test = (moved["configs"][name] for name in ("prepare", "train", "test"))
    assert (prepare["seed"], prepare["nested"]) == (1, {"a": [1, 2]})
    assert train["output_model_repo"] == "a person's words"
    assert test["oxen"] == "a person's, too"


def test_each_version_is_one_commit_with_its_complete_tree(moved: dict[str, Any]) -> None:
    """Kept files included; the branches are the versions and their aliases."""
    repos = moved["oxen"]
    assert {name: len(repo["commits"]) for name, repo in repos.items()} == {
        "sandbox/p-names": 2,
        "sandbox/p-mixed": 1,
        "sandbox/p-model": 1,
    }
    names = repos["sandbox/p-names"]
    branches = names["branches"]
    assert branches.keys() == {"main", "wandb/v0", "wandb/v1", "v1.0", "latest", "best"}
    for branch, logged in (("wandb/v0", OLD), ("v1.0", OLD), ("main", NEW), ("best", NEW)):
        assert names["commits"][branches[branch]]["files"] == sums(logged), branch


def test_commit_of_a_model_names_the_commit_of_its_data(moved: dict[str, Any]) -> None:
    """In its lineage file, without W&B."""
    model = moved["oxen"]["sandbox/p-model"]
    lineage = model["commits"][model["branches"]["production"]]["lineage"]
    assert [item["oxen"] for item in lineage["inputs"]] == [_commit(moved, "names:v2")]


def test_second_backfill_moves_nothing_and_makes_nothing(moved: dict[str, Any]) -> None:
    """Not one byte, not one version, not one change in W&B."""
    report, stats = moved["second report"], moved["second stats"]
    assert report["versions"] == {"discovered": 4, "replaced": 0, "skipped": 4, "failed": 0}
    assert set(report["bytes"].values()) == {0}
    transfers = ("downloads", "uploads", "manifest_downloads", "manifest_uploads")
    assert [stats[key] for key in transfers] == [0, 0, 0, 0]
    assert stats["graphql"].keys() == {"Runs", "ProjectArtifactCollections", "ProjectArtifacts"}


def test_verify_proves_every_commit(moved: dict[str, Any]) -> None:
    """Each version is read again from Oxen."""
    assert (moved["verified"]["verified"], moved["verified"]["failed"]) == (4, 0)
