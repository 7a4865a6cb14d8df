"""`syncd diff`, `review` and `merge` on the command line, on real repositories; W&B is not asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import ExitCode, main
from syncd.clients.commits import Author, TreeEntry
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.promotion.journal import REPOSITORY, Journal
from syncd.refs import CommitRef, RepoRef
from syncd.versions.ancestry import parents
from syncd.versions.events import Event, Kind, Point, State

REPO = RepoRef(namespace="team", repo="ds")
ANN = Author(name="ann", email="ann@example.com")
FIRST = {"a/one.csv": "id,label\n1,x\n2,y\n", "a/two": "2", "b/three": "3" * 3000}


class Shop:
    """A folder of repositories and the commands that work on it."""

    def __init__(self, folder: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.store = EmbeddedVersionStore(folder / "oxen")
        self._captured = captured
        self._config = folder / "config.toml"
        self._config.write_text(
            f'[oxen]\nurl = "{(folder / "oxen").as_uri()}"\nbranch = "candidate/{{version}}"\n'
            f'[engine]\nstate_dir = "{folder / "state"}"\n',
            encoding="utf-8",
        )

    def commit(self, branch: str, files: Mapping[str, str], version: str) -> CommitRef:
        """Commit files to a branch as a version."""
        tree = []
        for path, text in sorted(files.items()):
            stored = self.store.put(REPO, [text.encode()])
            tree.append(TreeEntry(path=path, hash=stored.hash, size=stored.size))
        said = f"ds {version}\n\nWandb-Artifact: team/proj/ds:{version}"
        return self.store.commit(REPO, branch=branch, tree=tree, message=said, author=ANN)

    def run(self, *words: str, code: ExitCode = ExitCode.DONE) -> str:
        """What a command prints."""
        self._captured.readouterr()
        found = main.main([*words, "--config", str(self._config)])
        out, err = self._captured.readouterr()
        assert found == code, err
        return out if code is ExitCode.DONE else err

    def json(self, *words: str) -> dict[str, Any]:
        """The one document that a command prints."""
        document: dict[str, Any] = json.loads(self.run(*words, "--json"))
        return document


@pytest.fixture
def shop(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shop:
    """A repository with a main branch and two candidates; no key for W&B."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Shop(tmp_path, capfd)
    first = made.commit("main", FIRST, "v0")
    for branch in ("candidate/v1", "candidate/v2"):
        made.store.set_branch(first, branch)
    changed = {**FIRST, "a/one.csv": "id,label\n1,x\n2,z\n"}
    made.commit("candidate/v1", {**changed, "new/four": "4" * 2000}, "v1")
    del changed["a/two"]
    made.commit("candidate/v2", {**changed, "c/two": "2", "a/one.csv": "id,label\n1,w\n"}, "v2")
    return made


def name(branch: str) -> str:
    """A branch, as it is typed."""
    return f"{REPO}@{branch.replace('/', '%2F')}"


def test_a_difference_is_a_summary_and_files_by_folder_the_largest_first(shop: Shop) -> None:
    """Cut where nobody asks for all."""
    one, two = name("main"), name("candidate/v2")
    text = shop.run("diff", one, two, "--rows")

    assert text.splitlines() == [
        f"{one} → {two}",
        "1 changed (17 B → 13 B), 1 renamed (1 B), 1 unchanged; in all 2.9 KiB → 2.9 KiB",
        "",
        "a/",
        "  ~ one.csv  17 B → 13 B",
        "",
        "c/",
        "  > two  1 B, was a/two",
        "",
        "rows",
        "  a/one.csv: 0 added, 1 removed, 1 modified (label 1); 2 → 1 by id",
    ]
    assert "… and 1 more (--files all)" in shop.run("diff", one, two, "--files", "1")
    assert shop.run("diff", one, one).splitlines()[1] == "the same 3 files"


def test_a_difference_is_one_document(shop: Shop) -> None:
    """With all files, unless it is said how many."""
    words = ("diff", name("main"), name("candidate/v1"))
    document = shop.json(*words, "--rows")

    assert [(item["change"], item["path"]) for item in document["files"]] == [
        ("changed", "a/one.csv"),
        ("added", "new/four"),
    ]
    assert document["summary"]["added"] == {"files": 1, "bytes": 2000}
    assert document["rows"][0]["columns"] == {"label": 1}
    assert (document["equal"], document["files_left_out"]) == (False, 0)
    assert shop.json(*words, "--files", "0")["files_left_out"] == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--files", "many"), "--files 'many' is no number"),
        (("--key", "id"), "Add --rows"),
        (("--rows", "--rows-limit", "much"), "--rows-limit 'much'"),
    ],
)
def test_a_mistaken_option_is_told(words: tuple[str, ...], complaint: str, shop: Shop) -> None:
    """Before anything is read."""
    refused = shop.run("diff", name("main"), name("main"), *words, code=ExitCode.USAGE)
    assert complaint in refused


def test_two_candidates_are_merged_one_after_the_other(shop: Shop) -> None:
    """By the branch's move, then by a commit of both; a conflict names the file and the way out."""
    one, two = name("candidate/v1"), name("candidate/v2")
    heads = shop.store.branches(REPO)
    text = shop.run("review", one)
    assert f"into main ({heads['main']}): fast-forward; 1 ahead, 0 behind" in text
    assert shop.json("merge", one)["commit"] == f"{REPO}@{heads['candidate/v1']}"

    document = shop.json("review", two)
    assert (document["state"], document["base"]) == ("conflict", heads["main"])
    assert document["conflicts"] == [{"path": "a/one.csv", "reason": "changed on both sides"}]
    assert "  conflict: a/one.csv (changed on both sides)" in shop.run("review", two)
    refused = shop.run("merge", two, code=ExitCode.FAILED)
    assert "a/one.csv (changed on both sides)" in refused
    assert "--theirs" in refused

    made = shop.json("merge", two, "--theirs", "--by", "ann", "-m", "Labels of both")
    assert (made["state"], made["ahead"], made["behind"]) == ("merge", 1, 1)
    head = shop.store.resolve(REPO, "main")
    assert head is not None
    assert made["commit"] == str(head.ref)
    assert head.author.name == "ann"
    assert head.message.startswith("Labels of both\n\nWandb-Version: team/proj/ds:v2\n")
    assert parents(head)[1] == heads["candidate/v2"]
    assert {entry.path for entry in shop.store.tree(head.ref)} == {
        "a/one.csv", "b/three", "c/two", "new/four",
    }  # fmt: skip
    assert b"".join(shop.store.read(head.ref, "a/one.csv")) == b"id,label\n1,w\n"
    assert list(shop.store.verify(head.ref)) == []
    for merged in (one, two):
        assert "is already merged into main" in shop.run("merge", merged)
    assert shop.store.branches(REPO)["main"] == head.ref.commit


def test_a_message_makes_a_commit_where_the_branch_could_just_move(shop: Shop) -> None:
    """The answer says so."""
    made = shop.json("merge", name("candidate/v1"), "--message", "Reviewed by two")

    assert made["state"] == "merge"
    assert made["commit"] != f"{REPO}@{shop.store.branches(REPO)['candidate/v1']}"
    assert made["commit"].endswith(shop.store.branches(REPO)["main"])


def test_only_whole_versions_are_merged_and_not_into_a_versions_own_branch(shop: Shop) -> None:
    """Both are mistakes of whoever types."""
    for words in ((f"{name('main')}/a",), (name("candidate/v1"), "--into", "wandb/v0")):
        shop.run("merge", *words, code=ExitCode.USAGE)


def test_nothing_is_merged_into_the_branch_of_an_alias(shop: Shop) -> None:
    """It would part from W&B's alias; the error says which and where to go instead. `review` says so, too."""
    head = shop.store.resolve(REPO, "main")
    assert head is not None
    shop.store.set_branch(head.ref, "production")
    subject = "team/proj/ds:production"
    point = Point(
        version="team/proj/ds:v0", logged="team/proj/ds:v0", artifact_id="1", commit=head.ref
    )
    event = Event(
        id="1", kind=Kind.PROMOTE, subject=subject, before=None, after=point, by="ann", at="2026",
        state=State.DONE,
    )  # fmt: skip
    Journal(shop.store, RepoRef(namespace="team", repo=REPOSITORY)).append(event)

    for verb in ("review", "merge"):
        words = (verb, name("candidate/v1"), "--into", "production")
        refused = shop.run(*words, code=ExitCode.USAGE)
        assert f"W&B's alias {subject}" in refused
        assert "syncd promote REF production" in refused
    assert shop.store.branches(REPO)["production"] == head.ref.commit
    merged = shop.json("merge", name("candidate/v1"), "--into", "next")
    assert merged["state"] == "new branch"
