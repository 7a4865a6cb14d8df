"""Publish: bytes go to Oxen alone, proved, once; W&B gets references, and both tell of each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from moved_project import PROJECT
from training_world import BASE, MemoryTracker, TrainingWorld

from syncd.cli.resolve import from_oxen, from_wandb
from syncd.errors import (
    InvalidNameError,
    PermanentError,
    RepositoryConflictError,
    ServiceUnavailableError,
    UsageError,
    VerificationError,
)
from syncd.lineage.from_catalog import CatalogNeighbours
from syncd.lineage.from_oxen import OxenNeighbours
from syncd.lineage.from_wandb import WandbNeighbours
from syncd.lineage.graph import walk
from syncd.manifest import Manifest
from syncd.operations.audit import Part, verify_all
from syncd.operations.backfill import follow_aliases
from syncd.operations.births import keep_born
from syncd.operations.restoration import BORN, restore_commit, restore_target
from syncd.refs import ArtifactRef, CommitRef, OxenURL, RepoRef, Target, parse_reference_url
from syncd.replacements import commit_of, linked_content, published_of, version_digest
from syncd.stages.annotate import run_config
from syncd.testing import Fault, MemoryVersionStore
from syncd.training import Pins
from syncd.training.gathering import gathered
from syncd.training.runs import note
from syncd.versions.plans import LINEAGE_PATH
from syncd.versions.relatives import relatives

WEIGHTS = {"model.safetensors": b"weights" * 1000, "config.json": b"{}"}
REPO = RepoRef(namespace="team", repo="proj-clip")
CLIP = Target.parse("team/proj/clip")


def held(world: TrainingWorld, commit: CommitRef) -> dict[str, bytes]:
    """A commit's files."""
    return {e.path: b"".join(world.store.read(commit, e.path)) for e in world.store.tree(commit)}


def lineage(world: TrainingWorld, commit: CommitRef) -> dict[str, Any]:
    """A commit's lineage file."""
    found: dict[str, Any] = json.loads(held(world, commit)[LINEAGE_PATH])
    return found


def test_oxen_has_the_bytes_and_wandb_references_to_them(world: TrainingWorld) -> None:
    """One commit with the complete tree; a version whose entries name it and the content's hash."""
    made = world.publish(world.tracker(), WEIGHTS, aliases=("best",), metadata={"loss": 0.1})
    [version] = world.source.versions(CLIP)
    entries = world.source.manifest(version).entries.values()
    tree = {e.path: e.hash for e in world.store.tree(made.commit)}

    assert held(world, made.commit).keys() == {*WEIGHTS, LINEAGE_PATH}
    assert {p: d for p, d in held(world, made.commit).items() if p in WEIGHTS} == WEIGHTS
    assert [parse_reference_url(e.ref or "") for e in entries] == [
        (made.commit, path) for path in sorted(WEIGHTS)
    ]
    assert [linked_content(e) for e in entries] == [tree[path] for path in sorted(WEIGHTS)]
    born = published_of(version.metadata, version.digest)
    assert born is not None
    assert (born.commit, born.url.startswith(BASE)) == (made.commit, True)
    assert version.metadata["loss"] == 0.1
    assert (made.version, {*version.aliases}) == ("team/proj/clip:v0", {"best", "latest"})


def test_earlier_commits_are_looked_through_once(world: TrainingWorld) -> None:
    """Each is a request to the server, and a training may publish after every epoch."""
    for number in range(30):
        world.publish(world.tracker(), {"w": b"epoch %d" % number})
    before = world.store.calls["resolve"]
    world.publish(world.tracker(), {"w": b"the last"})

    assert world.store.calls["resolve"] - before < 2 * 30


@pytest.mark.parametrize("etags", [True, False])
def test_a_version_of_the_same_content_is_looked_for_with_one_digest_each(
    world: TrainingWorld, etags: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest is over all files of the version, and a training publishes after every epoch."""
    world.etags = etags
    made = [world.publish(world.tracker(), {"w": b"epoch %d" % number}) for number in range(10)]
    computed: list[str] = []

    def counted(manifest: Manifest, algorithm: str) -> str:
        computed.append(algorithm)
        return version_digest(manifest, algorithm)

    monkeypatch.setattr("syncd.training.references.version_digest", counted)
    world.publish(world.tracker(), {"w": b"the last"})
    assert len(computed) <= 10 + 1
    assert world.publish(world.tracker(), {"w": b"epoch 7"}) == made[7]


def test_metadata_may_hold_what_numpy_counts(world: TrainingWorld) -> None:
    """A score is one, and a training of three days must not end on it."""
    made = world.publish(world.tracker(), WEIGHTS, metadata={"f1": np.float32(0.5)})
    [version] = world.source.versions(CLIP)

    assert version.metadata["f1"] == 0.5
    assert lineage(world, made.commit)["artifact"]["metadata"] == {"f1": 0.5}
    with pytest.raises(UsageError, match="metadata 'odd'"):
        world.publish(world.tracker(), {"w": b"other"}, metadata={"odd": object()})
    assert world.store.calls["commit"] == 1


def test_branches_stand_for_number_and_aliases(world: TrainingWorld) -> None:
    """As for every version that syncd moves."""
    first = world.publish(world.tracker(), WEIGHTS, aliases=("best",)).commit.commit
    second = world.publish(world.tracker(), {"model.safetensors": b"better"}).commit.commit

    assert world.store.branches(REPO) == {
        "main": second, "latest": second, "wandb/v1": second, "wandb/v0": first, "best": first,
    }  # fmt: skip


def test_the_commit_says_who_made_it_of_what(world: TrainingWorld) -> None:
    """A person reads the subject, programs the trailers, and the lineage file tells the rest."""
    data = world.committed({"a": b"data"})
    replacement = world.moved("moved", {"d": b"moved data"})
    tracker = world.tracker()
    tracker.configure({"epochs": 3})
    tracker.use(replacement)
    commit = world.publish(tracker, WEIGHTS, inputs=Pins(commits={"dataset": data})).commit
    found = world.store.resolve(REPO, commit.commit)
    story = lineage(world, commit)

    assert found is not None
    assert found.message.splitlines()[0] == "clip of run brave run: 2 files"
    assert found.author.name == "ann"
    assert found.trailers | {"Wandb-Created-At": ""} == {
        "Wandb-Artifact": "team/proj/clip",
        "Wandb-Artifact-Type": "model",
        "Wandb-Created-At": "",
        "Wandb-Run": "team/proj/runs/train",
        "Wandb-Url": "https://w/1",
        "Wandb-Content": found.trailers["Wandb-Content"],
    }
    assert story["run"]["config"] == {"epochs": 3}
    assert story["artifact"]["ref"] == "team/proj/clip"
    assert [(item["artifact"], item["oxen"]) for item in story["inputs"]] == [
        ("team/proj/moved:v0", str(commit_of(replacement.metadata, replacement.digest))),
        (None, str(data)),
    ]
    expected = f"{xxhash.xxh3_128_intdigest(WEIGHTS['config.json']):x}"
    assert story["files"]["config.json"]["hash"] == expected


def test_a_subject_cannot_pretend_to_be_a_trailer(world: TrainingWorld) -> None:
    """What a person writes stays on the first line."""
    message = "better\n\nWandb-Artifact: team/proj/other:v7"
    commit = world.publish(world.tracker(), WEIGHTS, message=message).commit
    found = world.store.resolve(REPO, commit.commit)

    assert found is not None
    assert found.trailers["Wandb-Artifact"] == "team/proj/clip"


@pytest.mark.parametrize("etags", [True, False])
def test_the_same_again_changes_nothing(world: TrainingWorld, etags: bool) -> None:
    """Neither a second commit nor a second version, also where no ETag is sent."""
    world.etags = etags
    tracker = world.tracker()
    first = world.publish(tracker, WEIGHTS)
    again = world.publish(tracker, WEIGHTS)

    assert again == first
    assert world.store.calls["commit"] == 1
    assert len(list(world.source.versions(CLIP))) == 1


def test_another_run_with_the_same_weights_gets_the_same_version(world: TrainingWorld) -> None:
    """As in W&B: a version is its content."""
    first = world.publish(world.tracker(), WEIGHTS)
    again = world.publish(world.tracker("other"), WEIGHTS, aliases=("again",))
    [version] = world.source.versions(CLIP)

    assert again == first
    assert world.store.calls["commit"] == 1
    assert "again" in version.aliases
    assert world.store.branches(REPO)["again"] == first.commit.commit


def test_what_was_moved_before_is_not_committed_again(world: TrainingWorld) -> None:
    """Weights that were logged with their bytes, and moved, are published by what replaced them."""
    world.moved("clip", WEIGHTS | {"config.json": b"{1234}"}, "model")
    commits = world.store.calls["commit"]
    made = world.publish(world.tracker(), WEIGHTS | {"config.json": b"{1234}"})

    assert made.version == "team/proj/clip:v1"
    assert world.store.calls["commit"] == commits
    assert "wandb/v1" not in world.store.branches(REPO)


@pytest.mark.parametrize("method", ["put", "commit", "verify", "set_branch"])
@pytest.mark.parametrize("late", [False, True])
def test_a_break_anywhere_in_oxen_leaves_one_commit_and_one_version(
    tmp_path: Path, method: str, late: bool
) -> None:
    """Whoever calls again goes on where it broke."""
    fault = Fault(method=method, error=RuntimeError("broken"), late=late)
    world = TrainingWorld(tmp_path, store=MemoryVersionStore(faults=[fault]))
    tracker = world.tracker()
    if not (late and method == "verify"):  # which has no effect that could be lost
        with pytest.raises(RuntimeError, match="broken"):
            world.publish(tracker, WEIGHTS)
    made = world.publish(tracker, WEIGHTS)

    assert world.store.branches(REPO)["wandb/v0"] == made.commit.commit
    found = world.store.resolve(REPO, "main")
    assert found is not None
    assert (found.ref, found.parents) == (made.commit, ())
    assert len(list(world.source.versions(CLIP))) == 1
    world.catalog.close()


def test_a_service_that_stumbles_is_asked_again(tmp_path: Path) -> None:
    """Also when it lost its answer after the commit was made."""
    away = ServiceUnavailableError("away")
    faults = [Fault(method=m, error=away, late=True) for m in ("put", "commit", "set_branch")]
    world = TrainingWorld(tmp_path, store=MemoryVersionStore(faults=faults))
    made = world.publish(world.tracker(), WEIGHTS)
    found = world.store.resolve(REPO, "main")

    assert found is not None
    assert (found.ref, found.parents) == (made.commit, ())
    world.catalog.close()


def test_another_writer_is_given_way_to(tmp_path: Path) -> None:
    """A server refuses whoever merges into what another one has moved; one that always does, says why."""
    refused = PermanentError("Workspace is behind")
    once = [Fault(method="commit", error=refused, at=1)]
    world = TrainingWorld(tmp_path, store=MemoryVersionStore(faults=once))
    world.publish(world.tracker(), WEIGHTS)
    always = [Fault(method="commit", error=refused, at=at) for at in range(1, 99)]
    world.store = MemoryVersionStore(faults=always)
    with pytest.raises(PermanentError, match="Workspace is behind") as caught:
        world.publish(world.tracker("other"), {"w": b"other"})

    assert caught.value is refused
    world.catalog.close()


def test_a_commit_that_another_writer_drops_from_the_branch_is_made_again(
    world: TrainingWorld,
) -> None:
    """Both began at the same head, and the other one moved the branch last."""

    class Contended(MemoryVersionStore):
        def commit(self, repo: RepoRef, **what: Any) -> CommitRef:
            before = self.branches(repo).get("main")
            made = super().commit(repo, **what)
            if self.calls["commit"] == 2 and before is not None:
                self._repositories[repo].branches["main"] = before
            return made

    world.store = Contended()
    world.publish(world.tracker("other"), {"w": b"other"})
    made = world.publish(world.tracker(), WEIGHTS)
    head = world.store.resolve(REPO, "main")

    assert head is not None
    assert head.ref == made.commit


def test_a_break_before_the_version_is_found_behind_others_commits(world: TrainingWorld) -> None:
    """The commit is there, and another run has committed on top of it."""

    def broken() -> None:
        raise PermanentError("killed")

    tracker = MemoryTracker(world.source, before=broken)
    with pytest.raises(PermanentError, match="killed"):
        world.publish(tracker, WEIGHTS)
    orphan = world.store.resolve(REPO, "main")
    world.publish(world.tracker("other"), {"model.safetensors": b"other"})
    made = world.publish(world.tracker(), WEIGHTS)

    assert orphan is not None
    assert made.commit == orphan.ref
    assert world.store.calls["commit"] == 2


def test_nothing_is_logged_without_proof(world: TrainingWorld) -> None:
    """What cannot be read back from Oxen is no version in W&B."""

    class Rotten(MemoryVersionStore):
        def verify(self, commit: CommitRef, paths: Any = None) -> Any:
            del commit, paths
            return iter(["model.safetensors has another hash"])

    world.store = Rotten()
    with pytest.raises(VerificationError, match="another hash"):
        world.publish(world.tracker(), WEIGHTS)

    assert list(world.source._logged) == []


def test_a_file_that_changes_meanwhile_is_not_published(world: TrainingWorld) -> None:
    """A checkpoint that is still being written is refused, and says so."""
    files = world.written(WEIGHTS)

    class Slow(MemoryVersionStore):
        def missing(self, repo: RepoRef, hashes: Any) -> set[str]:
            files["model.safetensors"].write_bytes(b"weighty" * 1000)
            return super().missing(repo, hashes)

    world.store = Slow()
    with pytest.raises(Exception, match="changed while it was published"):
        world.publish(world.tracker(), WEIGHTS)

    assert world.store.branches(REPO) == {}


def test_others_repositories_are_left_alone(world: TrainingWorld) -> None:
    """The version's tree would hide files that somebody committed by hand."""
    world.committed({"precious": b"mine"}, repo="proj-clip")
    with pytest.raises(RepositoryConflictError):
        world.publish(world.tracker(), WEIGHTS)

    assert list(world.source._logged) == []


def test_a_collection_of_another_type_is_refused_before_anything_is_sent(
    world: TrainingWorld,
) -> None:
    """W&B would refuse it after the commit."""
    world.source.log("clip", {"a": b"data"}, kind="dataset")
    with pytest.raises(UsageError, match="of type 'dataset'"):
        world.publish(world.tracker(), WEIGHTS)

    assert world.store.calls["put"] == 0


def test_a_new_branch_begins_where_main_is(world: TrainingWorld) -> None:
    """A candidate can be compared with, and merged into, what it comes from."""
    main = world.publish(world.tracker(), WEIGHTS).commit
    candidate = world.publish(
        world.tracker("next"), {"model.safetensors": b"new"}, branch="candidate"
    ).commit
    found = world.store.resolve(REPO, "candidate")

    assert found is not None
    assert (found.ref, found.parents) == (candidate, (main.commit,))
    assert world.store.branches(REPO)["main"] == main.commit


def test_another_repository_may_be_named(world: TrainingWorld) -> None:
    """Weights live where their people want them."""
    repo = RepoRef(namespace="people", repo="weights")
    made = world.publish(world.tracker(), WEIGHTS, repo=repo)

    assert made.commit.repo == repo


def test_versions_share_a_repository_in_folders_of_their_own(tmp_path: Path) -> None:
    """Where the configuration puts a project into one repository, nobody's files are lost."""
    world = TrainingWorld(tmp_path, oxen={"repo": "{project}", "path": "{collection}"})
    world.publish(world.tracker(), WEIGHTS, collection="clip")
    made = world.publish(world.tracker(), {"w": b"other"}, collection="blip")

    assert held(world, made.commit).keys() == {
        "blip/w", f"blip/{LINEAGE_PATH}", f"clip/{LINEAGE_PATH}",
        *(f"clip/{path}" for path in WEIGHTS),
    }  # fmt: skip
    assert world.store.branches(made.commit.repo)["blip/wandb/v0"] == made.commit.commit
    [result] = verify_all(world.runtime, [Target.parse("team/proj/blip")], Part())
    assert result["problems"] == []
    world.catalog.close()


def test_the_run_says_what_it_made(world: TrainingWorld) -> None:
    """And syncd, looking at the run later, agrees with every key."""
    data = world.committed({"a": b"data"})
    tracker = world.tracker()
    pins = Pins(commits={"dataset": data})
    note(tracker, pins, world.store, world.source)
    made = world.publish(tracker, WEIGHTS, inputs=pins)

    assert tracker.config == {
        "dataset_repo": str(data.repo),
        "dataset_commit": data.commit,
        "output_model_repo": str(made.commit.repo),
        "output_model_commit": made.commit.commit,
        "oxen": {
            "inputs": {str(data.repo): str(data)},
            "outputs": {made.version: str(made.commit)},
            "pinned": {"dataset": str(data)},
        },
    }
    assert run_config(world.source.run(tracker.ref)) == ({}, [])


# --- the rest of syncd


def test_backfill_leaves_published_versions_alone(world: TrainingWorld) -> None:
    """There is nothing to move, and the reason says which commit it is."""
    made = world.publish(world.tracker(), WEIGHTS)
    [found] = world.seen()

    assert str(found.version.ref) == made.version
    assert (found.skip, found.final) == (f"born in Oxen as {made.commit}", True)


def test_a_later_version_of_plain_wandb_moves_into_the_same_repository(
    world: TrainingWorld,
) -> None:
    """Both kinds of versions stand in one history."""
    first = world.publish(world.tracker(), WEIGHTS).commit
    world.moved("clip", {"model.safetensors": b"plain weights"}, "model")
    last = world.publish(world.tracker("third"), {"model.safetensors": b"third"}).commit
    heads = world.store.branches(REPO)
    moved = world.store.resolve(REPO, heads["wandb/v1"])
    head = world.store.resolve(REPO, "main")

    assert moved is not None
    assert moved.parents == (first.commit,)
    assert head is not None
    assert (head.ref, head.parents) == (last, (moved.ref.commit,))


def test_an_older_version_that_moves_late_does_not_hide_a_published_one(
    world: TrainingWorld,
) -> None:
    """The main branch shows the newest, and a published commit's number is its branch's."""
    old = world.source.log("clip", {"model.safetensors": b"plain weights"}, kind="model")
    made = world.publish(world.tracker(), WEIGHTS).commit
    world.move(old)

    assert world.store.branches(REPO)["wandb/v0"] != made.commit
    assert world.store.branches(REPO)["main"] == made.commit


def test_what_is_made_of_a_published_version_names_its_commit(world: TrainingWorld) -> None:
    """A model of plain wandb that was trained from a published one, moved afterwards."""
    base = world.publish(world.tracker(), WEIGHTS)
    run = world.source.add_run("distil")
    world.source.record_use(run, next(iter(world.source.versions(CLIP))))
    made = world.move(world.source.log("small", {"w": b"smaller"}, kind="model", run=run))
    commit = commit_of(made.metadata, made.digest)

    assert commit is not None
    [item] = lineage(world, commit)["inputs"]
    assert (item["artifact"], item["oxen"]) == (base.version, str(base.commit))
    values, _ = run_config(world.source.run(run))
    assert values["base_model_commit"] == base.commit.commit
    assert values["oxen"]["inputs"] == {base.version: str(base.commit)}


def test_a_draft_of_a_published_version_is_moved_like_any_other(world: TrainingWorld) -> None:
    """Its metadata says the commit of what it was drafted from, and it is not that."""
    world.publish(world.tracker(), WEIGHTS)
    [version] = world.source.versions(CLIP)
    draft = world.source.log("clip", {"extra.bin": b"more bytes"}, kind="model", draft_of=version)
    world.move(draft)

    assert [bool(item.skip) for item in world.seen()] == [True, True]
    assert held(world, CommitRef(repo=REPO, commit=world.store.branches(REPO)["main"])).keys() == {
        *WEIGHTS, "extra.bin", LINEAGE_PATH,
    }  # fmt: skip


def test_moved_aliases_take_their_branches_along(world: TrainingWorld) -> None:
    """Somebody moves an alias to a published version in W&B."""
    made = world.publish(world.tracker(), WEIGHTS).commit
    [version] = world.source.versions(CLIP)
    world.source.move_aliases(version, ["production"])
    [found] = world.seen()
    follow_aliases(world.runtime, found, {})

    assert world.store.branches(REPO)["production"] == made.commit


def test_verify_proves_published_versions_too(world: TrainingWorld) -> None:
    """Their bytes, and that W&B refers to them."""
    made = world.publish(world.tracker(), WEIGHTS)
    [good] = verify_all(world.runtime, [CLIP], Part())
    [entry] = [e for e in world.store.tree(made.commit) if e.path == "config.json"]
    world.store.corrupt(REPO, entry.hash, b"[]")
    [bad] = verify_all(world.runtime, [CLIP], Part())

    assert (good["version"], good["oxen"]) == (made.version, str(made.commit))
    assert (good["problems"], good["files"]) == ([], 3)
    assert "config.json" in bad["problems"][0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"digest": "abc"}, "W&B names another content than the commit"),
        (
            {"ref": "https://data.example/api/repos/team/proj-clip/file/12ab/config.json"},
            "W&B does not refer to the commit",
        ),
        ({"ref": None}, "W&B does not refer to the commit"),
    ],
)
def test_verify_sees_references_that_name_something_else(
    change: dict[str, Any], problem: str, world: TrainingWorld
) -> None:
    """A manifest that was tampered with, though Oxen is as it should be."""
    world.publish(world.tracker(), WEIGHTS)
    [version] = world.source.versions(CLIP)
    logged = world.source._logged[version.id]
    entries = dict(logged.manifest.entries)
    entries["config.json"] = replace(entries["config.json"], **change)
    logged.manifest = Manifest(entries=entries)
    [found] = verify_all(world.runtime, [CLIP], Part())

    assert found["problems"] == [f"config.json: {problem}"]


def test_a_commit_that_was_born_in_oxen_is_not_put_into_wandb(world: TrainingWorld) -> None:
    """Nor with its version gone: W&B never had its files."""
    made = world.publish(world.tracker(), WEIGHTS)
    url = OxenURL.parse(str(made.commit))
    report = restore_commit(world.runtime, url, lambda: world.source.now)

    assert (report.restored, [item["reason"] for item in report.skipped]) == ([], [BORN])


def test_both_names_of_a_published_version_are_found(
    world: TrainingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`syncd resolve`, from either side."""
    made = world.publish(world.tracker(), WEIGHTS, aliases=("best",))
    found = next(world.source.versions(CLIP))
    monkeypatch.setattr(world.source, "find", lambda _ref: found, raising=False)
    there = from_wandb(world.runtime, made.version)
    back = from_oxen(world.runtime, f"{REPO}@best")

    assert there["oxen"]["commit"] == str(made.commit)
    assert back["wandb"]["source"] == made.version
    assert there == back


def test_there_is_nothing_to_restore_of_what_wandb_never_had(world: TrainingWorld) -> None:
    """It says so, and does not pretend that W&B has the files."""
    made = world.publish(world.tracker(), WEIGHTS)
    report = restore_target(world.runtime, Target.parse(made.version), lambda: world.source.now)

    assert report.skipped == [{"version": made.version, "reason": BORN}]


# --- which files


def test_files_are_named_by_where_they_lie(world: TrainingWorld, tmp_path: Path) -> None:
    """A folder's by their path in it; others by their names, or as told."""
    places = world.written({"a/x": b"1", "y": b"2"}, name="some")

    assert gathered(tmp_path / "some") == places
    assert gathered(str(places["a/x"])) == {"x": places["a/x"]}
    assert gathered([places["a/x"], places["y"]]) == {"x": places["a/x"], "y": places["y"]}
    assert gathered({"z/w": places["y"]}) == {"z/w": places["y"]}


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ([], UsageError),
        ({"../x": "y"}, InvalidNameError),
        ({".syncd/x": "y"}, InvalidNameError),
        ({"x": "nowhere"}, UsageError),
        (["a/x", "b/x"], UsageError),
    ],
)
def test_what_cannot_be_published_is_refused(files: Any, error: type[Exception]) -> None:
    """Before anything is hashed."""
    with pytest.raises(error):
        gathered(files)


def test_a_link_to_a_folder_is_not_silently_left_out(tmp_path: Path) -> None:
    """Half a checkpoint is no checkpoint."""
    (tmp_path / "real").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="is a link to a folder"):
        gathered(tmp_path / "out")


def test_where_versions_are_candidates_what_is_published_is_one_too(tmp_path: Path) -> None:
    """The first begins main; a later one stands on a branch of its run's, and main stays."""
    world = TrainingWorld(tmp_path, oxen={"branch": "candidate/{version}"})
    first = world.publish(world.tracker("one"), WEIGHTS)
    second = world.publish(world.tracker("two"), {"model.safetensors": b"other"})
    branches = world.store.branches(REPO)
    world.catalog.close()

    assert branches["main"] == branches["candidate/one"] == first.commit.commit
    assert branches["candidate/two"] == branches["wandb/v1"] == second.commit.commit


def test_all_sides_tell_the_same_lineage_of_a_publication(world: TrainingWorld) -> None:
    """A dataset that was moved, one that W&B has no version of, and a model that was published."""
    replacement = world.moved("data", {"d": b"bytes"})
    data = commit_of(replacement.metadata, replacement.digest)
    assert data is not None
    base = world.publish(world.tracker("base"), {"w": b"base"}).commit
    own = world.committed({"v": b"own"}, repo="own")
    pins = Pins(commits={"dataset": data, "model": base, "validation": own})
    tracker = world.tracker()
    note(tracker, pins, world.store, world.source)
    made = world.publish(tracker, WEIGHTS, inputs=pins)
    for version in world.source.versions(PROJECT):
        keep_born(world.runtime, version)
    world.catalog.descent.keep_versions(
        relatives(world.source.versions(Target.parse("team/proj/data")))
    )
    sides = (
        CatalogNeighbours(world.catalog.descent),
        WandbNeighbours(world.source),
        OxenNeighbours(world.store, lambda: world.store.repositories("team")),
    )
    graphs = []
    for side in sides:
        start = side.find(ArtifactRef.parse(made.version))
        assert start is not None
        graph = walk(side, start, down=0)
        graphs.append({(n.name, n.kind, n.commit) for n in graph.nodes.values()})

    assert graphs[0] == graphs[1] == graphs[2]
    assert len(graphs[0]) == 6
