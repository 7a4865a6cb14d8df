"""Verify: whatever is wrong with a commit is found, and only what was read is believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import pytest

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.clients.commits import TreeEntry
from syncd.config import Config
from syncd.manifest import Algorithm
from syncd.refs import CommitRef
from syncd.stages import verify as module
from syncd.stages.plan import plan
from syncd.stages.verify import verify
from syncd.testing import MemoryArtifactSource, MemoryVersionStore
from syncd.versions.plans import LINEAGE_PATH, TransferPlan, VerifyReport

PlanOf = Callable[[MemoryArtifactSource, Version], TransferPlan]
Committed = Callable[[MemoryArtifactSource, MemoryVersionStore, TransferPlan], CommitRef]
FILES = {"a": b"payload", "b": b"other!", "c": b"payload", "small": b"x"}


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A committed version, and ways to break it."""

    store: MemoryVersionStore
    catalog: Catalog
    commit: CommitRef

    def verify(self, *, everything: bool = False) -> VerifyReport:
        """The stage."""
        return verify(self.store, self.catalog, self.commit, everything=everything)

    @property
    def tree(self) -> dict[str, TreeEntry]:
        """The commit's files."""
        return {entry.path: entry for entry in self.store.tree(self.commit)}

    def rot(self, path: str, data: bytes | None) -> None:
        """Put other bytes in the place of a file's."""
        self.store.corrupt(self.commit.repo, self.tree[path].hash, data)

    def falsify(self, **changes: TreeEntry | None) -> None:
        """Change or take away (None) entries of the tree."""
        tree = {**self.tree, **changes}
        self.store.falsify(self.commit, [entry for entry in tree.values() if entry])

    def write_lineage(self, text: bytes) -> None:
        """Put another file in the place of the lineage file."""
        stored = self.store.put(self.commit.repo, [text])
        lineage = replace(self.tree[LINEAGE_PATH], hash=stored.hash, size=stored.size)
        self.falsify(**{LINEAGE_PATH: lineage})

    def verified(self) -> set[str]:
        """The paths whose content is taken for proved."""
        tree = self.tree
        found = self.catalog.verified(self.commit.repo, {item.hash for item in tree.values()})
        return {path for path, item in tree.items() if item.hash in found}


@pytest.fixture
def moved(
    request: pytest.FixtureRequest, committed: Committed, catalog: Catalog, plan_of: PlanOf
) -> Moved:
    """A version of four files, three of them different."""
    algorithm: Algorithm = getattr(request, "param", "MD5")
    source, store = MemoryArtifactSource(), MemoryVersionStore(chunk_size=3)
    planned = plan_of(source, source.log("ds", FILES, algorithm=algorithm))
    return Moved(store=store, catalog=catalog, commit=committed(source, store, planned))


@pytest.mark.parametrize("moved", ["MD5", "XXH128"], indirect=True)
def test_a_whole_commit_is_proved(moved: Moved) -> None:
    """No problems, and a receipt over the whole tree."""
    report = moved.verify()
    lines = sorted(f"{e.path} {e.hash} {e.size}\n" for e in moved.tree.values())
    lineage = moved.tree[LINEAGE_PATH].size

    assert report.problems == ()
    assert report.receipt.commit == moved.commit
    assert (report.receipt.files, report.receipt.bytes) == (5, 21 + lineage)
    assert report.receipt.tree == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert datetime.fromisoformat(report.receipt.verified_at).utcoffset() is not None
    assert moved.verified() == {*FILES, LINEAGE_PATH}


@pytest.mark.parametrize("moved", ["MD5", "XXH128"], indirect=True)
@pytest.mark.parametrize(
    "data",
    [
        b"pAyload",  # a flipped bit
        b"payloa",  # truncated
        b"payload\0",
        b"",
        None,  # not there
    ],
)
@pytest.mark.parametrize("everything", [False, True])
def test_content_that_is_not_what_went_in_is_found(
    data: bytes | None, everything: bool, moved: Moved
) -> None:
    """By its path; it is not believed, and the next transfer brings it again."""
    moved.rot("a", data)
    report = moved.verify(everything=everything)

    assert any("a: " in problem or "'a'" in problem for problem in report.problems)
    assert not any(problem.startswith("b: ") for problem in report.problems)
    assert moved.verified().isdisjoint({"a", "c"})
    assert moved.catalog.damaged(moved.commit.repo, [moved.tree["a"].hash])


def test_content_whose_w_and_b_digest_differs_is_found(moved: Moved) -> None:
    """Oxen's own hash may be right over wrong bytes: what counts is what W&B promised."""
    document = json.loads(b"".join(moved.store.read(moved.commit, LINEAGE_PATH)))
    document["files"]["b"]["digest"] = document["files"]["a"]["digest"]
    moved.write_lineage(json.dumps(document).encode())
    problems = moved.verify().problems

    assert "b: the bytes read back have another digest than W&B's manifest" in problems
    assert "b" not in moved.verified()


@pytest.mark.parametrize("path", ["a", "small"])
def test_a_file_that_the_tree_lacks_is_found(path: str, moved: Moved) -> None:
    """Each file of the version is to be there."""
    moved.falsify(**{path: None})

    assert f"{path}: not in the commit" in moved.verify().problems


def test_a_file_that_names_other_content_is_found(moved: Moved) -> None:
    """Good content in the wrong place is wrong."""
    tree = moved.tree
    moved.falsify(a=replace(tree["b"], path="a"))
    problems = moved.verify().problems

    assert f"a: the commit names content {tree['b'].hash}, not {tree['a'].hash}" in problems


def test_a_file_that_the_tree_names_twice_is_found(moved: Moved) -> None:
    """Only one of the two would be compared."""
    tree = sorted(moved.tree.values(), key=lambda entry: entry.path)
    moved.store.falsify(moved.commit, [entry for entry in tree for _ in range(2)])

    assert any("not sorted" in problem for problem in moved.verify().problems)


def test_a_file_too_many_is_found(moved: Moved) -> None:
    """The store proves that the tree is the one that was committed."""
    moved.falsify(more=replace(moved.tree["b"], path="more"))

    assert any("tree" in problem for problem in moved.verify().problems)


@pytest.mark.parametrize(
    "lineage",
    [
        b"",
        b"not json",
        b"\xff",
        b"[]",
        b"{}",
        b'{"files": []}',
        b'{"files": {"a": 5}}',
        b'{"files": {"a": {}}}',
        b'{"files": {"a": {"hash": "12ab", "algorithm": "MD5"}}}',
    ],
)
def test_a_lineage_file_that_says_nothing_is_found(lineage: bytes, moved: Moved) -> None:
    """Without it nobody knows what the files should be."""
    moved.write_lineage(lineage)

    assert any(problem.startswith(LINEAGE_PATH) for problem in moved.verify().problems)


def test_a_missing_lineage_file_is_found(moved: Moved) -> None:
    """As a problem, not as an exception."""
    moved.falsify(**{LINEAGE_PATH: None})

    assert any(problem.startswith(LINEAGE_PATH) for problem in moved.verify().problems)


def test_a_commit_that_is_gone_is_a_problem_and_proves_nothing(moved: Moved) -> None:
    """An audit goes on with the next version."""
    gone = replace(moved.commit, commit="12ab")
    report = verify(moved.store, moved.catalog, gone)

    assert any("does not exist" in problem for problem in report.problems)
    assert report.receipt.files == 0
    assert moved.verified() == set()


# --- what was read before


def test_what_was_read_back_before_is_not_read_again(moved: Moved) -> None:
    """Equal content once, a second time only the lineage file."""
    moved.verify()
    assert moved.store.calls["read"] == 1 + 4  # the document; then each content once

    moved.verify()
    assert moved.store.calls["read"] == 1 + 4 + 1


def test_everything_means_that_all_is_read_again(moved: Moved) -> None:
    """An audit trusts no memory: rot that came later is found, and remembered."""
    moved.verify()
    moved.rot("b", b"0ther!")

    assert moved.verify().problems == ()
    [problem] = moved.verify(everything=True).problems
    assert problem.startswith("b: ")
    assert "b" not in moved.verified()


def test_even_remembered_content_must_still_be_there(moved: Moved) -> None:
    """The store looks at every file's presence and size each time."""
    moved.verify()
    moved.rot("b", None)

    assert moved.verify().problems


def test_progress_is_told_of_the_bytes_that_were_read(moved: Moved) -> None:
    """Equal content counts once."""
    told: list[int] = []
    verify(moved.store, moved.catalog, moved.commit, progress=told.append)

    assert sum(told) == len(b"payload" + b"other!" + b"x") + moved.tree[LINEAGE_PATH].size


# --- many files


def test_the_catalog_is_asked_and_told_in_batches(
    catalog: Catalog, committed: Committed, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what one batch has proved is not read again in the next one."""
    monkeypatch.setattr(module, "BATCH", 3)
    source, store = MemoryArtifactSource(), MemoryVersionStore()
    files = {f"{number}": f"content {number % 4}".encode() for number in range(10)}
    made = committed(source, store, plan_of(source, source.log("ds", files)))

    assert verify(store, catalog, made).problems == ()
    assert store.calls["read"] == 1 + 4 + 1
    assert verify(store, catalog, made, everything=True).problems == ()
    assert store.calls["read"] == 2 * (1 + 4 + 1)


def test_problems_beyond_some_are_counted(
    catalog: Catalog, committed: Committed, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a store that is gone each of millions of files is one; all are looked at all the same."""
    monkeypatch.setattr(module, "TOLD", 3)
    monkeypatch.setattr(module, "BATCH", 2)
    source, store = MemoryArtifactSource(), MemoryVersionStore()
    files = {f"{number}": f"content {number}".encode() for number in range(8)}
    made = committed(source, store, plan_of(source, source.log("ds", files)))
    hashes = {entry.hash for entry in store.tree(made) if entry.path in files}
    for content in hashes:
        store.corrupt(made.repo, content, b"rotten")
    problems = verify(store, catalog, made).problems

    assert len(problems) == 4
    assert problems[-1].endswith("more problems")
    assert catalog.damaged(made.repo, hashes) == hashes


def test_an_increment_of_one_per_cent_is_read_and_written_by_one_per_cent(
    catalog: Catalog, committed: Committed, plan_of: PlanOf
) -> None:
    """Along the whole way to the proof."""
    source, store = MemoryArtifactSource(), MemoryVersionStore()
    files = {f"{number:03}": f"content {number}".encode() for number in range(300)}
    first = committed(source, store, plan_of(source, source.log("ds", files)))
    assert verify(store, catalog, first).problems == ()
    before = {name: source.calls[name] + store.calls[name] for name in ("read", "put")}
    later = files | {path: f"new {path}".encode() for path in ("000", "150", "299")}
    second = committed(source, store, plan_of(source, source.log("ds", later)))
    assert verify(store, catalog, second).problems == ()
    after = {name: source.calls[name] + store.calls[name] for name in ("read", "put")}

    # Downloaded and read back once each, and the lineage file: written, read as a document, proved.
    assert {name: after[name] - before[name] for name in after} == {"read": 3 + 3 + 2, "put": 3 + 1}


def test_what_is_not_remembered_is_read_again(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded where the catalog is not asked; the proof is the same."""
    monkeypatch.setattr(module, "BATCH", 1)
    monkeypatch.setattr(module, "REMEMBERED", 0)

    assert moved.verify(everything=True).problems == ()
    assert moved.store.calls["read"] == 1 + 5


def test_a_tree_out_of_order_is_no_proof(moved: Moved) -> None:
    """It is compared as it comes: what is out of its place might be missed."""
    moved.store.falsify(moved.commit, list(reversed(moved.tree.values())))

    assert any("not sorted" in problem for problem in moved.verify().problems)


def test_a_lineage_file_in_another_order_is_read_all_the_same(moved: Moved) -> None:
    """Its order is nobody's promise."""
    document = json.loads(b"".join(moved.store.read(moved.commit, LINEAGE_PATH)))
    document["files"] = dict(reversed(document["files"].items()))
    moved.write_lineage(json.dumps(document).encode())

    assert not any("in the commit" in problem for problem in moved.verify().problems)
    assert {"a", "b", "small"} <= moved.verified()


# --- folders


def test_in_a_shared_repository_a_version_is_its_folder(
    config: Config, catalog: Catalog, committed: Committed
) -> None:
    """A neighbour whose name begins alike is neither read nor in the receipt."""
    oxen = config.oxen.model_copy(update={"repo": "{project}", "path": "{collection}"})
    shared = config.model_copy(update={"oxen": oxen})
    source, store = MemoryArtifactSource(), MemoryVersionStore()
    versions = [source.log(name, {"a": name.encode() * 4}) for name in ("dsx", "ds")]
    plans = [plan(version, source.manifest(version), shared) for version in versions]
    _, made = [committed(source, store, planned) for planned in plans]
    neighbour = next(entry for entry in store.tree(made) if entry.path == "dsx/a")
    store.corrupt(made.repo, neighbour.hash, b"dsxdsxdsXdsx")
    report = verify(store, catalog, made, prefix="ds", everything=True)

    assert report.problems == ()
    assert report.receipt.files == 2
    assert verify(store, catalog, made, prefix="dsx", everything=True).problems
