"""Commit: one per version, found again by what it says, and never over somebody else's."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.clients.commits import Author, TreeEntry
from syncd.config import Config
from syncd.errors import RepositoryConflictError, ServiceUnavailableError
from syncd.manifest import Entry, Manifest, manifest_digest
from syncd.refs import CommitRef, reference_url
from syncd.replacements import Published, Replacement, Restored, replacement_of
from syncd.stages.commit import LINE, commit
from syncd.stages.plan import plan
from syncd.stages.transfer import transfer
from syncd.testing import Fault, MemoryArtifactSource, MemoryVersionStore
from syncd.versions.plans import LINEAGE_PATH, TransferPlan

PlanOf = Callable[[MemoryArtifactSource, Version], TransferPlan]
Committed = Callable[[MemoryArtifactSource, MemoryVersionStore, TransferPlan], CommitRef]
KILL = ServiceUnavailableError("killed here")
AUTHOR = Author(name="Ann", email="ann@example.com")


@pytest.fixture
def source() -> MemoryArtifactSource:
    """W&B."""
    return MemoryArtifactSource()


@pytest.fixture
def store() -> MemoryVersionStore:
    """Oxen."""
    return MemoryVersionStore()


def history(store: MemoryVersionStore, planned: TransferPlan) -> list[str]:
    """The versions that the branch's commits hold, newest first."""
    found = []
    head = store.resolve(planned.repo, planned.branch)
    while head is not None:
        found.append(head.trailers.get("Wandb-Artifact", "?"))
        head = store.resolve(planned.repo, head.parents[0]) if head.parents else None
    return found


def paths(store: MemoryVersionStore, made: CommitRef) -> list[str]:
    """What the tree holds."""
    return [entry.path for entry in store.tree(made)]


def lineage(store: MemoryVersionStore, made: CommitRef, path: str = LINEAGE_PATH) -> dict[str, Any]:
    """The lineage file."""
    document: dict[str, Any] = json.loads(b"".join(store.read(made, path)))
    return document


def with_candidates(config: Config, **oxen: str) -> Config:
    """Each version on a branch of its own."""
    told = {"branch": "candidate/{version}", **oxen}
    return config.model_copy(update={"oxen": config.oxen.model_copy(update=told)})


def with_folders(config: Config) -> Config:
    """One repository for a whole project, a folder for each collection."""
    oxen = {"repo": "{project}", "path": "{collection}"}
    return config.model_copy(update={"oxen": config.oxen.model_copy(update=oxen)})


# --- one commit a version


def test_a_version_is_one_commit_with_its_complete_tree(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """Kept files and the lineage file are in it, byte for byte."""
    files = {"d/big": b"payload", "small": b"abc"}
    planned = plan_of(source, source.log("ds", files))
    made = committed(source, store, planned)

    assert paths(store, made) == [LINEAGE_PATH, "d/big", "small"]
    assert {path: b"".join(store.read(made, path)) for path in files} == files
    assert history(store, planned) == ["team/proj/ds:v0"]


def test_an_older_version_that_moves_late_does_not_become_what_main_shows(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """It was set aside, and newer ones went first; it has its own branch and its whole tree."""
    older = source.log("ds", {"a": b"first"}, aliases=("v1.0",))
    newer = committed(source, store, plan_of(source, source.log("ds", {"b": b"second"})))
    late = plan_of(source, older)
    made = committed(source, store, late)

    assert committed(source, store, late) == made
    assert paths(store, made) == [LINEAGE_PATH, "a"]
    branches = store.branches(late.repo)
    assert branches["main"] == branches["wandb/v1"] == newer.commit
    assert branches["wandb/v0"] == branches["v1.0"] == made.commit


def test_a_version_hides_nothing_of_the_one_before(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """Its tree is its own; the older one stays in the history and on its branch."""
    first = plan_of(source, source.log("ds", {"a": b"first"}))
    second = plan_of(source, source.log("ds", {"b": b"second"}))
    old, new = committed(source, store, first), committed(source, store, second)

    assert paths(store, new) == [LINEAGE_PATH, "b"]
    assert paths(store, old) == [LINEAGE_PATH, "a"]
    assert history(store, second) == ["team/proj/ds:v1", "team/proj/ds:v0"]
    assert dict(store.branches(first.repo)) == {
        "main": new.commit,
        "latest": new.commit,
        "wandb/v0": old.commit,
        "wandb/v1": new.commit,
    }


def test_equal_versions_are_two_commits(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """A version is a commit, even where its files are the same."""
    first = plan_of(source, source.log("ds", {"a": b"first"}))
    second = plan_of(source, source.log("ds", {"a": b"first"}))

    assert committed(source, store, first) != committed(source, store, second)


def test_a_repeat_returns_the_same_commit(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """Also when later versions stand on top of it."""
    first = plan_of(source, source.log("ds", {"a": b"first"}))
    made = committed(source, store, first)
    second = plan_of(source, source.log("ds", {"b": b"second"}))
    committed(source, store, second)

    assert committed(source, store, first) == made
    assert committed(source, store, second) != made
    assert store.calls["commit"] == 2


def test_an_alias_becomes_a_branch_under_a_name_that_oxen_takes(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """None of them hides the main branch."""
    planned = plan_of(source, source.log("ds", {"a": b"first"}, aliases=["best one", "main", "x"]))
    made = committed(source, store, planned)

    assert set(store.branches(planned.repo)) == {
        "main",
        "wandb/v0",
        "x",
        "wandb/alias/best-20one",
        "wandb/alias/main",
    }
    assert set(store.branches(planned.repo).values()) == {made.commit}


def test_an_alias_does_not_hide_a_main_branch_of_another_name(
    source: MemoryArtifactSource, store: MemoryVersionStore, config: Config, committed: Committed
) -> None:
    """Where `[oxen] branch` names it."""
    trunk = config.model_copy(update={"oxen": config.oxen.model_copy(update={"branch": "trunk"})})
    first = source.log("ds", {"a": b"first"}, aliases=["trunk"])
    second = source.log("ds", {"a": b"second"}, aliases=[])
    _, made = [
        committed(source, store, plan(version, source.manifest(version), trunk))
        for version in (first, second)
    ]

    branches = store.branches(made.repo)
    assert set(branches) == {"trunk", "wandb/v0", "wandb/v1", "wandb/alias/trunk"}
    assert branches["trunk"] == made.commit


# --- killed


CALLS = [
    ("put", False),  # of the lineage file
    ("put", True),
    ("commit", False),
    ("commit", True),  # between commit and branch
    ("set_branch", False),
    ("set_branch", True),
]


@pytest.mark.parametrize(("method", "late"), CALLS, ids=str)
def test_killed_anywhere_the_repeat_ends_as_if_undisturbed(
    method: str,
    late: bool,
    source: MemoryArtifactSource,
    plan_of: PlanOf,
    committed: Committed,
) -> None:
    """One commit, the same branches."""
    calm = MemoryVersionStore()
    version = source.log("ds", {"a": b"first"}, aliases=["latest", "best"])
    planned = plan_of(source, version)
    committed(source, calm, planned)
    number = calm.calls[method] if method == "put" else 1  # the last put is the lineage file's
    store = MemoryVersionStore(faults=[Fault(method=method, error=KILL, at=number, late=late)])
    with pytest.raises(ServiceUnavailableError):
        committed(source, store, planned)

    committed(source, store, planned)

    assert history(store, planned) == ["team/proj/ds:v0"]
    assert store.branches(planned.repo) == calm.branches(planned.repo)


def test_a_later_version_gives_a_killed_one_its_branch(
    source: MemoryArtifactSource, plan_of: PlanOf, committed: Committed
) -> None:
    """Otherwise nobody would find it behind the new head, and it would be committed twice."""
    store = MemoryVersionStore(faults=[Fault(method="set_branch", error=KILL)])
    first = plan_of(source, source.log("ds", {"a": b"first"}))
    with pytest.raises(ServiceUnavailableError):
        committed(source, store, first)
    killed = store.resolve(first.repo, "main")
    assert killed is not None
    committed(source, store, plan_of(source, source.log("ds", {"b": b"second"})))

    assert committed(source, store, first) == killed.ref
    assert store.calls["commit"] == 2


# --- other people's commits


def test_a_commit_that_syncd_did_not_make_is_not_hidden(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """The version's tree would take its files away from the head."""
    planned = plan_of(source, source.log("ds", {"a": b"first"}))
    stored = store.put(planned.repo, [b"mine"])
    theirs = store.commit(
        planned.repo,
        branch="main",
        tree=[TreeEntry(path="mine", hash=stored.hash, size=stored.size)],
        message="Add my file\n\nNot by a machine",
        author=AUTHOR,
    )
    with pytest.raises(RepositoryConflictError, match="did not make"):
        committed(source, store, planned)
    assert store.branches(planned.repo) == {"main": theirs.commit}


def test_another_collections_repository_is_refused(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """`a-b` of `c` and `b-c` of `a` have one default name; each would hide the other's files."""
    first = plan_of(source, source.log("b-ds", {"a": b"first"}, project="a"))
    second = plan_of(source, source.log("ds", {"b": b"second"}, project="a-b"))
    assert first.repo == second.repo
    made = committed(source, store, first)

    with pytest.raises(RepositoryConflictError, match="another collection") as caught:
        committed(source, store, second)
    assert "tells them apart" in caught.value.hint
    assert store.branches(first.repo)["main"] == made.commit


@pytest.mark.parametrize("other", [{"project": "b"}, {"entity": "b", "project": "a"}], ids=str)
def test_a_collection_of_the_same_name_from_elsewhere_is_refused(
    other: dict[str, str],
    source: MemoryArtifactSource,
    store: MemoryVersionStore,
    config: Config,
    committed: Committed,
) -> None:
    """A template that tells neither entity nor project apart."""
    oxen = config.oxen.model_copy(update={"namespace": "all", "repo": "{collection}"})
    loose = config.model_copy(update={"oxen": oxen})
    version = source.log("ds", {"a": b"first"}, project="a")
    made = committed(source, store, plan(version, source.manifest(version), loose))
    second = source.log("ds", {"b": b"second"}, project="a")
    theirs = replace(second, ref=replace(second.ref, **other))

    with pytest.raises(RepositoryConflictError, match="another collection"):
        committed(source, store, plan(theirs, source.manifest(second), loose))
    assert store.branches(made.repo)["main"] == made.commit


def test_a_versions_branch_that_holds_another_version_is_refused(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """A collection that was deleted and made again has a v0 again."""
    planned = plan_of(source, source.log("ds", {"a": b"first"}))
    made = committed(source, store, planned)
    again = replace(planned, version=replace(planned.version, id="another id"))

    with pytest.raises(RepositoryConflictError, match="wandb/v0"):
        committed(source, store, again)
    assert store.branches(planned.repo)["wandb/v0"] == made.commit


# --- folders


def test_in_a_shared_repository_a_neighbours_folder_is_kept(
    source: MemoryArtifactSource, store: MemoryVersionStore, config: Config, committed: Committed
) -> None:
    """Each version replaces the folder of its collection and nothing else."""
    shared = with_folders(config)

    def move(name: str, files: dict[str, bytes]) -> CommitRef:
        version = source.log(name, files)
        return committed(source, store, plan(version, source.manifest(version), shared))

    move("ds", {"a": b"first"})
    move("dsx", {"a": b"other"})  # its name begins alike
    head = move("ds", {"b": b"second"})

    assert paths(store, head) == [
        f"ds/{LINEAGE_PATH}",
        "ds/b",
        f"dsx/{LINEAGE_PATH}",
        "dsx/a",
    ]
    assert b"".join(store.read(head, "dsx/a")) == b"other"
    assert set(store.branches(head.repo)) == {
        "main", "ds/latest", "ds/wandb/v0", "ds/wandb/v1", "dsx/latest", "dsx/wandb/v0",
    }  # fmt: skip
    before = set(store.branches(head.repo))
    last = move("new", {"c": b"third"})  # its v0 is no older than the neighbour's v1
    assert store.branches(last.repo)["main"] == last.commit
    assert set(store.branches(last.repo)) - before == {"new/latest", "new/wandb/v0"}


def test_a_commit_that_lies_elsewhere_since_the_path_was_changed_is_made_anew(
    source: MemoryArtifactSource, config: Config, committed: Committed
) -> None:
    """Killed before its branch was made; references name files in the folder of now."""
    store = MemoryVersionStore(faults=[Fault(method="set_branch", error=KILL)])
    version = source.log("ds", {"a": b"first"})
    before, after = (
        plan(
            version,
            source.manifest(version),
            config.model_copy(update={"oxen": config.oxen.model_copy(update={"path": path})}),
        )
        for path in ("", "{collection}")
    )
    with pytest.raises(ServiceUnavailableError):
        committed(source, store, before)
    made = committed(source, store, after)

    assert b"".join(store.read(made, "ds/a")) == b"first"
    assert committed(source, store, after) == made


def test_a_kill_in_a_shared_repository_heals_on_the_same_version(
    source: MemoryArtifactSource, config: Config, committed: Committed
) -> None:
    """By the trailers of the head."""
    store = MemoryVersionStore(faults=[Fault(method="set_branch", error=KILL)])
    version = source.log("ds", {"a": b"first"})
    planned = plan(version, source.manifest(version), with_folders(config))
    with pytest.raises(ServiceUnavailableError):
        committed(source, store, planned)
    committed(source, store, planned)

    assert store.calls["commit"] == 1
    assert "ds/wandb/v0" in store.branches(planned.repo)


# --- candidates


def test_a_candidate_is_committed_beside_main_which_stays_where_it_is(
    source: MemoryArtifactSource, store: MemoryVersionStore, config: Config, committed: Committed
) -> None:
    """Each on a branch of its own, also an older one that comes late; the first one begins main."""

    def planned(version: Version) -> TransferPlan:
        return plan(version, source.manifest(version), with_candidates(config))

    older = source.log("ds", {"a": b"first"}, aliases=())
    first = planned(source.log("ds", {"a": b"second"}, aliases=("main",)))
    made = committed(source, store, first)
    assert dict(store.branches(first.repo)) == dict.fromkeys(
        ["candidate/v1", "main", "wandb/v1", "wandb/alias/main"], made.commit
    )
    late = committed(source, store, planned(older))
    second = committed(source, store, planned(source.log("ds", {"b": b"third"})))

    branches = store.branches(first.repo)
    assert branches["main"] == made.commit
    assert branches["candidate/v0"] == branches["wandb/v0"] == late.commit
    assert branches["candidate/v2"] == branches["latest"] == second.commit
    assert paths(store, second) == [LINEAGE_PATH, "b"]
    for candidate in (late, second):
        found = store.resolve(candidate.repo, candidate.commit)
        assert found is not None
        assert found.parents == (made.commit,)
    assert committed(source, store, planned(older)) == late


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("at", [1, 2])
def test_a_candidate_that_was_killed_anywhere_ends_as_if_undisturbed(
    at: int,
    call: tuple[str, bool],
    source: MemoryArtifactSource,
    config: Config,
    committed: Committed,
) -> None:
    """Also when main moved on meanwhile; the branch that was begun holds nothing of its own."""
    versions = [source.log("ds", {"a": data}) for data in (b"first", b"second", b"third")]
    plans = [plan(v, source.manifest(v), with_candidates(config)) for v in versions]
    calm = MemoryVersionStore()
    calm.set_branch(committed(source, calm, plans[0]), "main")
    fault = Fault(method=call[0], error=KILL, at=calm.calls[call[0]] + at, late=call[1])
    store = MemoryVersionStore(faults=[fault])
    store.set_branch(committed(source, store, plans[0]), "main")
    for number in (1, 2):
        with contextlib.suppress(ServiceUnavailableError):
            committed(source, store, plans[number])
    store.set_branch(committed(source, store, plans[2]), "main")
    made = committed(source, store, plans[1])

    found = store.resolve(made.repo, made.commit)
    assert found is not None
    assert found.trailers["Wandb-Artifact"] == "team/proj/ds:v1"
    branches = store.branches(made.repo)
    assert branches["candidate/v1"] == branches["wandb/v1"] == made.commit
    assert branches["main"] == branches["candidate/v2"] == branches["wandb/v2"]
    # A kill right after the commit costs none.
    assert store.calls["commit"] == 3 + (call == ("commit", False))


def test_a_candidate_stands_on_the_version_that_it_was_made_from(
    source: MemoryArtifactSource, store: MemoryVersionStore, config: Config, catalog: Catalog
) -> None:
    """So that the two can be merged one after the other; what other collections it used is nothing."""
    made: list[CommitRef] = []
    run = None
    for number in range(3):
        version = source.log("ds", {"a": b"data %d" % number}, run=run)
        planned = plan(version, source.manifest(version), with_candidates(config))
        assert transfer(source, store, catalog, planned, concurrency=1).failed == ()
        made.append(commit(store, planned, catalog.known, run=source.run(run) if run else None))
        link = Replacement(
            commit=made[-1], url="", source_version=str(version.ref),
            source_artifact_id=version.id, source_digest=version.digest, source_created_at="",
            moved_files=1, moved_bytes=6, digest=version.digest,
        )  # fmt: skip
        newest = replace(link, source_version="team/proj/ds:v9", source_artifact_id="newest")
        others = (  # an older one, another collection's, and what is not in this repository
            replace(link, commit=made[0], source_version="team/proj/ds:v0", source_artifact_id="1"),
            replace(link, commit=made[0], source_version="team/proj/x:v9", source_artifact_id="2"),
            replace(newest, commit=CommitRef(repo=made[0].repo, commit="12ab")),
            replace(newest, commit=replace(made[0], repo=replace(made[0].repo, repo="elsewhere"))),
        )
        run = source.add_run(f"clean-{number}")
        for item in (*others, link):
            files = {"a": b"data %d" % number}  # a link counts for the digest that it names
            source.record_use(run, source.log("new", files, metadata=item.into({})))

    parents = [found.parents for item in made if (found := store.resolve(item.repo, item.commit))]
    assert parents == [(), (made[0].commit,), (made[1].commit,)]
    assert store.branches(made[0].repo)["main"] == made[0].commit


def test_a_candidates_branch_that_somebody_uses_is_refused(
    source: MemoryArtifactSource, store: MemoryVersionStore, config: Config, committed: Committed
) -> None:
    """What is there is nobody else's copy, and would be lost."""
    first = source.log("ds", {"a": b"first"})
    committed(source, store, plan(first, source.manifest(first), with_candidates(config)))
    second = source.log("ds", {"a": b"second"})
    planned = plan(second, source.manifest(second), with_candidates(config))
    theirs = store.commit(
        planned.repo, branch="candidate/v1", tree=[], message="mine", author=AUTHOR
    )

    with pytest.raises(RepositoryConflictError, match="candidate/v1") as caught:
        committed(source, store, planned)
    assert "delete the branch" in caught.value.hint
    assert store.branches(planned.repo)["candidate/v1"] == theirs.commit


def test_versions_go_on_behind_a_merge(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """A commit that says whose line it is is nobody else's, and an older version knows its place."""
    older = source.log("ds", {"a": b"first"})
    newer = plan_of(source, source.log("ds", {"b": b"second"}))
    committed(source, store, newer)
    message = f"Merge\n\n{LINE}: team/proj/ds:v1\nWandb-Merged-Commit: abc"
    head = store.commit(newer.repo, branch="main", tree=[], message=message, author=AUTHOR)
    late = committed(source, store, plan_of(source, older))
    assert store.branches(newer.repo)["main"] == head.commit
    assert store.branches(newer.repo)["wandb/v0"] == late.commit

    next_one = plan_of(source, source.log("ds", {"c": b"third"}))
    made = committed(source, store, next_one)
    assert store.branches(newer.repo)["main"] == made.commit


# --- what it says


def test_the_message_tells_people_and_machines_where_it_came_from(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """A subject, and trailers that are read back."""
    version = source.log("ds", {"a": b"first", "b": b"x"}, run=source.add_run("r1"))
    planned = plan_of(source, version)
    found = store.resolve(planned.repo, committed(source, store, planned).commit)

    assert found is not None
    assert found.message.splitlines()[:2] == ["ds v0: 2 files", ""]
    assert found.trailers == {
        "Wandb-Artifact": "team/proj/ds:v0",
        "Wandb-Artifact-Id": version.id,
        "Wandb-Artifact-Type": "dataset",
        "Wandb-Digest": version.digest,
        "Wandb-Created-At": "2026-01-01T00:00:00Z",
        "Wandb-Run": "team/proj/runs/r1",
        "Wandb-Url": "https://wandb.example/team/proj/runs/r1",
    }
    assert found.author == Author(name="ann", email="ann@wandb.invalid")


@pytest.mark.parametrize("run", [True, False])
def test_a_version_without_run_or_author_is_still_committed(
    run: bool,
    source: MemoryArtifactSource,
    store: MemoryVersionStore,
    plan_of: PlanOf,
    committed: Committed,
) -> None:
    """A user may log one from a notebook."""
    version = source.log("ds", {"a": b"first"}, run=source.add_run("r1") if run else None)
    planned = plan_of(source, version)
    unknown = replace(planned, version=replace(planned.version, author=""))
    made = committed(source, store, unknown)
    found = store.resolve(made.repo, made.commit)

    assert found is not None
    assert found.author.name == "syncd"
    assert ("Wandb-Run" in found.trailers) == run
    assert (lineage(store, made)["run"] is not None) == run


def test_a_name_cannot_forge_a_trailer(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """A line feed in what W&B says stays on its line."""
    forged = "dataset\nWandb-Artifact-Id: another"
    planned = plan_of(source, source.log("ds", {"a": b"first"}, kind=forged))
    made = committed(source, store, planned)
    found = store.resolve(made.repo, made.commit)

    assert found is not None
    assert found.trailers["Wandb-Artifact-Id"] == planned.version.id


def test_the_lineage_file_names_the_run_and_its_inputs_with_their_commits(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """Which data trained this model, without W&B."""
    run = source.add_run("r1", config={"lr": 0.1, "oxen": {"inputs": {}, "outputs": {}}})
    data = source.log("ds", {"a": b"first"})
    other = source.log("raw", {"a": b"raw!"})
    moved = committed(source, store, plan_of(source, data))
    replacement = _replacement(source, data, moved)
    link = Entry(path="w", digest="12ab", size=1, ref="https://data.example/w")
    digest = manifest_digest([link])
    born = Published(commit=CommitRef.parse("oxen://team/born@12ab"), url="", digest=digest)
    base = source.log("base", {}, references=[link], metadata=born.into({}))
    assert base.digest == digest
    for used in (data, replacement, other, base):
        source.record_use(run, used)
    model = source.log("m", {"w": b"weights"}, kind="model", run=run, tags=["b", "a"])
    made = committed(source, store, plan_of(source, model))
    document = lineage(store, made)

    assert document["run"] == {
        "ref": "team/proj/runs/r1",
        "name": "name of r1",
        "url": "https://wandb.example/team/proj/runs/r1",
        "config": {"lr": 0.1},  # without what syncd wrote itself
    }
    assert [(item["artifact"], item["oxen"]) for item in document["inputs"]] == [
        ("team/proj/ds:v0", str(moved)),  # once, though its replacement was used too
        ("team/proj/raw:v0", None),
        ("team/proj/base:v0", "oxen://team/born@12ab"),
    ]
    assert document["artifact"]["tags"] == ["a", "b"]
    assert document["artifact"]["digest"] == model.digest


def test_an_input_that_was_taken_out_of_wandb_keeps_its_name_and_commit(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """The run uses the replacement alone by then; what was restored from it is the same input."""
    run = source.add_run("r1")
    data = source.log("ds", {"a": b"first"}, aliases=[])
    moved = committed(source, store, plan_of(source, data))
    replacement = _replacement(source, data, moved)
    for used in (data, replacement):
        source.record_use(run, used)
    source.remove(data)
    first = source.log("m", {"w": b"weights"}, run=run)
    [gone] = lineage(store, committed(source, store, plan_of(source, first)))["inputs"]

    back = source.log("ds", {"a": b"first"}, aliases=[])
    source.record_use(run, back)
    link = replacement_of(replacement.metadata, replacement.digest)
    assert link is not None
    mark = Restored(at="2026-01-01", artifact_id=back.id, version=str(back.ref))
    source.update_metadata(replacement, replace(link, restored=mark).into(replacement.metadata))
    second = source.log("m", {"w": b"weights, too"}, run=run)
    [restored] = lineage(store, committed(source, store, plan_of(source, second)))["inputs"]

    assert (gone["artifact"], gone["id"], gone["oxen"]) == (str(data.ref), data.id, str(moved))
    assert gone["digest"] == data.digest
    assert (restored["artifact"], restored["oxen"]) == (str(back.ref), str(moved))


def test_the_lineage_file_lists_every_file_with_both_names_of_its_content(
    source: MemoryArtifactSource, store: MemoryVersionStore, plan_of: PlanOf, committed: Committed
) -> None:
    """What moved, what stayed, what points elsewhere, and what Oxen cannot hold."""
    link = Entry(path="link", digest="etag", size=5, ref="s3://b/k")
    files = {"big": b"payload", "small": b"abc", "a\\b": b"omitted"}
    first = committed(source, store, plan_of(source, source.log("ds", files)))
    content = next(entry for entry in store.tree(first) if entry.path == "big")
    held = Entry(
        path="held",
        digest=content.hash,
        size=7,
        ref=reference_url("https://data.example", first, "big"),
    )
    version = source.log("ds", files, references=[link, held])
    planned = plan_of(source, version)
    made = committed(source, store, planned)
    document = lineage(store, made)
    tree = {entry.path: entry for entry in store.tree(made)}
    digests = {path: item.digest for path, item in source.manifest(version).entries.items()}

    assert document["schema"] == 1
    assert document["files"] == {
        path: {
            "algorithm": "MD5",
            "digest": digests[path],
            "hash": tree[path].hash,
            "size": tree[path].size,
            "moved": path == "big",
        }
        for path in ("big", "small")
    }
    assert document["references"] == {
        "link": {"ref": "s3://b/k", "digest": "etag", "size": 5},
        "held": {"ref": held.ref, "digest": content.hash, "size": 7},  # in Oxen already
    }
    assert tree["held"].hash == content.hash
    assert list(document["omitted"]) == ["a\\b"]
    assert "backslash" in document["omitted"]["a\\b"]


def test_contents_come_before_the_commit_that_names_them(
    source: MemoryArtifactSource, store: MemoryVersionStore, catalog: Catalog, plan_of: PlanOf
) -> None:
    """A commit of contents that were lost since is refused, and no branch moves."""
    planned = plan_of(source, source.log("ds", {"a": b"first"}))
    moved = transfer(source, store, catalog, planned, concurrency=1)
    assert moved.failed == ()
    for stored in catalog.known([item.digest for item in planned.stored]).values():
        store.corrupt(planned.repo, stored.hash, None)

    with pytest.raises(Exception, match="lacks the content"):
        commit(store, planned, catalog.known, run=None)
    assert store.branches(planned.repo) == {}


def _replacement(source: MemoryArtifactSource, version: Version, made: CommitRef) -> Version:
    entries = {"a": Entry(path="a", digest="12ab", ref="https://data.example/a")}
    link = Replacement(
        commit=made,
        url="",
        source_version=str(version.ref),
        source_artifact_id=version.id,
        source_digest=version.digest,
        source_created_at=version.created_at,
        moved_files=1,
        moved_bytes=1,
        digest=manifest_digest(entries.values()),
    )
    return source.log_replacement(version, Manifest(entries=entries), link.into({}))
