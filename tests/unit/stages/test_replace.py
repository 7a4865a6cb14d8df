"""Replace: W&B looks the same at every moment, and whatever is cut off is finished by a repeat."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace as changed
from typing import Any

import pytest

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.config import Config
from syncd.errors import PermanentError, ServiceUnavailableError
from syncd.manifest import Entry
from syncd.refs import CommitRef, RunRef, Target, parse_reference_url
from syncd.replacements import CONTENT_KEY, KEY, Replacement, replacement_of
from syncd.stages.plan import plan
from syncd.stages.replace import complete, conclude, replace
from syncd.stages.verify import verify
from syncd.testing import Fault, MemoryArtifactSource, MemoryVersionStore
from syncd.versions.plans import LINEAGE_PATH, TransferPlan

PlanOf = Callable[[MemoryArtifactSource, Version], TransferPlan]
Committed = Callable[[MemoryArtifactSource, MemoryVersionStore, TransferPlan], CommitRef]
Move = Callable[..., Version]
BASE = "https://data.example"
KILL = ServiceUnavailableError("killed here")
WHOLE = Target.parse("team/proj/ds")
CHANGES = {"log_replacement", "move_aliases", "record_use", "update_metadata"}


def link_of(version: Version) -> Replacement:
    """What a replacement says about itself."""
    link = replacement_of(version.metadata, version.digest)
    assert link is not None
    return link


def logged(source: MemoryArtifactSource) -> tuple[Version, RunRef]:
    """A version with all that can be about one, and a run that used it."""
    maker, user = source.add_run("maker"), source.add_run("user")
    version = source.log(
        "ds",
        {"big": b"payload", "d/also big": b"other!", "small": b"abc"},
        run=maker,
        aliases=["latest", "best"],
        tags=["gold"],
        description="What it is",
        metadata={"rows": 5},
        ttl_seconds=3600,
        references=[Entry(path="link", digest="etag", ref="s3://b/k", size=3)],
    )
    source.record_use(user, version)
    return version, user


def state(source: MemoryArtifactSource) -> list[Any]:
    """All that W&B shows of a collection and its runs."""
    versions = list(source.versions(WHOLE))
    runs = [source.run(RunRef(entity="team", project="proj", run_id=r)) for r in ("maker", "user")]
    return [
        [(version, source.manifest(version)) for version in versions],
        [source.consumers(version) for version in versions],
        [([v.ref for v in run.inputs], [v.ref for v in run.outputs]) for run in runs],
    ]


# --- the end


def test_the_replacement_is_what_the_version_was(move: Move) -> None:
    """Type, description, tags, TTL, aliases, metadata, producing and consuming runs."""
    source = MemoryArtifactSource()
    old, user = logged(source)
    new = move(source, old)
    assert old.run is not None

    for field in ("type", "description", "tags", "run", "history_step", "aliases"):
        assert getattr(new, field) == getattr(old, field), field
    assert new.ref == changed(old.ref, alias="v1")
    assert (new.size, new.file_count) == (old.size, old.file_count)
    assert {**new.metadata, KEY: None} == {"rows": 5, KEY: None}
    assert source.consumers(new) == source.consumers(old) == [user]
    assert new in source.run(old.run).outputs
    assert source.version(old.id).aliases == ()


def test_the_manifest_holds_references_for_what_moved_and_all_else_unchanged(move: Move) -> None:
    """A kept entry still names the version that uploaded its bytes, or nobody could fetch them."""
    source = MemoryArtifactSource()
    old, _ = logged(source)
    new = move(source, old)
    before, after = source.manifest(old), source.manifest(new)
    commit = link_of(new).commit

    assert after.storage_policy_config == before.storage_policy_config
    assert after.entries.keys() == before.entries.keys()
    for path in ("small", "link"):
        assert after.entries[path] == before.entries[path]
    assert after.entries["small"].birth_artifact_id == old.id
    assert b"".join(source.read(new, after.entries["small"])) == b"abc"
    for path in ("big", "d/also big"):
        entry = after.entries[path]
        assert parse_reference_url(entry.ref or "") == (commit, path)
        assert entry.ref is not None
        assert entry.ref.startswith(BASE)
        assert entry.size == before.entries[path].size
        assert entry.birth_artifact_id is None
        assert entry.extra == {"etag": f'"{entry.digest}"'}  # what the gateway answers with


def test_where_no_etag_is_sent_the_url_is_the_digest_and_the_hash_stands_beside_it(
    move: Move,
) -> None:
    """A plain client compares the digest with the ETag or, without one, with the URL it asked."""
    source = MemoryArtifactSource()
    old, _ = logged(source)
    tagged = MemoryArtifactSource()
    hashes = tagged.manifest(move(tagged, logged(tagged)[0])).entries
    after = source.manifest(move(source, old, etags=False))

    for path in ("big", "d/also big"):
        entry = after.entries[path]
        assert entry.digest == entry.ref
        assert entry.extra == {CONTENT_KEY: hashes[path].digest}


def test_in_a_shared_repository_references_name_the_versions_folder(
    config: Config, catalog: Catalog, committed: Committed
) -> None:
    """Whoever follows one gets the bytes, and the link leads to the lineage file."""
    oxen = config.oxen.model_copy(update={"repo": "{project}", "path": "{collection}"})
    shared = config.model_copy(update={"oxen": oxen})
    source, store = MemoryArtifactSource(), MemoryVersionStore()
    old, _ = logged(source)
    planned = plan(old, source.manifest(old), shared)
    made = committed(source, store, planned)
    report = verify(store, catalog, made, prefix="ds")
    assert report.problems == ()
    new = replace(
        source,
        planned,
        made,
        report.receipt,
        contents=catalog.known,
        base_url=BASE,
        etagged=lambda _url: True,
        now=source.now,
    )
    conclude(source, planned, new.id)

    urls = {path: entry.ref or "" for path, entry in source.manifest(new).entries.items()}
    for path, data in (("big", b"payload"), ("d/also big", b"other!")):
        named = parse_reference_url(urls[path])
        assert named == (made, f"ds/{path}")
        assert b"".join(store.read(*named)) == data
    assert parse_reference_url(link_of(new).url) == (made, f"ds/{LINEAGE_PATH}")


def test_the_metadata_links_back_with_the_receipt(move: Move) -> None:
    """Enough to prove everything again, without any local state."""
    source = MemoryArtifactSource()
    old, _ = logged(source)
    link = link_of(move(source, old))

    assert link.source_version == "team/proj/ds:v0"
    assert (link.source_artifact_id, link.source_digest) == (old.id, old.digest)
    assert link.source_created_at == old.created_at
    assert (link.moved_files, link.moved_bytes) == (2, 13)
    assert (
        link.url == f"{BASE}/api/repos/team/proj-ds/file/{link.commit.commit}/.syncd/lineage.json"
    )
    assert link.receipt.keys() == {"files", "bytes", "tree", "verified_at"}
    assert link.complete


def test_a_version_without_aliases_runs_or_users_is_replaced_too(move: Move) -> None:
    """Nothing is asked for that is not there."""
    source = MemoryArtifactSource()
    new = move(source, source.log("ds", {"a": b"payload"}, aliases=[]))

    assert (new.aliases, new.run) == ((), None)
    assert source.calls["move_aliases"] == source.calls["record_use"] == 0


@pytest.mark.parametrize(
    ("aliases", "links", "consumers", "requests"),
    [
        ((), 0, 0, 10),
        (("latest",), 0, 0, 12),
        (("latest", "best"), 0, 0, 13),  # whether `best` may be moved is asked
        (("latest",), 0, 5, 17),  # one for each
        (("latest",), 1, 0, 17),  # linked, unlinked, and three readings in between
        (("latest",), 4, 0, 23),
    ],
)
def test_replacing_costs_a_fixed_number_of_requests(
    aliases: tuple[str, ...], links: int, consumers: int, requests: int, move: Move
) -> None:
    """However large the project, and however many versions the collection has."""
    source = MemoryArtifactSource()
    for number in range(50):
        source.log("ds", {"a": b"%d" % number})
    old = source.log("ds", {"a": b"payload"}, aliases=aliases)
    for number in range(links):
        source.link_to(old, f"team/proj/shelf{number}")
    for number in range(consumers):
        source.record_use(source.add_run(f"user{number}"), old)
    before: dict[str, int] = {}
    move(source, old, before=lambda: before.update(source.calls))
    made = {name: count - before.get(name, 0) for name, count in source.calls.items()}
    made["version"] -= 1  # the test's own
    logging = 2 * made["log_replacement"]  # it takes three: create, manifest, commit

    assert sum(made.values()) + logging == requests, made


# --- every moment


def test_each_alias_names_the_same_content_at_every_moment(move: Move) -> None:
    """`latest` above all: it is never on older content, nor anywhere before the new one exists."""
    held_first: dict[str, str] = {}
    moments: list[str] = []

    def held() -> dict[str, str]:
        """For each alias, the id of the version whose content it names."""
        return {
            alias: link.source_artifact_id if link else version.id
            for version in source.versions(WHOLE)
            for link in [replacement_of(version.metadata, version.digest)]
            for alias in version.aliases
        }

    def look(method: str) -> None:
        if held_first:
            moments.append(method)
            assert held() == held_first

    source = MemoryArtifactSource(watch=look)
    first = source.log("ds", {"a": b"first"}, aliases=["latest", "best", "old"])
    second = source.log("ds", {"a": b"second"}, aliases=["latest", "prod"])
    source.record_use(source.add_run("user"), first)
    held_first.update(held())
    for version in (first, second):
        move(source, version)

    assert held_first == {
        "best": first.id,
        "old": first.id,
        "latest": second.id,
        "prod": second.id,
    }
    assert moments == [
        # The first one only asks whether the aliases may be moved.
        *("move_aliases", "log_replacement", "move_aliases", "record_use", "update_metadata"),
        *("move_aliases", "log_replacement", "move_aliases", "update_metadata"),
    ]


def test_an_alias_given_in_the_meantime_follows_too(move: Move) -> None:
    """Aliases are read when they move, not when the version was planned."""
    source = MemoryArtifactSource(
        watch=lambda method: source._point(old, ["new"]) if method == "log_replacement" else None
    )
    old = source.log("ds", {"a": b"payload"})

    assert set(move(source, old).aliases) == {"latest", "new"}


def test_an_alias_that_has_gone_to_another_version_stays_there(move: Move) -> None:
    """A training run went on while we worked."""
    newer: list[Version] = []

    def log_newer(method: str) -> None:
        if method == "log_replacement" and not newer:
            newer.append(source.log("ds", {"a": b"newer"}))

    source = MemoryArtifactSource(watch=log_newer)
    old = source.log("ds", {"a": b"payload"}, aliases=["latest", "best"])
    new = move(source, old)

    assert new.aliases == ("best",)
    assert source.version(newer[0].id).aliases == ("latest",)


# --- rights


def test_without_the_right_to_move_an_alias_nothing_is_logged(move: Move) -> None:
    """With it, the version is replaced as if nothing had been."""
    source = MemoryArtifactSource()
    old, _ = logged(source)
    source.places.protected.add("team/proj:best")
    before = state(source)
    with pytest.raises(PermanentError, match="may not move"):
        move(source, old)
    assert state(source) == before
    source.places.protected.clear()

    assert set(move(source, old).aliases) == {"latest", "best"}


# --- again


def test_a_repeat_makes_no_second_version_and_changes_nothing(move: Move) -> None:
    """With or without knowing of the first attempt."""
    source = MemoryArtifactSource()
    old, _ = logged(source)
    first = move(source, old)
    before = state(source)

    assert move(source, old) == first
    assert move(source, old, existing=first) == first
    assert state(source) == before


def test_a_replacement_that_exists_is_finished_without_its_contents(move: Move) -> None:
    """It was logged by a process that died; only aliases and uses are left to follow."""
    source = MemoryArtifactSource(faults=[Fault(method="move_aliases", error=KILL, at=2)])
    old, _ = logged(source)
    with pytest.raises(ServiceUnavailableError):
        move(source, old)
    [_, existing] = source.versions(WHOLE)
    assert existing.aliases == ()
    assert not link_of(existing).complete

    finished = move(source, old, existing=existing)

    assert finished.aliases == old.aliases
    assert link_of(finished).complete
    assert source.calls["log_replacement"] == 1


def faults(move: Move) -> Iterator[Fault]:
    """One for each call that the stage makes, before and after its effect."""
    source = MemoryArtifactSource()
    old, _ = logged(source)
    before: dict[str, int] = {}
    move(source, old, before=lambda: before.update(source.calls))
    for method, count in source.calls.items():
        for at in range(before.get(method, 0) + 1, count + 1):
            yield Fault(method=method, error=KILL, at=at)
            if method in CHANGES:
                yield Fault(method=method, error=KILL, at=at, late=True)


def test_killed_at_any_call_a_repeat_ends_in_the_same_state(move: Move) -> None:
    """As if nothing had happened."""
    calm = MemoryArtifactSource()
    move(calm, logged(calm)[0])
    expected = state(calm)
    tried = list(faults(move))
    assert {fault.method for fault in tried} >= CHANGES

    for fault in tried:
        source = MemoryArtifactSource(faults=[fault])
        old, _ = logged(source)
        with pytest.raises(ServiceUnavailableError):
            move(source, old)
        move(source, old)

        assert state(source) == expected, fault


# --- what is not ours


def test_a_version_that_replaces_another_one_is_not_taken(move: Move) -> None:
    """Two versions may hold the same bytes under other digests; W&B hands back the first."""
    source = MemoryArtifactSource()
    first = source.log("ds", {"a": b"payload"}, aliases=["best"])
    second = source.log("ds", {"a": b"payload"}, algorithm="XXH128")
    assert first.digest != second.digest
    taken = move(source, first)

    with pytest.raises(PermanentError, match=r"says it replaces team/proj/ds:v0") as caught:
        move(source, second)
    assert "same content" in caught.value.hint
    assert source.version(second.id).aliases == ("latest",)
    assert source.version(taken.id) == taken


def test_a_version_of_somebody_elses_references_is_not_taken(move: Move) -> None:
    """It has the digest of ours, and says nothing of replacing."""
    source = MemoryArtifactSource()
    old = source.log("ds", {"a": b"payload"})
    twin = MemoryArtifactSource()
    made = move(twin, twin.log("ds", {"a": b"payload"}))
    theirs = source.log("ds", {}, references=twin.manifest(made).entries.values(), aliases=["mine"])
    assert theirs.digest == made.digest

    with pytest.raises(PermanentError, match="replaces nothing"):
        move(source, old)
    assert source.version(old.id).aliases == ("latest",)
    assert source.version(theirs.id).aliases == ("mine",)


def test_completing_what_is_no_replacement_leaves_it_alone() -> None:
    """Somebody wrote over the metadata since."""
    source = MemoryArtifactSource()
    version = source.log("ds", {"a": b"payload"}, metadata={KEY: "mine"})
    complete(source, version.id)

    assert source.version(version.id).metadata == {KEY: "mine"}


def test_the_sources_name_is_the_one_it_has_now(move: Move) -> None:
    """The link is by id; the name is for people."""
    source = MemoryArtifactSource()
    old = source.log("ds", {"a": b"payload"})
    source.rename("ds", "renamed")
    new = move(source, old)

    assert link_of(new).source_version == "team/proj/renamed:v0"
    assert new.ref.collection == "renamed"
    assert base64.b64decode(link_of(new).source_artifact_id) == b"Artifact:1"
